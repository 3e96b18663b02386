/*
 * sources: addresses out of a prefix. See the header.
 * Must never hand out one that is in use, nor search for long: 16 million bits at most.
 */
#include "proxy/sources.h"

#include <assert.h>
#include <stdlib.h>

#define WORD_BITS 64

static size_t words_of(uint32_t count)
{
    return (count + WORD_BITS - 1) / WORD_BITS;
}

/* Low bits of numbers that are a worker's all look the same. Nobody but us puts one in. */
static uint64_t hash_of(uint32_t number)
{
    return number * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

static bool has_number(const struct table_link *link, const void *arg)
{
    return table_entry(link, const struct source, link)->number == *(const uint32_t *)arg;
}

static struct source *find(const struct sources *s, uint32_t number)
{
    struct table_link *link = table_find(&s->table, hash_of(number), has_number, &number);

    return link ? table_entry(link, struct source, link) : NULL;
}

/* The free bits of one word that are ours and, of the first word, not before `from`. */
static uint64_t free_bits(const struct sources *s, size_t word, uint32_t from)
{
    uint64_t bits = ~s->used[word];

    if (word == from / WORD_BITS)
        bits &= ~UINT64_C(0) << from % WORD_BITS;
    if (word == words_of(s->count) - 1 && s->count % WORD_BITS != 0)
        bits &= (UINT64_C(1) << s->count % WORD_BITS) - 1;
    return bits;
}

/* The first free one from `from` to the end, or count. */
static uint32_t search(const struct sources *s, uint32_t from)
{
    for (size_t word = from / WORD_BITS; word < words_of(s->count); word++) {
        uint64_t bits = free_bits(s, word, from);
        if (bits != 0)
            return (uint32_t)(word * WORD_BITS) + (uint32_t)__builtin_ctzll(bits);
    }
    return s->count;
}

static bool is_free(const struct sources *s, uint32_t own)
{
    return (s->used[own / WORD_BITS] >> own % WORD_BITS & 1) == 0;
}

static void flip(struct sources *s, uint32_t own)
{
    s->used[own / WORD_BITS] ^= UINT64_C(1) << own % WORD_BITS;
}

static void put(struct sources *s, struct source *source, uint32_t number)
{
    source->number = number;
    table_insert(&s->table, &source->link, hash_of(number));
}

bool sources_init(struct sources *s, const struct prefix *prefix, unsigned worker, unsigned workers)
{
    uint32_t count = prefix_hosts(prefix) / workers;

    assert(count > 0 && worker < workers);
    *s = (struct sources){.prefix = *prefix, .worker = worker, .workers = workers};
    s->count = count < SOURCES_MAX ? count : SOURCES_MAX;
    s->used = calloc(words_of(s->count), sizeof(*s->used));
    if (s->used && table_init(&s->table, 0))
        return true;
    free(s->used);
    s->used = NULL;
    return false;
}

void sources_clear(struct sources *s)
{
    assert(s->table.count == 0);
    table_clear(&s->table);
    free(s->used);
    s->used = NULL;
}

bool sources_take_next(struct sources *s, struct source *source)
{
    uint32_t own = search(s, s->next);

    if (own == s->count)
        own = search(s, 0);
    if (own == s->count)
        return false;
    flip(s, own);
    s->next = (own + 1) % s->count;
    put(s, source, own * s->workers + s->worker);
    return true;
}

bool sources_take(struct sources *s, struct source *source, uint32_t number)
{
    uint32_t own = number / s->workers;

    if (find(s, number))
        return false;
    if (number % s->workers == s->worker && own < s->count && is_free(s, own))
        flip(s, own);
    put(s, source, number);
    return true;
}

void sources_give_back(struct sources *s, struct source *source)
{
    uint32_t own = source->number / s->workers;

    table_remove(&s->table, &source->link);
    if (source->number % s->workers == s->worker && own < s->count && !is_free(s, own))
        flip(s, own);
}

struct source *sources_find(const struct sources *s, const struct addr *a)
{
    uint32_t number;

    return prefix_host_number(&s->prefix, a, &number) ? find(s, number) : NULL;
}

struct addr sources_address(const struct sources *s, const struct source *source)
{
    return prefix_host(&s->prefix, source->number);
}
