/*
 * test_suites: each row of the table against libssl's own list of ciphers, in both directions.
 */
#include "dtls/suites.h"

#include <openssl/ssl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 15

static SSL_CTX *ctx;
static STACK_OF(SSL_CIPHER) * all; /* that libssl has; borrowed from ctx */

static const SSL_CIPHER *find_in_libssl(uint16_t id)
{
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
        if (SSL_CIPHER_get_protocol_id(sk_SSL_CIPHER_value(all, i)) == id)
            return sk_SSL_CIPHER_value(all, i);
    return NULL;
}

static int kx_nid(enum suite_exchange exchange)
{
    static const int NIDS[] = {
        [EXCHANGE_PSK] = NID_kx_psk,
        [EXCHANGE_DHE_PSK] = NID_kx_dhe_psk,
        [EXCHANGE_ECDHE_PSK] = NID_kx_ecdhe_psk,
    };
    return NIDS[exchange];
}

static int cipher_nid(enum suite_aead aead)
{
    static const int NIDS[] = {
        [AEAD_AES128_GCM] = NID_aes_128_gcm,     [AEAD_AES256_GCM] = NID_aes_256_gcm,
        [AEAD_AES128_CCM] = NID_aes_128_ccm,     [AEAD_AES256_CCM] = NID_aes_256_ccm,
        [AEAD_AES128_CCM8] = NID_aes_128_ccm,    [AEAD_AES256_CCM8] = NID_aes_256_ccm,
        [AEAD_CHACHA20] = NID_chacha20_poly1305,
    };
    return NIDS[aead];
}

static void assert_row(const struct suite *row, const SSL_CIPHER *cipher)
{
    const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(cipher);
    int nid = SSL_CIPHER_get_cipher_nid(cipher);
    bool is_chacha = nid == NID_chacha20_poly1305;
    bool is_ccm8 = strstr(SSL_CIPHER_get_name(cipher), "CCM8") != NULL;

    assert_string_equal(row->name, SSL_CIPHER_get_name(cipher));
    assert_true(SSL_CIPHER_is_aead(cipher));
    assert_int_equal(kx_nid(row->exchange), SSL_CIPHER_get_kx_nid(cipher));
    assert_int_equal(cipher_nid(row->aead), nid);
    assert_int_equal(row->key_len, EVP_CIPHER_get_key_length(EVP_get_cipherbynid(nid)));
    assert_int_equal(row->iv_len, is_chacha ? 12 : 4);
    assert_int_equal(row->explicit_len, is_chacha ? 0 : 8);
    assert_int_equal(row->tag_len, is_ccm8 ? 8 : 16);
    assert_int_equal(row->aead == AEAD_AES128_CCM8 || row->aead == AEAD_AES256_CCM8, is_ccm8);
    assert_int_equal(EVP_MD_get_type(digest), row->sha384 ? NID_sha384 : NID_sha256);
}

static void test_each_number_has_the_row_that_libssl_has(void **state)
{
    (void)state;
    int rows = 0;

    for (uint32_t id = 0; id <= UINT16_MAX; id++) {
        const struct suite *row = suite_find((uint16_t)id);
        const SSL_CIPHER *cipher = find_in_libssl((uint16_t)id);

        if (!row)
            continue;
        rows++;
        assert_int_equal(row->id, id);
        assert_non_null(cipher);
        assert_row(row, cipher);
    }
    assert_int_equal(rows, ROWS);
}

static bool is_wanted(const SSL_CIPHER *cipher)
{
    int kx = SSL_CIPHER_get_kx_nid(cipher);

    return SSL_CIPHER_is_aead(cipher) && !strstr(SSL_CIPHER_get_name(cipher), "ARIA") &&
           (kx == NID_kx_psk || kx == NID_kx_dhe_psk || kx == NID_kx_ecdhe_psk);
}

static void test_no_suite_of_libssl_is_missing_or_too_many(void **state)
{
    (void)state;
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
        const struct suite *row = suite_find(SSL_CIPHER_get_protocol_id(cipher));

        if (is_wanted(cipher) != (row != NULL))
            fail_msg("%s", SSL_CIPHER_get_name(cipher));
    }
}

static int open_libssl(void **state)
{
    (void)state;
    ctx = SSL_CTX_new(TLS_method());
    if (!ctx || !SSL_CTX_set_cipher_list(ctx, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"))
        return -1;
    all = SSL_CTX_get_ciphers(ctx);
    return 0;
}

static int close_libssl(void **state)
{
    (void)state;
    SSL_CTX_free(ctx);
    return 0;
}

static void test_limits_by_aead(void **state)
{
    const struct suite *gcm = suite_find(0x00a8), *ccm = suite_find(0xc0a4);
    const struct suite *ccm8 = suite_find(0xc0a8), *chacha = suite_find(0xccab);

    (void)state;
    assert_int_equal(suite_usage_limit(gcm), 23726566);
    assert_true(suite_usage_limit(ccm) == UINT64_MAX && suite_usage_limit(chacha) == UINT64_MAX);
    assert_true(suite_forgery_limit(gcm) == UINT64_C(1) << 36);
    assert_true(suite_forgery_limit(chacha) == UINT64_C(1) << 36);
    assert_true(suite_forgery_limit(ccm) == UINT64_C(1) << 23);
    assert_true(suite_forgery_limit(ccm8) == UINT64_MAX);
    assert_true(suite_has_short_tag(ccm8));
    assert_false(suite_has_short_tag(ccm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_number_has_the_row_that_libssl_has),
        cmocka_unit_test(test_no_suite_of_libssl_is_missing_or_too_many),
        cmocka_unit_test(test_limits_by_aead),
    };

    return cmocka_run_group_tests(tests, open_libssl, close_libssl);
}
