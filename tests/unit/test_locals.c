/* locals: one number for one address, for as long as anybody holds it. */
#include "proxy/locals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MANY 5000

static int set_up(void **state)
{
    static struct locals ls;

    assert_true(locals_init(&ls));
    *state = &ls;
    return 0;
}

static int tear_down(void **state)
{
    locals_clear(*state);
    return 0;
}

static struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static void test_one_address_has_one_number(void **state)
{
    struct addr a = address("192.0.2.1:5684"), b = address("[2001:db8::1]:5684");
    uint32_t first = locals_take(*state, &a), second = locals_take(*state, &b);

    assert_int_not_equal(first, LOCALS_NONE);
    assert_int_not_equal(second, LOCALS_NONE);
    assert_int_not_equal(first, second);
    assert_int_equal(locals_take(*state, &a), first);
    assert_true(addr_equal(locals_at(*state, first), &a));
    assert_true(addr_equal(locals_at(*state, second), &b));
    locals_give(*state, first);
    assert_true(addr_equal(locals_at(*state, first), &a));
    locals_give(*state, first);
    locals_give(*state, second);
    locals_give(*state, LOCALS_NONE);
}

static void test_each_part_of_an_address_counts(void **state)
{
    static const char *const texts[] = {"[fe80::1%1]:5684", "[fe80::1%2]:5684", "[fe80::1%1]:5685",
                                        "[fe80::2%1]:5684", "254.128.0.0:5684"};
    uint32_t numbers[5];

    for (int i = 0; i < 5; i++) {
        struct addr a = address(texts[i]);
        numbers[i] = locals_take(*state, &a);
        for (int j = 0; j < i; j++)
            assert_int_not_equal(numbers[i], numbers[j]);
    }
    for (int i = 0; i < 5; i++)
        locals_give(*state, numbers[i]);
}

static void test_any_number_of_them_is_right(void **state)
{
    static uint32_t numbers[MANY];
    struct locals *ls = *state;
    struct addr a = address("[2001:db8::]:5684");

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            a.ip[14] = (uint8_t)(i >> 8);
            a.ip[15] = (uint8_t)i;
            numbers[i] = locals_take(ls, &a);
            assert_in_range(numbers[i], 1, 8192); /* those given back come again */
        }
        for (int i = 0; i < MANY; i++) {
            a.ip[14] = (uint8_t)(i >> 8);
            a.ip[15] = (uint8_t)i;
            assert_true(addr_equal(locals_at(ls, numbers[i]), &a));
        }
        for (int i = 0; i < MANY; i++)
            locals_give(ls, numbers[i]);
        assert_int_equal(ls->table.count, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_address_has_one_number),
        TEST(test_each_part_of_an_address_counts),
        TEST(test_any_number_of_them_is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
