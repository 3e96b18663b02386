/* value: text to field and back, type by type. */
#include "conf/value.h"

#include "base/prefix.h"

#include "base/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum colour { RED, GREEN };

struct sample {
    char *text, *path, *log;
    unsigned count;
    size_t size;
    uint64_t time;
    bool flag;
    unsigned mode;
    enum colour colour;
    struct addr *list;
    size_t list_count;
    struct prefixes prefixes;
    struct addr backend;
};

static struct sample base;

#define AT(field) .offset = offsetof(struct sample, field)

static const char *const colours[] = {"red", "green", NULL};
static const struct option text = {.type = OPTION_TEXT, AT(text), .max = 8};
static const struct option path = {.type = OPTION_PATH, AT(path), .min = 1, .max = 8};
static const struct option target = {.type = OPTION_LOG, AT(log), .min = 1, .max = 8};

static struct option row(enum option_type type)
{
    switch (type) {
    case OPTION_COUNT:
        return (struct option){.type = type, AT(count), .min = 2, .max = 300};
    case OPTION_SIZE:
        return (struct option){.type = type, AT(size), .min = 1000, .max = UINT64_C(3) << 30};
    case OPTION_TIME:
        return (struct option){
            .type = type, AT(time), .min = 50, .max = UINT64_C(10) * 86400000, .zero = true};
    case OPTION_BOOL:
        return (struct option){.type = type, AT(flag)};
    case OPTION_MODE:
        return (struct option){.type = type, AT(mode), .max = 0777};
    case OPTION_CHOICE:
        return (struct option){.type = type, AT(colour), .choices = colours};
    case OPTION_ADDR:
        return (struct option){.type = type, AT(backend)};
    case OPTION_ADDRS:
        return (struct option){.type = type, AT(list), .max = 3};
    case OPTION_PREFIXES:
        return (struct option){.type = type, AT(prefixes), .max = 2};
    default:
        return (struct option){.type = OPTION_BACKEND, AT(backend)};
    }
}

static void assert_taken(struct option o, const char *given, const char *printed)
{
    char why[VALUE_WHY_MAX] = "", back[VALUE_TEXT_MAX];

    if (!value_set(&o, &base, given, why, sizeof(why)))
        fail_msg("\"%s\" %s", given, why);
    assert_string_equal(value_text(&o, &base, back), printed);
    assert_true(value_set(&o, &base, back, why, sizeof(why)));
    assert_string_equal(value_text(&o, &base, back), printed);
}

/* The reason is told, and what was there stays. */
static void assert_refused(struct option o, const char *given, const char *reason)
{
    char why[VALUE_WHY_MAX] = "", before[VALUE_TEXT_MAX], after[VALUE_TEXT_MAX];

    value_text(&o, &base, before);
    if (value_set(&o, &base, given, why, sizeof(why)))
        fail_msg("\"%s\" was taken", given);
    if (!strstr(why, reason))
        fail_msg("\"%s\" does not tell \"%s\"", why, reason);
    assert_string_equal(value_text(&o, &base, after), before);
}

static void test_text(void **state)
{
    (void)state;
    assert_taken(text, "a;b #c", "a;b #c");
    assert_taken(text, "12345678", "12345678");
    assert_refused(text, "123456789", "is not a text of 0 to 8 bytes");
    assert_refused(text, "a\nb", "has a control character");
    assert_refused(text, "a ;b", "has a ';' where a file would begin a comment");
    assert_refused(text, ";b", "has a ';'");
    assert_refused(text, " b", "has a blank at its edge");
    assert_refused(text, "b ", "has a blank at its edge");
    assert_taken(text, "", "");
    assert_null(base.text);
}

static void test_modes_are_octal(void **state)
{
    static const char *const wrong[] = {"",     "6",     "60",   "0800", "1000",  "7777",
                                        "rw--", "0o600", "-600", " 600", "0600 ", "00600"};
    struct option mode = row(OPTION_MODE);

    (void)state;
    assert_taken(mode, "0660", "0660");
    assert_int_equal(base.mode, 0660);
    assert_taken(mode, "777", "0777");
    assert_taken(mode, "000", "0000");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_refused(mode, wrong[i], "is not an octal mode from 0000 to 0777");
}

static void test_path_must_not_be_empty(void **state)
{
    (void)state;
    assert_taken(path, "a/b", "a/b");
    assert_refused(path, "", "is not a path");
    value_clear(&path, &base);
    assert_null(base.path);
}

static void test_log(void **state)
{
    (void)state;
    assert_taken(target, "stderr", "stderr");
    assert_taken(target, "syslog", "syslog");
    assert_taken(target, "/l", "/l");
    assert_refused(target, "l", "is not stderr, syslog or an absolute path");
    value_clear(&target, &base);
}

static void test_count(void **state)
{
    (void)state;
    assert_taken(row(OPTION_COUNT), "2", "2");
    assert_taken(row(OPTION_COUNT), "0300", "300");
    assert_refused(row(OPTION_COUNT), "1", "is not a number from 2 to 300");
    assert_refused(row(OPTION_COUNT), "301", "is not a number");
    assert_refused(row(OPTION_COUNT), "-2", "is not a number");
    assert_refused(row(OPTION_COUNT), "2k", "is not a number");
    assert_refused(row(OPTION_COUNT), "", "is not a number");
    assert_refused(row(OPTION_COUNT), "4294967298", "is not a number");
    assert_refused(row(OPTION_COUNT), "18446744073709551618", "is not a number");
    assert_refused(row(OPTION_COUNT), "99999999999999999999999999999999", "is not a number");
}

static void test_size(void **state)
{
    (void)state;
    assert_taken(row(OPTION_SIZE), "65536", "64k");
    assert_taken(row(OPTION_SIZE), "1000", "1000");
    assert_taken(row(OPTION_SIZE), "4M", "4m");
    assert_taken(row(OPTION_SIZE), "3g", "3g");
    assert_int_equal(base.size, UINT64_C(3) << 30);
    assert_refused(row(OPTION_SIZE), "4g", "is not a size from 1000 to 3g (k, m or g)");
    assert_refused(row(OPTION_SIZE), "18014398509481985k", "is not a size");
    assert_refused(row(OPTION_SIZE), "4mb", "is not a size");
}

static void test_time(void **state)
{
    (void)state;
    assert_taken(row(OPTION_TIME), "300ms", "300ms");
    assert_int_equal(base.time, 300);
    assert_taken(row(OPTION_TIME), "90s", "90s");
    assert_taken(row(OPTION_TIME), "60", "1m");
    assert_taken(row(OPTION_TIME), "24h", "1d");
    assert_taken(row(OPTION_TIME), "0", "0");
    assert_taken(row(OPTION_TIME), "0ms", "0");
    assert_refused(row(OPTION_TIME), "49ms",
                   "is not a time from 50ms to 10d, or 0 (ms, s, m, h or d)");
    assert_refused(row(OPTION_TIME), "11d", "is not a time");
    assert_refused(row(OPTION_TIME), "3 s", "is not a time");
    assert_refused(row(OPTION_TIME), "1.5s", "is not a time");
    assert_refused(row(OPTION_TIME), "213503982335d", "is not a time");
}

static void test_flag(void **state)
{
    static const char *const yes[] = {"yes", "on", "true", "1", "YES"};
    static const char *const no[] = {"no", "off", "false", "0", "No"};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_taken(row(OPTION_BOOL), yes[i], "yes");
        assert_true(base.flag);
        assert_taken(row(OPTION_BOOL), no[i], "no");
        assert_false(base.flag);
    }
    assert_refused(row(OPTION_BOOL), "maybe", "is not yes or no");
    assert_refused(row(OPTION_BOOL), "", "is not yes or no");
}

static void test_choice(void **state)
{
    (void)state;
    assert_taken(row(OPTION_CHOICE), "green", "green");
    assert_int_equal(base.colour, GREEN);
    assert_taken(row(OPTION_CHOICE), "red", "red");
    assert_refused(row(OPTION_CHOICE), "blue", "is not one of red, green");
}

static void test_addresses(void **state)
{
    struct option o = row(OPTION_ADDRS);

    (void)state;
    assert_taken(o, "127.0.0.1:0", "127.0.0.1:0");
    assert_taken(o, "[::]:5684,0.0.0.0:5684 ,\t[::1]:1", "[::]:5684, 0.0.0.0:5684, [::1]:1");
    assert_int_equal(base.list_count, 3);
    assert_refused(o, "1.2.3.4:1,1.2.3.4:2,1.2.3.4:3,1.2.3.4:4", "is not numeric ADDR:PORT, up to");
    assert_refused(o, "1.2.3.4:1, localhost:2", "\"localhost:2\" is not numeric");
    assert_refused(o, "1.2.3.4:1,", "\"\" is not numeric");
    assert_refused(o, "x, 1.2.3.4:1 ,y",
                   "\"x\" is not numeric ADDR:PORT such as 0.0.0.0:5684 or "
                   "[::]:5684\n\"y\" is not numeric");
    assert_refused(o, "", "\"\" is");
    assert_refused(o, "1.2.3.4", "\"1.2.3.4\" is");
    assert_refused(o, "[::]:5684 ; word", "\"[::]:5684 ; word\" is");
    value_clear(&o, &base);
    assert_null(base.list);
    assert_int_equal(base.list_count, 0);
}

static void test_prefixes(void **state)
{
    struct option o = row(OPTION_PREFIXES);

    (void)state;
    assert_taken(o, "10.0.0.0/8", "10.0.0.0/8");
    assert_taken(o, " 192.0.2.7,2001:db8::/32 ", "192.0.2.7, 2001:db8::/32");
    assert_taken(o, "", "");
    assert_refused(o, "10.0.0.0/8, ::1, ::2", "is not addresses or prefixes, up to 2 with commas");
    assert_refused(o, "::1, 10.0.0.1/8", "\"10.0.0.1/8\" is no address or prefix");
    assert_refused(o, "::1/129,, 1.2.3.4",
                   "\"::1/129\" is no address or prefix; write 10.0.0.0/8 or 2001:db8::/32\n"
                   "\"\" is no address");
    value_clear(&o, &base);
}

/* Whole lines, as many as there is room for. */
static void test_more_faults_than_there_is_room_for(void **state)
{
    static char list[64 * 100];
    char why[VALUE_WHY_MAX];
    struct option o = row(OPTION_ADDRS);

    (void)state;
    o.max = 64;
    memset(list, 'x', sizeof(list) - 1);
    for (int i = 1; i < 64; i++)
        list[i * 100] = ',';
    assert_false(value_set(&o, &base, list, why, sizeof(why)));
    assert_true(strlen(why) > sizeof(why) - 200);
    assert_string_equal(why + strlen(why) - strlen("[::]:5684"), "[::]:5684");
}

static void test_endless_address_is_refused_not_cut(void **state)
{
    char endless[300] = "";

    (void)state;
    memset(endless, '1', sizeof(endless) - 1);
    assert_refused(row(OPTION_ADDRS), endless, "...\" is not numeric");
}

static void test_addr(void **state)
{
    struct option o = row(OPTION_ADDR);

    (void)state;
    assert_taken(o, "127.0.0.1:9684", "127.0.0.1:9684");
    assert_taken(o, " [::1]:0", "[::1]:0");
    assert_refused(o, "localhost:9684", "\"localhost:9684\" is not numeric ADDR:PORT");
    assert_refused(o, "1.2.3.4:1,1.2.3.4:2", "has a comma; write one address");
    assert_refused(o, "127.0.0.1", "\"127.0.0.1\" is");
    assert_taken(o, "", "");
    assert_int_equal(base.backend.family, 0);
}

static void test_backend(void **state)
{
    (void)state;
    assert_taken(row(OPTION_BACKEND), "127.0.0.1:5683", "127.0.0.1:5683");
    assert_taken(row(OPTION_BACKEND), "[2001:db8::1]:5683", "[2001:db8::1]:5683");
    assert_refused(row(OPTION_BACKEND), "127.0.0.1:0", "has port 0");
    assert_refused(row(OPTION_BACKEND), "[::]:5683", "is no address to send to");
    assert_refused(row(OPTION_BACKEND), "localhost", "is not of the form");
}

static void test_same(void **state)
{
    struct option o = row(OPTION_TIME);
    struct sample copy;

    (void)state;
    base.time = 1000;
    copy = base;
    assert_true(value_same(&o, &base, &copy));
    base.time = 1001;
    assert_false(value_same(&o, &base, &copy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_modes_are_octal),
        cmocka_unit_test(test_path_must_not_be_empty),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_more_faults_than_there_is_room_for),
        cmocka_unit_test(test_endless_address_is_refused_not_cut),
        cmocka_unit_test(test_addr),
        cmocka_unit_test(test_backend),
        cmocka_unit_test(test_same),
    };

    return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
