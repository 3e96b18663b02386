/*
 * mapped: a file of blocks that lie in memory, so that what is written there outlives the process.
 * It grows by a block, for any thread, and every byte of a block has its room in the file system
 * before anybody writes there. Knows nothing of what is in it.
 */
#ifndef DTLSGATE_BASE_MAPPED_H
#define DTLSGATE_BASE_MAPPED_H

#include <stdatomic.h>
#include <stdbool.h>

#define MAPPED_BLOCK 262144

struct mapped {
    int fd;
    unsigned max; /* blocks that there may be */
    _Atomic unsigned count;
};

/* Makes an empty one, which must not be there yet, for the process's user alone. `dir` is the
 * descriptor of its folder. False with errno. */
bool mapped_create(struct mapped *m, int dir, const char *name, unsigned max)
    __attribute__((warn_unused_result));
/* Closes the descriptor; blocks stay where they are. Harmless when done before. */
void mapped_close(struct mapped *m);

/* One block more, all zero, and its number. NULL with errno: there is no room. */
void *mapped_add(struct mapped *m, unsigned *number);
void mapped_unmap(void *block); /* NULL is fine */
/* Waits until all that was written lies where it outlives the host. False with errno. */
bool mapped_sync(const struct mapped *m) __attribute__((warn_unused_result));

#endif
