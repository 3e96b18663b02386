/* conf: whole snapshots: built, printed, compared, ended. */
#include "conf/conf.h"

#include "conf_text.h"
#include "dtls/tlsctx.h"

#define OLD_DEVICE_CIPHERS                                                                         \
    TLSCTX_DEFAULT_CIPHERS ":PSK-AES128-CBC-SHA256:PSK-AES128-CBC-SHA"                             \
                           ":PSK-AES256-CBC-SHA384:PSK-AES256-CBC-SHA"

static void test_minimal_file_gets_the_defaults(void **state)
{
    struct conf *c = load_good(MINIMAL, NULL);
    const struct conf_service *s = &c->service[0];

    (void)state;
    assert_null(c->daemon.user);
    assert_null(c->daemon.group);
    assert_in_range(c->daemon.workers, 1, 256);
    assert_string_equal(c->daemon.log, "stderr");
    assert_int_equal(c->daemon.log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->daemon.log_format, LOG_FORMAT_TEXT);
    assert_int_equal(c->daemon.max_sessions, 100000);
    assert_int_equal(c->daemon.max_handshakes, 1024);
    assert_int_equal(c->daemon.socket_buffer, 4 << 20);
    assert_int_equal(c->service_count, 1);
    assert_string_equal(s->name, "a");
    assert_int_equal(s->listen_count, 1);
    assert_int_equal(s->backend.list[0].addr.port, 5683);
    assert_string_equal(s->psk_file, "keys");
    assert_false(s->allow_weak_keys);
    assert_int_equal(s->unknown_identity, CONF_UNKNOWN_HIDE);
    assert_int_equal(s->min_version, CONF_DTLS12);
    assert_string_equal(s->ciphers, TLSCTX_DEFAULT_CIPHERS);
    assert_null(s->identity_hint);
    assert_int_equal(s->mtu, 1400);
    assert_int_equal(s->retransmit_first, 300);
    assert_int_equal(s->retransmit_cap, 10000);
    assert_int_equal(s->retransmit_total, 60000);
    assert_int_equal(s->handshake_timeout, 60000);
    assert_int_equal(s->idle_timeout, 3600000);
    assert_int_equal(s->flow_timeout, 0);
    assert_int_equal(psk_count(s->psk), 1);
    assert_int_equal(s->line, 1);
    conf_unref(c);
}

static void test_every_setting_can_be_changed(void **state)
{
    struct conf *c =
        load_good("[daemon]\nuser = u\ngroup = g\nworkers = 3\nlog = /l\nlog-level = debug\n"
                  "log-format = json\nmax-sessions = 7\nmax-handshakes = 5\nsocket-buffer = 64k\n"
                  "[service b]\nlisten = 127.0.0.1:1, [::1]:2\nbackend = [::1]:3\n"
                  "psk-file = keys\nallow-weak-keys = yes\nunknown-identity = alert\n"
                  "min-version = 1.0\nciphers = PSK-AES128-CBC-SHA\nidentity-hint = hi there\n"
                  "mtu = 512\nretransmit-first = 50ms\nretransmit-cap = 1s\n"
                  "retransmit-total = 2s\nhandshake-timeout = 3s\nidle-timeout = 1d\n"
                  "flow-timeout = 1m\n",
                  NULL);
    const struct conf_service *s = &c->service[0];

    (void)state;
    assert_string_equal(c->daemon.user, "u");
    assert_string_equal(c->daemon.group, "g");
    assert_int_equal(c->daemon.workers, 3);
    assert_string_equal(c->daemon.log, "/l");
    assert_int_equal(c->daemon.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->daemon.log_format, LOG_FORMAT_JSON);
    assert_int_equal(c->daemon.max_sessions, 7);
    assert_int_equal(c->daemon.max_handshakes, 5);
    assert_int_equal(c->daemon.socket_buffer, 65536);
    assert_int_equal(s->listen_count, 2);
    assert_int_equal(s->listen[1].port, 2);
    assert_int_equal(s->backend.list[0].addr.family, AF_INET6);
    assert_true(s->allow_weak_keys);
    assert_int_equal(s->unknown_identity, CONF_UNKNOWN_ALERT);
    assert_int_equal(s->min_version, CONF_DTLS10);
    assert_string_equal(s->ciphers, "PSK-AES128-CBC-SHA");
    assert_string_equal(s->identity_hint, "hi there");
    assert_int_equal(s->mtu, 512);
    assert_int_equal(s->retransmit_first, 50);
    assert_int_equal(s->retransmit_cap, 1000);
    assert_int_equal(s->retransmit_total, 2000);
    assert_int_equal(s->handshake_timeout, 3000);
    assert_int_equal(s->idle_timeout, 86400000);
    assert_int_equal(s->flow_timeout, 60000);
    conf_unref(c);
}

static void test_command_line_alone_makes_a_service(void **state)
{
    const char *const overrides[] = {
        "service.default.listen=[::]:5684", "service.default.backend=127.0.0.1:5683",
        "service.default.psk-file=keys", "service.default.ciphers=PSK-AES128-CCM8:PSK-AES128-CCM",
        NULL};
    struct conf *c = load_good(NULL, overrides);

    (void)state;
    assert_int_equal(c->service_count, 1);
    assert_string_equal(c->service[0].name, "default");
    assert_int_equal(c->service[0].listen[0].port, 5684);
    assert_string_equal(c->service[0].ciphers, "PSK-AES128-CCM8:PSK-AES128-CCM");
    assert_int_equal(c->service[0].line, 0);
    conf_unref(c);
}

static void test_old_devices_get_cbc_suites_by_default(void **state)
{
    struct conf *c = load_good(MINIMAL "min-version = 1.0\n", NULL);

    (void)state;
    assert_string_equal(c->service[0].ciphers, OLD_DEVICE_CIPHERS);
    conf_unref(c);
}

static void test_services_are_ordered_by_name(void **state)
{
    struct conf *c = load_good("[service zoo]\nlisten = 127.0.0.1:1\nbackend = 127.0.0.1:9\n"
                               "psk-file = keys\n[service ant]\nlisten = 127.0.0.1:2\n"
                               "backend = 127.0.0.1:9\npsk-file = keys\n",
                               NULL);

    (void)state;
    assert_string_equal(c->service[0].name, "ant");
    assert_int_equal(c->service[0].listen[0].port, 2);
    assert_string_equal(c->service[1].name, "zoo");
    conf_unref(c);
}

static char *printed(const struct conf *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    assert_non_null(to);
    conf_print(c, to);
    fclose(to);
    return text;
}

static void test_printed_settings_read_back_the_same(void **state)
{
    static const char *const given[] = {
        MINIMAL, MINIMAL "min-version = 1.0\nidentity-hint = a;b #c\nflow-timeout = 90\n",
        "[daemon]\nuser = u\n" MINIMAL "[service b]\nlisten = 0.0.0.0:1, [::]:1\nbackend = "
        "localhost:7\npsk-file = keys\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
        struct conf *c = load_good(given[i], NULL);
        char *once = printed(c), *twice;

        conf_unref(c);
        c = load_good(once, NULL);
        twice = printed(c);
        assert_string_equal(once, twice);
        assert_null(strstr(once, "00112233"));
        free(once);
        free(twice);
        conf_unref(c);
    }
}

static void test_longest_list_of_addresses_reads_back(void **state)
{
    char text[8192] = MINIMAL "[service b]\nbackend = 127.0.0.1:1\npsk-file = keys\nlisten = ";
    struct conf *c;
    char *once;

    (void)state;
    for (int i = 0; i < 64; i++)
        snprintf(text + strlen(text), 64, "%s[2001:db8:1111:2222:3333:4444:5555:%x]:50000",
                 i ? ", " : "", 0x8000 + i);
    c = load_good(text, NULL);
    once = printed(c);
    conf_unref(c);
    c = load_good(once, NULL);
    assert_int_equal(c->service[1].listen_count, 64);
    conf_unref(c);
    free(once);
}

static void test_missing_keys_are_told_where_the_section_is(void **state)
{
    (void)state;
    assert_errors("\n[service a]\n", NULL,
                  (const char *const[]){
                      "x.ini:2: service.a.listen: is missing; give it numeric ADDR:PORT, up "
                      "to 64 with commas",
                      "x.ini:2: service.a.backend: is missing; give it ADDR:PORT or "
                      "HOST:PORT, up to 32 with commas",
                      "x.ini:2: service.a.psk-file: is missing; give it a path", NULL});
}

static void test_unreadable_file_is_the_only_error(void **state)
{
    const struct conf_source source = {.path = "nowhere.ini"};

    (void)state;
    errors_clear(&errors);
    assert_null(conf_load(&source, &errors));
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.line[0], "nowhere.ini: cannot be opened: No such file or directory");
}

static void test_bad_values_name_key_value_and_cure(void **state)
{
    (void)state;
    assert_error(MINIMAL "mtu = 12\n",
                 "x.ini:5: service.a.mtu: \"12\" is not a number from 256 to 16384");
    assert_error(MINIMAL "idle-timeout = 0\n", "x.ini:5: service.a.idle-timeout: \"0\" is not a "
                                               "time from 1s to 30d (ms, s, m, h or d)");
    assert_error(MINIMAL "flow-timeout = 500ms\n",
                 "x.ini:5: service.a.flow-timeout: \"500ms\" is not a time from 1s to 30d, or 0 "
                 "(ms, s, m, h or d)");
    assert_error(MINIMAL "min-version = 1.3\n",
                 "x.ini:5: service.a.min-version: \"1.3\" is not one of 1.0, 1.2");
    assert_error(MINIMAL "ciphers =\n",
                 "x.ini:5: service.a.ciphers: \"\" is not a text of 1 to 2048 bytes");
    assert_error(MINIMAL "[daemon]\nlog = here\n",
                 "x.ini:6: daemon.log: \"here\" is not stderr, syslog or an absolute path");
}

static void test_key_file_errors_name_both_files(void **state)
{
    (void)state;
    write_file("short", "me:0011\n", 0600);
    assert_null(load(MINIMAL "[service b]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:1\n"
                             "psk-file = short\n",
                     NULL));
    assert_int_equal(errors.count, 2);
    assert_int_equal(strncmp(errors.line[0], "short:1: ", 9), 0);
    assert_string_equal(errors.line[1], "x.ini:8: service.b.psk-file: \"short\" cannot be used; "
                                        "cure what is said of it above");
    conf_unref(load_good("[service b]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:1\n"
                         "psk-file = short\nallow-weak-keys = yes\n",
                         NULL));
}

static void test_all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    assert_null(load("junk\n[daemon]\nworkers = 1000\nnonsense = 1\n[service a]\nlisten = x\n"
                     "backend = 127.0.0.1:0\npsk-file = nowhere\nmtu = 1\nciphers = no\n[oops]\n",
                     (const char *const[]){"daemon.log=x", NULL}));
    assert_int_equal(errors.count, 11);
}

static void assert_one_error(const char *text, const char *expected)
{
    errors_clear(&errors);
    assert_null(load(text, NULL));
    for (unsigned i = 1; i < errors.count; i++)
        print_message("%s\n", errors.line[i]);
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.line[0], expected));
}

static void test_what_was_meant_is_not_missing(void **state)
{
    static const char rest[] = "backend = 127.0.0.1:1\npsk-file = keys\n";
    static const char *const cases[][2] = {
        {"[service a]\nlisen = 127.0.0.1:0\n", "did you mean listen?"},
        {"[service a]\nlisten 127.0.0.1:0\n", "did you mean listen?"},
        {"[daemon]\nlisten = 127.0.0.1:0\n[service a]\n", "belongs into a [service NAME]"},
        {"[service a]\n[service a]\nlisten = 127.0.0.1:0\n", "second section of this name"},
        {"[servce a]\nlisten = 127.0.0.1:0\n", "unknown section"},
        {"[service a!]\nlisten = 127.0.0.1:0\n", "needs a name"},
        {"[service a\nlisten = 127.0.0.1:0\n", "this line is no section"},
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(text, sizeof(text), "%s%s", cases[i][0], rest);
        assert_one_error(text, cases[i][1]);
    }
    errors_clear(&errors);
    assert_null(load("[daemon]\nworker = 1\n", NULL)); /* which is no service's */
    assert_int_equal(errors.count, 2);
}

static void test_each_of_a_list_is_told(void **state)
{
    (void)state;
    assert_null(load("[service a]\nlisten = x, 127.0.0.1:0, y\nbackend = 127.0.0.1:1\n"
                     "psk-file = keys\n",
                     NULL));
    assert_int_equal(errors.count, 2);
    assert_string_equal(errors.line[1], "x.ini:2: service.a.listen: \"y\" is not numeric ADDR:PORT "
                                        "such as 0.0.0.0:5684 or [::]:5684");
}

static void test_harmless_change_passes_the_reload(void **state)
{
    struct conf *running = load_good(MINIMAL, NULL);
    struct conf *next = load_good(MINIMAL "mtu = 700\nciphers = PSK-AES128-CCM\nidle-timeout = 2h\n"
                                          "[daemon]\nlog-level = debug\nmax-sessions = 5\n",
                                  NULL);

    (void)state;
    conf_check_reload(running, next, "x.ini", &errors);
    assert_int_equal(errors.count, 0);
    conf_unref(running);
    conf_unref(next);
}

static void test_reload_refuses_what_needs_a_restart(void **state)
{
    static const char *const expected[] = {
        "x.ini:10: daemon.user: cannot change while running (now nobody, new root); restart "
        "dtlsgate",
        "x.ini:11: daemon.workers: cannot change while running (now 1, new 2); restart dtlsgate",
        ("x.ini: service.a.listen: cannot change while running (now 127.0.0.1:0, new 127.0.0.1:7); "
         "restart dtlsgate"),
        "x.ini: service.b: cannot go while running; restart dtlsgate",
        "x.ini:5: service.c: cannot be added while running; restart dtlsgate"};
    struct conf *running = load_good(
        MINIMAL "[service b]\nlisten = 127.0.0.1:3\nbackend = 127.0.0.1:4\npsk-file = keys\n"
                "[daemon]\nuser = nobody\nworkers = 1\n",
        NULL);
    struct conf *next = load_good(
        MINIMAL "[service c]\nlisten = 127.0.0.1:3\nbackend = 127.0.0.1:4\npsk-file = keys\n"
                "[daemon]\nuser = root\nworkers = 2\n",
        (const char *const[]){"service.a.listen=127.0.0.1:7", NULL});

    (void)state;
    conf_check_reload(running, next, "x.ini", &errors);
    assert_int_equal(errors.count, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_string_equal(errors.line[i], expected[i]);
    conf_unref(running);
    conf_unref(next);
}

static void test_last_reference_frees(void **state)
{
    struct conf *c = load_good(MINIMAL, NULL);

    (void)state;
    assert_ptr_equal(conf_ref(c), c);
    conf_unref(c);
    assert_string_equal(c->service[0].name, "a");
    conf_unref(c);
    conf_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal_file_gets_the_defaults),
        cmocka_unit_test(test_every_setting_can_be_changed),
        cmocka_unit_test(test_command_line_alone_makes_a_service),
        cmocka_unit_test(test_old_devices_get_cbc_suites_by_default),
        cmocka_unit_test(test_services_are_ordered_by_name),
        cmocka_unit_test(test_printed_settings_read_back_the_same),
        cmocka_unit_test(test_longest_list_of_addresses_reads_back),
        cmocka_unit_test(test_missing_keys_are_told_where_the_section_is),
        cmocka_unit_test(test_unreadable_file_is_the_only_error),
        cmocka_unit_test(test_bad_values_name_key_value_and_cure),
        cmocka_unit_test(test_key_file_errors_name_both_files),
        cmocka_unit_test(test_all_mistakes_are_told_at_once),
        cmocka_unit_test(test_what_was_meant_is_not_missing),
        cmocka_unit_test(test_each_of_a_list_is_told),
        cmocka_unit_test(test_harmless_change_passes_the_reload),
        cmocka_unit_test(test_reload_refuses_what_needs_a_restart),
        cmocka_unit_test(test_last_reference_frees),
    };

    return cmocka_run_group_tests_name("conf", tests, conf_text_setup, conf_text_teardown);
}
