/*
 * test_seen: the memory of used hellos.
 */
#include "proxy/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

static void test_a_used_hello_is_known(void **state)
{
    struct seen *s = seen_new();

    (void)state;
    assert_non_null(s);
    assert_false(seen_has(s, 0));
    assert_false(seen_has(s, 1));
    seen_add(s, 77);
    assert_true(seen_has(s, 77));
    assert_false(seen_has(s, 78));
    seen_add(s, 0);
    assert_true(seen_has(s, 0));
    seen_forget(s, 78);
    assert_true(seen_has(s, 77));
    seen_forget(s, 77);
    assert_false(seen_has(s, 77));
    seen_free(s);
}

static void test_newer_ones_push_out_few(void **state)
{
    struct seen *s = seen_new();
    unsigned left = 0;

    (void)state;
    assert_non_null(s);
    for (uint64_t i = 1; i <= 6000; i++)
        seen_add(s, i * 0x100000001);
    for (uint64_t i = 1; i <= 6000; i++)
        left += seen_has(s, i * 0x100000001);
    /* About one in twenty is expected to share a place with a later one. */
    assert_true(left > 5400);
    assert_true(seen_has(s, 6000 * 0x100000001));
    seen_free(s);
}

static void add_to(void *arg, uint64_t print)
{
    *(uint64_t *)arg += print;
}

static void test_each_is_told(void **state)
{
    struct seen *s = seen_new();
    uint64_t sum = 0;

    (void)state;
    seen_add(s, 5);
    seen_add(s, 0x700000000);
    seen_add(s, 9);
    seen_forget(s, 9);
    seen_each(s, add_to, &sum);
    assert_int_equal(sum, 0x700000005);
    seen_free(s);
}

/* A copy from elsewhere is another's. */
static void test_hellos_are_told_apart_by_random_and_peer(void **state)
{
    uint8_t random[WIRE_RANDOM] = {1, 2, 3, 4};
    struct addr peer = {.ip = {127, 0, 0, 1}, .port = 4000, .family = AF_INET};
    uint64_t print = seen_print(random, &peer);

    (void)state;
    assert_true(seen_print(random, &peer) == print);
    for (int i = 0; i < WIRE_RANDOM; i++) {
        random[i] ^= 1;
        assert_true(seen_print(random, &peer) != print);
        random[i] ^= 1;
    }
    peer.port++;
    assert_true(seen_print(random, &peer) != print);
    peer.port--;
    peer.ip[3]++;
    assert_true(seen_print(random, &peer) != print);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hellos_are_told_apart_by_random_and_peer),
        cmocka_unit_test(test_a_used_hello_is_known),
        cmocka_unit_test(test_newer_ones_push_out_few),
        cmocka_unit_test(test_each_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
