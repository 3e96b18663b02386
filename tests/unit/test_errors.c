/* errors: all lines are told, those past the cap as a number. */
#include "base/errors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What errors_print() writes; the caller frees it. */
static char *printed(const struct errors *e, const char *prefix)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    assert_non_null(to);
    errors_print(e, to, prefix);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void test_none_prints_nothing(void **state)
{
    struct errors e = {0};
    char *text = printed(&e, "x: ");

    (void)state;
    assert_string_equal(text, "");
    free(text);
    errors_clear(&e);
}

static void test_prints_all_behind_the_prefix(void **state)
{
    struct errors e = {0};
    char *text;

    (void)state;
    errors_add(&e, "%s:%d: no", "a.conf", 3);
    errors_add(&e, "100%% wrong");
    assert_int_equal(e.count, 2);
    text = printed(&e, "dtlsgate: ");
    assert_string_equal(text, "dtlsgate: a.conf:3: no\ndtlsgate: 100% wrong\n");
    free(text);
    errors_clear(&e);
}

static void test_sorts_by_place_and_keeps_the_order_within_one(void **state)
{
    const unsigned places[] = {9, 7, 3, 7, 3};
    struct errors e = {0};
    char *text;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        e.at = places[i];
        errors_add(&e, "%u.%u", places[i], i);
    }
    errors_sort(&e, 1);
    text = printed(&e, "");
    assert_string_equal(text, "9.0\n3.2\n3.4\n7.1\n7.3\n");
    free(text);
    errors_clear(&e);
}

static void test_counts_what_is_past_the_cap(void **state)
{
    struct errors e = {0};
    size_t lines = 0;
    char *text;

    (void)state;
    for (int i = 1; i <= ERRORS_MAX; i++)
        errors_add(&e, "line %d", i);
    text = printed(&e, "");
    assert_null(strstr(text, "more"));
    free(text);
    errors_add(&e, "one");
    errors_add(&e, "two");
    errors_add(&e, "three");
    assert_int_equal(e.count, ERRORS_MAX + 3);
    text = printed(&e, "p: ");
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, ERRORS_MAX + 1);
    assert_non_null(strstr(text, "p: line 100\np: ... and 3 more\n"));
    free(text);
    errors_clear(&e);
}

static void test_clear_makes_usable_again(void **state)
{
    struct errors e = {0};
    char *text;

    (void)state;
    errors_add(&e, "old");
    errors_clear(&e);
    assert_int_equal(e.count, 0);
    assert_null(e.line[0]);
    errors_clear(&e);
    errors_add(&e, "new");
    text = printed(&e, "");
    assert_string_equal(text, "new\n");
    free(text);
    errors_clear(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_prints_nothing),
        cmocka_unit_test(test_prints_all_behind_the_prefix),
        cmocka_unit_test(test_sorts_by_place_and_keeps_the_order_within_one),
        cmocka_unit_test(test_counts_what_is_past_the_cap),
        cmocka_unit_test(test_clear_makes_usable_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
