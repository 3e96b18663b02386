/*
 * tlsctx: one configured SSL_CTX for PSK over DTLS, from plain parameters.
 * Knows nothing of settings files; whoever reads those asks tlsctx_select() whether a list will do.
 */
#ifndef DTLSGATE_DTLS_TLSCTX_H
#define DTLSGATE_DTLS_TLSCTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The default list, in the server's order of preference. */
#define TLSCTX_DEFAULT_CIPHERS                                                                     \
    "ECDHE-PSK-CHACHA20-POLY1305:PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384:"                     \
    "PSK-CHACHA20-POLY1305:PSK-AES128-CCM:PSK-AES256-CCM:PSK-AES128-CCM8:PSK-AES256-CCM8"

#define TLSCTX_HINT_MAX 256 /* libssl takes no longer one */

struct tlsctx_params {
    const char *ciphers; /* an OpenSSL cipher string */
    bool old_devices;    /* also DTLS 1.0 and CBC suites, whose records stay with libssl */
    const char *hint;    /* PSK identity hint, or NULL */
    bool cid;            /* connection ids may be negotiated (RFC 9146) */
};

struct tlsctx; /* one owner, but handshakes begun with it may outlive it */

/* Which suites `ciphers` selects for us, as OpenSSL's names joined by ':', into `out`. Only suites
 * that authenticate by PSK alone and encrypt count; CBC ones only for old devices. False with one
 * line in `why`, which ends with the cure, when the string is wrong or nothing is left. */
bool tlsctx_select(const struct tlsctx_params *params, char *out, size_t size, char *why,
                   size_t why_size) __attribute__((warn_unused_result));

/* A context for one worker: server side, no tickets, no session cache, no renegotiation, no
 * certificates. NULL with `why` set. */
struct tlsctx *tlsctx_new(const struct tlsctx_params *params, char *why, size_t why_size);
void tlsctx_free(struct tlsctx *ctx);

/* An SSL for one handshake, for engine.c alone; NULL: out of memory. */
struct ssl_st *tlsctx_new_ssl(struct tlsctx *ctx);

/* The numbers of its suites, in the server's order of preference. */
size_t tlsctx_suite_count(const struct tlsctx *ctx);
uint16_t tlsctx_suite(const struct tlsctx *ctx, size_t i);
/* Whether connection ids may be negotiated. */
bool tlsctx_has_cid(const struct tlsctx *ctx);
/* NULL: none. */
const char *tlsctx_hint(const struct tlsctx *ctx);

/* "OpenSSL 3.0.22 …", as loaded. */
const char *tlsctx_library_version(void);

/* The newest error of OpenSSL's queue as text, and empties the queue. Returns `buf`. */
const char *tlsctx_error(char *buf, size_t size);

#endif
