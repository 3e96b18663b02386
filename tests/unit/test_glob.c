/*
 * test_glob: patterns of bytes.
 */
#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool fits(const char *pattern, const char *text)
{
    return glob_match(pattern, text, strlen(text));
}

static void test_without_wildcards_it_is_the_text(void **state)
{
    (void)state;
    assert_true(fits("dev-1", "dev-1"));
    assert_true(fits("", ""));
    assert_false(fits("dev-1", "dev-12"));
    assert_false(fits("dev-12", "dev-1"));
    assert_false(fits("dev", "Dev"));
    assert_false(fits("", "a"));
    assert_false(fits("a", ""));
    assert_true(fits("[a]{b}", "[a]{b}"));
}

static void test_a_star_is_any_bytes_or_none(void **state)
{
    (void)state;
    assert_true(fits("*", ""));
    assert_true(fits("*", "anything"));
    assert_true(fits("dev-*", "dev-"));
    assert_true(fits("dev-*", "dev-1"));
    assert_false(fits("dev-*", "dev"));
    assert_true(fits("*-1", "dev-1"));
    assert_false(fits("*-1", "dev-12"));
    assert_true(fits("a*b*c", "a--b--b--c"));
    assert_false(fits("a*b*c", "a--c--b"));
    assert_true(fits("**a**", "a"));
    assert_true(fits("*ab", "aab"));
    assert_true(fits("*aab*", "aaab"));
}

static void test_a_question_mark_is_one_byte(void **state)
{
    (void)state;
    assert_true(fits("dev-?", "dev-1"));
    assert_false(fits("dev-?", "dev-"));
    assert_false(fits("dev-?", "dev-12"));
    assert_true(fits("??*", "ab"));
    assert_false(fits("??*", "a"));
    assert_false(fits("?", "\xc3\xa4")); /* bytes, not letters */
}

static void test_a_backslash_takes_the_next_as_it_is(void **state)
{
    (void)state;
    assert_true(fits("a\\*", "a*"));
    assert_false(fits("a\\*", "ab"));
    assert_true(fits("\\?\\\\", "?\\"));
    assert_true(fits("\\ab", "ab"));
    assert_true(fits("*\\*", "a*"));
    assert_true(fits("a\\", "a\\"));
    assert_true(glob_is_whole("a\\\\"));
    assert_true(glob_is_whole(""));
    assert_false(glob_is_whole("a\\"));
    assert_false(glob_is_whole("\\\\\\"));
}

static void test_the_text_may_hold_any_byte(void **state)
{
    (void)state;
    assert_true(glob_match("a?b", "a\0b", 3));
    assert_true(glob_match("*\xff", "\0\xff", 2));
    assert_false(glob_match("a", "a\0", 2));
}

static void test_literals(void **state)
{
    char out[16];
    size_t len = 99;

    (void)state;
    assert_false(glob_literal("a*", out, &len));
    assert_false(glob_literal("?", out, &len));
    assert_int_equal(len, 99);
    assert_true(glob_literal("a\\*\\\\b", out, &len));
    assert_int_equal(len, 4);
    assert_memory_equal(out, "a*\\b", 4);
    assert_true(glob_literal("", out, &len));
    assert_int_equal(len, 0);
}

/* What goes back over every star would take the age of the universe. */
static void test_no_pattern_takes_long(void **state)
{
    char text[257];

    (void)state;
    memset(text, 'a', 256);
    text[256] = '\0';
    assert_false(fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
    assert_true(fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_wildcards_it_is_the_text),
        cmocka_unit_test(test_a_star_is_any_bytes_or_none),
        cmocka_unit_test(test_a_question_mark_is_one_byte),
        cmocka_unit_test(test_a_backslash_takes_the_next_as_it_is),
        cmocka_unit_test(test_the_text_may_hold_any_byte),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_no_pattern_takes_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
