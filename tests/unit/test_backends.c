/* backends and probe: text to lists and back, and what is wrong with text. */
#include "conf/backends.h"
#include "conf/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct backends parse(const char *text)
{
    struct backends b = {0};
    char why[400];

    if (!backends_parse(&b, text, why, sizeof(why)))
        fail_msg("%s: %s", text, why);
    return b;
}

static void assert_refused(const char *text, const char *expected)
{
    struct backends b = {0};
    char why[400] = "";

    assert_false(backends_parse(&b, text, why, sizeof(why)));
    assert_string_equal(why, expected);
    assert_null(b.list);
}

static void test_options_stand_behind_an_address(void **state)
{
    struct backends b = parse("127.0.0.1:1,  [::1]:2 weight=100 ,\t127.0.0.3:3 backup  weight=2,"
                              "127.0.0.4:4 drain");
    struct addr a;

    (void)state;
    assert_int_equal(b.count, 4);
    assert_int_equal(b.list[0].weight, 1);
    assert_int_equal(b.list[1].weight, 100);
    assert_int_equal(b.list[1].addr.family, AF_INET6);
    assert_true(b.list[2].is_backup && b.list[2].weight == 2 && !b.list[2].is_drained);
    assert_true(b.list[3].is_drained && !b.list[3].is_backup);
    assert_true(addr_parse(&a, "127.0.0.3:3"));
    assert_ptr_equal(backends_find(&b, &a), &b.list[2]);
    a.port = 4;
    assert_null(backends_find(&b, &a));
    assert_ptr_equal(backends_misfit(&b, AF_INET), &b.list[1]);
    backends_clear(&b);
    assert_null(backends_misfit(&b, AF_INET));
}

static void test_what_is_printed_is_read_back(void **state)
{
    static const char text[] =
        "127.0.0.1:1, localhost:2 weight=7 backup, [::1]:3 backup drain, 127.0.0.1:4 weight=2";
    struct backends b = parse(text), again;
    char first[400], second[400];

    (void)state;
    assert_string_equal(backends_format(&b, first, sizeof(first)), text);
    assert_string_equal(b.list[1].name, "localhost:2");
    assert_null(b.list[0].name);
    again = parse(first);
    assert_string_equal(backends_format(&again, second, sizeof(second)), text);
    assert_string_equal(backends_format(&again, second, 12), "127.0.0.1:1");
    backends_clear(&again);
    backends_clear(&b);
}

static void test_what_is_wrong_is_told(void **state)
{
    static const char *const cases[][2] = {
        {"", "\"\" is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT"},
        {"127.0.0.1:0", "\"127.0.0.1:0\" has port 0; write the port that the service listens on"},
        {"127.0.0.1:1,", "\"\" is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT"},
        {"127.0.0.1:1, 0.0.0.0:2",
         "\"0.0.0.0:2\" is no address to send to; write 127.0.0.1 for this host"},
        {"x, 127.0.0.1:1, 127.0.0.1:0 drain",
         "\"x\" is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT\n"
         "\"127.0.0.1:0 drain\" has port 0; write the port that the service listens on"},
        {"127.0.0.1:1, 127.0.0.1:1 backup",
         "\"127.0.0.1:1 backup\" stands there twice; leave one out"},
        {"127.0.0.1:1 backup", "has backups alone; leave the word out behind one"},
    };
    static const char *const words[] = {
        "weight=0", "weight=101", "weight=", "weight=1x",  "weight=-1",
        "weight",   "Backup",     "drained", "weight=0001"};
    char text[64], why[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_refused(cases[i][0], cases[i][1]);
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        snprintf(text, sizeof(text), "127.0.0.1:1 %s", words[i]);
        snprintf(why, sizeof(why),
                 "\"%s\" has a word that is none of weight=1 to weight=100, backup and "
                 "drain",
                 text);
        assert_refused(text, why);
    }
}

static void test_there_is_a_most_of_everything(void **state)
{
    char why[128];
    char text[8192] = "", longest[600];
    struct backends b;

    (void)state;
    for (int i = 1; i <= BACKENDS_MAX; i++)
        snprintf(text + strlen(text), 32, "%s127.0.0.1:%d", i > 1 ? "," : "", i);
    b = parse(text);
    assert_int_equal(b.count, BACKENDS_MAX);
    backends_clear(&b);
    strcat(text, ",127.0.0.1:99");
    assert_refused(text, "has too many entries; give up to 32");
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    snprintf(why, sizeof(why), "\"%.80s...\" is too long for HOST:PORT", longest);
    assert_refused(longest, why);
}

static void test_a_probe_is_one_datagram_or_several(void **state)
{
    uint8_t got[PROBE_MAX];

    (void)state;
    assert_true(probe_is_valid("udp:00"));
    assert_int_equal(probe_datagram("udp:00", 0, got), 1);
    assert_int_equal(got[0], 0);
    assert_int_equal(probe_datagram("udp:00", 1, got), 0);
    assert_int_equal(probe_datagram("udp:01,a2B3,ff", 1, got), 2);
    assert_true(got[0] == 0xa2 && got[1] == 0xb3);
    assert_int_equal(probe_datagram("udp:01,a2B3,ff", 2, got), 1);
    assert_int_equal(probe_datagram("udp:01,a2B3,ff", 3, got), 0);
}

static void test_no_probes(void **state)
{
    static const char *const wrong[] = {
        "",        "udp",     "udp:",    "udp:0", "udp:0g",      "tcp:00",
        "udp:00,", "udp:,00", "udp: 00", "00",    "udp:1,1,1,1", "udp:01,02,03,04,05,06,07,08,09"};
    char text[PROBE_TEXT_MAX + 3] = "udp:";

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        if (probe_is_valid(wrong[i]))
            fail_msg("%s", wrong[i]);
    memset(text + 4, 'a', PROBE_TEXT_MAX - 4);
    assert_true(probe_is_valid(text));
    strcat(text, "aa");
    assert_false(probe_is_valid(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_stand_behind_an_address),
        cmocka_unit_test(test_what_is_printed_is_read_back),
        cmocka_unit_test(test_what_is_wrong_is_told),
        cmocka_unit_test(test_there_is_a_most_of_everything),
        cmocka_unit_test(test_a_probe_is_one_datagram_or_several),
        cmocka_unit_test(test_no_probes),
    };

    return cmocka_run_group_tests_name("backends", tests, NULL, NULL);
}
