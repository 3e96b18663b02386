/*
 * test_handshake_asking: identities whose key comes from elsewhere: what is held until then, and
 * what the answer leads to.
 */
#include "handshake_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const suites[] = {"PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305",
                                     "DHE-PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"};

static struct rig *begin(const char *suite, const char *identity, bool alert)
{
    return rig_answered(&(struct rig_options){.suites = suite,
                                              .identity = identity,
                                              .old_devices = true,
                                              .may_ask = true,
                                              .alert_unknown = alert});
}

/* What `identity` turns out to be; without a key it is unknown. */
static void answer(struct rig *rig, const char *identity, const char *hex,
                   enum candidate_key asking)
{
    uint8_t key[PSK_KEY_MAX];
    struct psk psk = {.identity = (const uint8_t *)identity,
                      .key = key,
                      .identity_len = (uint16_t)strlen(identity)};

    if (hex != NULL)
        psk.key_len = (uint8_t)hex_decode(key, sizeof key, hex, strlen(hex));
    handshake_set_key(rig->h, &psk, asking, RIG_NOW);
    memset(key, 0xee, sizeof key); /* it was copied */
}

static void assert_asks(const struct rig *rig, const char *identity)
{
    size_t len;
    const uint8_t *asked = handshake_asks(rig->h, &len);

    if (identity == NULL) {
        assert_null(asked);
        return;
    }
    assert_non_null(asked);
    assert_int_equal(len, strlen(identity));
    assert_memory_equal(asked, identity, len);
}

static void test_the_answer_completes_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        struct rig *rig = begin(suites[i], "far", false);
        rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
        assert_asks(rig, "far");
        answer(rig, "far", NULL, CANDIDATE_ASKED);
        assert_asks(rig, NULL);
        for (size_t n = 1; n < rig->to_server.count; n++)
            assert_int_equal(rig_feed(rig, &rig->to_server.one[n], RIG_NOW), FATE_HANDSHAKE);
        assert_int_equal(rig_take(rig), 0);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
        answer(rig, "far", RIG_KEY, CANDIDATE_SETTLED);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
        rig_take(rig);
        assert_int_equal(rig_client_step(rig), 1);
        struct handshake_result result;
        handshake_finish(rig->h, &result);
        assert_int_equal(result.psk->identity_len, 3);
        assert_int_equal(result.psk->key_len, 16);
        assert_int_equal(result.psk->key[15], 15);
        engine_free(result.engine);
        rig_free(rig);
    }
}

static void test_a_client_that_repeats_itself_harms_nothing(void **state)
{
    (void)state;
    struct rig *rig = begin(suites[0], "far", false);
    for (int turn = 0; turn < 3; turn++) {
        for (size_t n = 0; n < rig->to_server.count; n++)
            rig_feed(rig, &rig->to_server.one[n], RIG_NOW);
        answer(rig, "far", NULL, CANDIDATE_ASKED);
        assert_asks(rig, NULL);
    }
    answer(rig, "far", RIG_KEY, CANDIDATE_SETTLED);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    rig_free(rig);
}

static void test_an_unknown_one_and_a_wrong_key_look_alike(void **state)
{
    static const char *const keys[] = {NULL, "ffffffffffffffffffffffffffffffff"};

    (void)state;
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        for (int known = 0; known < 2; known++) {
            struct rig *rig = begin(suites[i], "far", false);
            rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
            answer(rig, "far", keys[known], CANDIDATE_SETTLED);
            assert_false(rig_finish(rig, RIG_NOW));
            assert_int_equal(rig_take(rig), 0);
            assert_asks(rig, NULL);
            rig_free(rig);
        }
    }
}

static void test_one_of_the_files_is_never_asked_for(void **state)
{
    (void)state;
    struct rig *rig = begin(suites[0], "known", false);
    rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
    assert_asks(rig, NULL);
    assert_true(rig_finish(rig, RIG_NOW));
    rig_free(rig);
}

static void test_a_question_that_failed_may_be_asked_again(void **state)
{
    (void)state;
    struct rig *rig = begin(suites[1], "far", true);
    for (size_t n = 0; n < rig->to_server.count; n++)
        rig_feed(rig, &rig->to_server.one[n], RIG_NOW);
    answer(rig, "far", NULL, CANDIDATE_ASKED);
    answer(rig, "far", NULL, CANDIDATE_TO_ASK);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING); /* no alert */
    assert_asks(rig, "far");
    answer(rig, "far", RIG_KEY, CANDIDATE_SETTLED);
    assert_true(rig_finish(rig, RIG_NOW)); /* by the client's repeat, or what was held */
    rig_free(rig);
}

static void test_the_alert_waits_for_the_answer(void **state)
{
    (void)state;
    struct rig *rig = begin(suites[0], "far", true);
    rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
    answer(rig, "far", NULL, CANDIDATE_ASKED);
    assert_int_equal(rig_take(rig), 0);
    answer(rig, "far", NULL, CANDIDATE_SETTLED);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    assert_string_equal(handshake_why(rig->h), "unknown identity");
    assert_int_equal(rig_take(rig), 1);
    rig_free(rig);
}

/* Somebody else names others in between: each is asked for on its own. */
static void test_forged_names_do_not_answer_for_the_clients(void **state)
{
    static const uint8_t forged[] = {0, 5, 'f', 'o', 'r', 'g', 'e'};
    uint8_t message[WIRE_MESSAGE_HEADER + sizeof forged];

    (void)state;
    struct rig *rig = begin(suites[0], "far", false);
    rig_feed(rig, &rig->to_server.one[0], RIG_NOW);
    answer(rig, "far", NULL, CANDIDATE_ASKED);
    struct wire_record genuine = rig_view(&rig->to_server.one[0]);
    wire_put_message_header(message, WIRE_CLIENT_KEY_EXCHANGE,
                            (uint16_t)(genuine.body[4] << 8 | genuine.body[5]), sizeof forged);
    memcpy(message + WIRE_MESSAGE_HEADER, forged, sizeof forged);
    struct rig_record record = rig_plain(WIRE_HANDSHAKE, 9, message, sizeof message);
    assert_int_equal(rig_feed(rig, &record, RIG_NOW), FATE_HANDSHAKE);
    assert_asks(rig, "forge");
    answer(rig, "forge", "ffffffffffffffffffffffffffffffff", CANDIDATE_SETTLED);
    for (size_t n = 1; n < rig->to_server.count; n++)
        rig_feed(rig, &rig->to_server.one[n], RIG_NOW);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    answer(rig, "far", RIG_KEY, CANDIDATE_SETTLED);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_answer_completes_it),
        cmocka_unit_test(test_a_client_that_repeats_itself_harms_nothing),
        cmocka_unit_test(test_an_unknown_one_and_a_wrong_key_look_alike),
        cmocka_unit_test(test_one_of_the_files_is_never_asked_for),
        cmocka_unit_test(test_a_question_that_failed_may_be_asked_again),
        cmocka_unit_test(test_the_alert_waits_for_the_answer),
        cmocka_unit_test(test_forged_names_do_not_answer_for_the_clients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
