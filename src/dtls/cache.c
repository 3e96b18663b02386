/*
 * cache: a ring of places, the oldest next to be taken, and chains to find one in it. See the
 * header. Must never do anything under its lock but look, copy and wipe.
 */
#include "dtls/cache.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/secret.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Places that are looked at under the lock at once. */
#define SLICE 32

struct place {
    uint8_t mark[16]; /* of its name: the id itself stands nowhere */
    uint64_t until;   /* ms since 1970 UTC */
    uint32_t next;    /* of the same chain, by number; 0: it is the last */
    bool is_taken;
    struct ticket ticket;
};

struct cache {
    pthread_mutex_t lock;
    struct hash_key key; /* for marks: nobody can choose what meets in a chain, or is the same */
    struct secret memory;
    struct place *place;
    uint32_t *chain; /* the first of each, by number, which is the index + 1; 0: none */
    uint32_t chains; /* a power of two */
    uint32_t count, turn;
    uint32_t used; /* places that were taken ever: the first of all */
};

/* ---- under the lock ---- */

static uint32_t *chain_of(struct cache *c, const uint8_t mark[16])
{
    uint32_t word;

    memcpy(&word, mark, sizeof word);
    return &c->chain[word & (c->chains - 1)];
}

static struct place *find(struct cache *c, const uint8_t mark[16])
{
    for (uint32_t n = *chain_of(c, mark); n != 0; n = c->place[n - 1].next) {
        struct place *p = &c->place[n - 1];
        if (memcmp(p->mark, mark, sizeof p->mark) == 0)
            return p;
    }
    return NULL;
}

static void leave(struct cache *c, struct place *p)
{
    uint32_t *link = chain_of(c, p->mark);

    while (&c->place[*link - 1] != p)
        link = &c->place[*link - 1].next;
    *link = p->next;
    bytes_wipe(p, sizeof *p);
}

static void enter(struct cache *c, struct place *p, const uint8_t mark[16])
{
    uint32_t *first = chain_of(c, mark);

    memcpy(p->mark, mark, sizeof p->mark);
    p->next = *first;
    p->is_taken = true;
    *first = (uint32_t)(p - c->place) + 1;
}

/* True: there are more places. */
static bool expire_slice(struct cache *c, uint32_t from, uint64_t wall)
{
    uint32_t end = c->used - from < SLICE ? c->used : from + SLICE;

    for (uint32_t i = from; i < end; i++)
        if (c->place[i].is_taken && c->place[i].until <= wall)
            leave(c, &c->place[i]);
    return end < c->used;
}

/* ---- for all ---- */

struct cache *cache_new(uint32_t places)
{
    struct cache *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    for (c->chains = 1; c->chains < places;)
        c->chains *= 2;
    c->count = places;
    c->chain = calloc(c->chains, sizeof *c->chain);
    if (c->chain == NULL || !secret_init(&c->memory, places * sizeof(struct place)) ||
        pthread_mutex_init(&c->lock, NULL) != 0) {
        secret_clear(&c->memory);
        free(c->chain);
        free(c);
        return NULL;
    }
    c->place = (struct place *)(void *)c->memory.at; /* whole pages: aligned for anything */
    hash_key_init(&c->key);
    return c;
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    pthread_mutex_destroy(&c->lock);
    secret_shrink(&c->memory, c->used * sizeof(struct place)); /* no more needs to be wiped */
    secret_clear(&c->memory);
    free(c->chain);
    bytes_wipe(c, sizeof *c);
    free(c);
}

/* The id has one length, so what follows it is the service alone. */
static void mark_of(const struct cache *c, const struct cache_name *name, uint8_t mark[16])
{
    uint8_t said[CACHE_ID + 16];

    memcpy(said, name->id, CACHE_ID);
    siphash128(&c->key, name->service, strlen(name->service), said + CACHE_ID);
    siphash128(&c->key, said, sizeof said, mark);
}

bool cache_put(struct cache *c, const struct cache_name *name, const struct ticket *t,
               uint64_t lifetime)
{
    uint8_t mark[16];

    mark_of(c, name, mark);
    pthread_mutex_lock(&c->lock);
    struct place *p = &c->place[c->turn];
    bool gives_way = p->is_taken && p->until > t->born;
    if (p->is_taken)
        leave(c, p);
    p->until = t->born + lifetime;
    p->ticket = *t;
    enter(c, p, mark);
    if (c->turn == c->used)
        c->used++;
    c->turn = (c->turn + 1) % c->count;
    pthread_mutex_unlock(&c->lock);
    return gives_way;
}

bool cache_find(struct cache *c, const struct cache_name *name, struct ticket *out)
{
    uint8_t mark[16];

    mark_of(c, name, mark);
    pthread_mutex_lock(&c->lock);
    const struct place *p = find(c, mark);
    if (p != NULL)
        *out = p->ticket;
    pthread_mutex_unlock(&c->lock);
    return p != NULL;
}

void cache_forget(struct cache *c, const struct cache_name *name)
{
    uint8_t mark[16];

    mark_of(c, name, mark);
    pthread_mutex_lock(&c->lock);
    struct place *p = find(c, mark);
    if (p != NULL)
        leave(c, p);
    pthread_mutex_unlock(&c->lock);
}

void cache_expire(struct cache *c, uint64_t wall)
{
    bool has_more = c != NULL;

    for (uint32_t from = 0; has_more; from += SLICE) {
        pthread_mutex_lock(&c->lock);
        has_more = expire_slice(c, from, wall);
        pthread_mutex_unlock(&c->lock);
    }
}
