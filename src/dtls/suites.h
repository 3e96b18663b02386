/*
 * suites: the cipher suites whose records dtlsgate seals and opens itself, one row each.
 */
#ifndef DTLSGATE_DTLS_SUITES_H
#define DTLSGATE_DTLS_SUITES_H

#include <stdbool.h>
#include <stdint.h>

enum suite_aead {
    AEAD_AES128_GCM,
    AEAD_AES256_GCM,
    AEAD_AES128_CCM,
    AEAD_AES256_CCM,
    AEAD_AES128_CCM8,
    AEAD_AES256_CCM8,
    AEAD_CHACHA20,
    AEAD_COUNT
};

enum suite_exchange { EXCHANGE_PSK, EXCHANGE_DHE_PSK, EXCHANGE_ECDHE_PSK };

struct suite {
    uint16_t id;      /* as on the wire */
    const char *name; /* OpenSSL's name */
    enum suite_exchange exchange;
    enum suite_aead aead;
    uint8_t key_len;      /* of one record key */
    uint8_t iv_len;       /* of the implicit part: 4 (GCM, CCM) or 12 (ChaCha20) */
    uint8_t explicit_len; /* nonce bytes sent in each record: 8 or 0 */
    uint8_t tag_len;      /* 16 or 8 */
    bool sha384;          /* the PRF's hash: SHA-384, else SHA-256 */
};

/* GCM, where EVP wants the nonce in another way than for CCM. */
bool suite_is_gcm(const struct suite *suite);
/* How many records one key may protect before the margin of RFC 9325 4.4 is gone: 2^24.5 for
 * AES-GCM; UINT64_MAX where the sequence numbers end earlier. */
uint64_t suite_usage_limit(const struct suite *suite);
/* How many forgeries one key bears (RFC 9147 4.5.3): 2^36 for GCM and ChaCha20, 2^23 for CCM.
 * UINT64_MAX for CCM_8: its figure is so low that anybody could end a session with it, so there a
 * bound on the tries per second stands in. */
uint64_t suite_forgery_limit(const struct suite *suite);
/* CCM_8: forgeries are bounded per second, and worth a warning. */
bool suite_has_short_tag(const struct suite *suite);

/* The row for a suite's number, or NULL: then its records stay with libssl. */
const struct suite *suite_find(uint16_t id);

#endif
