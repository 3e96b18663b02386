/*
 * keys: the TLS 1.2 key schedule for PSK suites (RFC 5246 5, 8.1; RFC 4279 2; RFC 7627 4), on EVP.
 * It goes on from what libssl has negotiated.
 */
#ifndef DTLSGATE_DTLS_KEYS_H
#define DTLSGATE_DTLS_KEYS_H

#include "dtls/suites.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_MASTER 48
#define KEYS_VERIFY 12      /* verify_data of a Finished */
#define KEYS_SHARED_MAX 512 /* a DHE group of 4096 bits; ours has 2048 */

/* One worker's fetched MAC and digests; not for two threads at once. NULL: libcrypto lacks
 * something. */
struct keys_kdf;
struct keys_kdf *keys_kdf_new(void);
void keys_kdf_free(struct keys_kdf *kdf);

/* A suite's key block (RFC 5246 6.3): both keys, then both ivs, as long as the suite has them. */
#define RECORD_KEYS_MAX (2 * 32 + 2 * 12)
struct record_keys {
    uint8_t block[RECORD_KEYS_MAX];
};

/* Where they stand in it. */
static inline const uint8_t *keys_client_key(const struct record_keys *k)
{
    return k->block;
}

static inline const uint8_t *keys_server_key(const struct record_keys *k, const struct suite *suite)
{
    return k->block + suite->key_len;
}

static inline const uint8_t *keys_client_iv(const struct record_keys *k, const struct suite *suite)
{
    return k->block + 2 * suite->key_len;
}

static inline const uint8_t *keys_server_iv(const struct record_keys *k, const struct suite *suite)
{
    return k->block + 2 * suite->key_len + suite->iv_len;
}

/* How much of the block a suite uses. */
static inline size_t keys_length(const struct suite *suite)
{
    return 2 * (size_t)(suite->key_len + suite->iv_len);
}

struct keys_randoms {
    const uint8_t *client; /* WIRE_RANDOM bytes each */
    const uint8_t *server;
};

/* What a premaster secret is made of (RFC 4279 2 and 3, RFC 5489 2). */
struct keys_secrets {
    const uint8_t *shared; /* of (EC)DHE, 1 to KEYS_SHARED_MAX bytes; NULL for plain PSK */
    size_t shared_len;
    const uint8_t *psk; /* at most PSK_KEY_MAX bytes */
    size_t psk_len;
};

/* The master secret. `session_hash` (32 or 48 bytes by suite->sha384) selects the extended form
 * (RFC 7627 4); NULL the classic one, which uses the randoms (RFC 5246 8.1). False: libcrypto
 * failed, a secret is over its length, or `shared` is not what the suite's exchange asks for. */
bool keys_master(struct keys_kdf *kdf, const struct suite *suite,
                 const struct keys_secrets *secrets, const struct keys_randoms *randoms,
                 const uint8_t *session_hash, uint8_t master[KEYS_MASTER])
    __attribute__((warn_unused_result));

/* The record keys from a master secret (RFC 5246 6.3). On failure nothing is left in `out`. */
bool keys_expand(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 const struct keys_randoms *randoms, struct record_keys *out)
    __attribute__((warn_unused_result));

/* The verify_data of a Finished, the server's or the client's, from the hash (32 or 48 bytes by
 * suite->sha384) of all messages before it (RFC 5246 7.4.9). */
bool keys_verify(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 bool is_server, const uint8_t *hash, uint8_t out[KEYS_VERIFY])
    __attribute__((warn_unused_result));

/* The hash over a handshake's messages: a running one, of which a copy can be finished at any time.
 * Messages go in whole, with the DTLS header of an unfragmented one (RFC 6347 4.2.6). May outlive
 * the kdf. NULL: out of memory. */
struct transcript;
struct transcript *transcript_new(struct keys_kdf *kdf, bool sha384);
void transcript_free(struct transcript *t);
bool transcript_add(struct transcript *t, const void *data, size_t len)
    __attribute__((warn_unused_result));
/* The hash of all so far followed by `tail` (may be NULL with 0); the running state stays. Writes
 * 32 or 48 bytes. */
bool transcript_hash(struct transcript *t, const void *tail, size_t tail_len, uint8_t out[48])
    __attribute__((warn_unused_result));

#endif
