/*
 * heap: counts what a program has from malloc() at the moment, into a file that others can read
 * while it runs. For LD_PRELOAD on glibc; HEAP_BOOK names the file. Must never allocate itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, behind the names that are taken here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

/* The file, as soak.py reads it. */
struct book {
    _Atomic int64_t bytes, blocks;
};

static struct book before_main;
static struct book *book = &before_main;

static void count(int64_t bytes, int64_t blocks)
{
    atomic_fetch_add_explicit(&book->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&book->blocks, blocks, memory_order_relaxed);
}

static void *take(void *block)
{
    if (block != NULL)
        count((int64_t)malloc_usable_size(block), 1);
    return block;
}

void *malloc(size_t size)
{
    return take(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return take(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
    int64_t old_size = old != NULL ? (int64_t)malloc_usable_size(old) : 0;
    void *block = __libc_realloc(old, size);

    if (old != NULL && (block != NULL || size == 0))
        count(-old_size, -1);
    return take(block);
}

void *memalign(size_t alignment, size_t size)
{
    return take(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return take(__libc_memalign(alignment, size));
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    *block = take(__libc_memalign(alignment, size));
    return *block != NULL ? 0 : ENOMEM;
}

void free(void *block)
{
    if (block != NULL)
        count(-(int64_t)malloc_usable_size(block), -1);
    __libc_free(block);
}

/* Before the program locks itself in. Without the file it counts for nobody. */
__attribute__((constructor)) static void open_book(void)
{
    const char *path = getenv("HEAP_BOOK");
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

    if (fd < 0)
        return;
    struct book *shared = MAP_FAILED;
    if (ftruncate(fd, sizeof(*shared)) == 0)
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        return;
    shared->bytes = before_main.bytes;
    shared->blocks = before_main.blocks;
    book = shared;
}
