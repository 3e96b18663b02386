/*
 * secret: whole pages of our own, so that what the kernel is told about them holds for keys alone.
 * Must never know what it keeps.
 */
#include "base/secret.h"

#include "base/bytes.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

/* On fault: a page is locked when it is first used, those that never are cost nothing. */
static bool lock(const struct secret *s)
{
    return mlock2(s->at, s->size, MLOCK_ONFAULT) == 0;
}

bool secret_init(struct secret *s, size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *s = (struct secret){.at = NULL};
    if (at == MAP_FAILED)
        return false;
    /* Neither fails on memory like this since Linux 4.14. */
    (void)madvise(at, size, MADV_DONTDUMP);
    (void)madvise(at, size, MADV_WIPEONFORK);
    s->at = at;
    s->size = size;
    s->is_locked = lock(s);
    return true;
}

void secret_shrink(struct secret *s, size_t size)
{
    size_t kept, held = whole_pages(s->size);

    assert(size <= s->size);
    if (size == 0)
        size = 1;
    kept = whole_pages(size);
    if (kept < held)
        munmap(s->at + kept, held - kept);
    s->size = size;
    if (!s->is_locked)
        s->is_locked = lock(s);
}

void secret_clear(struct secret *s)
{
    if (s->at != NULL) {
        bytes_wipe(s->at, s->size);
        munmap(s->at, s->size);
    }
    *s = (struct secret){.at = NULL};
}
