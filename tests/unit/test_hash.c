/* hash: SipHash against its reference vectors; the table at every size, growing and shrinking. */
#include "base/hash.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define MANY 200000

struct item {
    uint32_t number;
    unsigned visits;
    struct table_link link;
};

/* The sanitizers end a program that asks for too much unless told otherwise. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static uint64_t hash_of(uint32_t number)
{
    static const struct hash_key key = {"0123456789abcde"};

    return siphash64(&key, &number, sizeof number);
}

static bool has_number(const struct table_link *link, const void *arg)
{
    return table_entry(link, const struct item, link)->number == *(const uint32_t *)arg;
}

static struct table_link *find(const struct table *t, uint32_t number)
{
    return table_find(t, hash_of(number), has_number, &number);
}

static struct item *make_items(uint32_t count)
{
    struct item *items = calloc(count, sizeof *items);

    assert_non_null(items);
    for (uint32_t i = 0; i < count; i++)
        items[i].number = i;
    return items;
}

static void insert(struct table *t, struct item *item)
{
    table_insert(t, &item->link, hash_of(item->number));
}

static void test_siphash_matches_reference(void **state)
{
    /* Key 00..0f, input 00, 01, 02, ... as in the reference implementation's vectors.h. */
    static const struct {
        size_t len;
        const char *out64, *out128;
    } vectors[] = {
        {0, "310e0edd47db6f72", "a3817f04ba25a8e66df67214c7550293"},
        {1, "fd67dc93c539f874", "da87c1d86b99af44347659119b22fc45"},
        {7, "37d1018bf50002ab", "a1f1ebbed8dbc153c0b84aa61ff08239"},
        {8, "6224939a79f5f593", "3b62a9ba6258f5610f83e264f31497b4"},
        {9, "b0e4a90bdf82009e", "264499060ad9baabc47f8b02bb6d71ed"},
        {15, "e545be4961ca29a1", "5493e99933b0a8117e08ec0f97cfc3d9"},
        {16, "db9bc2577fcc2a3f", "6ee2a4ca67b054bbfd3315bf85230577"},
        {63, "724506eb4c328a95", "5150d1772f50834a503e069a973fbd7c"},
    };
    struct hash_key key;
    uint8_t input[64], out[16];
    char hex[33];

    (void)state;
    for (uint8_t i = 0; i < sizeof input; i++)
        input[i] = i;
    memcpy(key.bytes, input, sizeof key.bytes);
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint64_t v = siphash64(&key, input, vectors[i].len);

        for (int b = 0; b < 8; b++)
            out[b] = (uint8_t)(v >> (8 * b));
        hex_encode(hex, out, 8);
        assert_string_equal(hex, vectors[i].out64);
        siphash128(&key, input, vectors[i].len, out);
        hex_encode(hex, out, 16);
        assert_string_equal(hex, vectors[i].out128);
    }
}

static void test_keys_are_random(void **state)
{
    struct hash_key a, b;

    (void)state;
    hash_key_init(&a);
    hash_key_init(&b);
    assert_memory_not_equal(&a, &b, sizeof a);
}

static void test_empty_table_finds_nothing(void **state)
{
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    assert_null(find(&t, 1));
    assert_int_equal(t.count, 0);
    table_clear(&t);
    assert_null(t.segments);
}

static void test_init_makes_room_for_what_is_expected(void **state)
{
    struct item *items = make_items(1000);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 1000));
    assert_int_equal(t.size, 1024);
    for (uint32_t i = 0; i < 1000; i++)
        insert(&t, &items[i]);
    assert_int_equal(t.size, 1024);
    for (uint32_t i = 0; i < 1000; i++)
        table_remove(&t, &items[i].link);
    assert_int_equal(t.size, 1024);
    table_clear(&t);
    /* Not a power of two times a segment, and more than one. */
    assert_true(table_init(&t, 20000));
    assert_int_equal(t.size, 32768);
    assert_null(find(&t, 1));
    table_clear(&t);
    free(items);
}

static void test_init_refuses_the_impossible(void **state)
{
    struct table t;

    (void)state;
    assert_false(table_init(&t, SIZE_MAX));
    table_clear(&t);
}

static void test_same_hash_is_told_apart_by_equal(void **state)
{
    struct item *items = make_items(3);
    struct table t;
    uint32_t number;

    (void)state;
    assert_true(table_init(&t, 0));
    for (number = 0; number < 3; number++)
        table_insert(&t, &items[number].link, 42);
    for (number = 0; number < 3; number++)
        assert_ptr_equal(table_find(&t, 42, has_number, &number), &items[number].link);
    /* The same slot, another hash. */
    number = 1;
    assert_null(table_find(&t, 42 + 64 * t.size, has_number, &number));
    table_remove(&t, &items[1].link);
    assert_null(table_find(&t, 42, has_number, &number));
    number = 2;
    assert_ptr_equal(table_find(&t, 42, has_number, &number), &items[2].link);
    assert_int_equal(t.count, 2);
    table_clear(&t);
    free(items);
}

static void test_everything_is_found_at_each_size(void **state)
{
    struct item *items = make_items(600);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < 600; i++) {
        insert(&t, &items[i]);
        for (uint32_t j = 0; j <= i; j++)
            assert_ptr_equal(find(&t, j), &items[j].link);
        assert_null(find(&t, i + 1));
    }
    for (uint32_t i = 0; i < 600; i++) {
        table_remove(&t, &items[i].link);
        assert_null(find(&t, i));
        for (uint32_t j = i + 1; j < 600; j++)
            assert_ptr_equal(find(&t, j), &items[j].link);
    }
    table_clear(&t);
    free(items);
}

/* Slots cost 8 bytes each: as many as entries while it grows, a third more while it shrinks. */
static void test_slots_follow_the_entries(void **state)
{
    struct item *items = make_items(MANY);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < MANY; i++) {
        insert(&t, &items[i]);
        assert_int_equal(t.size, i + 1 < 16 ? 16 : i + 1);
    }
    for (uint32_t i = MANY; i-- > 0;) {
        table_remove(&t, &items[i].link);
        assert_true(t.size == 16 || t.size * 3 / 4 <= i);
    }
    assert_int_equal(t.size, 16);
    table_clear(&t);
    free(items);
}

static void test_no_call_moves_more_than_a_few_slots(void **state)
{
    struct item *items = make_items(MANY);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < MANY; i++) {
        size_t size = t.size;
        insert(&t, &items[i]);
        assert_in_range(t.size - size, 0, 2);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        size_t size = t.size;
        table_remove(&t, &items[i].link);
        assert_in_range(size - t.size, 0, 2);
    }
    table_clear(&t);
    free(items);
}

static void remove_odd(struct table_link *link, void *arg)
{
    struct item *item = table_entry(link, struct item, link);

    item->visits++;
    if (item->number % 2 != 0)
        table_remove(arg, link);
}

static void count_visit(struct table_link *link, void *arg)
{
    (void)arg;
    table_entry(link, struct item, link)->visits++;
}

static void test_each_visits_all(void **state)
{
    const uint32_t n = 1500; /* between two powers of two */
    struct item *items = make_items(n);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < n; i++)
        insert(&t, &items[i]);
    table_each(&t, count_visit, NULL);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(items[i].visits, 1);
    assert_int_equal(t.count, n);
    table_clear(&t);
    free(items);
}

/* Between the steps half of them go and as many others come and go, so that the slots of most
 * entries change; those that stay are all met. */
static void test_a_scan_meets_what_stays(void **state)
{
    const uint32_t n = 3000;
    struct item *items = make_items(2 * n);
    uint64_t cursor = 0;
    uint32_t out = 1, in = n;
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < n; i++)
        insert(&t, &items[i]);
    for (size_t steps = 0; steps == 0 || cursor != 0; steps++) {
        cursor = table_scan(&t, cursor, count_visit, NULL);
        for (int i = 0; i < 3 && steps < 400 && in < 2 * n; i++)
            insert(&t, &items[in++]);
        for (int i = 0; i < 5 && steps >= 400 && out < 2 * n; i++, out += 2)
            if (find(&t, out) != NULL)
                table_remove(&t, &items[out].link);
        assert_in_range(steps, 0, 10 * (size_t)n);
    }
    for (uint32_t i = 0; i < n; i += 2)
        assert_in_range(items[i].visits, 1, 2);
    table_clear(&t);
    free(items);
}

static void test_a_scan_of_a_table_at_rest_meets_each_once(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 600; n += 7) {
        struct item *items = make_items(n + 1);
        uint64_t cursor = 0;
        struct table t;

        assert_true(table_init(&t, 0));
        for (uint32_t i = 0; i < n; i++)
            insert(&t, &items[i]);
        do
            cursor = table_scan(&t, cursor, count_visit, NULL);
        while (cursor != 0);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(items[i].visits, 1);
        table_clear(&t);
        free(items);
    }
}

static void test_each_may_remove(void **state)
{
    const uint32_t n = 1500;
    struct item *items = make_items(n);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < n; i++)
        insert(&t, &items[i]);
    table_each(&t, remove_odd, &t);
    assert_int_equal(t.count, (n + 1) / 2);
    assert_in_range(t.size, t.count, t.count * 4 / 3 + 1); /* the slots have followed */
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(items[i].visits, 1);
        assert_ptr_equal(find(&t, i), i % 2 == 0 ? &items[i].link : NULL);
    }
    table_clear(&t);
    free(items);
}

static void test_many_entries(void **state)
{
    struct item *items = make_items(MANY);
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < MANY; i++)
        insert(&t, &items[i]);
    assert_int_equal(t.count, MANY);
    table_each(&t, remove_odd, &t);
    assert_int_equal(t.count, MANY / 2);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].visits, 1);
        assert_ptr_equal(find(&t, i), i % 2 == 0 ? &items[i].link : NULL);
    }
    for (uint32_t i = 1; i < MANY; i += 2)
        insert(&t, &items[i]);
    for (uint32_t i = 0; i < MANY; i++)
        table_remove(&t, &items[i].link);
    assert_int_equal(t.count, 0);
    assert_null(find(&t, 0));
    table_clear(&t);
    free(items);
}

/* Fills a table up to the end of its first segment, where the next slot needs memory. */
static void test_insert_works_without_memory_for_growing(void **state)
{
    const uint32_t segment = 8192, n = segment + 100;
    struct item *items = make_items(n);
    struct rlimit before, none;
    struct table t;

    (void)state;
    assert_true(table_init(&t, 0));
    for (uint32_t i = 0; i < segment; i++)
        insert(&t, &items[i]);
    assert_int_equal(t.size, segment);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    for (uint32_t i = segment; i < n - 1; i++)
        insert(&t, &items[i]);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(t.size, segment);
    /* With memory it catches up, a little with each insert. */
    insert(&t, &items[n - 1]);
    assert_int_equal(t.size, segment + 2);
    for (uint32_t i = 0; i < n; i++)
        assert_ptr_equal(find(&t, i), &items[i].link);
    table_clear(&t);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_matches_reference),
        cmocka_unit_test(test_keys_are_random),
        cmocka_unit_test(test_empty_table_finds_nothing),
        cmocka_unit_test(test_init_makes_room_for_what_is_expected),
        cmocka_unit_test(test_init_refuses_the_impossible),
        cmocka_unit_test(test_same_hash_is_told_apart_by_equal),
        cmocka_unit_test(test_everything_is_found_at_each_size),
        cmocka_unit_test(test_slots_follow_the_entries),
        cmocka_unit_test(test_no_call_moves_more_than_a_few_slots),
        cmocka_unit_test(test_each_visits_all),
        cmocka_unit_test(test_a_scan_meets_what_stays),
        cmocka_unit_test(test_a_scan_of_a_table_at_rest_meets_each_once),
        cmocka_unit_test(test_each_may_remove),
        cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_insert_works_without_memory_for_growing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
