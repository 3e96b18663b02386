/*
 * by_the_book: a record's body as the RFCs have it, from the AEADs called one by one, each time by
 * a context of its own.
 */
#ifndef DTLSGATE_TESTS_BY_THE_BOOK_H
#define DTLSGATE_TESTS_BY_THE_BOOK_H

#include "base/bytes.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <openssl/evp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

/* The PSK suites: one of each AEAD. */
static const uint16_t IDS[] = {0x00a8, 0x00a9, 0xc0a4, 0xc0a5, 0xc0a8, 0xc0a9, 0xccab};
#define ID_COUNT (sizeof IDS / sizeof IDS[0])

struct book {
    const struct suite *suite;
    const uint8_t *key, *iv, *number; /* epoch and sequence number: 8 bytes */
    uint8_t aad[300];
    size_t aad_len;
};

static inline const EVP_CIPHER *book_cipher(const struct suite *suite)
{
    switch (suite->aead) {
    case AEAD_AES128_GCM:
        return EVP_aes_128_gcm();
    case AEAD_AES256_GCM:
        return EVP_aes_256_gcm();
    case AEAD_AES128_CCM:
    case AEAD_AES128_CCM8:
        return EVP_aes_128_ccm();
    case AEAD_AES256_CCM:
    case AEAD_AES256_CCM8:
        return EVP_aes_256_ccm();
    default:
        return EVP_chacha20_poly1305();
    }
}

/* RFC 5288 3 and 6655 3, where the explicit nonce is the number; RFC 7905 2. */
static inline void book_nonce(const struct book *b, uint8_t nonce[12])
{
    memset(nonce, 0, 12);
    memcpy(nonce + 4, b->number, 8);
    for (int i = 0; i < (b->suite->explicit_len == 8 ? 4 : 12); i++)
        nonce[i] ^= b->iv[i];
}

/* `len` bytes of text, then the tag. */
static inline void book_encrypt(const struct book *b, const uint8_t *text, size_t len, uint8_t *out)
{
    const EVP_CIPHER *cipher = book_cipher(b->suite);
    bool is_ccm = EVP_CIPHER_get_mode(cipher) == EVP_CIPH_CCM_MODE;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int tag = b->suite->tag_len, n;
    uint8_t nonce[12];

    book_nonce(b, nonce);
    assert_true(EVP_EncryptInit_ex(ctx, cipher, NULL, NULL, NULL));
    assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL));
    if (is_ccm)
        assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, tag, NULL));
    assert_true(EVP_EncryptInit_ex(ctx, NULL, NULL, b->key, nonce));
    if (is_ccm)
        assert_true(EVP_EncryptUpdate(ctx, NULL, &n, NULL, (int)len));
    assert_true(EVP_EncryptUpdate(ctx, NULL, &n, b->aad, (int)b->aad_len));
    assert_true(EVP_EncryptUpdate(ctx, out, &n, text, (int)len));
    assert_int_equal(n, len);
    assert_true(EVP_EncryptFinal_ex(ctx, out + n, &n));
    assert_true(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, tag, out + len));
    EVP_CIPHER_CTX_free(ctx);
}

/* One record and nothing behind it. */
static inline struct wire_record parse(const uint8_t *data, size_t len)
{
    struct reader r = reader_of(data, len);
    struct wire_record rec = {0};

    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(r.left, 0);
    return rec;
}

#endif
