/*
 * slab: objects of one size out of blocks of pages: no header per object, no fragments between
 * sizes, and a block that becomes empty goes back to the system. An object that is given back is
 * wiped, so it may hold keys. Not for two threads at once.
 */
#ifndef DTLSGATE_BASE_SLAB_H
#define DTLSGATE_BASE_SLAB_H

#include "base/list.h"

#include <stddef.h>

struct slab {
    size_t size;              /* of an object, a multiple of 8 */
    struct list roomy;        /* blocks that are in use and have room, oldest first */
    struct slab_block *spare; /* an empty one, kept for the next need; or NULL */
    size_t used;              /* objects that are out */
    size_t blocks;            /* of PAGES_BLOCK bytes each, the spare included */
};

/* For objects of `size` bytes, 8 to 16384. Takes no memory yet. The slab must stay where it is. */
void slab_init(struct slab *s, size_t size);
/* Gives back the memory; all objects are back by then. Zeroed memory is a slab that was never made
 * and may be cleared, too. */
void slab_clear(struct slab *s);
/* One object, zeroed, aligned to 8 bytes. NULL: out of memory. */
void *slab_take(struct slab *s);
/* Wipes an object and gives it back to the slab it is of. NULL is fine. */
void slab_give(void *object);

#endif
