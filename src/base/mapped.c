/*
 * mapped: fallocate and mmap. See the header.
 * Must never hand out memory that the file system may fail to back: a write there would be the end.
 */
#include "base/mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

bool mapped_create(struct mapped *m, int dir, const char *name, unsigned max)
{
    m->fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    m->max = max;
    atomic_init(&m->count, 0);
    return m->fd >= 0;
}

void mapped_close(struct mapped *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

/* A signal may end it, and then nothing has been changed (fallocate(2)). */
static bool reserve(int fd, off_t at)
{
    int error;

    do
        error = fallocate(fd, 0, at, MAPPED_BLOCK);
    while (error != 0 && errno == EINTR);
    return error == 0;
}

static void *map_block(const struct mapped *m, unsigned number)
{
    off_t at = (off_t)number * MAPPED_BLOCK;
    void *block;

    if (!reserve(m->fd, at))
        return NULL;
    block = mmap(NULL, MAPPED_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, at);
    return block != MAP_FAILED ? block : NULL;
}

void *mapped_add(struct mapped *m, unsigned *number)
{
    unsigned mine = atomic_load(&m->count), after;
    void *block;

    do {
        if (mine >= m->max) {
            errno = ENOSPC;
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&m->count, &mine, mine + 1));
    block = map_block(m, mine);
    if (block) {
        *number = mine;
        return block;
    }
    /* A number that another one follows by now stays a hole. */
    after = mine + 1;
    (void)atomic_compare_exchange_strong(&m->count, &after, mine);
    return NULL;
}

void mapped_unmap(void *block)
{
    if (block)
        munmap(block, MAPPED_BLOCK);
}

bool mapped_sync(const struct mapped *m)
{
    return fsync(m->fd) == 0;
}
