/*
 * state_head: how a state file begins: what it is, what its keys were made with, whether it was
 * closed, the cookie secrets and the keys of tickets. Bytes in, bytes out; knows no files.
 *
 *   0  "dtlsgate state\n", a zero; version (4)          52  the host's boot (16); zeros in memory
 *  20  the file's number (32), random                   68  print of the key (16)
 *  84  closed (16): a mark, or zeros                   128  cookie secrets, twice 128
 *                                                      384  keys of tickets, twice 128
 */
#ifndef DTLSGATE_DAEMON_STATE_HEAD_H
#define DTLSGATE_DAEMON_STATE_HEAD_H

#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "dtls/vault.h"

#define STATE_HEAD_SIZE 640
#define STATE_HEAD_VERSION 2
#define STATE_ID 32
#define STATE_BOOT 16

struct state_head {
    uint8_t id[STATE_ID], boot[STATE_BOOT];
    struct vault_keys keys;
};

/* What was sealed with: a file of the operator's. */
struct state_secret {
    const uint8_t *data;
    size_t len;
};

/* A new one with a number of its own, and its bytes. False: libcrypto failed. */
bool state_head_make(struct state_head *h, const struct state_secret *secret,
                     const uint8_t boot[STATE_BOOT], uint8_t bytes[STATE_HEAD_SIZE])
    __attribute__((warn_unused_result));
/* Reads one. NULL, or why its file cannot be taken up. */
const char *state_head_read(struct state_head *h, const struct state_secret *secret,
                            const uint8_t boot[STATE_BOOT], const uint8_t bytes[STATE_HEAD_SIZE]);

/* All that it tells of is final, and it may be taken up once: also behind a start of the host. */
void state_head_close(struct vault *v, const struct state_head *h, uint8_t bytes[STATE_HEAD_SIZE]);
void state_head_reopen(uint8_t bytes[STATE_HEAD_SIZE]);

/* `generation` as vault.h has it; `wall` ms since 1970 UTC. Two copies take turns, so that at each
 * moment one is whole. */
bool state_head_put_cookies(struct vault *v, uint64_t generation,
                            const struct cookie_secrets *cookies, uint64_t wall,
                            uint8_t bytes[STATE_HEAD_SIZE]) __attribute__((warn_unused_result));
/* The newer of those that are whole, and when it was put there. False: there is none. */
bool state_head_get_cookies(struct vault *v, const uint8_t bytes[STATE_HEAD_SIZE],
                            struct cookie_secrets *cookies, uint64_t *wall)
    __attribute__((warn_unused_result));
/* The same for the keys of tickets, the newest of which was made at `wall`; the older copy is
 * wiped, once the newer is whole. */
bool state_head_put_tickets(struct vault *v, uint64_t generation, const struct ticket_keys *keys,
                            uint64_t wall, uint8_t bytes[STATE_HEAD_SIZE])
    __attribute__((warn_unused_result));
bool state_head_get_tickets(struct vault *v, const uint8_t bytes[STATE_HEAD_SIZE],
                            struct ticket_keys *keys, uint64_t *wall)
    __attribute__((warn_unused_result));

#endif
