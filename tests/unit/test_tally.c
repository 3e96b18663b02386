/* tally: what a client's record numbers tell of its link. */
#include "proxy/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct tally begun(uint64_t newest)
{
    struct tally t = {0};

    tally_begin(&t, newest, 7, false);
    return t;
}

static void test_a_link_that_loses_nothing(void **state)
{
    struct tally t = begun(0);

    (void)state;
    for (uint64_t seq = 1; seq < 1000; seq++)
        tally_record(&t, seq);
    assert_int_equal(t.opened, 1000);
    assert_int_equal(tally_lost(&t) + t.late + t.too_old, 0);
    assert_int_equal(t.handshake_ms, 7);
}

static void test_what_comes_late_is_not_lost(void **state)
{
    struct tally t = begun(1); /* the first Finished was lost */

    (void)state;
    assert_int_equal(tally_lost(&t), 1);
    tally_record(&t, 5);
    assert_int_equal(tally_lost(&t), 4);
    tally_record(&t, 3);
    tally_record(&t, 2);
    tally_record(&t, 4);
    assert_int_equal(tally_lost(&t), 1);
    assert_int_equal(t.late, 3);
    assert_int_equal(t.newest, 5);
}

static void test_a_copy_and_one_that_is_too_old(void **state)
{
    struct tally t = begun(0);

    (void)state;
    tally_record(&t, 100);
    tally_client_drop(&t, FATE_DROP_REPLAY, 100);
    tally_client_drop(&t, FATE_DROP_REPLAY, 37); /* in the window: a copy */
    assert_int_equal(t.too_old, 0);
    tally_client_drop(&t, FATE_DROP_REPLAY, 36);
    tally_client_drop(&t, FATE_DROP_FORGED, 0);
    assert_int_equal(t.too_old, 1);
    assert_int_equal(t.from_client[FATE_DROP_REPLAY - FATE_DROP_JUNK], 3);
    assert_int_equal(t.from_client[FATE_DROP_FORGED - FATE_DROP_JUNK], 1);
}

static void test_counters_stay_at_their_largest(void **state)
{
    struct tally t = begun(0);

    (void)state;
    t.from_backend[BACK_DROP_EMPTY - BACK_DROP_TOO_BIG] = UINT32_MAX - 1;
    for (int i = 0; i < 3; i++)
        tally_backend_drop(&t, BACK_DROP_EMPTY);
    assert_true(t.from_backend[BACK_DROP_EMPTY - BACK_DROP_TOO_BIG] == UINT32_MAX);
    tally_begin(&t, 0, UINT64_MAX, true);
    assert_true(t.handshake_ms == INT32_MAX && t.is_resumed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_link_that_loses_nothing),
        cmocka_unit_test(test_what_comes_late_is_not_lost),
        cmocka_unit_test(test_a_copy_and_one_that_is_too_old),
        cmocka_unit_test(test_counters_stay_at_their_largest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
