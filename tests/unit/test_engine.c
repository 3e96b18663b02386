/*
 * test_engine: libssl record by record, up to a secure association and in it, and what it makes of
 * bad ones.
 */
#include "handshake_rig.h"

#include <openssl/err.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define KEPT "PSK-AES128-CBC-SHA256"

static const uint8_t KEY[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void to_client(void *arg, const uint8_t *record, size_t len)
{
    struct rig *rig = arg;
    struct rig_records *to = &rig->to_client;
    size_t before = to->count;

    rig_put(to, record, len);
    assert_int_equal(to->count, before + 1); /* one record a call */
}

/* The rig's handshake stands aside here: the engine meets the client alone. */
static struct engine *begin(struct rig *rig)
{
    struct engine *e = engine_new(rig->tls, 1400, to_client, rig);

    assert_non_null(e);
    assert_string_equal(engine_why(e), "");
    assert_int_equal(engine_hello(e, rig->hello.data, rig->hello.len), ENGINE_WAIT);
    /* libssl numbers from 0 or the hello's number; what matters is that each is fresh. */
    for (size_t i = 0; i < rig->to_client.count; i++)
        put_u48(rig->to_client.one[i].data + 5, 10 + i);
    rig_client_step(rig);
    return e;
}

static enum engine_status feed_all(struct rig *rig, struct engine *e)
{
    enum engine_status status = ENGINE_WAIT;

    for (size_t i = 0; i < rig->to_server.count; i++) {
        assert_int_equal(status, ENGINE_WAIT);
        const struct rig_record *record = &rig->to_server.one[i];
        status = engine_feed(e, record->data, record->len);
    }
    rig_clear(&rig->to_server);
    for (size_t i = rig->to_client.taken; i < rig->to_client.count; i++) {
        if (rig_view(&rig->to_client.one[i]).epoch == 0)
            put_u48(rig->to_client.one[i].data + 5, 20 + i);
    }
    return status;
}

static struct engine *connected(struct rig *rig)
{
    struct engine *e = begin(rig);

    engine_set_key(e, KEY, sizeof KEY);
    assert_int_equal(feed_all(rig, e), ENGINE_DONE);
    assert_int_equal(rig_client_step(rig), 1);
    rig_clear(&rig->to_client);
    return e;
}

static struct rig *kept_rig(void)
{
    return rig_new(&(struct rig_options){.suites = KEPT, .old_devices = true});
}

static const struct rig_record *client_writes(struct rig *rig, const char *text)
{
    rig_clear(&rig->to_server);
    assert_int_equal(SSL_write(rig->client, text, (int)strlen(text)), strlen(text));
    return &rig->to_server.one[0];
}

static enum engine_read_status read_one(struct engine *e, const struct rig_record *record)
{
    static uint8_t plain[WIRE_PLAINTEXT_MAX];
    size_t len = 0;

    enum engine_read_status status = engine_read(e, record->data, record->len, plain, &len);
    if (status == ENGINE_READ_DATA)
        assert_int_equal(len, strlen("question"));
    return status;
}

/* ---- handshake ---- */

static void test_completes(void **state)
{
    static const struct {
        const char *suite;
        enum suite_exchange exchange;
    } CASES[] = {{"PSK-AES128-CCM8", EXCHANGE_PSK},
                 {"ECDHE-PSK-CHACHA20-POLY1305", EXCHANGE_ECDHE_PSK},
                 {"DHE-PSK-AES128-GCM-SHA256", EXCHANGE_DHE_PSK},
                 {KEPT, EXCHANGE_PSK}};

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct rig *rig =
            rig_new(&(struct rig_options){.suites = CASES[i].suite, .old_devices = true});
        struct engine *e = begin(rig);

        assert_int_equal(engine_exchange(e), CASES[i].exchange);
        engine_set_key(e, KEY, sizeof KEY);
        assert_int_equal(feed_all(rig, e), ENGINE_DONE);
        assert_string_equal(engine_suite_name(e), CASES[i].suite);
        assert_int_equal(engine_version(e), WIRE_DTLS12);
        assert_int_equal(engine_max_fragment(e), WIRE_PLAINTEXT_MAX);
        assert_string_equal(engine_why(e), "");
        engine_free(e);
        rig_free(rig);
    }
}

static void test_old_version(void **state)
{
    struct rig *rig = rig_new(
        &(struct rig_options){.suites = "PSK-AES128-CBC-SHA", .old_devices = true, .dtls10 = true});
    struct engine *e = connected(rig);

    (void)state;
    assert_int_equal(engine_version(e), WIRE_DTLS10);
    engine_free(e);
    rig_free(rig);
}

static void test_fragment_limit_of_the_client(void **state)
{
    struct rig *rig = rig_new(&(struct rig_options){
        .suites = KEPT, .old_devices = true, .fragment_code = TLSEXT_max_fragment_length_1024});
    struct engine *e = connected(rig);

    (void)state;
    assert_int_equal(engine_max_fragment(e), 1024);
    engine_free(e);
    rig_free(rig);
}

static void test_datagrams_keep_to_the_mtu(void **state)
{
    static char hint[250];
    struct rig *rig;

    (void)state;
    memset(hint, 'h', sizeof hint - 1);
    rig = rig_new(&(struct rig_options){.suites = "DHE-PSK-AES128-GCM-SHA256", .hint = hint});
    struct engine *e = engine_new(rig->tls, 256, to_client, rig);
    assert_int_equal(engine_hello(e, rig->hello.data, rig->hello.len), ENGINE_WAIT);
    assert_true(rig->to_client.count > 3); /* the ServerKeyExchange in pieces */
    for (size_t i = 0; i < rig->to_client.count; i++)
        assert_in_range(rig->to_client.one[i].len, WIRE_RECORD_HEADER, 256);
    engine_free(e);
    rig_free(rig);
}

static void test_bad_hellos(void **state)
{
    struct rig *rig = kept_rig();

    (void)state;
    for (size_t len = 0; len < rig->hello.len; len++) {
        struct engine *e = engine_new(rig->tls, 1400, to_client, rig);
        assert_int_equal(engine_hello(e, rig->hello.data, len), ENGINE_DEAD);
        assert_true(strlen(engine_why(e)) > 0);
        assert_int_equal(ERR_peek_error(), 0);
        engine_free(e);
    }
    rig_free(rig);
}

static void test_without_a_key_it_fails(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = begin(rig);
    const struct rig_record *record = &rig->to_server.one[0];

    (void)state;
    assert_int_equal(engine_feed(e, record->data, record->len), ENGINE_DEAD);
    assert_string_equal(engine_why(e), "psk identity not found");
    assert_int_equal(ERR_peek_error(), 0);
    engine_free(e);
    rig_free(rig);
}

/* ---- the shared secret ahead of libssl ---- */

/* The public value in the client's ClientKeyExchange. */
static struct reader value_of(const struct rig *rig, bool is_ecdhe)
{
    struct wire_message m = rig_message_of(&rig->to_server.one[0]);
    struct reader r = reader_of(m.body, m.length);

    read_vec16(&r);
    struct reader value = is_ecdhe ? read_vec8(&r) : read_vec16(&r);
    assert_true(!r.bad && r.left == 0);
    return value;
}

/* With it we come to the client's own master secret. */
static void test_shared_secret_is_the_clients(void **state)
{
    static const char *const SUITES[] = {"ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-CCM",
                                         "DHE-PSK-AES256-GCM-SHA384"};
    struct keys_kdf *kdf = keys_kdf_new();

    (void)state;
    assert_non_null(kdf);
    for (size_t i = 0; i < sizeof SUITES / sizeof SUITES[0]; i++) {
        struct rig *rig =
            rig_new(&(struct rig_options){.suites = SUITES[i], .no_extended_master = true});
        struct engine *e = begin(rig);
        struct reader value = value_of(rig, i == 0);
        const SSL_CIPHER *cipher = SSL_get_pending_cipher(rig->client);
        uint8_t client[WIRE_RANDOM], server[WIRE_RANDOM], shared[KEYS_SHARED_MAX];
        uint8_t ours[KEYS_MASTER], theirs[KEYS_MASTER];
        const struct keys_randoms randoms = {client, server};

        SSL_get_client_random(rig->client, client, sizeof client);
        SSL_get_server_random(rig->client, server, sizeof server);
        for (int time = 0; time < 2; time++) { /* it changes nothing */
            const struct keys_secrets secrets = {
                .shared = shared,
                .shared_len = engine_shared_secret(e, value.at, value.left, shared),
                .psk = KEY,
                .psk_len = sizeof KEY};
            assert_true(keys_master(kdf, suite_find(SSL_CIPHER_get_protocol_id(cipher)), &secrets,
                                    &randoms, NULL, ours));
        }
        SSL_SESSION_get_master_key(SSL_get_session(rig->client), theirs, sizeof theirs);
        assert_memory_equal(ours, theirs, sizeof ours);
        engine_set_key(e, KEY, sizeof KEY);
        assert_int_equal(feed_all(rig, e), ENGINE_DONE);
        engine_free(e);
        rig_free(rig);
    }
    keys_kdf_free(kdf);
}

static void test_no_shared_secret_with_a_bad_value(void **state)
{
    static const char *const SUITES[] = {"ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-CCM"};

    (void)state;
    for (size_t i = 0; i < sizeof SUITES / sizeof SUITES[0]; i++) {
        struct rig *rig = rig_new(&(struct rig_options){.suites = SUITES[i]});
        struct engine *e = begin(rig);
        uint8_t value[1024] = {0}, shared[KEYS_SHARED_MAX];

        for (size_t len = 0; len <= sizeof value; len += len < 300 ? 1 : 100) {
            assert_int_equal(engine_shared_secret(e, value, len, shared), 0);
            assert_int_equal(ERR_peek_error(), 0);
        }
        engine_free(e);
        rig_free(rig);
    }
}

static void test_no_shared_secret_where_libssl_has_no_key_pair(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = begin(rig);
    uint8_t shared[KEYS_SHARED_MAX];

    (void)state;
    assert_int_equal(engine_shared_secret(e, KEY, sizeof KEY, shared), 0);
    engine_free(e);
    rig_free(rig);
}

/* ---- associations that stay ---- */

static void test_reads_and_writes(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = connected(rig);
    char text[16];

    (void)state;
    assert_int_equal(read_one(e, client_writes(rig, "question")), ENGINE_READ_DATA);
    assert_false(engine_write(e, KEY, 0));
    assert_true(engine_write(e, (const uint8_t *)"answer", 6));
    assert_int_equal(SSL_read(rig->client, text, sizeof text), 6);
    assert_memory_equal(text, "answer", 6);
    engine_free(e);
    rig_free(rig);
}

static void test_sink_can_change(void **state)
{
    struct rig *rig = kept_rig(), *other = kept_rig();
    struct engine *e = connected(rig);

    (void)state;
    rig_clear(&other->to_client);
    engine_set_sink(e, to_client, other);
    assert_true(engine_write(e, KEY, 1));
    assert_int_equal(rig->to_client.count, 0);
    assert_int_equal(other->to_client.count, 1);
    engine_free(e);
    rig_free(other);
    rig_free(rig);
}

/* With encrypt-then-MAC libssl 3.0 would answer the first of them with a fatal alert. */
static void test_forged_and_repeated_records_are_nothing(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = connected(rig);

    (void)state;
    struct rig_record genuine = *client_writes(rig, "question");
    for (size_t at = 0; at < genuine.len; at++) {
        struct rig_record forged = genuine;
        forged.data[at] ^= 1;
        if (at != 11 && at != 12) /* a wrong length is no record, and does not come here */
            assert_int_equal(read_one(e, &forged), ENGINE_READ_NOTHING);
    }
    for (size_t len = 0; len < 300; len++) {
        uint8_t junk[300] = {0};
        struct rig_record forged =
            rig_plain(WIRE_DATA, UINT64_C(1) << 48 | (1000 + len), junk, len);
        assert_int_equal(read_one(e, &forged), ENGINE_READ_NOTHING);
    }
    assert_int_equal(rig->to_client.count, 0);
    assert_int_equal(read_one(e, &genuine), ENGINE_READ_DATA);
    assert_int_equal(read_one(e, &genuine), ENGINE_READ_NOTHING);
    assert_int_equal(read_one(e, client_writes(rig, "question")), ENGINE_READ_DATA);
    engine_free(e);
    rig_free(rig);
}

static void test_close_from_either_side(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = connected(rig);
    char text[16];

    (void)state;
    rig_clear(&rig->to_server);
    SSL_shutdown(rig->client);
    assert_int_equal(read_one(e, &rig->to_server.one[0]), ENGINE_READ_CLOSED);
    engine_close(e);
    assert_int_equal(SSL_read(rig->client, text, sizeof text), 0);
    assert_int_equal(SSL_get_error(rig->client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(ERR_peek_error(), 0);
    engine_free(e);
    rig_free(rig);
}

static void test_failed_write_tells_why(void **state)
{
    struct rig *rig = kept_rig();
    struct engine *e = connected(rig);
    static const uint8_t plain[WIRE_PLAINTEXT_MAX + 1];

    (void)state;
    assert_false(engine_write(e, plain, sizeof plain));
    assert_true(strlen(engine_why(e)) > 0);
    assert_int_equal(ERR_peek_error(), 0);
    engine_free(e);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_completes),
        cmocka_unit_test(test_old_version),
        cmocka_unit_test(test_fragment_limit_of_the_client),
        cmocka_unit_test(test_datagrams_keep_to_the_mtu),
        cmocka_unit_test(test_bad_hellos),
        cmocka_unit_test(test_without_a_key_it_fails),
        cmocka_unit_test(test_shared_secret_is_the_clients),
        cmocka_unit_test(test_no_shared_secret_with_a_bad_value),
        cmocka_unit_test(test_no_shared_secret_where_libssl_has_no_key_pair),
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_sink_can_change),
        cmocka_unit_test(test_forged_and_repeated_records_are_nothing),
        cmocka_unit_test(test_close_from_either_side),
        cmocka_unit_test(test_failed_write_tells_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
