/*
 * test_review: what is said of legal settings and keys, where, and that good ones are let alone.
 */
#include "daemon/review.h"

#include "conf_text.h"
#include "log_text.h"

#define PLENTY 1000000
#define BACKEND(text) "[service a]\nlisten = 127.0.0.1:0\npsk-file = keys\nbackend = " text "\n"

static struct errors found;

static void review(const char *text, size_t descriptors)
{
    struct conf *c = load_good(text, NULL);

    errors_clear(&found);
    review_limits(c, "x.ini", descriptors, &found);
    review_settings(c, "x.ini", &found);
    review_keys(c, &found);
    conf_unref(c);
}

/* Exactly this is said of it; NULL: nothing. */
static void assert_said(const char *text, const char *expected)
{
    review(text, PLENTY);
    if (found.count > (expected != NULL))
        fail_msg("unexpected: %s", found.line[found.count - 1]);
    if (expected == NULL)
        return;
    assert_int_equal(found.count, 1);
    assert_string_equal(found.line[0], expected);
}

static void test_defaults_are_fine(void **state)
{
    (void)state;
    assert_said(MINIMAL, NULL);
}

static void test_daemon_settings(void **state)
{
    (void)state;
    assert_said("[daemon]\nsocket-buffer = 255k\n" MINIMAL,
                "x.ini: daemon.socket-buffer: 255k loses what comes in a burst of some hundred "
                "datagrams; 1m or more is better");
    assert_said("[daemon]\nsocket-buffer = 256k\n" MINIMAL, NULL);
    assert_said("[daemon]\ntrace-keylog = /keys\n" MINIMAL,
                "x.ini: daemon.trace-keylog: /keys may get the keys of sessions, and lets them be "
                "read; set it only while a fault is looked for");
    assert_said("[daemon]\nlog-level = debug\n" MINIMAL,
                "x.ini: daemon.log-level: debug tells of single records and is for finding faults; "
                "info is enough to run");
    assert_said("[daemon]\nmax-handshakes = 16385\n" MINIMAL,
                "x.ini: daemon.max-handshakes: 16385 may cost up to 85 KB each, all at once; lower "
                "it unless there is the memory");
    assert_said("[daemon]\nmax-handshakes = 16384\n" MINIMAL, NULL);
    assert_said("[daemon]\nmax-handshakes-per-prefix = 0\n" MINIMAL,
                "x.ini: daemon.max-handshakes-per-prefix: 0 lets one network take all of "
                "max-handshakes; 256 is the default");
}

static void test_service_settings_with_the_line_of_their_section(void **state)
{
    (void)state;
    assert_said("# one\n\n" MINIMAL "allow-weak-keys = yes\n",
                "x.ini:3: service.a.allow-weak-keys: yes takes keys short enough to be guessed; "
                "replace them (dtlsgate --genpsk) and say no");
    assert_said(MINIMAL "unknown-identity = alert\n",
                "x.ini:1: service.a.unknown-identity: alert tells strangers which identities "
                "exist; say hide once all works");
    assert_said(MINIMAL "min-version = 1.0\n",
                "x.ini:1: service.a.min-version: 1.0 lets in DTLS 1.0 and CBC suites, at 70 KB a "
                "session; keep it to a service for old devices");
}

static void test_long_idling_where_there_is_little_room(void **state)
{
    (void)state;
    assert_said("[daemon]\nmax-sessions = 999\n" MINIMAL "idle-timeout = 25h\n",
                "x.ini:3: service.a.idle-timeout: 25h keeps sessions of clients that are gone, and "
                "daemon.max-sessions has room for few; shorten it or raise that");
    assert_said("[daemon]\nmax-sessions = 1000\n" MINIMAL "idle-timeout = 25h\n", NULL);
    assert_said("[daemon]\nmax-sessions = 999\n" MINIMAL "idle-timeout = 24h\n", NULL);
}

static void test_public_backends(void **state)
{
    (void)state;
    assert_said(
        BACKEND("192.0.2.1:53"),
        "x.ini:1: service.a.backend: 192.0.2.1:53 is a public address, and datagrams go "
        "there in plaintext; run dtlsgate on the backend's host or network, or lay a tunnel");
    review(BACKEND("172.32.0.1:53"), PLENTY);
    assert_int_equal(found.count, 1);
    review(BACKEND("[2001:db8::1]:53"), PLENTY);
    assert_int_equal(found.count, 1);
}

static void test_near_backends(void **state)
{
    (void)state;
    assert_said(BACKEND("127.1.2.3:53"), NULL);
    assert_said(BACKEND("10.255.0.1:53"), NULL);
    assert_said(BACKEND("172.31.0.1:53"), NULL);
    assert_said(BACKEND("192.168.0.1:53"), NULL);
    assert_said(BACKEND("169.254.1.1:53"), NULL);
    assert_said(BACKEND("100.64.0.1:53"), NULL);
    assert_said(BACKEND("[::1]:53"), NULL);
    assert_said(BACKEND("[fd00::1]:53"), NULL);
}

static void test_more_sessions_than_descriptors(void **state)
{
    static const char text[] = "[daemon]\nworkers = 2\nmax-sessions = 1000\n" MINIMAL;

    (void)state;
    review(text, 1000 + 2 * 9 + 64);
    assert_int_equal(found.count, 0);
    review(text, 1000 + 2 * 9 + 63);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.line[0],
                        "x.ini: daemon.max-sessions: 1000 may need 1082 open files, and 1081 are "
                        "allowed; raise the limit (LimitNOFILE, ulimit -n) or lower the setting");
}

static void test_sessions_with_addresses_out_of_a_prefix_need_no_descriptors(void **state)
{
    (void)state;
    review("[daemon]\nworkers = 2\nmax-sessions = 1000\n" MINIMAL
           "backend-source = 127.64.0.0/10\n",
           2 * 9 + 64);
    assert_int_equal(found.count, 0);
}

static void test_settings_of_the_command_line(void **state)
{
    static const char *const overrides[] = {
        "service.a.listen=127.0.0.1:0", "service.a.backend=127.0.0.1:1", "service.a.psk-file=keys",
        "service.a.min-version=1.0", NULL};
    struct conf *c = load_good(NULL, overrides);

    (void)state;
    errors_clear(&found);
    review_settings(c, "command line", &found);
    conf_unref(c);
    assert_int_equal(found.count, 1);
    assert_non_null(strstr(found.line[0], "command line: service.a.min-version: 1.0 lets in"));
}

static void test_keys(void **state)
{
    (void)state;
    write_file("short",
               "a:0011\nb:00112233445566778899aabbccddeeff\nc:00112233445566778899aabbccddeeff\n"
               "d:70617373776f726470617373776f7264\n",
               0600);
    review("[service a]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:1\npsk-file = short\n"
           "allow-weak-keys = yes\n",
           PLENTY);
    assert_int_equal(found.count, 4);
    assert_string_equal(found.line[1], "short:1: a key is shorter than 16 bytes; 1 such in all; "
                                       "dtlsgate --genpsk makes better ones");
    assert_string_equal(found.line[2], "short:4: a key is readable text and may be guessed; 1 such "
                                       "in all; dtlsgate --genpsk makes better ones");
    assert_string_equal(found.line[3], "short:3: an identity has the key of another one; 1 such in "
                                       "all; dtlsgate --genpsk makes better ones");
}

static void test_the_log_has_all_of_it_as_warnings(void **state)
{
    struct conf *c = load_good("[daemon]\nlog-level = debug\n" MINIMAL "min-version = 1.0\n", NULL);

    (void)state;
    log_capture();
    review_log(c, "x.ini");
    assert_int_equal(log_count("warning x.ini"), 2);
    assert_int_equal(log_count_both("warning x.ini: daemon.log-level: debug ", ""), 1);
    assert_int_equal(log_count_both("warning x.ini:3: service.a.min-version: 1.0 ", ""), 1);
    log_release();
    conf_unref(c);
}

static int teardown(void **state)
{
    errors_clear(&found);
    return conf_text_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_fine),
        cmocka_unit_test(test_daemon_settings),
        cmocka_unit_test(test_service_settings_with_the_line_of_their_section),
        cmocka_unit_test(test_long_idling_where_there_is_little_room),
        cmocka_unit_test(test_public_backends),
        cmocka_unit_test(test_near_backends),
        cmocka_unit_test(test_more_sessions_than_descriptors),
        cmocka_unit_test(test_sessions_with_addresses_out_of_a_prefix_need_no_descriptors),
        cmocka_unit_test(test_settings_of_the_command_line),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_the_log_has_all_of_it_as_warnings),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, teardown);
}
