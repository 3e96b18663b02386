/*
 * test_state_head: the first block of a state file: when it counts as ours, and the secrets in it.
 */
#include "daemon/state_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static const struct state_secret secret = {(const uint8_t *)SECRET, sizeof SECRET - 1};

/* A file with a head alone. */
static struct vault *make_head(const uint8_t boot[STATE_BOOT], struct state_head *h,
                               uint8_t bytes[STATE_HEAD_SIZE])
{
    struct vault *v;

    assert_true(state_head_make(h, &secret, boot, bytes));
    v = vault_new(&h->keys);
    assert_non_null(v);
    return v;
}

static void a_host_that_went_down_needs_a_closed_file(void **unused)
{
    const uint8_t one[STATE_BOOT] = {1}, two[STATE_BOOT] = {2};
    uint8_t bytes[STATE_HEAD_SIZE];
    struct state_head h, back;
    struct vault *v = make_head(one, &h, bytes);

    (void)unused;
    assert_null(state_head_read(&back, &secret, one, bytes));
    assert_non_null(strstr(state_head_read(&back, &secret, two, bytes), "the host went down"));
    state_head_close(v, &h, bytes);
    assert_null(state_head_read(&back, &secret, two, bytes));
    state_head_reopen(bytes);
    assert_non_null(state_head_read(&back, &secret, two, bytes));
    bytes[52] = 2; /* as if it were of this start */
    assert_string_equal(state_head_read(&back, &secret, two, bytes),
                        "it was sealed with another key");
    vault_free(v);
}

static void a_torn_copy_of_the_cookies_leaves_the_other(void **unused)
{
    const uint8_t boot[STATE_BOOT] = {1};
    uint8_t bytes[STATE_HEAD_SIZE];
    struct cookie_secrets c = {.generation = 1}, back;
    struct state_head h;
    struct vault *v = make_head(boot, &h, bytes);
    uint64_t wall;

    (void)unused;
    assert_false(state_head_get_cookies(v, bytes, &back, &wall));
    assert_true(state_head_put_cookies(v, 4, &c, 100, bytes));
    c.generation = 2;
    assert_true(state_head_put_cookies(v, 7, &c, 200, bytes));
    assert_true(state_head_get_cookies(v, bytes, &back, &wall));
    assert_true(back.generation == 2 && wall == 200);
    bytes[128 + 128 + 20] ^= 1; /* that one is the second copy */
    assert_true(state_head_get_cookies(v, bytes, &back, &wall));
    assert_true(back.generation == 1 && wall == 100);
    vault_free(v);
}

/* Sessions take generations as well, so those of cookies may be even for ever. */
static void cookies_never_take_the_place_of_the_newest(void **unused)
{
    const uint8_t boot[STATE_BOOT] = {1};
    uint8_t bytes[STATE_HEAD_SIZE];
    struct cookie_secrets c = {.generation = 0}, back;
    struct state_head h;
    struct vault *v = make_head(boot, &h, bytes);
    uint64_t wall;

    (void)unused;
    for (uint8_t i = 1; i <= 5; i++) {
        c.generation = i;
        assert_true(state_head_put_cookies(v, 2 * (uint64_t)i, &c, i, bytes));
        uint8_t torn[STATE_HEAD_SIZE];
        memcpy(torn, bytes, sizeof torn);
        torn[128 + (i + 1) % 2 * 128 + 20] ^= 1; /* the copy that was written last */
        assert_int_equal(state_head_get_cookies(v, torn, &back, &wall), i > 1);
        assert_true(i == 1 || (back.generation == i - 1 && wall == (uint64_t)i - 1));
        assert_true(state_head_get_cookies(v, bytes, &back, &wall));
        assert_true(back.generation == i && wall == i);
    }
    vault_free(v);
}

/* What was renewed is nowhere in the file, and a torn store costs the newer keys alone. */
static void renewed_keys_of_tickets_leave_nothing_behind(void **unused)
{
    static const uint64_t generations[] = {3, 5, 6, 10, 11}; /* of others there are some between */
    const uint8_t boot[STATE_BOOT] = {1}, nothing[128] = {0};
    struct ticket_keys keys = {.newest = {.name = "one"}, .is_set = true}, back;
    uint8_t bytes[STATE_HEAD_SIZE], torn[STATE_HEAD_SIZE];
    struct state_head h;
    struct vault *v = make_head(boot, &h, bytes);
    uint64_t wall;

    (void)unused;
    assert_false(state_head_get_tickets(v, bytes, &back, &wall));
    for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
        const uint64_t generation = generations[i];
        memcpy(torn, bytes, sizeof torn);
        keys.newest.name[15] = (uint8_t)generation;
        assert_true(state_head_put_tickets(v, generation, &keys, 10 * generation, bytes));
        assert_true(state_head_get_tickets(v, bytes, &back, &wall));
        assert_true(back.newest.name[15] == generation && wall == 10 * generation && back.is_set);
        size_t newer = memcmp(bytes + 384, nothing, 128) == 0 ? 512 : 384;
        assert_memory_equal(bytes + (newer == 384 ? 512 : 384), nothing, 128);
        memcpy(torn + newer, bytes + newer, 60); /* it ends in the middle of the store */
        assert_int_equal(state_head_get_tickets(v, torn, &back, &wall), i > 0);
        assert_true(i == 0 || back.newest.name[15] == generations[i - 1]);
    }
    vault_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_that_went_down_needs_a_closed_file),
        cmocka_unit_test(a_torn_copy_of_the_cookies_leaves_the_other),
        cmocka_unit_test(cookies_never_take_the_place_of_the_newest),
        cmocka_unit_test(renewed_keys_of_tickets_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
