/*
 * test_tlsctx: which suites a cipher string comes to, and what a context lets be negotiated.
 */
#include "dtls/tlsctx.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CBC "PSK-AES128-CBC-SHA"
#define GCM "PSK-AES128-GCM-SHA256"

static char names[4096], why[160];

static bool selects(const char *ciphers, bool old_devices)
{
    const struct tlsctx_params params = {.ciphers = ciphers, .old_devices = old_devices};

    why[0] = names[0] = '\0';
    bool fine = tlsctx_select(&params, names, sizeof names, why, sizeof why);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(fine, why[0] == '\0');
    return fine;
}

static void assert_why_says(const char *part)
{
    if (strstr(why, part) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", why, part);
    assert_null(strchr(why, '\n'));
}

static void test_default_list_is_taken_as_it_stands(void **state)
{
    (void)state;
    assert_true(selects(TLSCTX_DEFAULT_CIPHERS, false));
    assert_string_equal(names, TLSCTX_DEFAULT_CIPHERS);
}

static void test_order_is_the_operators(void **state)
{
    (void)state;
    assert_true(selects("PSK-AES128-CCM8:" GCM, false));
    assert_string_equal(names, "PSK-AES128-CCM8:" GCM);
    assert_true(selects(GCM ":PSK-AES128-CCM8", false));
    assert_string_equal(names, GCM ":PSK-AES128-CCM8");
}

static void test_groups_are_cut_to_what_counts(void **state)
{
    (void)state;
    assert_true(selects("ALL:PSK:@SECLEVEL=0", false));
    assert_non_null(strstr(names, GCM));
    assert_non_null(strstr(names, "DHE-PSK-AES128-CCM8"));
    assert_null(strstr(names, "RSA"));
    assert_null(strstr(names, "CBC"));
    assert_null(strstr(names, "NULL"));
    assert_null(strstr(names, "ECDSA"));
    assert_null(strstr(names, "TLS_"));
}

static void test_old_devices_get_cbc_but_never_plaintext(void **state)
{
    (void)state;
    assert_true(selects("ALL:eNULL:PSK:@SECLEVEL=0", true));
    assert_non_null(strstr(names, CBC));
    assert_non_null(strstr(names, GCM));
    assert_null(strstr(names, "RSA"));
    assert_null(strstr(names, "NULL"));
}

static void test_refusals(void **state)
{
    (void)state;
    assert_false(selects(CBC, false));
    assert_why_says("min-version = 1.0");
    assert_true(selects(CBC, true));
    assert_false(selects("nonsense", false));
    assert_why_says("no cipher suite");
    assert_why_says(GCM);
    assert_false(selects("", false));
    assert_false(selects("AES128-GCM-SHA256", false));
    assert_why_says("no PSK suite");
    assert_false(selects("RSA-PSK-AES128-GCM-SHA256", true));
    assert_why_says("no PSK suite");
    assert_false(selects("PSK-NULL-SHA256:@SECLEVEL=0", true));
    assert_why_says("no PSK suite");
}

static void test_too_many_for_the_room(void **state)
{
    const struct tlsctx_params params = {.ciphers = GCM ":PSK-AES128-CCM8"};
    char small[sizeof GCM ":PSK-AES128-CCM8"];

    (void)state;
    assert_true(tlsctx_select(&params, small, sizeof small, why, sizeof why));
    assert_false(tlsctx_select(&params, small, sizeof small - 1, why, sizeof why));
    assert_why_says("too many");
}

/* ---- contexts ---- */

static struct tlsctx *make(const struct tlsctx_params *params)
{
    why[0] = '\0';
    struct tlsctx *ctx = tlsctx_new(params, why, sizeof why);
    assert_int_equal(ctx == NULL, why[0] != '\0');
    assert_int_equal(ERR_peek_error(), 0);
    return ctx;
}

static void test_what_a_connection_may_do(void **state)
{
    static const uint64_t OFF[] = {SSL_OP_NO_TICKET, SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_COMPRESSION,
                                   SSL_OP_NO_QUERY_MTU, SSL_OP_NO_ENCRYPT_THEN_MAC};
    struct tlsctx *ctx = make(&(struct tlsctx_params){.ciphers = TLSCTX_DEFAULT_CIPHERS});
    SSL *ssl = tlsctx_new_ssl(ctx);

    (void)state;
    for (size_t i = 0; i < sizeof OFF / sizeof OFF[0]; i++)
        assert_true((SSL_get_options(ssl) & OFF[i]) != 0);
    assert_true((SSL_get_options(ssl) & SSL_OP_CIPHER_SERVER_PREFERENCE) != 0);
    assert_true((SSL_get_options(ssl) & SSL_OP_NO_EXTENDED_MASTER_SECRET) == 0);
    assert_int_equal(SSL_get_min_proto_version(ssl), DTLS1_2_VERSION);
    assert_int_equal(SSL_CTX_get_session_cache_mode(SSL_get_SSL_CTX(ssl)), SSL_SESS_CACHE_OFF);
    assert_null(SSL_get_certificate(ssl));
    SSL_free(ssl);
    tlsctx_free(ctx);
}

static void test_old_devices_speak_1_0(void **state)
{
    struct tlsctx *ctx = make(&(struct tlsctx_params){.ciphers = CBC, .old_devices = true});
    SSL *ssl = tlsctx_new_ssl(ctx);

    (void)state;
    assert_int_equal(SSL_get_min_proto_version(ssl), DTLS1_VERSION);
    SSL_free(ssl);
    tlsctx_free(ctx);
}

/* Beside those of the list only TLS 1.3's remain, which DTLS 1.2 cannot reach. */
static void test_only_selected_suites_remain(void **state)
{
    struct tlsctx *ctx = make(&(struct tlsctx_params){.ciphers = "ALL:PSK"});
    SSL *ssl = tlsctx_new_ssl(ctx);
    STACK_OF(SSL_CIPHER) *all = SSL_get_ciphers(ssl);
    int count = 0;

    (void)state;
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (strncmp(SSL_CIPHER_get_name(c), "TLS_", 4) == 0)
            continue;
        assert_non_null(strstr(SSL_CIPHER_get_name(c), "PSK"));
        assert_true(SSL_CIPHER_is_aead(c));
        count++;
    }
    assert_true(count >= 12);
    SSL_free(ssl);
    tlsctx_free(ctx);
}

static void test_connection_outlives_its_context(void **state)
{
    struct tlsctx *ctx = make(&(struct tlsctx_params){.ciphers = GCM});
    SSL *ssl = tlsctx_new_ssl(ctx);

    (void)state;
    tlsctx_free(ctx);
    assert_int_equal(SSL_get_min_proto_version(ssl), DTLS1_2_VERSION);
    SSL_free(ssl);
    tlsctx_free(NULL);
}

static void test_hints(void **state)
{
    char hint[258] = "";

    (void)state;
    tlsctx_free(make(&(struct tlsctx_params){.ciphers = GCM, .hint = "here"}));
    memset(hint, 'h', 256);
    tlsctx_free(make(&(struct tlsctx_params){.ciphers = GCM, .hint = hint}));
    hint[256] = 'h';
    assert_null(make(&(struct tlsctx_params){.ciphers = GCM, .hint = hint}));
}

static void test_bad_list_makes_no_context(void **state)
{
    (void)state;
    assert_null(make(&(struct tlsctx_params){.ciphers = "nonsense"}));
    assert_why_says("no cipher suite");
}

/* ---- words ---- */

static void test_error_text_empties_the_queue(void **state)
{
    char text[64];

    (void)state;
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
    assert_string_equal(tlsctx_error(text, sizeof text), "no shared cipher");
    assert_int_equal(ERR_peek_error(), 0);
    assert_true(strlen(tlsctx_error(text, sizeof text)) > 0);
    ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
    assert_string_equal(tlsctx_error(text, 4), "no ");
}

static void test_library_version(void **state)
{
    (void)state;
    assert_ptr_equal(strstr(tlsctx_library_version(), "OpenSSL 3."), tlsctx_library_version());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_list_is_taken_as_it_stands),
        cmocka_unit_test(test_order_is_the_operators),
        cmocka_unit_test(test_groups_are_cut_to_what_counts),
        cmocka_unit_test(test_old_devices_get_cbc_but_never_plaintext),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_too_many_for_the_room),
        cmocka_unit_test(test_what_a_connection_may_do),
        cmocka_unit_test(test_old_devices_speak_1_0),
        cmocka_unit_test(test_only_selected_suites_remain),
        cmocka_unit_test(test_connection_outlives_its_context),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_bad_list_makes_no_context),
        cmocka_unit_test(test_error_text_empties_the_queue),
        cmocka_unit_test(test_library_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
