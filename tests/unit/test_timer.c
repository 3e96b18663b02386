/* timer: deadlines come out in order, whatever was moved or cancelled before. */
#include "base/timer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT 300

/* Repeatable numbers (Knuth's MMIX generator). */
static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(*seed >> 33);
}

static void test_none_is_never_due(void **state)
{
    struct timers ts;

    (void)state;
    timers_init(&ts);
    assert_true(timers_next(&ts) == TIMER_NEVER);
    assert_null(timers_expired(&ts, UINT64_MAX));
    timers_clear(&ts);
}

static void test_due_at_its_time_and_not_before(void **state)
{
    struct timers ts;
    struct timer t = {0};

    (void)state;
    timers_init(&ts);
    assert_true(timer_set(&ts, &t, 100));
    assert_true(timers_next(&ts) == 100);
    assert_null(timers_expired(&ts, 99));
    assert_ptr_equal(timers_expired(&ts, 100), &t);
    assert_null(timers_expired(&ts, 100));
    assert_int_equal(t.index, 0);
    assert_true(timer_set(&ts, &t, 50));
    assert_ptr_equal(timers_expired(&ts, 1000), &t);
    timers_clear(&ts);
}

static void test_setting_again_moves_both_ways(void **state)
{
    struct timers ts;
    struct timer a = {0}, b = {0}, c = {0};

    (void)state;
    timers_init(&ts);
    assert_true(timer_set(&ts, &a, 10) && timer_set(&ts, &b, 20) && timer_set(&ts, &c, 30));
    assert_true(timer_set(&ts, &a, 40));
    assert_true(timers_next(&ts) == 20);
    assert_true(timer_set(&ts, &c, 5));
    assert_int_equal(ts.count, 3);
    assert_ptr_equal(timers_expired(&ts, 100), &c);
    assert_ptr_equal(timers_expired(&ts, 100), &b);
    assert_ptr_equal(timers_expired(&ts, 100), &a);
    timers_clear(&ts);
}

static void test_cancel(void **state)
{
    struct timers ts;
    struct timer a = {0}, b = {0};

    (void)state;
    timers_init(&ts);
    timer_cancel(&ts, &a);
    assert_true(timer_set(&ts, &a, 10) && timer_set(&ts, &b, 20));
    timer_cancel(&ts, &a);
    timer_cancel(&ts, &a);
    assert_true(timers_next(&ts) == 20);
    timer_cancel(&ts, &b);
    assert_true(timers_next(&ts) == TIMER_NEVER);
    timers_clear(&ts);
}

static uint64_t earliest(const struct timer *timers)
{
    uint64_t at = TIMER_NEVER;

    for (int i = 0; i < COUNT; i++)
        if (timers[i].index != 0 && timers[i].at < at)
            at = timers[i].at;
    return at;
}

static void test_agrees_with_a_plain_search(void **state)
{
    static struct timer timers[COUNT];
    uint64_t seed = 1, now = 0;
    struct timers ts;

    (void)state;
    timers_init(&ts);
    for (int round = 0; round < 20000; round++) {
        struct timer *t = &timers[next_random(&seed) % COUNT], *due;
        uint32_t action = next_random(&seed) % 8;

        if (action < 5)
            assert_true(timer_set(&ts, t, now + next_random(&seed) % 1000));
        else if (action == 5)
            timer_cancel(&ts, t);
        else
            now += next_random(&seed) % 8;
        assert_true(timers_next(&ts) == earliest(timers));
        while (earliest(timers) <= now) {
            uint64_t at = earliest(timers);

            due = timers_expired(&ts, now);
            assert_non_null(due);
            assert_true(due->at == at);
        }
        assert_null(timers_expired(&ts, now));
    }
    assert_true(ts.count > 0);
    timers_clear(&ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_is_never_due),
        cmocka_unit_test(test_due_at_its_time_and_not_before),
        cmocka_unit_test(test_setting_again_moves_both_ways),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_agrees_with_a_plain_search),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
