/*
 * mirror: an association's keys as the other end has them, so that record_seal() writes what the
 * client would.
 */
#ifndef DTLSGATE_TESTS_MIRROR_H
#define DTLSGATE_TESTS_MIRROR_H

#include "dtls/record.h"

#include <string.h>

static inline struct record_keys mirror_keys(const struct record_keys *keys,
                                             const struct suite *suite)
{
    size_t key = suite->key_len, iv = suite->iv_len;
    struct record_keys other = {{0}};

    memcpy(other.block, keys_server_key(keys, suite), key);
    memcpy(other.block + key, keys_client_key(keys), key);
    memcpy(other.block + 2 * key, keys_server_iv(keys, suite), iv);
    memcpy(other.block + 2 * key + iv, keys_client_iv(keys, suite), iv);
    return other;
}

/* As the other end opens what `a` has sealed. */
static inline enum record_verdict mirror_open(struct record_crypt *c, const struct association *a,
                                              struct wire_record *rec, uint8_t *to, size_t *len)
{
    struct association other = *a;

    other.keys = mirror_keys(&a->keys, a->suite);
    memset(&other.window, 0, sizeof other.window);
    return record_open(c, &other, rec, to, len);
}

#endif
