/* check: settings that do not go together. */
#include "conf/check.h"

#include "conf_text.h"

#include "conf/draft.h"

static void test_both_wildcards_may_share_a_port(void **state)
{
    (void)state;
    conf_unref(load_good("[service a]\nlisten = [::]:5684, 0.0.0.0:5684\nbackend = 127.0.0.1:1\n"
                         "psk-file = keys\n",
                         NULL));
}

static void test_no_service_is_an_error(void **state)
{
    (void)state;
    assert_error("[daemon]\n",
                 "x.ini: no service; add a [service NAME] with listen, backend and psk-file");
    assert_error(NULL, "command line: no service; give -c FILE, or -l, -b and -k");
}

static void test_cross_checks_of_times(void **state)
{
    (void)state;
    assert_error(MINIMAL "retransmit-first = 2s\nretransmit-cap = 1s\n",
                 "x.ini:6: service.a.retransmit-cap: retransmit-first (2s) is longer than "
                 "retransmit-cap (1s); the other way round would be right");
    assert_error(MINIMAL "flow-timeout = 2h\n",
                 "x.ini:5: service.a.flow-timeout: flow-timeout (2h) is longer than idle-timeout "
                 "(1h); the other way round would be right");
    assert_error(MINIMAL "retransmit-total = 100ms\n",
                 "x.ini:5: service.a.retransmit-total: retransmit-first (300ms) is longer than "
                 "retransmit-total (100ms); the other way round would be right");
}

static void test_wrong_value_is_not_told_twice(void **state)
{
    (void)state;
    assert_error(
        MINIMAL "retransmit-first = x\nretransmit-cap = 100ms\n",
        "x.ini:5: service.a.retransmit-first: \"x\" is not a time from 50ms to 10s (ms, s, "
        "m, h or d)");
    assert_error(MINIMAL "min-version = x\nciphers = PSK-AES128-CBC-SHA\n",
                 "x.ini:5: service.a.min-version: \"x\" is not one of 1.0, 1.2");
}

static void test_cipher_lists_are_asked_of_the_library(void **state)
{
    (void)state;
    assert_null(load(MINIMAL "ciphers = PSK-AES128-CBC-SHA\n", NULL));
    assert_non_null(strstr(errors.line[0], "x.ini:5: service.a.ciphers: \"PSK-AES128-CBC-SHA\" "));
    assert_null(load(MINIMAL "ciphers = AES128-SHA\n", NULL));
    assert_non_null(
        strstr(errors.line[0], "x.ini:5: service.a.ciphers: \"AES128-SHA\" selects no"));
    assert_null(load(MINIMAL "ciphers = nonsense\n", NULL));
    assert_non_null(strstr(errors.line[0], "x.ini:5: service.a.ciphers: \"nonsense\" selects no"));
    assert_null(load(MINIMAL "min-version = 1.0\nciphers = PSK-NULL-SHA\n", NULL));
    assert_non_null(strstr(errors.line[0], "x.ini:6: service.a.ciphers: \"PSK-NULL-SHA\" selects"));
}

static void test_listen_addresses_must_differ(void **state)
{
    (void)state;
    assert_error("[service a]\nlisten = 127.0.0.1:5, [::]:5, 127.0.0.1:5\nbackend = 127.0.0.1:1\n"
                 "psk-file = keys\n",
                 "x.ini:2: service.a.listen: 127.0.0.1:5 stands there twice; leave one out");
    assert_error("[service b]\nlisten = 127.0.0.1:5\nbackend = 127.0.0.1:1\npsk-file = keys\n"
                 "[service a]\nlisten = [::]:5, 127.0.0.1:5\nbackend = 127.0.0.1:1\n"
                 "psk-file = keys\n",
                 "x.ini:6: service.a.listen: 127.0.0.1:5 is taken by service b; choose another "
                 "port or address");
    assert_error("[service b]\nlisten = 127.0.0.1:5\nbackend = 127.0.0.1:1\npsk-file = keys\n"
                 "[service a]\nlisten = 0.0.0.0:5\nbackend = 127.0.0.1:1\npsk-file = keys\n",
                 "x.ini:6: service.a.listen: 0.0.0.0:5 overlaps 127.0.0.1:5 of service b; keep "
                 "one of the two");
    conf_unref(load_good("[service a]\nlisten = 127.0.0.1:0, 127.0.0.1:0\nbackend = 127.0.0.1:1\n"
                         "psk-file = keys\n",
                         NULL));
}

static void test_indexes_of_addresses_have_their_room(void **state)
{
    struct conf_service services[2] = {{.listen_count = CONF_LISTEN_MAX}, {.listen_count = 1}};
    const struct conf c = {.service = services, .service_count = 2};
    const struct draft d = {.path = "x.ini", .errors = &errors};

    (void)state;
    errors_clear(&errors);
    check_settings(&c, &d);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.line[0],
                        "x.ini: 65536 addresses to listen on in all; at most 65535 can be");
    errors_clear(&errors);
}

static void test_backend_must_not_be_a_listener(void **state)
{
    (void)state;
    assert_error("[service a]\nlisten = 127.0.0.1:5\nbackend = 127.0.0.1:5\npsk-file = keys\n",
                 "x.ini:3: service.a.backend: 127.0.0.1:5 is where service a listens; write the "
                 "address of the plain service");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_wildcards_may_share_a_port),
        cmocka_unit_test(test_no_service_is_an_error),
        cmocka_unit_test(test_cross_checks_of_times),
        cmocka_unit_test(test_wrong_value_is_not_told_twice),
        cmocka_unit_test(test_cipher_lists_are_asked_of_the_library),
        cmocka_unit_test(test_listen_addresses_must_differ),
        cmocka_unit_test(test_indexes_of_addresses_have_their_room),
        cmocka_unit_test(test_backend_must_not_be_a_listener),
    };

    return cmocka_run_group_tests_name("check", tests, conf_text_setup, conf_text_teardown);
}
