/*
 * test_handshake: what a well-behaved client meets, with libssl's own client on the other side.
 */
#include "default_suites.h"
#include "handshake_rig.h"

#include "dtls/flight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- every suite ---- */

static void assert_data_flows_own(struct rig *rig, struct handshake_result *result)
{
    uint8_t plain[WIRE_PLAINTEXT_MAX], sealed[64 + RECORD_OVERHEAD_MAX];
    struct association *a = &result->association;
    size_t len;

    rig_clear(&rig->to_server);
    assert_int_equal(SSL_write(rig->client, "question", 8), 8);
    struct wire_record rec = rig_view(&rig->to_server.one[0]);
    assert_int_equal(record_open(rig->params.crypt, a, &rec, plain, &len), RECORD_OK);
    assert_int_equal(len, 8);
    assert_memory_equal(plain, "question", 8);
    size_t n = record_seal(rig->params.crypt, a, WIRE_DATA, (const uint8_t *)"answer", 6, sealed);
    rig_put(&rig->to_client, sealed, n);
    assert_int_equal(SSL_read(rig->client, plain, sizeof plain), 6);
    assert_memory_equal(plain, "answer", 6);
}

static void to_client(void *arg, const uint8_t *record, size_t len)
{
    struct rig *rig = arg;
    rig_put(&rig->to_client, record, len);
}

static void assert_data_flows_kept(struct rig *rig, const struct handshake_result *result)
{
    uint8_t plain[WIRE_PLAINTEXT_MAX];
    size_t len;

    engine_set_sink(result->engine, to_client, rig);
    rig_clear(&rig->to_server);
    assert_int_equal(SSL_write(rig->client, "question", 8), 8);
    const struct rig_record *sent = &rig->to_server.one[0];
    assert_int_equal(engine_read(result->engine, sent->data, sent->len, plain, &len),
                     ENGINE_READ_DATA);
    assert_int_equal(len, 8);
    assert_memory_equal(plain, "question", 8);
    assert_true(engine_write(result->engine, (const uint8_t *)"answer", 6));
    assert_int_equal(SSL_read(rig->client, plain, sizeof plain), 6);
    assert_memory_equal(plain, "answer", 6);
}

/* Completes the handshake and sends something both ways. */
static void assert_connects(const struct rig_options *options, bool own_records)
{
    struct rig *rig = rig_answered(options);
    struct handshake_result result;

    assert_true(rig_finish(rig, RIG_NOW + 10));
    handshake_finish(rig->h, &result);
    assert_ptr_equal(result.psk, psk_find(rig->keys, (const uint8_t *)"known", 5));
    assert_int_equal(result.own_records, own_records);
    assert_int_equal(result.extended_master_secret, !options->no_extended_master);
    assert_int_equal(result.max_fragment, WIRE_PLAINTEXT_MAX);
    if (own_records)
        assert_data_flows_own(rig, &result);
    else
        assert_data_flows_kept(rig, &result);
    engine_free(result.engine);
    rig_free(rig);
}

static const char *const OWN[] = {
    DEFAULT_SUITES,
    "DHE-PSK-AES128-GCM-SHA256",
    "DHE-PSK-AES256-GCM-SHA384",
    "DHE-PSK-CHACHA20-POLY1305",
    "DHE-PSK-AES128-CCM8",
};
#define OWN_COUNT (sizeof OWN / sizeof OWN[0])

static void test_every_aead_suite(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++)
        assert_connects(&(struct rig_options){.suites = OWN[i]}, true);
}

static void test_every_aead_suite_without_extended_master(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++)
        assert_connects(&(struct rig_options){.suites = OWN[i], .no_extended_master = true}, true);
}

static void test_hint_and_small_mtu(void **state)
{
    static char hint[250];

    (void)state;
    memset(hint, 'h', sizeof hint - 1);
    for (size_t i = 0; i < OWN_COUNT; i++) {
        assert_connects(&(struct rig_options){.suites = OWN[i], .hint = "a hint"}, true);
        /* The ServerKeyExchange needs two fragments. */
        assert_connects(&(struct rig_options){.suites = OWN[i], .hint = hint, .mtu = 256}, true);
    }
}

static void test_cbc_suites_stay_with_libssl(void **state)
{
    static const char *const KEPT[] = {"PSK-AES128-CBC-SHA", "PSK-AES128-CBC-SHA256",
                                       "ECDHE-PSK-AES128-CBC-SHA256", "DHE-PSK-AES128-CBC-SHA"};
    (void)state;
    for (size_t i = 0; i < sizeof KEPT / sizeof KEPT[0]; i++) {
        assert_connects(&(struct rig_options){.suites = KEPT[i], .old_devices = true}, false);
        assert_connects(&(struct rig_options){.suites = KEPT[i],
                                              .old_devices = true,
                                              .no_extended_master = true},
                        false);
    }
}

static void test_dtls10_stays_with_libssl(void **state)
{
    (void)state;
    assert_connects(&(struct rig_options){.suites = "PSK-AES128-CBC-SHA:PSK-AES128-GCM-SHA256",
                                          .old_devices = true,
                                          .dtls10 = true},
                    false);
}

static void test_server_prefers(void **state)
{
    struct rig *rig = rig_answered(&(struct rig_options){
        .client_suites = "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:ECDHE-PSK-CHACHA20-POLY1305"});

    (void)state;
    assert_true(rig_finish(rig, RIG_NOW));
    assert_string_equal(SSL_get_cipher_name(rig->client), "ECDHE-PSK-CHACHA20-POLY1305");
    rig_free(rig);
}

static void test_max_fragment_length(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= 4; code++) {
        struct rig *rig = rig_answered(&(struct rig_options){.fragment_code = (uint8_t)code});
        struct handshake_result result;

        assert_true(rig_finish(rig, RIG_NOW));
        handshake_finish(rig->h, &result);
        assert_int_equal(result.max_fragment, 256u << code);
        rig_free(rig);
    }
}

static void test_without_a_common_suite_an_alert(void **state)
{
    struct rig *rig = rig_new(&(struct rig_options){.suites = "PSK-AES128-GCM-SHA256",
                                                    .client_suites = "PSK-AES128-CCM8"});
    (void)state;
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    assert_string_equal(handshake_why(rig->h), "no shared cipher");
    assert_int_equal(rig_take(rig), 1);
    struct wire_record rec = rig_view(&rig->to_client.one[0]);
    assert_int_equal(rec.type, WIRE_ALERT);
    assert_int_equal(rec.body[1], 40); /* handshake_failure */
    assert_int_equal(handshake_feed(rig->h, &rec, RIG_NOW), FATE_DROP_ORDER);
    rig_free(rig);
}

static void test_old_version_is_refused(void **state)
{
    struct rig *rig = rig_new(&(struct rig_options){
        .suites = "PSK-AES128-GCM-SHA256", .client_suites = "PSK-AES128-CBC-SHA", .dtls10 = true});
    (void)state;
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    rig_take(rig);
    assert_int_equal(rig_view(&rig->to_client.one[0]).body[1], 70); /* protocol_version */
    rig_free(rig);
}

static void test_extended_master_secret_can_be_required(void **state)
{
    (void)state;
    for (int offers = 0; offers < 2; offers++) {
        struct rig *rig = rig_new(&(struct rig_options){.no_extended_master = !offers});

        handshake_free(rig->h);
        rig->params.require_ems = true;
        rig_begin(rig);
        assert_int_equal(handshake_state(rig->h), offers ? HANDSHAKE_PENDING : HANDSHAKE_FAILED);
        assert_int_equal(rig_take(rig), 1);
        if (!offers) { /* the alert and nothing else */
            struct wire_record rec = rig_view(&rig->to_client.one[0]);
            assert_int_equal(rig->to_client.count, 1);
            assert_int_equal(rec.type, WIRE_ALERT);
            assert_int_equal(rec.body[1], WIRE_HANDSHAKE_FAILURE);
            assert_string_equal(handshake_why(rig->h), "no extended master secret");
        }
        rig_client_step(rig);
        assert_int_equal(rig_finish(rig, RIG_NOW), offers);
        rig_free(rig);
    }
}

/* ---- identities ---- */

static void test_identity_is_told(void **state)
{
    struct rig *rig = rig_answered(&(struct rig_options){0});
    size_t len = 9;

    (void)state;
    assert_null(handshake_identity(rig->h, &len));
    assert_int_equal(len, 0);
    rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
    const uint8_t *identity = handshake_identity(rig->h, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(identity, "known", 5);
    rig_free(rig);
}

/* Sends all of it and waits for the end. Nothing may come back. */
static void assert_silence(const struct rig_options *options, const char *why)
{
    struct rig *rig = rig_answered(options);

    rig_clear(&rig->to_client);
    assert_false(rig_finish(rig, RIG_NOW));
    assert_int_equal(rig->to_client.count, 0);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    handshake_on_timer(rig->h, RIG_NOW + rig->params.timeout);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_EXPIRED);
    assert_string_equal(handshake_why(rig->h), why);
    rig_free(rig);
}

static void test_wrong_key_and_unknown_identity_look_alike(void **state)
{
    static const char *const SUITES[] = {"PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305",
                                         "DHE-PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"};
    (void)state;
    for (size_t i = 0; i < sizeof SUITES / sizeof SUITES[0]; i++) {
        struct rig_options options = {.suites = SUITES[i], .old_devices = true};

        options.key = "ffffffffffffffffffffffffffffffff";
        assert_silence(&options, "no Finished opened: wrong key");
        options.identity = "nobody";
        assert_silence(&options, "unknown identity");
        options.key = NULL; /* a right key under a wrong name */
        assert_silence(&options, "unknown identity");
        options.identity = "other"; /* another's key */
        assert_silence(&options, "no Finished opened: wrong key");
    }
}

static void test_unknown_identity_by_alert(void **state)
{
    struct rig *rig = rig_answered(
        &(struct rig_options){.identity = "nobody", .alert_unknown = true, .hello_seq = 40});
    uint64_t last = 0;

    (void)state;
    for (size_t i = 0; i < rig->to_client.count; i++)
        last = rig_view(&rig->to_client.one[i]).seq;
    rig_clear(&rig->to_client);
    assert_false(rig_finish(rig, RIG_NOW));
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    assert_string_equal(handshake_why(rig->h), "unknown identity");
    struct wire_record rec = rig_view(&rig->to_client.one[0]);
    assert_int_equal(rig->to_client.count, 1);
    assert_int_equal(rec.type, WIRE_ALERT);
    assert_int_equal(rec.seq, last + 1);
    assert_int_equal(rec.body[0], WIRE_ALERT_FATAL);
    assert_int_equal(rec.body[1], WIRE_UNKNOWN_PSK_IDENTITY);
    rig_free(rig);
}

static void test_wrong_key_gets_no_alert_even_when_unknown_ones_do(void **state)
{
    (void)state;
    assert_silence(
        &(struct rig_options){.key = "ffffffffffffffffffffffffffffffff", .alert_unknown = true},
        "no Finished opened: wrong key");
}

static void test_identity_with_a_nul_is_unknown(void **state)
{
    (void)state;
    for (int alert = 0; alert < 2; alert++) {
        struct rig *rig =
            rig_answered(&(struct rig_options){.suites = "PSK-AES128-CCM", .alert_unknown = alert});
        struct rig_record nul = rig_message(WIRE_CLIENT_KEY_EXCHANGE, 2, "\0\7known\0x", 9);
        size_t len;

        assert_int_equal(rig_feed(rig, &nul, RIG_NOW), FATE_HANDSHAKE);
        assert_memory_equal(handshake_identity(rig->h, &len), "known\0x", 7);
        assert_int_equal(len, 7);
        assert_int_equal(handshake_state(rig->h), alert ? HANDSHAKE_FAILED : HANDSHAKE_PENDING);
        assert_int_equal(rig_finish(rig, RIG_NOW), !alert);
        rig_free(rig);
    }
}

/* ---- numbers and time ---- */

static void assert_numbered(const struct rig_records *records, uint64_t first)
{
    for (size_t i = 0; i < records->count; i++) {
        struct wire_record rec = rig_view(&records->one[i]);
        if (rec.epoch == 0)
            assert_int_equal(rec.seq, first++);
    }
}

static void test_answer_repeats_the_hellos_number(void **state)
{
    static const uint64_t FIRST[] = {1, 7, UINT64_C(1) << 40, HANDSHAKE_SEQ_LIMIT};

    (void)state;
    for (size_t i = 0; i < sizeof FIRST / sizeof FIRST[0]; i++) {
        struct rig *rig = rig_new(&(struct rig_options){.hello_seq = FIRST[i]});
        uint64_t next = FIRST[i];

        for (int repeat = 0; repeat < 3; repeat++) {
            rig_clear(&rig->to_client);
            assert_true(rig_take(rig) > 0);
            assert_numbered(&rig->to_client, next);
            next += rig->to_client.count;
            handshake_on_timer(rig->h, handshake_next_timer(rig->h));
        }
        rig_client_step(rig);
        assert_true(rig_finish(rig, RIG_NOW));
        rig_free(rig);
    }
}

static void test_timer_doubles_up_to_its_cap_and_ends(void **state)
{
    static const unsigned WAITS[] = {1000, 2000, 4000, 4000, 4000, 4000};
    struct rig *rig = rig_new(&(struct rig_options){0});
    uint64_t now = RIG_NOW;

    (void)state;
    rig_take(rig);
    for (size_t i = 0; i < sizeof WAITS / sizeof WAITS[0]; i++) {
        assert_int_equal(handshake_next_timer(rig->h), now + WAITS[i]);
        handshake_on_timer(rig->h, now + WAITS[i] - 1);
        assert_int_equal(rig_take(rig), 0);
        now += WAITS[i];
        handshake_on_timer(rig->h, now);
        if (now < RIG_NOW + 20000) /* retransmit_total */
            assert_true(rig_take(rig) > 0);
        rig_clear(&rig->to_client);
    }
    handshake_on_timer(rig->h, handshake_next_timer(rig->h));
    assert_int_equal(rig_take(rig), 0);
    assert_int_equal(handshake_next_timer(rig->h), RIG_NOW + 30000);
    handshake_on_timer(rig->h, RIG_NOW + 29999);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    handshake_on_timer(rig->h, RIG_NOW + 30000);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_EXPIRED);
    assert_string_equal(handshake_why(rig->h), "no ClientKeyExchange came");
    rig_free(rig);
}

static void test_hello_copies_are_answered_at_a_bounded_rate(void **state)
{
    struct rig *rig = rig_new(&(struct rig_options){0});
    unsigned answers = 0;

    (void)state;
    assert_int_equal(rig_take(rig), 1);
    for (uint64_t ms = 0; ms < 1000; ms++) {
        assert_int_equal(rig_feed(rig, &rig->hello, RIG_NOW + ms), FATE_DROP_HELLO_COPY);
        answers += rig_take(rig);
        rig_clear(&rig->to_client);
    }
    assert_int_equal(answers, 1);
    rig_free(rig);
}

static void test_late_hello_copy_disturbs_nothing(void **state)
{
    struct rig *rig = rig_answered(&(struct rig_options){0});

    (void)state;
    rig_clear(&rig->to_client);
    rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
    assert_int_equal(rig_feed(rig, &rig->hello, RIG_NOW + 5000), FATE_DROP_HELLO_COPY);
    assert_true(rig_finish(rig, RIG_NOW + 6000));
    rig_free(rig);
}

/* ---- farewell ---- */

static void test_farewell_is_readable_each_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = rig_answered(&(struct rig_options){.suites = OWN[i], .hello_seq = 3});
        uint8_t out[HANDSHAKE_FAREWELL_MAX];
        struct handshake_result result;

        rig_exchange(rig, RIG_NOW);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
        uint64_t sent_ccs = rig_view(&rig->to_client.one[rig->to_client.count - 2]).seq;
        rig->to_client.count -= 2; /* the server's last flight is lost */
        handshake_finish(rig->h, &result);
        for (unsigned repeat = 1; repeat <= 3; repeat++) {
            size_t n = handshake_repeat_farewell(&result.farewell, rig->params.crypt,
                                                 &result.association, out);
            assert_in_range(n, 2 * WIRE_RECORD_HEADER + 1, sizeof out);
            if (repeat == 2)
                continue; /* that one is lost, too */
            rig_put(&rig->to_client, out, n);
            const struct rig_record *ccs = &rig->to_client.one[rig->to_client.count - 2];
            assert_int_equal(rig_view(ccs).seq, sent_ccs + repeat);
            assert_int_equal(rig_client_step(rig), 1);
        }
        assert_data_flows_own(rig, &result);
        rig_free(rig);
    }
}

static void test_farewell_ends_with_the_numbers(void **state)
{
    struct rig *rig = rig_answered(&(struct rig_options){0});
    uint8_t out[HANDSHAKE_FAREWELL_MAX];
    struct handshake_result result;

    (void)state;
    assert_true(rig_finish(rig, RIG_NOW));
    handshake_finish(rig->h, &result);
    result.association.write_seq = WIRE_SEQ_MAX + 1;
    assert_int_equal(
        handshake_repeat_farewell(&result.farewell, rig->params.crypt, &result.association, out),
        0);
    rig_free(rig);
}

/* RFC 9325 7.2.1; the Finished, too, and as a farewell. */
static void test_gcm_nonces_are_the_record_numbers(void **state)
{
    struct rig *rig = rig_answered(&(struct rig_options){.suites = "PSK-AES128-GCM-SHA256"});
    uint8_t sealed[HANDSHAKE_FAREWELL_MAX];
    struct handshake_result result;

    (void)state;
    assert_true(rig_finish(rig, RIG_NOW));
    const struct rig_record *finished = &rig->to_client.one[rig->to_client.count - 1];
    assert_memory_equal(finished->data + WIRE_RECORD_HEADER, finished->data + 3, 8);
    handshake_finish(rig->h, &result);
    for (int i = 0; i < 3; i++) {
        assert_true(
            record_seal(rig->params.crypt, &result.association, WIRE_DATA, NULL, 0, sealed) > 0);
        assert_memory_equal(sealed + WIRE_RECORD_HEADER, sealed + 3, 8);
    }
    rig_free(rig);
}

/* ---- one client after another ---- */

/* The client of `options` through the context of `first`, whose SSL it gets. */
static void assert_like_a_first_one(struct rig *first, const struct rig_options *options)
{
    struct rig *rig = rig_new(options);
    struct handshake_result alone, after;

    rig_take(rig);
    rig_client_step(rig);
    assert_true(rig_finish(rig, RIG_NOW));
    handshake_finish(rig->h, &alone);
    rig_free(rig);

    rig = rig_new(options);
    handshake_free(rig->h);
    rig->params.tls = first->tls;
    rig_begin(rig);
    rig_take(rig);
    rig_client_step(rig);
    assert_true(rig_finish(rig, RIG_NOW));
    handshake_finish(rig->h, &after);
    assert_int_equal(after.max_fragment, alone.max_fragment);
    assert_int_equal(after.extended_master_secret, alone.extended_master_secret);
    assert_ptr_equal(after.association.suite, alone.association.suite);
    assert_data_flows_own(rig, &after);
    rig_free(rig);
}

static void test_nothing_stays_of_the_client_before(void **state)
{
    static const struct rig_options CLIENTS[] = {
        {.client_suites = "PSK-AES128-GCM-SHA256"},
        {.client_suites = "PSK-AES256-GCM-SHA384", .fragment_code = 1},
        {.client_suites = "PSK-AES128-CCM8", .no_extended_master = true},
        {.client_suites = "ECDHE-PSK-CHACHA20-POLY1305", .fragment_code = 2},
        {.client_suites = "PSK-CHACHA20-POLY1305",
         .identity = "other",
         .key = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };
    struct rig *first = rig_new(&(struct rig_options){.suites = NULL});

    (void)state;
    for (size_t i = 0; i < sizeof CLIENTS / sizeof CLIENTS[0]; i++) {
        for (size_t k = 0; k < sizeof CLIENTS / sizeof CLIENTS[0]; k++) {
            assert_like_a_first_one(first, &CLIENTS[i]);
            assert_like_a_first_one(first, &CLIENTS[k]);
        }
    }
    rig_free(first);
}

/* One that got nowhere, too. */
static void test_nothing_stays_of_a_handshake_that_failed(void **state)
{
    struct rig *first = rig_new(&(struct rig_options){.suites = "PSK-AES128-GCM-SHA256"});
    struct rig *stranger = rig_new(&(struct rig_options){.suites = "PSK-AES128-CCM8"});

    (void)state;
    for (int times = 0; times < 3; times++) {
        handshake_free(stranger->h);
        stranger->params.tls = first->tls;
        rig_begin(stranger);
        assert_int_equal(handshake_state(stranger->h), HANDSHAKE_FAILED);
        assert_like_a_first_one(first, &(struct rig_options){.suites = "PSK-AES128-GCM-SHA256"});
    }
    rig_free(stranger);
    rig_free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_aead_suite),
        cmocka_unit_test(test_every_aead_suite_without_extended_master),
        cmocka_unit_test(test_hint_and_small_mtu),
        cmocka_unit_test(test_cbc_suites_stay_with_libssl),
        cmocka_unit_test(test_dtls10_stays_with_libssl),
        cmocka_unit_test(test_server_prefers),
        cmocka_unit_test(test_max_fragment_length),
        cmocka_unit_test(test_without_a_common_suite_an_alert),
        cmocka_unit_test(test_old_version_is_refused),
        cmocka_unit_test(test_extended_master_secret_can_be_required),
        cmocka_unit_test(test_identity_is_told),
        cmocka_unit_test(test_wrong_key_and_unknown_identity_look_alike),
        cmocka_unit_test(test_unknown_identity_by_alert),
        cmocka_unit_test(test_wrong_key_gets_no_alert_even_when_unknown_ones_do),
        cmocka_unit_test(test_identity_with_a_nul_is_unknown),
        cmocka_unit_test(test_answer_repeats_the_hellos_number),
        cmocka_unit_test(test_timer_doubles_up_to_its_cap_and_ends),
        cmocka_unit_test(test_hello_copies_are_answered_at_a_bounded_rate),
        cmocka_unit_test(test_late_hello_copy_disturbs_nothing),
        cmocka_unit_test(test_farewell_is_readable_each_time),
        cmocka_unit_test(test_farewell_ends_with_the_numbers),
        cmocka_unit_test(test_gcm_nonces_are_the_record_numbers),
        cmocka_unit_test(test_nothing_stays_of_the_client_before),
        cmocka_unit_test(test_nothing_stays_of_a_handshake_that_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
