/* draft: sections and keys of file and command line; each mistake with its place. */
#include "conf/draft.h"

#include "conf_text.h"

static void test_later_override_wins_over_earlier_and_file(void **state)
{
    struct conf *c = load_good(
        MINIMAL "mtu = 700\n",
        (const char *const[]){"service.a.mtu=800", "service.a.mtu=900", "daemon.workers=2", NULL});

    (void)state;
    assert_int_equal(c->service[0].mtu, 900);
    assert_int_equal(c->daemon.workers, 2);
    conf_unref(c);
}

static void test_unknown_keys(void **state)
{
    (void)state;
    assert_error(MINIMAL "psk_file = keys\n",
                 "x.ini:5: service.a.psk_file: unknown key; did you mean psk-file?");
    assert_error(MINIMAL "workers = 1\n",
                 "x.ini:5: service.a.workers: unknown key here; it belongs into [daemon]");
    assert_error(MINIMAL "[daemon]\nlisten = 1\n", "x.ini:6: daemon.listen: unknown key here; it "
                                                   "belongs into a [service NAME]");
    assert_error(MINIMAL "[daemon]\n\x1bx\" = 1\n",
                 "x.ini:6: daemon.\\x1bx\\x22: unknown key; dtlsgate.ini(5) tells which there are");
}

static void test_unknown_sections_hide_their_keys(void **state)
{
    (void)state;
    assert_error(MINIMAL "[deamon]\nworkers = x\n",
                 "x.ini:5: deamon: unknown section; did you mean [daemon]?");
    assert_error(MINIMAL "[services b]\nmtu = 1\n",
                 "x.ini:5: services b: unknown section; did you mean [service NAME]?");
    assert_error(MINIMAL "[global]\n",
                 "x.ini:5: global: unknown section; there are [daemon], [service NAME] and "
                 "[identity PATTERN]");
}

static void test_service_names(void **state)
{
    struct conf *c = load_good("[service  A-b_9012345678901234567890123456]\nlisten=127.0.0.1:0\n"
                               "backend=127.0.0.1:1\npsk-file=keys\n",
                               NULL);

    (void)state;
    assert_string_equal(c->service[0].name, "A-b_9012345678901234567890123456");
    conf_unref(c);
    assert_error(MINIMAL "[service A-b_90123456789012345678901234567]\n",
                 "x.ini:5: service A-b_90123456789012345678901234567: needs a name of 1 to 32 "
                 "letters, digits, '-' or '_', as in [service coap]");
    assert_error(MINIMAL "[service a.b]\n",
                 "x.ini:5: service a.b: needs a name of 1 to 32 letters, "
                 "digits, '-' or '_', as in [service coap]");
    assert_error(MINIMAL "[service]\n", "x.ini:5: service: needs a name of 1 to 32 letters, "
                                        "digits, '-' or '_', as in [service coap]");
}

static void test_key_before_any_section(void **state)
{
    (void)state;
    assert_error("workers = 1\n" MINIMAL, "x.ini:1: this line stands before the first section; "
                                          "write [daemon] or [service NAME] above it");
}

static void test_what_is_given_twice_names_the_first_line(void **state)
{
    (void)state;
    assert_error(MINIMAL "mtu = 700\n\nmtu = 700\n",
                 "x.ini:7: service.a.mtu: given twice, first in line 5; keep one");
    assert_error(MINIMAL "[daemon]\n[service a]\nmtu = 700\n",
                 "x.ini:6: service.a: second section of this name, the first is in line 1; join "
                 "them");
    assert_error("[daemon]\n" MINIMAL "[daemon]\n",
                 "x.ini:6: daemon: second section of this name, the first is in line 1; join them");
}

static void test_override_errors_blame_the_command_line(void **state)
{
    (void)state;
    assert_override_error("service.a.mtu=x", "command line: service.a.mtu: \"x\" is not a number "
                                             "from 256 to 16384");
    assert_override_error("service.a.mtu", "command line: \"service.a.mtu\" is not "
                                           "SECTION.KEY=VALUE, such as daemon.workers=2");
    assert_override_error("mtu=5", "command line: \"mtu=5\" is not SECTION.KEY=VALUE, such as "
                                   "daemon.workers=2");
    assert_override_error("daemon.worker=5",
                          "command line: daemon.worker: unknown key; did you mean workers?");
    assert_override_error("demon.workers=5",
                          "command line: demon: unknown section; did you mean [daemon]?");
    assert_override_error("service.x.y.mtu=5",
                          "command line: service.x.y: needs a name of 1 to 32 letters, digits, '-' "
                          "or '_', as in [service coap]");
}

static void test_override_reaches_values_with_dots_and_equals(void **state)
{
    struct conf *c = load_good(MINIMAL, (const char *const[]){"service.a.identity-hint=a.b=c.d",
                                                              "service.a.backend=127.0.0.2:7",
                                                              "daemon.user=", NULL});

    (void)state;
    assert_string_equal(c->service[0].identity_hint, "a.b=c.d");
    assert_int_equal(c->service[0].backend.list[0].addr.ip[3], 2);
    assert_null(c->daemon.user);
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_later_override_wins_over_earlier_and_file),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_unknown_sections_hide_their_keys),
        cmocka_unit_test(test_service_names),
        cmocka_unit_test(test_key_before_any_section),
        cmocka_unit_test(test_what_is_given_twice_names_the_first_line),
        cmocka_unit_test(test_override_errors_blame_the_command_line),
        cmocka_unit_test(test_override_reaches_values_with_dots_and_equals),
    };

    return cmocka_run_group_tests_name("draft", tests, conf_text_setup, conf_text_teardown);
}
