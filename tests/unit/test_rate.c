/* rate: how much passes, on a time of our own. */
#include "base/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Takes until refused. */
static unsigned drain(struct rate *r, uint32_t per_second, uint32_t burst, uint64_t now)
{
    unsigned taken = 0;

    while (rate_take(r, per_second, burst, now, NULL))
        taken++;
    return taken;
}

static void test_starts_full(void **state)
{
    struct rate at_zero = {0}, later = {0};

    (void)state;
    assert_int_equal(drain(&at_zero, 1, 5, 0), 5);
    assert_int_equal(drain(&later, 1, 5, 123456789), 5);
}

static void test_refills_at_its_rate(void **state)
{
    struct rate r = {0};

    (void)state;
    drain(&r, 2, 10, 1000);
    assert_int_equal(drain(&r, 2, 10, 1499), 0);
    assert_int_equal(drain(&r, 2, 10, 1500), 1);
    assert_int_equal(drain(&r, 2, 10, 3500), 4);
}

static void test_no_fraction_is_lost(void **state)
{
    struct rate r = {0};
    unsigned taken = 0;

    (void)state;
    drain(&r, 3, 5, 0);
    for (uint64_t now = 1; now <= 10000; now++)
        taken += drain(&r, 3, 5, now);
    assert_int_equal(taken, 30);
}

static void test_never_holds_more_than_burst(void **state)
{
    struct rate r = {0};

    (void)state;
    drain(&r, 1000, 3, 0);
    assert_int_equal(drain(&r, 1000, 3, 3600000), 3);
    assert_int_equal(drain(&r, 1000, 3, UINT64_MAX), 3);
}

static void test_largest_values(void **state)
{
    struct rate r = {0};

    (void)state;
    assert_int_equal(drain(&r, 1000000, 1000000, 1), 1000000);
    assert_int_equal(drain(&r, 1000000, 1000000, 2), 1000);
    assert_int_equal(drain(&r, 1000000, 1000000, UINT64_MAX), 1000000);
    drain(&r, 1, 1000000, UINT64_MAX);
}

static void test_slow_refill_of_a_large_bucket(void **state)
{
    struct rate r = {0};

    (void)state;
    drain(&r, 1, 1000000, 0);
    assert_int_equal(drain(&r, 1, 1000000, 999999000), 999999);
    assert_int_equal(drain(&r, 1, 1000000, UINT64_MAX), 1000000);
}

static void test_clock_that_goes_back_gives_nothing(void **state)
{
    struct rate r = {0};

    (void)state;
    drain(&r, 1, 2, 10000);
    assert_int_equal(drain(&r, 1, 2, 5000), 0);
    assert_int_equal(drain(&r, 1, 2, 10999), 0);
    assert_int_equal(drain(&r, 1, 2, 11000), 1);
}

static void test_smaller_burst_holds_at_once(void **state)
{
    struct rate r = {0};

    (void)state;
    assert_true(rate_take(&r, 1, 100, 0, NULL));
    assert_int_equal(drain(&r, 1, 7, 0), 7);
}

static void test_tells_how_many_were_refused(void **state)
{
    struct rate r = {0};
    uint32_t skipped = 99;

    (void)state;
    assert_true(rate_take(&r, 1, 1, 0, &skipped));
    assert_int_equal(skipped, 0);
    skipped = 99;
    for (int i = 0; i < 3; i++)
        assert_false(rate_take(&r, 1, 1, 500, &skipped));
    assert_int_equal(skipped, 99);
    assert_true(rate_take(&r, 1, 1, 1000, &skipped));
    assert_int_equal(skipped, 3);
    assert_true(rate_take(&r, 1, 1, 2000, &skipped));
    assert_int_equal(skipped, 0);
}

static void test_refused_count_does_not_wrap(void **state)
{
    struct rate r = {0};
    uint32_t skipped = 0;

    (void)state;
    drain(&r, 1, 1, 0);
    r.refused = UINT32_MAX;
    assert_false(rate_take(&r, 1, 1, 0, NULL));
    assert_true(rate_take(&r, 1, 1, 1000, &skipped));
    assert_true(skipped == UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_full),
        cmocka_unit_test(test_refills_at_its_rate),
        cmocka_unit_test(test_no_fraction_is_lost),
        cmocka_unit_test(test_never_holds_more_than_burst),
        cmocka_unit_test(test_largest_values),
        cmocka_unit_test(test_slow_refill_of_a_large_bucket),
        cmocka_unit_test(test_clock_that_goes_back_gives_nothing),
        cmocka_unit_test(test_smaller_burst_holds_at_once),
        cmocka_unit_test(test_tells_how_many_were_refused),
        cmocka_unit_test(test_refused_count_does_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
