/*
 * keyring: the identities that a worker has asked helpers for: who waits for which answer, what was
 * answered of late, and the keys that open sessions go by. A key that is in use stays as long as
 * its sessions; it is asked for again after each reload, and its sessions are to end when another
 * answer comes. Knows no sockets and no clock, and of sessions no more than an owner's pointer.
 */
#ifndef DTLSGATE_PROXY_KEYRING_H
#define DTLSGATE_PROXY_KEYRING_H

#include "base/list.h"
#include "conf/conf.h"
#include "proxy/helper_line.h"
#include "proxy/stats.h"

#include <stdbool.h>
#include <stdint.h>

/* Questions of one worker that are on their way; keyring_store has the other bounds. */
#define KEYRING_ASKED_MAX 1024

struct keyring;
struct keyring_entry;

/* One that waits for an answer, embedded in whatever does; zeroed and then list_init()ed it waits
 * for nothing. */
struct keyring_seat {
    struct list node;
    void *owner;
};

/* How to reach the helpers; see helpers_ask() and helpers_reset(). */
struct keyring_asker {
    const char *(*ask)(void *arg, unsigned service, const char *path,
                       const struct helper_question *q);
    void (*reset)(void *arg, unsigned service, const char *why);
    void *arg;
};

enum keyring_verdict {
    KEYRING_KEY,
    KEYRING_NONE,
    KEYRING_LATER,  /* the seat's owner will be told */
    KEYRING_FAILED, /* nobody can be asked now */
};

struct keyring_hooks {
    struct keyring_asker asker;
    /* The seat waits no more: `named` has the identity, and a key where the verdict is KEYRING_KEY.
     * Borrowed for the call, which may do what it likes but free the keyring. */
    void (*tell)(void *arg, void *owner, enum keyring_verdict verdict, const struct psk *named,
                 uint64_t now);
    void *arg;
    struct stats *stats;
};

/* NULL: out of memory. `conf` is used until keyring_use_conf() names another. */
struct keyring *keyring_new(const struct conf *conf, const struct keyring_hooks *hooks);
/* All keys have been left, and all seats. NULL is fine. */
void keyring_free(struct keyring *k);

/* Whose key is it? KEYRING_KEY: *out is set, valid until anything else is called. KEYRING_LATER:
 * the seat is taken. */
enum keyring_verdict keyring_ask(struct keyring *k, unsigned service, const struct psk *identity,
                                 struct keyring_seat *seat, uint64_t now, const struct psk **out);
/* Waits no more. Harmless on a seat that waits for nothing. */
void keyring_leave_seat(struct keyring_seat *seat);
/* What has become of a question that the asker was given. */
void keyring_answer(struct keyring *k, void *token, const struct helper_answer *answer,
                    uint64_t now);

/* A session goes by this key from now on: the helper's, or one that was in the files and is there
 * no more. Returns it as it has to be pointed to until keyring_leave(). NULL: the identity has
 * another key by now, or memory is short. */
const struct psk *keyring_use(struct keyring *k, unsigned service, const struct psk *psk);
void keyring_leave(const struct psk *used);
/* One of its sessions counts from now on, or no more. Enter returns how many do, of this worker. */
unsigned keyring_enter(const struct psk *used);
void keyring_exit(const struct psk *used);
/* The number of its identity's policy, by the settings that the keyring uses. */
uint16_t keyring_policy(const struct psk *used);
/* The helper has given another answer: KEYRING_KEY for another key, KEYRING_NONE for none at all.
 * KEYRING_FAILED: it has not. */
enum keyring_verdict keyring_change(const struct psk *used);

/* Does what is due. Returns when to call again, or TIMER_NEVER. */
uint64_t keyring_tick(struct keyring *k, uint64_t now);
/* True once after keys in use have changed, at most once a second: look at keyring_change() of all.
 */
bool keyring_has_changes(struct keyring *k, uint64_t now);
/* A reload, before any session is rebased: goes by other settings from now on. */
void keyring_use_conf(struct keyring *k, const struct conf *conf);
/* And behind that: forgets what nobody uses, and asks again for the rest. `before` are the settings
 * until then. */
void keyring_renew(struct keyring *k, const struct conf *before);

#endif
