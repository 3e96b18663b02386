/*
 * meters: a hash table of buckets, whose places are claimed by writing a name's hash into them. See
 * the header.
 * Must never wait for another thread, nor let a name have a rate of its own for each.
 */
#include "base/meters.h"

#include "base/hash.h"

#include <stdlib.h>

#define BUCKETS 4096
#define PLACES 16 /* in a bucket */
#define NS_PER_MS UINT64_C(1000000)

struct place {
    _Atomic uint64_t tag; /* of its name; 0: of none yet */
    struct meter pair[2];
};

struct meters {
    struct hash_key key;
    struct place place[BUCKETS][PLACES];
};

struct meters *meters_new(void)
{
    struct meters *m = calloc(1, sizeof *m);

    if (m != NULL)
        hash_key_init(&m->key);
    return m;
}

void meters_free(struct meters *m)
{
    free(m);
}

static bool is_full(const struct meter *m, uint64_t now)
{
    return atomic_load_explicit(&m->paid_until, memory_order_relaxed) <= now;
}

static struct place *find(struct place bucket[PLACES], uint64_t tag)
{
    for (size_t i = 0; i < PLACES; i++)
        if (atomic_load_explicit(&bucket[i].tag, memory_order_relaxed) == tag)
            return &bucket[i];
    return NULL;
}

/* Whoever loses a race for a place looks again, for it may have been lost to the same name; and so
 * does who has won, for the first of a name's places is the one that counts. */
static struct place *claim(struct place bucket[PLACES], uint64_t tag, uint64_t now)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct place *p = &bucket[i];
        uint64_t other = atomic_load_explicit(&p->tag, memory_order_relaxed);

        if (other != tag && (!is_full(&p->pair[0], now) || !is_full(&p->pair[1], now)))
            continue;
        if (atomic_compare_exchange_strong_explicit(&p->tag, &other, tag, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            other == tag)
            return find(bucket, tag);
    }
    return NULL;
}

struct meter *meters_find(struct meters *m, const void *name, size_t len, uint64_t now_ms)
{
    uint64_t tag = siphash64(&m->key, name, len) | 1; /* never 0 */
    struct place *bucket = m->place[(tag >> 1) % BUCKETS];
    struct place *p = find(bucket, tag);

    if (p == NULL)
        p = claim(bucket, tag, now_ms * NS_PER_MS);
    if (p == NULL)
        p = &bucket[(tag >> 32) % PLACES];
    return p->pair;
}
