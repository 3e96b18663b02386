/* history: rates between samples, and the oldest falls out. */
#include "daemon/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct history history;
static struct stats sum;
static struct text text;

static int begin(void **state)
{
    (void)state;
    memset(&history, 0, sizeof(history));
    memset(&sum, 0, sizeof(sum));
    return 0;
}

static int end(void **state)
{
    (void)state;
    text_clear(&text);
    return 0;
}

static void take(uint64_t datagrams, uint64_t sessions, uint64_t now)
{
    stats_add(&sum.client_datagrams, datagrams);
    stats_set(&sum.sessions, sessions);
    history_take(&history, &sum, 0, now);
}

/* What stands behind `name` in brackets. */
static const char *list(const char *name, uint64_t since, uint64_t now)
{
    struct json json;
    char *at;

    text_clear(&text);
    json_init(&json, &text);
    history_write(&history, since, now, &json);
    at = strstr(text.data, name);
    assert_non_null(at);
    at = strchr(at, '[');
    *strchr(at, ']') = '\0';
    return at + 1;
}

static void test_a_rate_takes_two_samples(void **state)
{
    (void)state;
    assert_string_equal(list("\"age_ms\"", 0, 1), "");
    take(5, 1, 1000);
    assert_string_equal(list("\"sessions\"", 0, 1000), "");
    take(10, 7, 3000);
    take(3, 8, 4000);
    assert_string_equal(list("\"client_datagrams\"", 0, 5000), "5,3");
    assert_string_equal(list("\"sessions\"", 0, 5000), "7,8");
    assert_string_equal(list("\"age_ms\"", 0, 5000), "2000,1000");
    assert_string_equal(list("\"drops\"", 0, 5000), "0,0");
}

static void test_only_what_is_new_is_told(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++)
        take(0, i, i * 2000);
    assert_string_equal(list("\"sessions\"", 3, 10000), "4,5");
    assert_string_equal(list("\"sessions\"", 5, 10000), "");
    assert_string_equal(list("\"sessions\"", 6, 10000), "2,3,4,5"); /* of another process */
    assert_string_equal(list("\"sessions\"", UINT64_MAX, 10000), "2,3,4,5");
}

static void test_the_oldest_falls_out(void **state)
{
    unsigned commas = 0;

    (void)state;
    for (uint64_t i = 1; i <= 1000; i++)
        take(2, i, i * 2000);
    for (const char *s = list("\"client_datagrams\"", 0, 2000000); *s != '\0'; s++) {
        assert_true(*s == '1' || *s == ',');
        commas += *s == ',';
    }
    assert_int_equal(commas, HISTORY_STEPS - 1);
    assert_memory_equal(list("\"sessions\"", 1, 2000000), "701,702,", 8);
}

static void test_no_two_samples_at_one_time(void **state)
{
    (void)state;
    take(1, 1, 1000);
    take(1, 2, 1000);
    assert_int_equal(history.taken, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_rate_takes_two_samples, begin, end),
        cmocka_unit_test_setup_teardown(test_only_what_is_new_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_the_oldest_falls_out, begin, end),
        cmocka_unit_test_setup_teardown(test_no_two_samples_at_one_time, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
