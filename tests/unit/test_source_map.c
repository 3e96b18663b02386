/* source_map: each identity has an address of its own, and keeps it. */
#include "psk_text.h"

#include "conf/source_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE_MAX_LEN 64

static struct prefix range(const char *text)
{
    struct prefix p;

    assert_true(prefix_parse(&p, text));
    return p;
}

/* Identities first ... first + count - 1. */
static struct psk_set *identities(unsigned first, unsigned count)
{
    char *text = calloc(count, LINE_MAX_LEN);
    size_t len = 0;
    struct psk_set *set;

    assert_non_null(text);
    for (unsigned i = first; i < first + count; i++)
        len += (size_t)snprintf(text + len, LINE_MAX_LEN,
                                "sensor-%u:00112233445566778899aabbccddeeff\n", i);
    set = keys_of(text);
    free(text);
    return set;
}

static void assert_distinct(const uint32_t *map, size_t count, uint32_t hosts)
{
    char *seen = calloc(hosts, 1);

    assert_non_null(seen);
    for (size_t i = 0; i < count; i++) {
        assert_true(map[i] < hosts);
        assert_int_equal(seen[map[i]]++, 0);
    }
    free(seen);
}

static uint32_t *map_of(const char *prefix, const struct psk_set *set, const char *name)
{
    struct prefix p = range(prefix);
    uint32_t *map = source_map_new(&p, set, name);

    assert_non_null(map);
    assert_distinct(map, psk_count(set), prefix_hosts(&p) < 1 << 24 ? prefix_hosts(&p) : 1 << 24);
    return map;
}

/* Known numbers: operators write addresses into filters, so they must survive releases and
 * machines. */
static void test_numbers_are_for_good(void **state)
{
    struct psk_set *set = identities(1, 4);
    uint32_t *map = map_of("127.64.0.0/10", set, "coap");

    (void)state;
    assert_int_equal(map[0], 2224365);
    assert_int_equal(map[1], 2707022);
    assert_int_equal(map[2], 3637530);
    assert_int_equal(map[3], 1892379);
    free(map);
    psk_free(set);
}

static void test_added_identities_move_nobody(void **state)
{
    struct psk_set *few = identities(0, 600), *more = identities(0, 1000);
    uint32_t *a = map_of("10.0.0.0/22", few, "coap"), *b = map_of("10.0.0.0/22", more, "coap");

    (void)state;
    assert_memory_equal(a, b, 600 * sizeof(*a));
    free(a);
    free(b);
    psk_free(few);
    psk_free(more);
}

static void test_a_prefix_can_be_used_to_the_last_address(void **state)
{
    static const unsigned counts[] = {2, 6, 14, 254, 65534};
    static const char *const prefixes[] = {"10.0.0.0/30", "10.0.0.0/29", "10.0.0.0/28",
                                           "10.0.0.0/24", "10.0.0.0/16"};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct psk_set *set = identities(0, counts[i]);
        free(map_of(prefixes[i], set, "coap"));
        psk_free(set);
    }
}

static void test_services_differ(void **state)
{
    struct psk_set *set = identities(0, 100);
    uint32_t *a = map_of("127.64.0.0/10", set, "one"), *b = map_of("127.64.0.0/10", set, "two");
    unsigned same = 0;

    (void)state;
    for (unsigned i = 0; i < 100; i++)
        same += a[i] == b[i];
    assert_true(same < 3);
    free(a);
    free(b);
    psk_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_for_good),
        cmocka_unit_test(test_added_identities_move_nobody),
        cmocka_unit_test(test_a_prefix_can_be_used_to_the_last_address),
        cmocka_unit_test(test_services_differ),
    };

    return cmocka_run_group_tests_name("source_map", tests, NULL, NULL);
}
