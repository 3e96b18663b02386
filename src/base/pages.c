/*
 * pages: aligned blocks by mmap. See the header.
 * Must never know what is kept in them.
 */
#include "base/pages.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

static uint8_t *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* munmap() fails only where it would split a mapping and there are too many: then the addresses are
 * lost, the memory is not. */
static void unmap(uint8_t *at, size_t size)
{
    if (size > 0 && munmap(at, size) != 0)
        (void)madvise(at, size, MADV_DONTNEED);
}

/* The kernel puts one mapping below the other, so once one is aligned most others are. */
void *pages_new(void)
{
    uint8_t *at = map(PAGES_BLOCK);

    if (at == NULL || (uintptr_t)at % PAGES_BLOCK == 0)
        return at;
    unmap(at, PAGES_BLOCK);
    at = map(2 * PAGES_BLOCK);
    if (at == NULL)
        return NULL;
    size_t before = (PAGES_BLOCK - (uintptr_t)at % PAGES_BLOCK) % PAGES_BLOCK;
    unmap(at, before);
    unmap(at + before + PAGES_BLOCK, PAGES_BLOCK - before);
    return at + before;
}

void pages_free(void *block)
{
    if (block != NULL)
        unmap(block, PAGES_BLOCK);
}
