/* stats: every counter is summed, and told once under its name, in the order of the lists. */
#include "proxy/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WORDS (sizeof(struct stats) / sizeof(uint64_t))

struct seen {
    const char *name[WORDS];
    uint64_t value[WORDS];
    size_t count;
};

static void note(void *arg, const char *name, uint64_t value)
{
    struct seen *seen = arg;

    assert_true(seen->count < WORDS);
    seen->name[seen->count] = name;
    seen->value[seen->count++] = value;
}

static uint64_t value_named(const struct seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->name[i], name) == 0)
            return seen->value[i];
    }
    fail_msg("no counter is called %s", name);
    return 0;
}

static void fill(struct stats *s, uint64_t step)
{
    uint64_t words[WORDS];

    for (size_t i = 0; i < WORDS; i++)
        words[i] = (i + 1) * step;
    memcpy(s, words, sizeof(*s));
}

static void test_sum_adds_every_field(void **state)
{
    struct stats sum, one;
    uint64_t words[WORDS];

    (void)state;
    fill(&sum, 1000);
    fill(&one, 3);
    stats_sum(&sum, &one);
    memcpy(words, &sum, sizeof(sum));
    for (size_t i = 0; i < WORDS; i++)
        assert_int_equal(words[i], (i + 1) * 1003);
}

static void test_sum_leaves_the_source_alone(void **state)
{
    struct stats sum = {0}, one, before;

    (void)state;
    fill(&one, 7);
    before = one;
    stats_sum(&sum, &one);
    assert_memory_equal(&one, &before, sizeof(one));
}

static void test_each_tells_every_field_in_order(void **state)
{
    struct stats s;
    struct seen seen = {.count = 0};

    (void)state;
    fill(&s, 1);
    stats_each(&s, note, &seen);
    assert_int_equal(seen.count, WORDS);
    for (size_t i = 0; i < WORDS; i++)
        assert_int_equal(seen.value[i], i + 1);
}

static void test_names_are_unique(void **state)
{
    static const struct stats s;
    struct seen seen = {.count = 0};

    (void)state;
    stats_each(&s, note, &seen);
    for (size_t i = 0; i < seen.count; i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(seen.name[i], seen.name[j]);
    }
}

static void test_names_belong_to_their_values(void **state)
{
    struct stats s = {0};
    struct seen seen = {.count = 0};

    (void)state;
    stats_add(&s.client_datagrams, 1);
    stats_add(&s.from_client[FATE_FORWARDED], 2);
    stats_add(&s.from_client[FATE_DROP_MEMORY], 3);
    stats_add(&s.from_backend[BACK_SEALED], 4);
    stats_set(&s.flows, 5);
    stats_each(&s, note, &seen);
    assert_string_equal(seen.name[0], "client_datagrams");
    assert_int_equal(value_named(&seen, "client_datagrams"), 1);
    assert_int_equal(value_named(&seen, "client.forwarded"), 2);
    assert_int_equal(value_named(&seen, "client.drop_memory"), 3);
    assert_int_equal(value_named(&seen, "backend.sealed"), 4);
    assert_int_equal(value_named(&seen, "flows"), 5);
    assert_int_equal(value_named(&seen, "client.drop_junk"), 0);
}

static void test_add_adds_and_set_sets(void **state)
{
    struct stats s = {0};

    (void)state;
    stats_add(&s.client_bytes, 10);
    stats_add(&s.client_bytes, 5);
    stats_set(&s.sessions, 10);
    stats_set(&s.sessions, 5);
    assert_int_equal(s.client_bytes, 15);
    assert_int_equal(s.sessions, 5);
}

static void test_what_another_process_counted_is_taken_over(void **state)
{
    struct stats s = {0};

    (void)state;
    for (const struct stats_item *item = stats_items; item->name != NULL; item++) {
        bool is_gauge = item->kind == STATS_GAUGE;
        assert_true(stats_take_over(&s, item->name, strlen(item->name), 7) != is_gauge);
        assert_true(stats_take_over(&s, item->name, strlen(item->name), 2) != is_gauge);
        assert_int_equal(stats_value(&s, item), is_gauge ? 0 : 9);
    }
    assert_false(stats_take_over(&s, "client_datagram", 15, 1));
    assert_false(stats_take_over(&s, "", 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum_adds_every_field),
        cmocka_unit_test(test_sum_leaves_the_source_alone),
        cmocka_unit_test(test_each_tells_every_field_in_order),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_names_belong_to_their_values),
        cmocka_unit_test(test_add_adds_and_set_sets),
        cmocka_unit_test(test_what_another_process_counted_is_taken_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
