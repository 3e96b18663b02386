/*
 * raw_crypt: what a lean PSK client needs of cryptography: the PRF of TLS 1.2 with SHA-256, and
 * AEAD records of one suite. Contexts are shared by all sessions and keyed anew as needed, so a
 * session is its keys and a counter. Independent of dtlsgate's own code, so that a mistake shows.
 */
#ifndef DTLSGATE_BENCH_RAW_CRYPT_H
#define DTLSGATE_BENCH_RAW_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

enum { RAW_CCS = 20, RAW_ALERT = 21, RAW_HANDSHAKE = 22, RAW_DATA = 23 };

#define RAW_HEADER 13
#define RAW_PLAIN_MAX 16384
#define RAW_OVERHEAD_MAX (RAW_HEADER + 8 + 16)
#define RAW_VERIFY 12

/* A session: 48 bytes. */
struct raw_keys {
    uint8_t client_key[16], server_key[16];
    uint8_t client_iv[4], server_iv[4];
    uint64_t write_seq; /* next of epoch 1; the explicit nonce as well */
};

/* Once, before anything else. False: the suite is none of PSK-AES128-GCM-SHA256, PSK-AES128-CCM8;
 * `key` is kept as the premaster secret of RFC 4279 2, at most 64 bytes. */
bool raw_crypt_init(const char *suite, const uint8_t *key, size_t key_len)
    __attribute__((warn_unused_result));
uint16_t raw_crypt_suite_id(void);

/* The messages of a handshake, as they are hashed. */
EVP_MD_CTX *raw_transcript_new(void);
void raw_transcript_start(EVP_MD_CTX *t);
void raw_transcript_add(EVP_MD_CTX *t, const void *data, size_t len);
/* Of all so far; the running state stays. */
void raw_transcript_hash(const EVP_MD_CTX *t, uint8_t hash[32]);

/* The extended master secret (RFC 7627 4). */
void raw_master(const uint8_t session_hash[32], uint8_t master[48]);
/* The record keys (RFC 5246 6.3), counter at 0. */
void raw_expand(const uint8_t master[48], const uint8_t server_random[32],
                const uint8_t client_random[32], struct raw_keys *out);
/* verify_data (RFC 5246 7.4.9); `label` is "client finished" or "server finished". */
void raw_finished(const uint8_t master[48], const char *label, const uint8_t hash[32],
                  uint8_t out[RAW_VERIFY]);

void raw_put_header(uint8_t out[RAW_HEADER], uint8_t type, uint64_t epoch_and_seq, size_t len);
/* Seals a record of the client into `out`; returns its length, header included. */
size_t raw_seal(struct raw_keys *k, uint8_t type, const void *plain, size_t len, uint8_t *out);
/* Opens a whole record of the server. False: it does not authenticate, or is no record of epoch 1.
 * `plain` has room for RAW_PLAIN_MAX bytes. */
bool raw_open(const struct raw_keys *k, const uint8_t *record, size_t len, uint8_t *plain,
              size_t *plain_len) __attribute__((warn_unused_result));

#endif
