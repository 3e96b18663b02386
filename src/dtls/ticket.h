/*
 * ticket: a session that can be resumed, sealed for the client to keep (RFC 5077 4): whoever has
 * the keys needs to remember nothing. Must never know a hello or a clock.
 */
#ifndef DTLSGATE_DTLS_TICKET_H
#define DTLSGATE_DTLS_TICKET_H

#include "dtls/keys.h"
#include "dtls/psk.h"
#include "dtls/suites.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICKET_NAME 16
#define TICKET_KEY 32

struct ticket_key {
    uint8_t name[TICKET_NAME]; /* at random; stands in front of what it seals */
    uint8_t key[TICKET_KEY];
};

/* Each worker holds a copy: a client may come back to another one. All zero: there are none, and
 * nothing is sealed or opened. */
struct ticket_keys {
    struct ticket_key newest, before; /* the first seals, either opens */
    bool is_set;
};

/* Two fresh ones. */
void ticket_keys_init(struct ticket_keys *k);
/* A fresh one seals from now on; the one before the newest is gone for good. Called no more often
 * than the longest life of a ticket, it leaves each the whole of that. */
void ticket_keys_rotate(struct ticket_keys *k);
void ticket_keys_wipe(struct ticket_keys *k);

/* What is in it; to be wiped. That the extended master secret was used goes without saying: others
 * get none. */
struct ticket {
    const struct suite *suite;
    uint64_t born; /* ms since 1970 UTC: the first handshake, with a key exchange */
    uint8_t master[KEYS_MASTER];
    uint8_t identity[PSK_IDENTITY_MAX];
    size_t identity_len;
    uint8_t proof[16];     /* of the identity's key, see ticket_prove() */
    uint16_t max_fragment; /* of the session, so of those it is resumed by, too (RFC 6066 4) */
};

/* Binds it to the key of its identity. False: libcrypto failed. */
bool ticket_prove(const struct psk *psk, const uint8_t master[KEYS_MASTER], uint8_t proof[16])
    __attribute__((warn_unused_result));

#define TICKET_TEXT_MAX (1 + 2 + 8 + KEYS_MASTER + 16 + 2 + 2 + PSK_IDENTITY_MAX)
#define TICKET_MAX (TICKET_NAME + 12 + TICKET_TEXT_MAX + 16)

/* How long one for such an identity is. */
size_t ticket_size(size_t identity_len);
/* Seals it by the newest key, for a service of that name. Returns ticket_size(), 0: libcrypto
 * failed, or there are no keys. */
size_t ticket_seal(const struct ticket_keys *keys, const char *service, const struct ticket *t,
                   uint8_t out[TICKET_MAX]) __attribute__((warn_unused_result));
/* False: it is none of ours, of another service, or too old; at the cost of opening one AEAD at
 * most. Nothing is left in *out then. */
bool ticket_open(const struct ticket_keys *keys, const char *service, const uint8_t *sealed,
                 size_t len, struct ticket *out) __attribute__((warn_unused_result));

#endif
