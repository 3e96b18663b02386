/*
 * test_helper_line: questions as lines, and lines as answers.
 */
#include "proxy/helper_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void assert_question(const void *identity, size_t len, const char *line)
{
    const struct helper_question q = {identity, len, NULL};
    char out[HELPER_QUESTION_MAX];
    size_t n = helper_put_question(&q, out);

    assert_int_equal(n, strlen(line));
    assert_memory_equal(out, line, n);
}

static void test_questions(void **state)
{
    (void)state;
    assert_question("Dev-1_a.b~9", 11, "get Dev-1_a.b~9\n");
    assert_question("a b%\n:/", 7, "get a%20b%25%0A%3A%2F\n");
    assert_question("\0\xff\x80", 3, "get %00%FF%80\n");
}

static void test_the_longest_question_has_room(void **state)
{
    uint8_t identity[PSK_IDENTITY_MAX];
    const struct helper_question q = {identity, sizeof identity, NULL};
    char out[HELPER_QUESTION_MAX];

    (void)state;
    memset(identity, ' ', sizeof identity);
    assert_int_equal(helper_put_question(&q, out), sizeof out);
    assert_int_equal(out[sizeof out - 1], '\n');
}

static void assert_key(const char *line, size_t len)
{
    struct helper_answer a;

    assert_true(helper_read_answer(line, strlen(line), &a));
    assert_int_equal(a.verdict, HELPER_KEY);
    assert_int_equal(a.len, len);
}

static void test_answers(void **state)
{
    char longest[2 * PSK_KEY_MAX + 1] = {0};
    struct helper_answer a;

    (void)state;
    assert_true(helper_read_answer("none", 4, &a));
    assert_int_equal(a.verdict, HELPER_NONE);
    assert_key("0aFf", 2);
    assert_true(helper_read_answer("0aFf", 4, &a));
    assert_memory_equal(a.key, "\x0a\xff", 2);
    memset(longest, 'a', sizeof longest - 1);
    assert_key(longest, PSK_KEY_MAX);
}

static void test_what_is_no_answer(void **state)
{
    static const char *const lines[] = {"",    "abc",   "None", "none ", "zz",
                                        " 00", "00 11", "00\r", "no",    "0x00"};
    static const struct helper_answer wiped;
    char too_long[2 * PSK_KEY_MAX + 3] = {0};
    struct helper_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_false(helper_read_answer(lines[i], strlen(lines[i]), &a));
    memset(too_long, 'a', sizeof too_long - 1);
    assert_false(helper_read_answer(too_long, strlen(too_long), &a));
    assert_false(helper_read_answer("5e5e5e5ex", 9, &a));
    assert_memory_equal(a.key, wiped.key, sizeof a.key);
    assert_false(helper_read_answer("no\0e", 4, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_the_longest_question_has_room),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_what_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
