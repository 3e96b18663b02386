/*
 * key_source: where a peer's key comes from: the files, or a helper that is asked while the
 * handshake waits. Knows no session but as an owner's pointer, and no clock.
 */
#ifndef DTLSGATE_PROXY_KEY_SOURCE_H
#define DTLSGATE_PROXY_KEY_SOURCE_H

#include "base/rate.h"
#include "dtls/handshake.h"
#include "proxy/keyring.h"

#include <stdbool.h>
#include <stdint.h>

/* Of one service. */
struct key_source {
    const struct conf_service *conf;
    struct keyring *keyring; /* NULL: there is no helper */
    unsigned service;        /* index */
    uint64_t wall0;          /* ms since 1970 UTC when `now` was 0 */
};

/* Identities of one handshake that may be asked for at a time. */
#define KEY_SEATS 2

/* What a handshake has asked. */
struct key_questions {
    struct keyring_seat seats[KEY_SEATS];
    struct rate asked;
};

/* Whose handshake it is. */
struct key_asker {
    void *owner; /* whom keyring_hooks.tell is told */
    /* May one more be asked for, beyond what the handshake was admitted with? Asked for each. */
    bool (*may_ask)(void *arg);
    void *arg;
};

void key_questions_init(struct key_questions *q);
/* The handshake is over, one way or the other: it waits for no answer any more. */
void key_questions_stop(struct key_questions *q);

/* There is somebody to ask for identities that the files lack. */
bool key_source_has_helper(const struct key_source *src);
/* Asks for the key that the handshake wants, if it does and may. What is known already it gets. */
void key_source_ask(const struct key_source *src, struct key_questions *q, struct handshake *h,
                    const struct key_asker *who, uint64_t now);

/* What has become of a question: keyring_hooks has what this is. The key of an identity whose time
 * is over is none. Returns what handshake_set_key() does. */
enum fate key_source_tell(const struct key_source *src, struct handshake *h,
                          enum keyring_verdict verdict, const struct psk *named, uint64_t now);

enum key_state { KEY_SAME, KEY_CHANGED, KEY_GONE };
/* Looks up a key in use by its identity. KEY_SAME: *psk points now to where it will stay: into the
 * files' set, or, with *is_given, to the keyring's, which is to be left by keyring_leave(). Else
 * nothing has changed. What the files lack is left to the helper, whose answer comes later. */
enum key_state key_source_renew(const struct key_source *src, const struct psk **psk,
                                bool *is_given);

#endif
