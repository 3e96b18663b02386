/*
 * test_sample: figures of dtlsgatectl top out of answers, well formed or not, and their rates.
 */
#include "ctl/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sample before, after;

static void test_status_becomes_figures(void **state)
{
    (void)state;
    after = (struct sample){.at_ms = 0};
    sample_read_status(&after, "version: 1.2\nstate: running\ndraining: no\nsessions: 12\n"
                               "worker: index=0 sessions=3\nclient.drop_junk: 7");
    assert_string_equal(after.version, "1.2");
    assert_string_equal(after.state, "running");
    assert_string_equal(after.draining, "no");
    assert_int_equal(sample_value(&after, "sessions"), 12);
    assert_int_equal(sample_value(&after, "client.drop_junk"), 7);
    assert_int_equal(sample_value(&after, "worker"), 0);
    assert_int_equal(sample_value(&after, "missing"), 0);
}

static void test_rates_are_per_second(void **state)
{
    (void)state;
    before = (struct sample){.at_ms = 1000};
    after = (struct sample){.at_ms = 3000};
    sample_read_status(&before, "a: 10\nb: 10\n");
    sample_read_status(&after, "a: 40\nb: 5\nc: 8\n");
    assert_float_equal(sample_rate(&after, &before, "a"), 15.0, 0.001);
    assert_float_equal(sample_rate(&after, &before, "b"), 0.0, 0.001); /* it was started anew */
    assert_float_equal(sample_rate(&after, &before, "c"), 4.0, 0.001);
    assert_float_equal(sample_rate(&after, &after, "a"), 0.0, 0.001);
}

static void test_busiest_identities_come_first(void **state)
{
    struct sample_busy busy[4];

    (void)state;
    before = (struct sample){.at_ms = 1000};
    after = (struct sample){.at_ms = 2000};
    sample_read_sessions(&before, "session: id=1 identity=a in-datagrams=1 out-datagrams=1\n"
                                  "session: id=2 identity=\"b c\" in-datagrams=5 in-bytes=50\n");
    sample_read_sessions(&after,
                         "session: id=1 identity=a in-datagrams=2 out-datagrams=1\n"
                         "session: id=2 identity=\"b c\" in-datagrams=10 in-bytes=100 peer=p:1\n"
                         "session: id=3 identity=\"b c\" in-datagrams=100\n"
                         "count: 3\n");
    assert_int_equal(sample_busiest(&after, &before, busy, 4), 2);
    assert_string_equal(busy[0].identity, "b c");
    assert_int_equal(busy[0].sessions, 2);
    assert_float_equal(busy[0].datagrams, 5.0, 0.001); /* who is new has no rate yet */
    assert_float_equal(busy[0].bytes, 50.0, 0.001);
    assert_string_equal(busy[1].identity, "a");
    assert_float_equal(busy[1].datagrams, 1.0, 0.001);
    assert_int_equal(sample_busiest(&after, &before, busy, 1), 1);
}

static void test_nothing_of_it_is_trusted(void **state)
{
    static const char *const odd[] = {
        "",
        "\n\n",
        ": \n",
        "session: ",
        "session: =\n",
        "session: id\nsession: id=",
        "session: identity=\"\x1b[31m",
        "session: id=99999999999999999999999999999999999\n",
        "a: 99999999999999999999999999999999999\n",
        "version: \x1b]0;x\x07\n",
    };
    char *text = malloc(1 << 20);
    size_t used = 0;

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        after = (struct sample){.at_ms = 0};
        sample_read_status(&after, odd[i]);
        sample_read_sessions(&after, odd[i]);
        assert_null(strchr(after.version, '\x1b'));
        assert_null(strchr(after.session[0].identity, '\x1b'));
    }
    assert_non_null(text);
    for (int i = 0; i < 3000; i++)
        used += (size_t)sprintf(text + used, "figure-%d: %d\nsession: id=%d identity=%0200d\n", i,
                                i, i, i);
    after = (struct sample){.at_ms = 0};
    sample_read_status(&after, text);
    sample_read_sessions(&after, text);
    assert_int_equal(after.figures, SAMPLE_FIGURES_MAX);
    assert_int_equal(after.sessions, SAMPLE_SESSIONS_MAX);
    assert_int_equal(strlen(after.session[0].identity), SAMPLE_IDENTITY_MAX - 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_becomes_figures),
        cmocka_unit_test(test_rates_are_per_second),
        cmocka_unit_test(test_busiest_identities_come_first),
        cmocka_unit_test(test_nothing_of_it_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
