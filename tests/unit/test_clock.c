/* clock: form and direction; the time itself is the system's. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void test_never_goes_back(void **state)
{
    uint64_t before = clock_now_ms();

    (void)state;
    assert_true(before > 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_now_ms();

        assert_true(now >= before);
        before = now;
    }
}

static void test_counts_milliseconds_of_the_monotonic_clock(void **state)
{
    struct timespec ts;
    uint64_t first = clock_now_ms(), own;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    own = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
    assert_true(own + 1 >= first && own <= clock_now_ms());
}

static void test_wall_text_is_utc_now(void **state)
{
    char buf[CLOCK_TEXT_MAX];
    struct tm tm = {0};
    time_t before = time(NULL), then;
    int ms = -1, used = 0;

    (void)state;
    assert_ptr_equal(clock_wall_text(buf), buf);
    assert_int_equal(strlen(buf), strlen("2026-11-22T13:30:40.123Z"));
    assert_int_equal(sscanf(buf, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &tm.tm_year, &tm.tm_mon,
                            &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &used),
                     7);
    assert_int_equal(used, strlen(buf));
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    then = timegm(&tm);
    /* time(2) may lag behind by one tick at the turn of a second. */
    assert_true(then >= before && then <= time(NULL) + 1);
    assert_in_range(ms, 0, 999);
}

/* Ours in place of libc's. */
static const struct timespec *set_to;
int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (set_to == NULL)
        return (int)syscall(SYS_clock_gettime, id, ts);
    *ts = *set_to;
    return 0;
}

static void test_wall_text_follows_the_clock(void **state)
{
    static const struct {
        struct timespec at;
        const char *text;
    } steps[] = {
        {{1795354240, 999999999}, "2026-11-22T13:30:40.999Z"},
        {{1795354240, 7000000}, "2026-11-22T13:30:40.007Z"},
        {{1795354241, 0}, "2026-11-22T13:30:41.000Z"},
        {{1798761599, 120000000}, "2026-12-31T23:59:59.120Z"},
        {{1798761600, 0}, "2027-01-01T00:00:00.000Z"},
        {{0, 1000000}, "1970-01-01T00:00:00.001Z"},
    };
    char buf[CLOCK_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        set_to = &steps[i].at;
        assert_string_equal(clock_wall_text(buf), steps[i].text);
    }
    set_to = NULL;
}

static void test_wall_counts_from_1970(void **state)
{
    uint64_t before = (uint64_t)time(NULL), now = clock_wall_ms() / 1000;

    (void)state;
    assert_true(now >= before && now <= (uint64_t)time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_goes_back),
        cmocka_unit_test(test_counts_milliseconds_of_the_monotonic_clock),
        cmocka_unit_test(test_wall_text_is_utc_now),
        cmocka_unit_test(test_wall_text_follows_the_clock),
        cmocka_unit_test(test_wall_counts_from_1970),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
