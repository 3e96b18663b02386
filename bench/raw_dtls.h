/*
 * raw_dtls: a lean client of DTLS 1.2 with a plain PSK suite and the extended master secret: bytes
 * in, bytes out. One handshake under way is a struct raw_shake; what is left of it is a struct
 * raw_keys. Understands what a server answers to its hello, over a path that keeps order; a
 * fragmented message or one out of turn is waited for again. Must never know a socket or the clock.
 */
#ifndef DTLSGATE_BENCH_RAW_DTLS_H
#define DTLSGATE_BENCH_RAW_DTLS_H

#include "raw_crypt.h"

#define RAW_COOKIE_MAX 255
#define RAW_FLIGHT_MAX 512

enum raw_state { RAW_HELLO, RAW_COOKIE, RAW_FINISHED, RAW_OPEN, RAW_FAILED };

struct raw_shake {
    enum raw_state state;
    struct raw_keys keys; /* valid with RAW_OPEN */
    uint64_t record_seq;  /* next of epoch 0 */
    uint16_t expected;    /* the server's next message */
    uint8_t cookie_len;
    uint8_t random[32], server_random[32];
    uint8_t cookie[RAW_COOKIE_MAX];
    uint8_t verify[RAW_VERIFY], server_verify[RAW_VERIFY];
    uint8_t master[48];
    EVP_MD_CTX *transcript;
};

/* Once, after raw_crypt_init(); borrows `identity`, at most 128 bytes, for good. */
void raw_dtls_init(const char *identity);

/* A zeroed one, or one that has come to its end. `random` is all that makes it differ. */
void raw_start(struct raw_shake *s, const uint8_t random[32]);
/* Frees what it holds. */
void raw_clear(struct raw_shake *s);

/* The flight that is due, one datagram: to be sent after raw_start(), after raw_read() has asked
 * for it, and once more when no answer comes. Returns its length, at most RAW_FLIGHT_MAX. */
size_t raw_write(struct raw_shake *s, uint8_t *out);
/* Takes a datagram of the server. True: raw_write() has something new to say. */
bool raw_read(struct raw_shake *s, const uint8_t *data, size_t len);

enum raw_verdict { RAW_NOTHING, RAW_PLAIN, RAW_END };
/* What is left of a datagram; raw_take() moves on. */
struct raw_rest {
    const uint8_t *at;
    size_t left;
};
/* Opens records up to the next one that is content (RAW_PLAIN; with room for RAW_PLAIN_MAX) or an
 * alert that ends the session (RAW_END). RAW_NOTHING: the datagram is at its end. */
enum raw_verdict raw_take(const struct raw_keys *k, struct raw_rest *rest, uint8_t *plain,
                          size_t *plain_len);
/* A close_notify; returns its length. */
size_t raw_close(struct raw_keys *k, uint8_t *out);

#endif
