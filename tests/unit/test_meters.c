/*
 * test_meters: rates by name, on a clock of the test's own.
 */
#include "base/meters.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define START UINT64_C(1000000)
#define RATE 10

static bool draw(struct meters *m, const char *name, uint64_t now)
{
    struct meter *pair = meters_find(m, name, strlen(name), now);

    if (!meter_has(&pair[0], 1, RATE, now))
        return false;
    meter_draw(&pair[0], 1, RATE, now);
    return true;
}

static unsigned draw_all(struct meters *m, const char *name, uint64_t now)
{
    unsigned n = 0;

    while (n < 1000 && draw(m, name, now))
        n++;
    return n;
}

static int setup(void **state)
{
    *state = meters_new();
    return *state == NULL;
}

static int teardown(void **state)
{
    meters_free(*state);
    return 0;
}

static void test_each_name_has_a_rate_of_its_own(void **state)
{
    assert_int_equal(draw_all(*state, "a", START), RATE);
    assert_int_equal(draw_all(*state, "b", START), RATE);
    assert_int_equal(draw_all(*state, "a", START), 0);
    assert_int_equal(draw_all(*state, "a", START + 500), RATE / 2);
    assert_int_equal(draw_all(*state, "b", START + 1000), RATE);
}

static void test_both_of_a_pair_count_apart(void **state)
{
    struct meter *pair = meters_find(*state, "a", 1, START);

    meter_draw(&pair[0], RATE, RATE, START);
    assert_ptr_equal(meters_find(*state, "a", 1, START), pair);
    assert_true(meter_has(&pair[1], 1, RATE, START));
    assert_false(meter_has(&pair[0], 1, RATE, START));
}

/* Many times as many as there are places, but never many at once. */
static void test_names_that_are_quiet_make_room(void **state)
{
    char name[32];

    for (unsigned i = 0; i < 400000; i++) {
        snprintf(name, sizeof name, "dev-%u", i);
        uint64_t now = START + 2000 * (uint64_t)(i / 1000);
        assert_true(draw(*state, name, now));
        assert_int_equal(draw_all(*state, name, now), RATE - 1);
    }
}

/* More at once than there are places: they share, and nobody goes without a bound. */
static void test_a_crowd_shares(void **state)
{
    unsigned long drawn = 0;
    char name[32];

    for (unsigned i = 0; i < 200000; i++) {
        snprintf(name, sizeof name, "dev-%u", i);
        drawn += draw_all(*state, name, START);
    }
    assert_in_range(drawn, 50000UL * RATE, 65536UL * RATE);
}

#define THREADS 4
#define TRIES 20000

static _Atomic unsigned long taken;

static void *draw_names(void *arg)
{
    char name[32];

    for (unsigned i = 0; i < TRIES; i++) {
        snprintf(name, sizeof name, "dev-%u", i / RATE);
        if (draw(arg, name, START))
            atomic_fetch_add(&taken, 1);
    }
    return NULL;
}

/* Threads that come to a new name together find one pair. A draw is two steps, so each thread may
 * have one too many. */
static void test_threads_share_a_name(void **state)
{
    pthread_t thread[THREADS];

    taken = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, draw_names, *state), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_in_range(taken, TRIES, TRIES + (THREADS - 1) * (TRIES / RATE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_name_has_a_rate_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_of_a_pair_count_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_are_quiet_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crowd_shares, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_share_a_name, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
