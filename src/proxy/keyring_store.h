/*
 * keyring_store: the identities that a worker has asked helpers for, and how long one stays here.
 * Knows neither who asks nor who answers: keyring does.
 */
#ifndef DTLSGATE_PROXY_KEYRING_STORE_H
#define DTLSGATE_PROXY_KEYRING_STORE_H

#include "base/hash.h"
#include "base/list.h"
#include "base/slab.h"
#include "base/timer.h"
#include "dtls/psk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds, each for one worker. */
#define KEYRING_KEYS_MAX 8192 /* keys that are kept while nobody uses them */
#define KEYRING_NONE_MAX 4096 /* identities that are known to be unknown */

struct keyring_store {
    struct hash_key key;
    struct table table;
    struct slab entries;
    struct timers timers;
    struct list keys, none; /* that nobody uses, oldest answer first */
    size_t key_count, none_count;
};

/* One identity of one service. */
struct keyring_entry {
    struct table_link link; /* unless it is revoked */
    struct list order;      /* one of the store's or the keyring's, or none */
    struct list seats;
    struct timer timer; /* while it is asked: its time; while it is fresh: the end of that */
    struct keyring_store *store;
    unsigned service;
    unsigned uses;    /* sessions that point to it, */
    unsigned entered; /* and that count */
    uint16_t policy;  /* while it is in use */
    bool is_asked;
    bool is_late;     /* its time to be answered is over */
    bool is_fresh;    /* what it says was answered of late */
    bool is_held;     /* a function works with it */
    bool is_revoked;  /* it is in the table no more; its sessions have to end */
    bool is_replaced; /* and that is for another key */
    bool has_key;
    struct psk psk; /* key_len 0 without a key */
    uint8_t key[PSK_KEY_MAX];
    uint8_t identity[PSK_IDENTITY_MAX];
};

/* It must stay where it is. False: out of memory, nothing is left then. */
bool keyring_store_init(struct keyring_store *s) __attribute__((warn_unused_result));
/* No entry is in use. */
void keyring_store_clear(struct keyring_store *s);

/* The entry of an identity in a service, or NULL. */
struct keyring_entry *keyring_store_find(const struct keyring_store *s, unsigned service,
                                         const struct psk *psk);
/* A new one without a key, in no list yet. NULL: out of memory. */
struct keyring_entry *keyring_store_make(struct keyring_store *s, unsigned service,
                                         const struct psk *psk);
void keyring_entry_set_key(struct keyring_entry *e, const uint8_t *key, size_t len);
void keyring_entry_drop_key(struct keyring_entry *e);
/* Takes it out of the list that it is in. */
void keyring_entry_unlist(struct keyring_entry *e);
/* Another may have its identity from now on; it goes when its sessions have. */
void keyring_entry_revoke(struct keyring_entry *e, bool is_replaced);
/* Puts it where it belongs once nobody works with it: it goes when it is of no more use. */
void keyring_entry_settle(struct keyring_entry *e);

#endif
