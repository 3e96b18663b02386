/*
 * test_keys: the key schedule against published vectors, against libcrypto's own TLS1-PRF, and
 * against the master secrets of real handshakes. Includes keys.c for its static prf().
 */
#include "dtls/keys.c"

#include "ssl_pair.h"

#include <openssl/kdf.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct keys_kdf *kdf;

static void append_hex(struct material *m, const char *hex)
{
    int n = hex_decode(m->data + m->len, sizeof m->data - m->len, hex, strlen(hex));

    assert_true(n > 0);
    m->len += (size_t)n;
}

/* Vectors as posted to the IETF's TLS list: label "test label". */
static void check_vector(bool sha384, const char *secret_hex, const char *seed_hex,
                         const char *expected_hex)
{
    struct material secret = {0}, seed = {0};
    uint8_t expected[160], out[160];
    int len = hex_decode(expected, sizeof expected, expected_hex, strlen(expected_hex));

    assert_true(len > 0);
    append_hex(&secret, secret_hex);
    append(&seed, "test label", 10);
    append_hex(&seed, seed_hex);
    assert_true(prf(&kdf->mac[sha384], &secret, &seed, out, (size_t)len));
    assert_memory_equal(out, expected, (size_t)len);
}

static void test_prf_gives_the_published_sha256_vector(void **state)
{
    (void)state;
    check_vector(false, "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c",
                 "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
                 "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
                 "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
                 "87347b66");
}

static void test_prf_gives_the_published_sha384_vector(void **state)
{
    (void)state;
    check_vector(true, "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465",
                 "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cd"
                 "e9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700884f9dc236f80edd"
                 "8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
                 "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee6"
                 "91c8f3a26854308d5eaa3be85e0990703d73e56f");
}

/* libcrypto's TLS1-PRF, in one shot. */
static void libcrypto_prf(bool sha384, const struct material *secret, const struct material *seed,
                          uint8_t *out, size_t len)
{
    struct material a = *secret, b = *seed;
    char digest[8] = "SHA256";
    EVP_KDF *tls1 = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(tls1);
    OSSL_PARAM params[4];

    if (sha384)
        memcpy(digest, "SHA384", sizeof "SHA384");
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, a.data, a.len);
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, b.data, b.len);
    params[3] = OSSL_PARAM_construct_end();
    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(tls1);
}

static void test_prf_agrees_with_libcrypto_at_every_length(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 200; len++) {
        bool sha384 = len % 2;
        struct material secret = {.len = 1 + len % PREMASTER_MAX};
        struct material seed = {.len = 1 + len * 7 % SEED_MAX};
        uint8_t ours[200], theirs[200];

        bytes_random(secret.data, secret.len);
        bytes_random(seed.data, seed.len);
        assert_true(prf(&kdf->mac[sha384], &secret, &seed, ours, len));
        libcrypto_prf(sha384, &secret, &seed, theirs, len);
        assert_memory_equal(ours, theirs, len);
    }
}

/* The session hash of RFC 7627 3: all messages up to and with the ClientKeyExchange. The last one
 * goes in as the tail, as for a message that is not yet accepted. */
static void hash_handshake(const struct ssl_pair *pair, bool sha384, uint8_t hash[48])
{
    struct transcript *t = transcript_new(kdf, sha384);
    struct reader r = reader_of(pair->log, pair->log_len);
    struct wire_record rec;
    bool done = false;

    assert_non_null(t);
    while (!done && wire_next_record(&r, &rec)) {
        struct reader messages = reader_of(rec.body, rec.len);
        struct wire_message m;

        assert_int_equal(rec.type, WIRE_HANDSHAKE);
        assert_int_equal(rec.epoch, 0);
        while (!done && wire_next_message(&messages, &m)) {
            const uint8_t *whole = m.body - WIRE_MESSAGE_HEADER;

            assert_true(wire_is_whole(&m));
            done = m.type == WIRE_CLIENT_KEY_EXCHANGE;
            if (done)
                assert_true(transcript_hash(t, whole, WIRE_MESSAGE_HEADER + m.length, hash));
            else
                assert_true(transcript_add(t, whole, WIRE_MESSAGE_HEADER + m.length));
        }
    }
    assert_true(done);
    transcript_free(t);
}

static void check_master(const char *name, size_t psk_len, bool extended)
{
    struct pair_psk psk = {.len = psk_len};
    uint8_t client[WIRE_RANDOM], server[WIRE_RANDOM], hash[48];
    uint8_t ours[KEYS_MASTER], theirs[KEYS_MASTER];
    struct keys_randoms randoms = {client, server};
    const struct suite *suite;
    struct ssl_pair *pair;

    bytes_random(psk.key, psk_len);
    pair = pair_new(name, &psk, extended);
    assert_non_null(pair);
    suite = suite_find(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(pair->server)));
    assert_string_equal(suite->name, name);
    assert_int_equal(SSL_get_extms_support(pair->server), extended);
    SSL_get_client_random(pair->server, client, sizeof client);
    SSL_get_server_random(pair->server, server, sizeof server);
    hash_handshake(pair, suite->sha384, hash);
    const struct keys_secrets secrets = {.psk = psk.key, .psk_len = psk_len};
    assert_true(keys_master(kdf, suite, &secrets, &randoms, extended ? hash : NULL, ours));
    assert_int_equal(SSL_SESSION_get_master_key(SSL_get_session(pair->server), theirs, KEYS_MASTER),
                     KEYS_MASTER);
    assert_memory_equal(ours, theirs, KEYS_MASTER);
    pair_free(pair);
}

static void check_masters(bool extended)
{
    static const char *const NAMES[] = {"PSK-AES128-GCM-SHA256", "PSK-AES256-GCM-SHA384",
                                        "PSK-AES256-CCM8", "PSK-CHACHA20-POLY1305"};
    static const size_t LENGTHS[] = {1, 16, 33, 64};

    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        for (size_t j = 0; j < sizeof LENGTHS / sizeof LENGTHS[0]; j++)
            check_master(NAMES[i], LENGTHS[j], extended);
}

static void test_classic_master_is_that_of_libssl(void **state)
{
    (void)state;
    check_masters(false);
}

static void test_extended_master_is_that_of_libssl(void **state)
{
    (void)state;
    check_masters(true);
}

static void test_master_takes_what_the_exchange_asks_for(void **state)
{
    static const uint8_t ZEROS[KEYS_SHARED_MAX + 1];
    struct keys_randoms randoms = {ZEROS, ZEROS};
    struct keys_secrets plain = {.psk = ZEROS, .psk_len = PSK_KEY_MAX};
    struct keys_secrets both = plain;
    const struct suite *psk = suite_find(0x00a8), *ecdhe = suite_find(0xccac);
    const struct suite *dhe = suite_find(0x00aa);
    uint8_t master[KEYS_MASTER];

    (void)state;
    both.shared = ZEROS;
    both.shared_len = KEYS_SHARED_MAX;
    assert_true(keys_master(kdf, psk, &plain, &randoms, NULL, master));
    assert_true(keys_master(kdf, ecdhe, &both, &randoms, NULL, master));
    assert_true(keys_master(kdf, dhe, &both, &randoms, NULL, master));
    assert_false(keys_master(kdf, psk, &both, &randoms, NULL, master));
    assert_false(keys_master(kdf, ecdhe, &plain, &randoms, NULL, master));
    assert_false(keys_master(kdf, dhe, &plain, &randoms, NULL, master));
    both.shared_len++;
    assert_false(keys_master(kdf, dhe, &both, &randoms, NULL, master));
    plain.psk_len++;
    assert_false(keys_master(kdf, psk, &plain, &randoms, NULL, master));
}

static void test_expand_cuts_the_key_block_as_rfc_5246_says(void **state)
{
    static const uint16_t IDS[] = {0x00a8, 0x00a9, 0xc0a8, 0xc0a5, 0xccab};

    (void)state;
    for (size_t i = 0; i < sizeof IDS / sizeof IDS[0]; i++) {
        const struct suite *suite = suite_find(IDS[i]);
        size_t key = suite->key_len, iv = suite->iv_len;
        struct material secret = {.len = KEYS_MASTER}, seed = {0};
        uint8_t client[WIRE_RANDOM], server[WIRE_RANDOM], block[RECORD_KEYS_MAX];
        struct keys_randoms randoms = {client, server};
        struct record_keys keys;

        bytes_random(secret.data, KEYS_MASTER);
        bytes_random(client, sizeof client);
        bytes_random(server, sizeof server);
        append(&seed, "key expansion", 13);
        append(&seed, server, sizeof server);
        append(&seed, client, sizeof client);
        libcrypto_prf(suite->sha384, &secret, &seed, block, 2 * key + 2 * iv);
        assert_true(keys_expand(kdf, suite, secret.data, &randoms, &keys));
        assert_memory_equal(keys_client_key(&keys), block, key);
        assert_memory_equal(keys_server_key(&keys, suite), block + key, key);
        assert_memory_equal(keys_client_iv(&keys, suite), block + 2 * key, iv);
        assert_memory_equal(keys_server_iv(&keys, suite), block + 2 * key + iv, iv);
    }
}

static void check_transcript(bool sha384)
{
    uint8_t ours[48] = {0}, theirs[48] = {0};
    const char *digest = sha384 ? "SHA384" : "SHA256";
    struct transcript *t = transcript_new(kdf, sha384);

    assert_non_null(t);
    assert_true(transcript_hash(t, NULL, 0, ours));
    assert_true(EVP_Q_digest(NULL, digest, NULL, "", 0, theirs, NULL));
    assert_memory_equal(ours, theirs, sizeof ours);
    assert_true(transcript_add(t, "one", 3));
    assert_true(transcript_hash(t, "rejected", 8, ours));
    assert_true(transcript_add(t, "two", 3));
    for (int i = 0; i < 2; i++) { /* asking changes nothing */
        assert_true(transcript_hash(t, "tail", 4, ours));
        assert_true(EVP_Q_digest(NULL, digest, NULL, "onetwotail", 10, theirs, NULL));
        assert_memory_equal(ours, theirs, sizeof ours);
    }
    transcript_free(t);
}

static void test_transcript_hashes_all_so_far_and_the_tail(void **state)
{
    (void)state;
    check_transcript(false);
    check_transcript(true);
}

static void test_transcript_outlives_the_kdf(void **state)
{
    struct keys_kdf *other = keys_kdf_new();
    struct transcript *t = transcript_new(other, true);
    uint8_t hash[48];

    (void)state;
    keys_kdf_free(other);
    assert_true(transcript_add(t, "x", 1));
    assert_true(transcript_hash(t, NULL, 0, hash));
    transcript_free(t);
}

static int open_kdf(void **state)
{
    (void)state;
    kdf = keys_kdf_new();
    return kdf ? 0 : -1;
}

static int close_kdf(void **state)
{
    (void)state;
    keys_kdf_free(kdf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prf_gives_the_published_sha256_vector),
        cmocka_unit_test(test_prf_gives_the_published_sha384_vector),
        cmocka_unit_test(test_prf_agrees_with_libcrypto_at_every_length),
        cmocka_unit_test(test_classic_master_is_that_of_libssl),
        cmocka_unit_test(test_extended_master_is_that_of_libssl),
        cmocka_unit_test(test_master_takes_what_the_exchange_asks_for),
        cmocka_unit_test(test_expand_cuts_the_key_block_as_rfc_5246_says),
        cmocka_unit_test(test_transcript_hashes_all_so_far_and_the_tail),
        cmocka_unit_test(test_transcript_outlives_the_kdf),
    };

    return cmocka_run_group_tests(tests, open_kdf, close_kdf);
}
