/*
 * greeting: what a plain PSK hello is answered with, ServerHello to ServerHelloDone, without libssl
 * (RFC 5246 7.4.1.3, RFC 4279 2). There is nothing secret in it and little to decide. A hello that
 * is odd, or that leads to another kind of suite, is left to libssl; but for the ServerHello of a
 * session that is resumed, which is ours under any suite. No state.
 */
#ifndef DTLSGATE_DTLS_GREETING_H
#define DTLSGATE_DTLS_GREETING_H

#include "dtls/suites.h"
#include "dtls/tlsctx.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What has been agreed on. */
struct greeting {
    const struct suite *suite; /* plain PSK, or what is resumed */
    const uint8_t *session_id; /* the client's, with which it knows that it is (RFC 5077 3.4) */
    uint8_t session_id_len;    /* 0: there is nothing to resume */
    bool extended_master_secret;
    bool renegotiation_info;   /* the client has asked for it (RFC 5746 3.6) */
    uint8_t max_fragment_code; /* RFC 6066 4; 0: none */
    bool has_cid, has_rrc;     /* the client has asked for them (RFC 9146, 9853) */
};

/* Judges the hello by the context's suites, in their order. False: for libssl, which also finds
 * the words for what is wrong with it, and cuts messages that a datagram of `mtu` bytes cannot
 * hold. */
bool greeting_judge(const struct tlsctx *ctx, size_t mtu, const struct wire_hello *hello,
                    struct greeting *out) __attribute__((warn_unused_result));

/* The same for a session that is resumed: by its own suite, which must be offered and allowed. */
bool greeting_judge_again(const struct tlsctx *ctx, const struct suite *suite,
                          const struct wire_hello *hello, struct greeting *out)
    __attribute__((warn_unused_result));

/* The longest plaintext that it leads to, in bytes. */
uint16_t greeting_max_fragment(const struct greeting *g);

/* Called for each record, in order; its number is for others to set. */
typedef void (*greeting_fn)(void *arg, const uint8_t *record, size_t len);

/* What of it the context and the caller's settings leave. */
struct greeting_words {
    const char *hint;       /* the identity hint, at most TLSCTX_HINT_MAX bytes; NULL leaves
                               ServerKeyExchange out */
    const uint8_t *own_cid; /* WIRE_OWN_CID bytes for a client that has asked; NULL: none */
};

/* Writes the messages, one record each, beginning with message_seq 1: 0 was the
 * HelloVerifyRequest's. */
void greeting_write(const struct greeting *g, const struct greeting_words *words,
                    greeting_fn on_record, void *arg);
/* The first of them alone. */
void greeting_write_hello(const struct greeting *g, const struct greeting_words *words,
                          greeting_fn on_record, void *arg);

#endif
