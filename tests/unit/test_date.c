/*
 * test_date: UTC dates and times as text.
 */
#include "conf/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seconds_of(const char *text)
{
    uint64_t ms = 0;

    if (!date_parse(text, &ms))
        fail_msg("\"%s\" is a date", text);
    assert_int_equal(ms % 1000, 0);
    return ms / 1000;
}

static void test_dates_and_times(void **state)
{
    (void)state;
    assert_int_equal(seconds_of("2026-11-22T13:30:40Z"), 1795354240);
    assert_int_equal(seconds_of("1970-01-01T00:00:01Z"), 1);
    assert_int_equal(seconds_of("2000-02-29T23:59:59Z"), 951868799);
    assert_int_equal(seconds_of("9999-12-31T23:59:59Z"), 253402300799);
}

static void test_a_date_alone_is_its_last_second(void **state)
{
    (void)state;
    assert_int_equal(seconds_of("2031-12-31"), seconds_of("2031-12-31T23:59:59Z"));
    assert_int_equal(seconds_of("1970-01-01"), 86399);
}

static void test_what_is_no_date(void **state)
{
    static const char *const texts[] = {"",
                                        "2031",
                                        "2031-12-31T",
                                        "2031-12-31 12:00:00Z",
                                        "31.12.2031",
                                        "2031-13-01",
                                        "2031-12-31T12:00:00",
                                        "2031-12-31T12:00:00+01:00",
                                        "2031-02-29",
                                        "2031-00-01",
                                        "2031-12-31T24:00:00Z",
                                        "2031-12-31T12:60:00Z",
                                        "2031-1-1",
                                        "2031-01-00",
                                        "2031-12-31T12:00:60Z",
                                        "2031-12-31T12:00:00Zx",
                                        "-031-01-01",
                                        "2031-12-32",
                                        "1970-01-01T00:00:00Z",
                                        "1969-12-31",
                                        "tomorrow",
                                        " 031-01-01",
                                        "2031/12/31"};
    uint64_t ms = 42;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (date_parse(texts[i], &ms))
            fail_msg("\"%s\" is none", texts[i]);
    assert_int_equal(ms, 42);
}

static void test_text_is_read_back(void **state)
{
    static const char *const texts[] = {"2026-11-22T13:30:40Z", "1970-01-01T00:00:01Z",
                                        "9999-12-31T23:59:59Z"};
    char buf[DATE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_string_equal(date_text(seconds_of(texts[i]) * 1000, buf), texts[i]);
    assert_string_equal(date_text(0, buf), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates_and_times),
        cmocka_unit_test(test_a_date_alone_is_its_last_second),
        cmocka_unit_test(test_what_is_no_date),
        cmocka_unit_test(test_text_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
