/* text: grows, keeps its end, and never past its cap. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_pieces_follow_each_other(void **state)
{
    struct text t;

    (void)state;
    text_init(&t, 100);
    text_put(&t, "one ");
    text_add(&t, "two\0x", 4);
    text_printf(&t, " %d%s", 3, "!");
    assert_int_equal(t.len, 11);
    assert_memory_equal(t.at, "one two\0 3!", 12);
    assert_false(t.is_cut);
    text_clear(&t);
    assert_null(t.at);
}

static void test_it_grows_to_its_cap_and_not_beyond(void **state)
{
    struct text t;

    (void)state;
    text_init(&t, 5000);
    for (int i = 0; i < 5000; i++)
        text_put(&t, "x");
    assert_int_equal(t.len, 5000);
    assert_false(t.is_cut);
    text_put(&t, "y");
    assert_true(t.is_cut);
    assert_int_equal(strlen(t.at), 5000);
    text_clear(&t);
}

static void test_what_does_not_fit_is_left_out_whole_and_ends_it(void **state)
{
    struct text t;

    (void)state;
    text_init(&t, 4);
    text_printf(&t, "%s", "12345");
    assert_true(t.is_cut);
    text_put(&t, "1");
    assert_int_equal(t.len, 0);
    text_clear(&t);
    assert_false(t.is_cut);
    text_put(&t, "1234");
    assert_string_equal(t.at, "1234");
    text_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_follow_each_other),
        cmocka_unit_test(test_it_grows_to_its_cap_and_not_beyond),
        cmocka_unit_test(test_what_does_not_fit_is_left_out_whole_and_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
