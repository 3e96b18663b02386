/* options: the table is sound, whatever rows it gets. */
#include "conf/options.h"

#include "conf/settings.h"
#include "conf/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct option *const tables[] = {options_daemon, options_service, options_identity};

/* Any section fits. */
static union {
    struct conf_daemon daemon;
    struct conf_service service;
    struct conf_policy policy;
} base;

static bool is_number(const struct option *o)
{
    return o->type == OPTION_COUNT || o->type == OPTION_SIZE || o->type == OPTION_TIME;
}

/* Runs over every row of all tables. */
static void each_row(void (*check)(const struct option *o))
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        for (const struct option *o = tables[i]; o->key; o++)
            check(o);
}

static void has_default_in_its_printed_form(const struct option *o)
{
    char why[VALUE_WHY_MAX], text[VALUE_TEXT_MAX];

    if (!o->initial)
        return;
    memset(&base, 0, sizeof(base));
    if (!value_set(o, &base, o->initial, why, sizeof(why)))
        fail_msg("%s: \"%s\" %s", o->key, o->initial, why);
    assert_string_equal(value_text(o, &base, text), o->initial);
    value_clear(o, &base);
}

static void test_each_default_is_valid_and_printed_as_written(void **state)
{
    (void)state;
    each_row(has_default_in_its_printed_form);
}

static void is_well_formed(const struct option *o)
{
    assert_true(strlen(o->key) > 0);
    assert_int_equal(strspn(o->key, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(o->key));
    assert_true(o->sentence && o->sentence[strlen(o->sentence) - 1] == '.');
    assert_true((o->type == OPTION_CHOICE) == (o->choices != NULL));
    assert_true(o->max < VALUE_TEXT_MAX || is_number(o));
    if (is_number(o))
        assert_true(o->min < o->max);
}

static void test_each_row_is_well_formed(void **state)
{
    (void)state;
    each_row(is_well_formed);
}

static void test_no_key_stands_in_both_tables(void **state)
{
    (void)state;
    for (const struct option *o = options_daemon; o->key; o++) {
        assert_null(option_find(options_service, o->key));
        assert_ptr_equal(option_find(options_daemon, o->key), o);
    }
    for (const struct option *o = options_service; o->key; o++)
        assert_ptr_equal(option_find(options_service, o->key), o);
}

static void refuses_just_outside(const struct option *o)
{
    const struct option wider = {
        .key = o->key, .type = o->type, .offset = o->offset, .max = UINT64_MAX};
    char why[VALUE_WHY_MAX], text[VALUE_TEXT_MAX];

    if (!is_number(o))
        return;
    memset(&base, 0, sizeof(base));
    for (int i = 0; i < 4; i++) {
        uint64_t v = (uint64_t[]){o->min, o->max, o->max + 1, o->min - 1}[i];
        bool fits = i < 2;

        if (i == 3 && o->min == 0)
            continue;
        if (o->type == OPTION_COUNT)
            *(unsigned *)(void *)((char *)&base + o->offset) = (unsigned)v;
        else
            *(uint64_t *)(void *)((char *)&base + o->offset) = v;
        value_text(&wider, &base, text);
        if (value_set(o, &base, text, why, sizeof(why)) != (fits || (v == 0 && o->zero)))
            fail_msg("%s: %s was %s", o->key, text, fits ? "refused" : "taken");
    }
}

static void test_each_range_holds_at_its_ends(void **state)
{
    (void)state;
    each_row(refuses_just_outside);
}

static void test_near_key_is_found(void **state)
{
    (void)state;
    assert_string_equal(option_near(options_service, "psk_file")->key, "psk-file");
    assert_string_equal(option_near(options_daemon, "worker")->key, "workers");
    assert_null(option_near(options_service, "workers"));
    assert_null(option_find(options_service, "psk_file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_default_is_valid_and_printed_as_written),
        cmocka_unit_test(test_each_row_is_well_formed),
        cmocka_unit_test(test_no_key_stands_in_both_tables),
        cmocka_unit_test(test_each_range_holds_at_its_ends),
        cmocka_unit_test(test_near_key_is_found),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
