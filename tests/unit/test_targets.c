/* targets: numbers that stay, and who may answer. */
#include "proxy/targets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct addr addr_of(uint16_t port)
{
    return (struct addr){.ip = {127, 0, 0, 1}, .port = port, .family = AF_INET};
}

static void test_those_in_the_list_may_answer(void **state)
{
    struct targets t = {0};
    const struct addr list[] = {addr_of(1), addr_of(2)}, other = addr_of(3);

    (void)state;
    assert_false(targets_have(&t, &list[0]));
    assert_true(targets_set(&t, list, 2));
    assert_true(targets_have(&t, &list[0]) && targets_have(&t, &list[1]));
    assert_false(targets_have(&t, &other));
    assert_true(targets_set(&t, &list[1], 1));
    assert_false(targets_have(&t, &list[0]));
    targets_clear(&t);
    assert_false(targets_have(&t, &list[1]));
}

static void test_one_that_has_flows_may_answer_until_they_are_closed(void **state)
{
    struct targets t = {0};
    const struct addr one = addr_of(1), two = addr_of(2), three = addr_of(3);
    uint16_t a, b, c;

    (void)state;
    assert_true(targets_set(&t, &one, 1));
    assert_true(targets_take(&t, &one, &a) && targets_take(&t, &one, &b));
    assert_int_equal(a, b);
    assert_true(targets_set(&t, &two, 1));
    assert_true(targets_have(&t, &one));
    targets_give_back(&t, a);
    assert_true(targets_have(&t, &one));
    assert_true(targets_take(&t, &three, &c)); /* beside the list */
    assert_true(c != a && targets_have(&t, &three));
    assert_true(addr_equal(targets_address(&t, b), &one));
    targets_give_back(&t, b);
    assert_false(targets_have(&t, &one));
    assert_true(targets_take(&t, &two, &a));
    targets_give_back(&t, a);
    assert_true(targets_have(&t, &two)); /* by the list */
    targets_give_back(&t, c);
    targets_clear(&t);
}

static void test_free_numbers_are_used_again(void **state)
{
    struct targets t = {0};
    uint16_t number;

    (void)state;
    for (uint16_t port = 1; port < 1000; port++) {
        const struct addr a = addr_of(port);
        assert_true(targets_take(&t, &a, &number));
        assert_int_equal(number, 0);
        targets_give_back(&t, number);
    }
    targets_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_in_the_list_may_answer),
        cmocka_unit_test(test_one_that_has_flows_may_answer_until_they_are_closed),
        cmocka_unit_test(test_free_numbers_are_used_again),
    };

    return cmocka_run_group_tests_name("targets", tests, NULL, NULL);
}
