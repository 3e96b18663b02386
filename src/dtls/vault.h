/*
 * vault: seals what is kept outside of the process, one small thing at a time, with keys that one
 * file alone has: AES-256-GCM, and SipHash-2-4-128 where something is public and only must not be
 * made up. Knows no files, and not what it seals.
 */
#ifndef DTLSGATE_DTLS_VAULT_H
#define DTLSGATE_DTLS_VAULT_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VAULT_TAG 16
#define VAULT_PRINT 16

/* The keys of one file. Whoever has them wipes them. */
struct vault_keys {
    uint8_t seal[32];
    struct hash_key mark;
    uint8_t print[VAULT_PRINT]; /* tells whether two secrets are the same, and nothing else */
};

/* By HKDF-SHA256 (RFC 5869) from a secret; another salt leads to keys that have nothing in common.
 * False: libcrypto failed. */
bool vault_derive(struct vault_keys *keys, const uint8_t *secret, size_t secret_len,
                  const uint8_t *salt, size_t salt_len) __attribute__((warn_unused_result));

/* One thread's cipher context. */
struct vault;
struct vault *vault_new(const struct vault_keys *keys); /* NULL: libcrypto lacks something */
void vault_free(struct vault *v);                       /* NULL is fine */

/* Where something lies, and when it was put there: under one set of keys no generation ever seals
 * twice, for it is the nonce. */
struct vault_label {
    uint64_t place, generation;
};

/* Seals `len` bytes in place; behind them is room for VAULT_TAG. False: libcrypto failed, all of it
 * is zero then. */
bool vault_seal(struct vault *v, const struct vault_label *label, uint8_t *data, size_t len)
    __attribute__((warn_unused_result));
/* The way back, `len` without the tag. False: it was not sealed so; all of it is zero then. */
bool vault_open(struct vault *v, const struct vault_label *label, uint8_t *data, size_t len)
    __attribute__((warn_unused_result));

/* What only an owner of the keys can make of these bytes. */
void vault_mark(const struct vault *v, const void *data, size_t len, uint8_t out[VAULT_TAG]);

#endif
