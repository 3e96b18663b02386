/*
 * test_meter: a shared bucket, on a clock of the test's own.
 */
#include "base/meter.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define START UINT64_C(1000000)

static unsigned draw_all(struct meter *m, uint64_t amount, uint64_t rate, uint64_t now)
{
    unsigned n = 0;

    for (; n < 100000 && meter_has(m, amount, rate, now); n++)
        meter_draw(m, amount, rate, now);
    return n;
}

static void test_it_holds_one_second(void **state)
{
    struct meter m = {0};

    (void)state;
    assert_int_equal(draw_all(&m, 1, 5, START), 5);
    assert_int_equal(draw_all(&m, 1, 5, START + 199), 0);
    assert_int_equal(draw_all(&m, 1, 5, START + 200), 1);
    assert_int_equal(draw_all(&m, 1, 5, START + 600), 2);
    assert_int_equal(draw_all(&m, 1, 5, START + 60000), 5);
}

static void test_the_rate_is_kept_over_time(void **state)
{
    struct meter m = {0};
    unsigned n = 0;

    (void)state;
    for (uint64_t now = START; now < START + 10000; now++)
        n += draw_all(&m, 1, 300, now);
    assert_in_range(n, 300 + 2998, 300 + 3000); /* the first second's, and ten more */
}

static void test_nothing_is_too_large_for_good(void **state)
{
    struct meter m = {0};

    (void)state;
    assert_int_equal(draw_all(&m, 1500, 100, START), 1); /* 15 seconds' worth */
    assert_false(meter_has(&m, 1500, 100, START + 14999));
    assert_false(meter_has(&m, 1, 100, START + 14000));
    assert_true(meter_has(&m, 1, 100, START + 14010));
    assert_true(meter_has(&m, 1500, 100, START + 15000));
}

static void test_what_costs_nothing_is_free(void **state)
{
    struct meter m = {0};

    (void)state;
    meter_draw(&m, 0, 1, START);
    assert_int_equal(draw_all(&m, 1, 1, START), 1);
}

static void test_the_ends_of_the_range(void **state)
{
    struct meter m = {0}, slow = {0};

    (void)state;
    meter_draw(&m, 16384, UINT64_C(1) << 30, START);
    assert_true(meter_has(&m, 16384, UINT64_C(1) << 30, START));
    meter_draw(&slow, 16384, 1, START);
    assert_false(meter_has(&slow, 16384, 1, START + 16383 * 1000));
    assert_true(meter_has(&slow, 16384, 1, START + 16384 * 1000));
}

static struct meter shared;

static void *draw_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++)
        meter_draw(&shared, 1, 1000, START);
    return NULL;
}

static void test_no_draw_is_lost_between_threads(void **state)
{
    pthread_t threads[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, draw_many, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared.paid_until, (START + 40000) * 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds_one_second),
        cmocka_unit_test(test_the_rate_is_kept_over_time),
        cmocka_unit_test(test_nothing_is_too_large_for_good),
        cmocka_unit_test(test_what_costs_nothing_is_free),
        cmocka_unit_test(test_the_ends_of_the_range),
        cmocka_unit_test(test_no_draw_is_lost_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
