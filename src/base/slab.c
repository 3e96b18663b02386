/*
 * slab: one free list per block. See the header.
 * Must never know what an object is. Free objects are all zero but for their link, and are poisoned
 * where the address sanitizer is built in, so that it still finds who uses one.
 */
#include "base/slab.h"

#include "base/bytes.h"
#include "base/pages.h"

#include <assert.h>
#include <stdint.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(at, size) ASAN_POISON_MEMORY_REGION(at, size)
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define POISON(at, size) ((void)(at), (void)(size))
#define UNPOISON(at, size) ((void)(at), (void)(size))
#endif

#define SIZE_MIN 8
#define SIZE_MAX_SHARE 4 /* a block holds so many at least, but for its head */

struct spot {
    struct spot *next;
};

/* The head of a block; the objects follow. */
struct slab_block {
    struct list node; /* in `roomy`; alone while the block is full or spare */
    struct slab *slab;
    struct spot *free;   /* given back */
    uint32_t used, made; /* objects that are out; that were handed out ever, all others are new */
};

static struct slab_block *block_of(const void *object)
{
    return (struct slab_block *)((uintptr_t)object & ~(uintptr_t)(PAGES_BLOCK - 1));
}

static bool has_new(const struct slab_block *b)
{
    return sizeof *b + (b->made + 1) * b->slab->size <= PAGES_BLOCK;
}

static struct slab_block *block_new(struct slab *s)
{
    struct slab_block *b = pages_new();

    if (b == NULL)
        return NULL;
    b->slab = s;
    list_init(&b->node);
    POISON(b + 1, PAGES_BLOCK - sizeof *b);
    s->blocks++;
    return b;
}

static void block_free(struct slab_block *b)
{
    b->slab->blocks--;
    UNPOISON(b, PAGES_BLOCK);
    pages_free(b);
}

/* A block with room, among the roomy ones; NULL: out of memory. */
static struct slab_block *find_room(struct slab *s)
{
    struct list *node = list_first(&s->roomy);
    struct slab_block *b;

    if (node != NULL)
        return list_entry(node, struct slab_block, node);
    b = s->spare != NULL ? s->spare : block_new(s);
    s->spare = NULL;
    if (b != NULL)
        list_append(&s->roomy, &b->node);
    return b;
}

static void retire(struct slab_block *b)
{
    list_remove(&b->node);
    if (b->slab->spare == NULL)
        b->slab->spare = b;
    else
        block_free(b);
}

void slab_init(struct slab *s, size_t size)
{
    assert(size >= SIZE_MIN && size % 8 == 0 && size <= PAGES_BLOCK / SIZE_MAX_SHARE);
    *s = (struct slab){.size = size};
    list_init(&s->roomy);
}

void slab_clear(struct slab *s)
{
    assert(s->used == 0);
    if (s->spare != NULL)
        block_free(s->spare);
    s->spare = NULL;
}

void *slab_take(struct slab *s)
{
    struct slab_block *b = find_room(s);
    void *object;

    if (b == NULL)
        return NULL;
    if (b->free != NULL) {
        struct spot *spot = b->free;
        UNPOISON(spot, s->size);
        b->free = spot->next;
        spot->next = NULL;
        object = spot;
    } else {
        object = (uint8_t *)(b + 1) + b->made++ * s->size;
        UNPOISON(object, s->size);
    }
    b->used++;
    s->used++;
    if (b->free == NULL && !has_new(b))
        list_remove(&b->node);
    return object;
}

void slab_give(void *object)
{
    struct slab_block *b = block_of(object);
    struct spot *spot = object;

    if (object == NULL)
        return;
    bytes_wipe(object, b->slab->size);
    spot->next = b->free;
    b->free = spot;
    POISON(object, b->slab->size);
    b->used--;
    b->slab->used--;
    if (list_is_empty(&b->node))
        list_append(&b->slab->roomy, &b->node);
    if (b->used == 0)
        retire(b);
}
