/* slab: objects are apart, zeroed and wiped; blocks come and go. */
#include "base/slab.h"

#include "base/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define SIZE 240
#define PER_BLOCK 272 /* of that size */
#define MANY 3000

static int set_up(void **state)
{
    static struct slab s;

    slab_init(&s, SIZE);
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    slab_clear(*state);
    assert_int_equal(((struct slab *)*state)->blocks, 0);
    return 0;
}

static bool is_zero(const uint8_t *at, size_t size)
{
    return at[0] == 0 && memcmp(at, at + 1, size - 1) == 0;
}

static uint8_t *take(struct slab *s)
{
    uint8_t *object = slab_take(s);

    assert_non_null(object);
    assert_int_equal((uintptr_t)object % 8, 0);
    assert_true(is_zero(object, s->size));
    return object;
}

static void test_nothing_costs_nothing(void **state)
{
    struct slab never = {0};

    assert_int_equal(((struct slab *)*state)->blocks, 0);
    slab_give(NULL);
    slab_clear(&never);
}

static void test_objects_are_apart(void **state)
{
    struct slab *s = *state;
    uint8_t *all[MANY];

    for (int i = 0; i < MANY; i++) {
        all[i] = take(s);
        memset(all[i], i, SIZE);
    }
    assert_int_equal(s->used, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(all[i][0], (uint8_t)i);
        assert_memory_equal(all[i], all[i] + 1, SIZE - 1);
        slab_give(all[i]);
    }
    assert_int_equal(s->used, 0);
}

static void test_objects_lie_close(void **state)
{
    struct slab *s = *state;
    uint8_t *all[MANY];

    for (int i = 0; i < MANY; i++)
        all[i] = take(s);
    assert_int_equal(s->blocks, (MANY + PER_BLOCK - 1) / PER_BLOCK);
    for (int i = 0; i < MANY; i++)
        slab_give(all[i]);
}

static void test_what_comes_again_is_zeroed(void **state)
{
    struct slab *s = *state;
    uint8_t *keeper = take(s), *object = take(s);

    memset(object, 0x5a, SIZE);
    slab_give(object);
    assert_ptr_equal(take(s), object);
    slab_give(object);
    slab_give(keeper);
}

static void test_empty_blocks_go_but_one(void **state)
{
    struct slab *s = *state;
    uint8_t *all[MANY];

    for (int i = 0; i < MANY; i++)
        all[i] = take(s);
    for (int i = 0; i < MANY; i++) {
        slab_give(all[i]);
        assert_in_range(s->blocks, 1, (MANY - i - 2) / PER_BLOCK + 3);
    }
    assert_int_equal(s->blocks, 1);
    /* The spare is the next block that is needed, with all its room. */
    for (int i = 0; i < PER_BLOCK; i++)
        all[i] = take(s);
    assert_int_equal(s->blocks, 1);
    for (int i = 0; i < PER_BLOCK; i++)
        slab_give(all[i]);
}

/* Holes are filled before a new block is taken. */
static void test_holes_are_filled(void **state)
{
    struct slab *s = *state;
    uint8_t *all[MANY];

    for (int i = 0; i < MANY; i++)
        all[i] = take(s);
    size_t blocks = s->blocks;
    for (int round = 0; round < 5; round++) {
        for (int i = round; i < MANY; i += 7)
            slab_give(all[i]);
        for (int i = round; i < MANY; i += 7)
            all[i] = take(s);
        assert_int_equal(s->blocks, blocks);
    }
    for (int i = 0; i < MANY; i++)
        slab_give(all[i]);
}

static void test_sizes_from_small_to_large(void **state)
{
    static const size_t sizes[] = {8, 16, 24, 4096, 16384};
    uint8_t *all[64];

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct slab s;
        slab_init(&s, sizes[k]);
        for (int i = 0; i < 64; i++) {
            all[i] = take(&s);
            memset(all[i], i + 1, sizes[k]);
        }
        for (int i = 0; i < 64; i++) {
            assert_int_equal(all[i][sizes[k] - 1], i + 1);
            slab_give(all[i]);
        }
        slab_clear(&s);
    }
}

static void test_out_of_memory_is_told(void **state)
{
    struct slab *s = *state;
    struct rlimit before, none;

    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    void *object = slab_take(s);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_null(object);
    assert_int_equal(s->used, 0);
    slab_give(take(s));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_costs_nothing),     TEST(test_objects_are_apart),
        TEST(test_objects_lie_close),         TEST(test_what_comes_again_is_zeroed),
        TEST(test_empty_blocks_go_but_one),   TEST(test_holes_are_filled),
        TEST(test_sizes_from_small_to_large), TEST(test_out_of_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
