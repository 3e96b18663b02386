/*
 * test_text: a text that grows, and that stays short once memory has run out.
 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_it_grows(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_format(&t, "%03d", i);
    assert_int_equal(t.len, 3000);
    assert_false(t.is_short);
    assert_memory_equal(t.data, "000001002", 9);
    assert_string_equal(t.data + 2997, "999");
    text_clear(&t);
    assert_null(t.data);
    assert_int_equal(t.len, 0);
}

static void test_bytes_of_any_value(void **state)
{
    struct text t = {0};

    (void)state;
    text_add(&t, "a");
    text_add_bytes(&t, "\0b", 2);
    text_add(&t, "");
    assert_int_equal(t.len, 3);
    assert_memory_equal(t.data, "a\0b", 4);
    text_empty(&t);
    assert_string_equal(t.data, "");
    text_add(&t, "new");
    assert_string_equal(t.data, "new");
    text_clear(&t);
}

static void test_what_is_too_much_leaves_it_short(void **state)
{
    struct text t = {0};

    (void)state;
    text_add(&t, "whole");
    text_add_bytes(&t, "", SIZE_MAX / 2);
    assert_true(t.is_short);
    text_add(&t, "not taken");
    assert_string_equal(t.data, "whole");
    text_empty(&t);
    assert_false(t.is_short);
    text_add(&t, "taken");
    assert_string_equal(t.data, "taken");
    text_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_grows),
        cmocka_unit_test(test_bytes_of_any_value),
        cmocka_unit_test(test_what_is_too_much_leaves_it_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
