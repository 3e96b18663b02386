/* lookup: rounds in a thread, on names that every host knows. */
#include "daemon/lookup.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct addr addr_of(const char *text)
{
    struct addr a = {0};

    assert_true(addr_parse(&a, text));
    return a;
}

static void add(struct lookup_round *round, const char *text, const char *before, bool is_bound)
{
    char copy[64];
    const struct lookup_name name = {.text = strcpy(copy, text),
                                     .before = addr_of(before),
                                     .is_bound = is_bound,
                                     .tags = {(unsigned)round->count, 7}};

    assert_true(lookup_add(round, &name));
    memset(copy, 'x', strlen(copy)); /* it was copied */
}

static struct lookup_round *await(struct lookup *l)
{
    struct pollfd p = {.fd = lookup_fd(l), .events = POLLIN};

    assert_int_equal(poll(&p, 1, 20000), 1);
    return lookup_take(l);
}

static void test_names_are_looked_up(void **state)
{
    const struct addr home = addr_of("127.0.0.1:7");
    struct lookup *l = lookup_new();
    struct lookup_round *round = lookup_round_new(4);

    (void)state;
    assert_null(lookup_take(l));
    add(round, "localhost:7", "127.0.0.1:7", true);
    add(round, "localhost:7", "192.0.2.1:7", true);
    add(round, "no.such.name.invalid:7", "127.0.0.1:7", false);
    add(round, "127.0.0.1:7", "[::1]:7", true);
    assert_true(lookup_start(l, round));
    assert_ptr_equal(await(l), round);
    assert_int_equal(round->count, 4);
    assert_true(addr_equal(&round->name[0].now, &home)); /* it stays what it was */
    assert_true(addr_equal(&round->name[1].now, &home));
    assert_int_equal(round->name[2].now.family, 0);
    assert_int_equal(round->name[3].now.family, 0); /* of another family */
    assert_true(round->name[3].tags[0] == 3 && round->name[3].tags[1] == 7);
    lookup_round_free(round);
    assert_null(lookup_take(l));
    lookup_free(l);
}

static void test_one_round_at_a_time(void **state)
{
    struct lookup *l = lookup_new();
    struct lookup_round *round = lookup_round_new(1);

    (void)state;
    add(round, "localhost:7", "127.0.0.1:7", false);
    assert_true(lookup_start(l, round));
    assert_false(lookup_start(l, lookup_round_new(0)));
    lookup_round_free(await(l));
    assert_true(lookup_start(l, lookup_round_new(0)));
    lookup_round_free(await(l));
    lookup_free(l);
}

static void test_a_round_may_outlive_its_owner(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct lookup *l = lookup_new();
        struct lookup_round *round = lookup_round_new(1);
        add(round, "localhost:7", "127.0.0.1:7", false);
        assert_true(lookup_start(l, round));
        lookup_free(l);
    }
    lookup_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_looked_up),
        cmocka_unit_test(test_one_round_at_a_time),
        cmocka_unit_test(test_a_round_may_outlive_its_owner),
    };

    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
