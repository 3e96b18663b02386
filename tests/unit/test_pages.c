/* pages: blocks are aligned, zeroed, and gone when they are given back. */
#include "base/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 200

static void test_blocks_are_aligned_and_zeroed(void **state)
{
    static const uint8_t zeros[PAGES_BLOCK];
    uint8_t *blocks[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        /* Something odd in between, so that the kernel's order is none to rely on. */
        void *odd = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        blocks[i] = pages_new();
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % PAGES_BLOCK, 0);
        assert_memory_equal(blocks[i], zeros, PAGES_BLOCK);
        memset(blocks[i], 0xff, PAGES_BLOCK);
        if (i % 3 == 0)
            munmap(odd, 4096);
    }
    for (int i = 0; i < MANY; i++)
        pages_free(blocks[i]);
    pages_free(NULL);
}

static void test_a_block_that_is_given_back_is_gone(void **state)
{
    uint8_t *block = pages_new();
    unsigned char resident;

    (void)state;
    assert_non_null(block);
    block[0] = 1;
    assert_int_equal(mincore(block, (size_t)sysconf(_SC_PAGESIZE), &resident), 0);
    pages_free(block);
    assert_int_equal(mincore(block, (size_t)sysconf(_SC_PAGESIZE), &resident), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_aligned_and_zeroed),
        cmocka_unit_test(test_a_block_that_is_given_back_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
