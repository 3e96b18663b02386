/* check: settings that do not go together. */
#include "conf/check.h"

#include "conf_text.h"

#include "conf/draft.h"

#include <stdio.h>

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

#define SOURCE MINIMAL "backend-source = "

static void test_sources_that_fit(void **state)
{
    struct conf *c;

    (void)state;
    c = load_good(SOURCE "127.0.0.2, 127.0.0.1\n", NULL);
    assert_int_equal(c->service[0].backend_source.count, 2);
    assert_null(c->service[0].identity_source);
    conf_unref(c);
    conf_unref(load_good(SOURCE "127.64.0.0/10\n", NULL));
    c = load_good(SOURCE "127.64.0.0/30\nsource-by = identity\n", NULL);
    assert_true(c->service[0].identity_source[0] < 2);
    assert_int_equal(c->service[0].max_sessions_per_identity, 1);
    conf_unref(c);
    conf_unref(load_good(
        SOURCE "127.64.0.0/30\nsource-by = identity\nmax-sessions-per-identity = 1\n", NULL));
}

static void test_sources_that_cannot_be(void **state)
{
    static const struct {
        const char *source, *why;
    } cases[] = {
        {"::1", "::1 is of another family than the backend; take one of the same"},
        {"0.0.0.0", "0.0.0.0 holds addresses that nothing can be sent from; take others"},
        {"0.0.0.0/0", "0.0.0.0/0 holds addresses that nothing can be sent from; take others"},
        {"128.0.0.0/1", "128.0.0.0/1 holds addresses that nothing can be sent from; take others"},
        {"230.1.0.0/16", "230.1.0.0/16 holds addresses that nothing can be sent from; take others"},
        {"127.0.0.0/9", "127.0.0.0/9 holds the backend's address; take another prefix"},
        {"127.64.0.0/31", "127.64.0.0/31 has no address between its first and its last; give a "
                          "larger prefix"},
        {"127.0.0.2, 127.0.0.2", "127.0.0.2 stands there twice; leave one out"},
        {"127.0.0.2, 127.64.0.0/10",
         "127.64.0.0/10 is a prefix, which must stand alone; give one prefix or only addresses"},
    };
    char text[256], line[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(text, sizeof(text), SOURCE "%s\n", cases[i].source);
        snprintf(line, sizeof(line), "x.ini:5: service.a.backend-source: %s", cases[i].why);
        assert_error(text, line);
    }
}

static void test_all_faults_of_a_source_are_told_at_once(void **state)
{
    static const char *const expected[] = {
        "x.ini:5: service.a.backend-source: ::1 is of another family than the backend; take one of "
        "the same",
        "x.ini:5: service.a.backend-source: fe80::/10 is of another family than the backend; take "
        "one of the same",
        "x.ini:7: service.a.max-sessions-per-identity: is 2, but with source-by = identity it must "
        "be 1, for two sessions cannot have one address; leave it out",
        NULL};

    (void)state;
    assert_errors(SOURCE "::1, fe80::/10\nsource-by = identity\nmax-sessions-per-identity = 2\n",
                  NULL, expected);
}

static void test_a_prefix_must_have_room_for_the_sessions(void **state)
{
    (void)state;
    assert_error("[daemon]\nworkers = 2\nmax-sessions = 255\n" SOURCE "10.1.2.0/24\n",
                 "x.ini:8: service.a.backend-source: 10.1.2.0/24 has 254 addresses, and "
                 "daemon.max-sessions is 255 with 2 workers; give a larger prefix or allow fewer "
                 "sessions");
}

static void test_an_identity_needs_a_prefix(void **state)
{
    static const char *const texts[] = {MINIMAL "source-by = identity\n",
                                        MINIMAL "source-by = identity\nbackend-source = 127.0.0.2"};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_error(texts[i], "x.ini:5: service.a.source-by: is identity, which needs one prefix "
                               "as backend-source; give that, too");
}

static void test_a_prefix_must_have_room_for_the_identities(void **state)
{
    (void)state;
    write_file("short",
               "a:00112233445566778899aabbccddeeff\nb:00112233445566778899aabbccddee00\n"
               "c:00112233445566778899aabbccddee01\n",
               0600);
    assert_error("[service a]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5683\npsk-file = short\n"
                 "source-by = identity\nbackend-source = 127.64.0.0/30\n",
                 "x.ini:6: service.a.backend-source: 127.64.0.0/30 has 2 addresses, and psk-file "
                 "has 3 identities; give a larger prefix");
}

static void test_an_address_of_ones_own_needs_a_name_that_is_known(void **state)
{
    (void)state;
    assert_error(SOURCE "127.64.0.0/10\nsource-by = identity\npsk-helper = /run/keys\n",
                 "x.ini:7: service.a.psk-helper: does not go with source-by = identity, whose "
                 "identities have to be known beforehand; leave one of the two out");
    conf_unref(load_good(SOURCE "127.64.0.0/10\npsk-helper = /run/keys\n", NULL));
}

static void test_borrowed_addresses_and_own_ones_exclude_each_other(void **state)
{
    (void)state;
    assert_error(MINIMAL "transparent = yes\nbackend-source = 127.0.0.2\n",
                 "x.ini:5: service.a.transparent: and backend-source exclude each other; leave one "
                 "of them out");
    conf_unref(load_good(MINIMAL "transparent = no\nbackend-source = 127.0.0.2\n", NULL));
    conf_unref(load_good(MINIMAL "transparent = client\nproxy-protocol = v2\n", NULL));
}

static void test_a_borrowed_address_is_of_the_backends_family(void **state)
{
    (void)state;
    assert_error("[service a]\nlisten = 127.0.0.1:5, [::]:0\nbackend = 127.0.0.1:1\n"
                 "psk-file = keys\ntransparent = client\n",
                 "x.ini:5: service.a.transparent: needs clients of the backend's family, which "
                 "those of [::]:0 are not; listen on IPv4 alone");
    assert_error("[service a]\nlisten = 127.0.0.1:5\nbackend = [::1]:1\n"
                 "psk-file = keys\ntransparent = yes\n",
                 "x.ini:5: service.a.transparent: needs clients of the backend's family, which "
                 "those of 127.0.0.1:5 are not; listen on IPv6 alone");
}

static void test_policies_must_fit_the_source_of_their_service(void **state)
{
    static const char *const expected[] = {
        "x.ini:8: identity.me.max-sessions: is 2, but service a has source-by = identity, and two "
        "sessions cannot have one address; leave it out",
        "x.ini:9: identity.me.backend: [::1]:7777 is of another family than the backend-source of "
        "service a; take one of the same",
        "x.ini:11: identity.a/m*.backend: 127.64.0.1:7777 lies in the backend-source of service a; "
        "take another address",
        NULL};

    (void)state;
    assert_errors(SOURCE "127.64.0.0/30\nsource-by = identity\n"
                         "[identity me]\nmax-sessions = 2\nbackend = [::1]:7777\n"
                         "[identity a/m*]\nbackend = 127.64.0.1:7777\n",
                  NULL, expected);
    conf_unref(load_good(SOURCE "127.64.0.0/30\nsource-by = identity\n"
                                "[identity me]\nmax-sessions = 1\nbackend = 127.0.0.1:7777\n",
                         NULL));
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
        cmocka_unit_test(test_sources_that_fit),
        cmocka_unit_test(test_sources_that_cannot_be),
        cmocka_unit_test(test_all_faults_of_a_source_are_told_at_once),
        cmocka_unit_test(test_a_prefix_must_have_room_for_the_sessions),
        cmocka_unit_test(test_an_identity_needs_a_prefix),
        cmocka_unit_test(test_a_prefix_must_have_room_for_the_identities),
        cmocka_unit_test(test_an_address_of_ones_own_needs_a_name_that_is_known),
        cmocka_unit_test(test_borrowed_addresses_and_own_ones_exclude_each_other),
        cmocka_unit_test(test_a_borrowed_address_is_of_the_backends_family),
        cmocka_unit_test(test_policies_must_fit_the_source_of_their_service),
    };

    return cmocka_run_group_tests_name("check", tests, conf_text_setup, conf_text_teardown);
}
