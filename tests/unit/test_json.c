/* json: commas, nesting, and strings that hold anything. */
#include "daemon/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct text text;
static struct json json;

static int begin(void **state)
{
    (void)state;

    json_init(&json, &text);
    return 0;
}

static int end(void **state)
{
    (void)state;
    text_clear(&text);
    return 0;
}

static void test_members_and_elements(void **state)
{
    (void)state;
    json_open_object(&json, NULL);
    json_number(&json, "a", UINT64_MAX);
    json_open_array(&json, "list");
    json_number(&json, NULL, 1);
    json_open_object(&json, NULL);
    json_close(&json);
    json_open_array(&json, NULL);
    json_close(&json);
    json_bool(&json, NULL, true);
    json_close(&json);
    json_bool(&json, "b", false);
    json_text(&json, "none", NULL);
    json_close(&json);
    assert_string_equal(text.data, "{\"a\":18446744073709551615,\"list\":[1,{},[],true],"
                                   "\"b\":false,\"none\":null}");
}

static void test_numbers_with_a_fraction(void **state)
{
    static const double values[] = {0, 1, 1.5, 0.1234, 1e6, -2.25, INFINITY, NAN, 0.0004};

    (void)state;
    json_open_array(&json, NULL);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
        json_real(&json, NULL, values[i]);
    json_close(&json);
    assert_string_equal(text.data, "[0,1,1.5,0.123,1000000,-2.25,null,null,0]");
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    json_text(&json, NULL, "a\"b\\c\n\t\x01\x7f</script>&\xc3\xa9");
    assert_string_equal(text.data, "\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007f"
                                   "\\u003c/script\\u003e\\u0026\xc3\xa9\"");
}

static void check_bytes(const char *bytes, const char *want)
{
    text_clear(&text);
    json_init(&json, &text);
    json_bytes(&json, NULL, bytes, strlen(bytes));
    text.data[text.len - 1] = '\0';
    assert_string_equal(text.data + 1, want);
}

#define NO "\\ufffd"

static void test_what_is_no_utf8_is_replaced_byte_by_byte(void **state)
{
    (void)state;
    check_bytes("\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf",
                "\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
    check_bytes("\x80"
                "a\xff",
                NO "a" NO);
    check_bytes("\xc0\xaf\xc1\xbf", NO NO NO NO); /* overlong */
    check_bytes("\xe0\x9f\xbf\xf0\x8f\xbf\xbf", NO NO NO NO NO NO NO);
    check_bytes("\xed\xa0\x80", NO NO NO);                      /* a surrogate */
    check_bytes("\xf4\x90\x80\x80\xf5\x80", NO NO NO NO NO NO); /* past the last */
    check_bytes("\xe2\x82", NO NO);                             /* cut */
    check_bytes("\xe2\x82z", NO NO "z");
    check_bytes("\xf0\x9f\x98z", NO NO NO "z");
}

static void test_a_nul_inside(void **state)
{
    (void)state;
    json_bytes(&json, NULL, "a\0b", 3);
    assert_string_equal(text.data, "\"a\\u0000b\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_members_and_elements, begin, end),
        cmocka_unit_test_setup_teardown(test_numbers_with_a_fraction, begin, end),
        cmocka_unit_test_setup_teardown(test_strings_are_escaped, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_no_utf8_is_replaced_byte_by_byte, begin, end),
        cmocka_unit_test_setup_teardown(test_a_nul_inside, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
