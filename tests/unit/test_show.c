/*
 * test_show: the same calls, as text and as JSON; whatever is shown, a line stays a line and an
 * object an object.
 */
#include "daemon/show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void show_all(struct show *s)
{
    show_begin(s);
    show_word(s, "name", "a b");
    show_flag(s, "is-on", true);
    show_list(s, "things", "thing");
    show_item(s);
    show_number(s, "id", UINT64_MAX);
    show_word(s, "text", "x=\"y\" \\z");
    show_flag(s, "is-on", false);
    show_item_end(s);
    show_item(s);
    show_word(s, "text", "");
    show_bytes(s, "bytes", "\0\xff\"", 3);
    show_item_end(s);
    show_list_end(s);
    show_open(s, "inside");
    show_number(s, "one", 1);
    show_number(s, "two", 2);
    show_close(s);
    show_list(s, "words", "");
    show_item_word(s, "first one");
    show_item_word(s, "sec\"ond\n");
    show_list_end(s);
    show_list(s, "none", "none");
    show_list_end(s);
    show_word(s, "last", "\xc3\xa4");
    show_end(s);
}

static void test_text(void **state)
{
    struct show s = {.form = SHOW_TEXT};

    (void)state;
    show_all(&s);
    assert_string_equal(s.text.data, "name: a b\n"
                                     "is-on: yes\n"
                                     "thing: id=18446744073709551615 text=\"x=\\\"y\\\" \\\\z\" "
                                     "is-on=no\n"
                                     "thing: text=\"\" bytes=\\x00\\xff\\x22\n"
                                     "one: 1\n"
                                     "two: 2\n"
                                     "first one\n"
                                     "sec\"ond\\x0a\n"
                                     "last: \\xc3\\xa4\n");
    show_clear(&s);
}

static void test_json(void **state)
{
    struct show s = {.form = SHOW_JSON};

    (void)state;
    show_all(&s);
    assert_string_equal(s.text.data,
                        "{\"name\":\"a b\",\"is-on\":true,\"things\":[{\"id\":18446744073709551615,"
                        "\"text\":\"x=\\\"y\\\" \\\\z\",\"is-on\":false},{\"text\":\"\","
                        "\"bytes\":\"\\\\x00\\\\xff\\\\x22\"}],\"inside\":{\"one\":1,\"two\":2},"
                        "\"words\":[\"first one\",\"sec\\\"ond\\\\x0a\"],\"none\":[],"
                        "\"last\":\"\\\\xc3\\\\xa4\"}\n");
    show_clear(&s);
}

static void test_parts_can_be_taken_out(void **state)
{
    struct show s = {.form = SHOW_JSON};

    (void)state;
    show_begin(&s);
    show_list(&s, "list", "item");
    show_item_word(&s, "a");
    assert_string_equal(s.text.data, "{\"list\":[\"a\"");
    text_empty(&s.text);
    show_item_word(&s, "b");
    assert_string_equal(s.text.data, ",\"b\"");
    show_clear(&s);
    assert_int_equal(s.form, SHOW_JSON);
    show_begin(&s);
    show_end(&s);
    assert_string_equal(s.text.data, "{}\n");
    show_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_parts_can_be_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
