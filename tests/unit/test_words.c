/*
 * test_words: a line of any bytes becomes words, or a reason why not.
 */
#include "daemon/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct words w;

static void test_words_are_separated_by_blanks(void **state)
{
    (void)state;
    assert_null(words_split(&w, " \tone  two\tthree ", 17));
    assert_int_equal(w.count, 3);
    assert_string_equal(w.word[0], "one");
    assert_string_equal(w.word[1], "two");
    assert_string_equal(w.word[2], "three");
    assert_null(words_split(&w, "one", 2)); /* the rest is not ours */
    assert_string_equal(w.word[0], "on");
    assert_null(words_split(&w, "   ", 3));
    assert_int_equal(w.count, 0);
    assert_null(words_split(&w, "", 0));
}

static void test_escapes_hold_any_byte_but_nul(void **state)
{
    (void)state;
    assert_null(words_split(&w, "a\\x20b \\x5cx20 \\xff\xff", 20));
    assert_int_equal(w.count, 3);
    assert_string_equal(w.word[0], "a b");
    assert_string_equal(w.word[1], "\\x20");
    assert_string_equal(w.word[2], "\xff\xff");
    assert_non_null(strstr(words_split(&w, "a \\n", 4), "backslash"));
    assert_non_null(strstr(words_split(&w, "a\\x2", 4), "backslash"));
    assert_non_null(strstr(words_split(&w, "\\x00", 4), "NUL"));
    assert_non_null(strstr(words_split(&w, "a\0b", 3), "NUL"));
}

static void test_the_longest_line_fits(void **state)
{
    char *line = malloc(WORDS_LINE_MAX + 1);

    (void)state;
    assert_non_null(line);
    memset(line, 'x', WORDS_LINE_MAX + 1);
    assert_null(words_split(&w, line, WORDS_LINE_MAX));
    assert_int_equal(strlen(w.word[0]), WORDS_LINE_MAX);
    assert_string_equal(words_split(&w, line, WORDS_LINE_MAX + 1), "the line is too long");
    for (size_t i = 0; i < WORDS_MAX; i++)
        line[2 * i + 1] = ' ';
    assert_null(words_split(&w, line, 2 * WORDS_MAX));
    assert_int_equal(w.count, WORDS_MAX);
    assert_string_equal(words_split(&w, line, 2 * WORDS_MAX + 1), "too many words");
    free(line);
}

static void test_a_word_is_taken_out_wherever_it_stands(void **state)
{
    (void)state;
    assert_null(words_split(&w, "--json a --json b --jsonx", 25));
    assert_true(words_take_out(&w, "--json"));
    assert_int_equal(w.count, 3);
    assert_string_equal(w.word[0], "a");
    assert_string_equal(w.word[2], "--jsonx");
    assert_false(words_take_out(&w, "--json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_separated_by_blanks),
        cmocka_unit_test(test_escapes_hold_any_byte_but_nul),
        cmocka_unit_test(test_the_longest_line_fits),
        cmocka_unit_test(test_a_word_is_taken_out_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
