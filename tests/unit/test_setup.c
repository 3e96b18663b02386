/*
 * test_setup: a snapshot and its TLS contexts, made whole or not at all.
 */
#include "conf_text.h"

#include "proxy/setup.h"

#define TWO_SERVICES                                                                               \
    MINIMAL "[service b]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5683\npsk-file = keys\n"

static const char *const usual[] = {NULL};

static void test_each_service_has_a_context(void **state)
{
    struct conf *conf = load_good(TWO_SERVICES, usual);
    struct relay_setup setup;
    char why[128];

    (void)state;
    assert_true(relay_setup_make(&setup, conf, why, sizeof why));
    assert_ptr_equal(setup.conf, conf);
    assert_int_equal(conf->references, 2);
    assert_non_null(setup.tls[0]);
    assert_non_null(setup.tls[1]);
    assert_ptr_not_equal(setup.tls[0], setup.tls[1]);
    relay_setup_clear(&setup);
    assert_null(setup.conf);
    assert_null(setup.tls);
    assert_int_equal(conf->references, 1);
    conf_unref(conf);
}

static void test_the_setup_keeps_the_snapshot(void **state)
{
    struct conf *conf = load_good(MINIMAL, usual);
    struct relay_setup setup;
    char why[128];

    (void)state;
    assert_true(relay_setup_make(&setup, conf, why, sizeof why));
    conf_unref(conf);
    assert_string_equal(setup.conf->service[0].name, "a");
    relay_setup_clear(&setup);
}

static void test_nothing_is_left_when_the_last_context_fails(void **state)
{
    struct conf *conf = load_good(TWO_SERVICES, usual);
    char *ciphers = conf->service[1].ciphers, none[] = "NULL-SHA";
    struct relay_setup setup;
    char why[128] = "";

    (void)state;
    conf->service[1].ciphers = none; /* what conf_load() would have refused */
    assert_false(relay_setup_make(&setup, conf, why, sizeof why));
    assert_string_not_equal(why, "");
    assert_null(setup.conf);
    assert_null(setup.tls);
    assert_int_equal(conf->references, 1);
    conf->service[1].ciphers = ciphers;
    conf_unref(conf);
}

static void test_an_empty_setup_can_be_cleared(void **state)
{
    struct relay_setup setup = {0};

    (void)state;
    relay_setup_clear(&setup);
    relay_setup_clear(&setup);
}

static void test_old_devices_get_what_they_need(void **state)
{
    static const char *const settings[] = {"service.a.min-version=1.0",
                                           "service.a.ciphers=PSK-AES128-CBC-SHA",
                                           "service.a.identity-hint=gate", NULL};
    struct conf *conf = load_good(MINIMAL, settings);
    struct relay_setup setup;
    char why[128];

    (void)state;
    assert_true(relay_setup_make(&setup, conf, why, sizeof why));
    relay_setup_clear(&setup);
    conf_unref(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_service_has_a_context),
        cmocka_unit_test(test_the_setup_keeps_the_snapshot),
        cmocka_unit_test(test_nothing_is_left_when_the_last_context_fails),
        cmocka_unit_test(test_an_empty_setup_can_be_cleared),
        cmocka_unit_test(test_old_devices_get_what_they_need),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
