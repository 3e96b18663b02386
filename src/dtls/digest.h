/*
 * digest: SHA-256 and SHA-384 as values that are copied by assignment, and HMAC over them. EVP's
 * contexts are allocated, looked up and copied by calls that cost as much as the hash of a short
 * message, and one handshake takes forty. Must never know what is hashed.
 */
#ifndef DTLSGATE_DTLS_DIGEST_H
#define DTLSGATE_DTLS_DIGEST_H

#include <openssl/sha.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_MAX 48

/* Freely copied; whoever has put a secret in wipes it. */
struct digest {
    bool sha384; /* or SHA-256 */
    union {
        SHA256_CTX sha256;
        SHA512_CTX sha512;
    };
};

void digest_init(struct digest *d, bool sha384);
/* `data` may be NULL with 0. */
void digest_add(struct digest *d, const void *data, size_t len);
/* Returns the length, 32 or 48. Nothing but digest_init() may follow. */
size_t digest_finish(struct digest *d, uint8_t out[DIGEST_MAX]);

/* A key of HMAC (RFC 2104), for any number of messages. */
struct hmac {
    struct digest inner, outer;
};
void hmac_set_key(struct hmac *h, bool sha384, const void *key, size_t len);
/* The HMAC of `a` then `b`; each may be NULL with 0. Returns its length. */
size_t hmac_make(const struct hmac *h, const void *a, size_t a_len, const void *b, size_t b_len,
                 uint8_t out[DIGEST_MAX]);

#endif
