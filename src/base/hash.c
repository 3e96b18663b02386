/*
 * hash: SipHash-2-4 (Aumasson and Bernstein) and the table that grows a few chains at a time.
 * Must never know what is in the table.
 */
#include "base/hash.h"

#include "base/bytes.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SIZE_MIN 16
/* Growing doubles, so anything from two on is done long before the next growing starts. */
#define CHAINS_PER_STEP 4

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static void store64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t rotate(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

/* Passed by value: so it stays in registers, which halves the time. */
struct sip {
    uint64_t a, b, c, d;
};

static inline struct sip sip_round(struct sip v)
{
    v.a += v.b;
    v.b = rotate(v.b, 13) ^ v.a;
    v.a = rotate(v.a, 32);
    v.c += v.d;
    v.d = rotate(v.d, 16) ^ v.c;
    v.a += v.d;
    v.d = rotate(v.d, 21) ^ v.a;
    v.c += v.b;
    v.b = rotate(v.b, 17) ^ v.c;
    v.c = rotate(v.c, 32);
    return v;
}

static struct sip sip_start(const struct hash_key *key)
{
    uint64_t k0 = load64(key->bytes), k1 = load64(key->bytes + 8);

    return (struct sip){k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                        k1 ^ 0x7465646279746573};
}

static inline struct sip sip_block(struct sip v, uint64_t block)
{
    v.d ^= block;
    v = sip_round(sip_round(v));
    v.a ^= block;
    return v;
}

static struct sip sip_absorb(struct sip v, const uint8_t *data, size_t len)
{
    uint64_t last = (uint64_t)len << 56;
    size_t i;

    for (i = 0; len - i >= 8; i += 8)
        v = sip_block(v, load64(data + i));
    for (unsigned shift = 0; i < len; i++, shift += 8)
        last |= (uint64_t)data[i] << shift;
    return sip_block(v, last);
}

/* The four last rounds; the output is the exclusive or of all. */
static struct sip sip_finish(struct sip v)
{
    return sip_round(sip_round(sip_round(sip_round(v))));
}

static uint64_t sip_output(struct sip v)
{
    return v.a ^ v.b ^ v.c ^ v.d;
}

static struct table_link **slot_of(const struct table *t, int which, uint64_t hash)
{
    return &t->slots[which][hash & (t->size[which] - 1)];
}

/* The bits in opposite order: neighbours change places, then pairs, then fours, then bytes. */
static uint64_t reverse(uint64_t v)
{
    v = (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
    v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
    return __builtin_bswap64(v);
}

static void push(struct table *t, struct table_link *link)
{
    struct table_link **slot = slot_of(t, 0, link->hash);

    link->next = *slot;
    *slot = link;
}

static void move_chains(struct table *t, size_t chains)
{
    if (t->slots[1] == NULL)
        return;
    for (; chains > 0 && t->moved < t->size[1]; chains--) {
        struct table_link *link = t->slots[1][t->moved], *next;

        t->slots[1][t->moved++] = NULL;
        for (; link != NULL; link = next) {
            next = link->next;
            push(t, link);
        }
    }
    if (t->moved < t->size[1])
        return;
    free(t->slots[1]);
    t->slots[1] = NULL;
    t->size[1] = t->moved = 0;
}

/* Only puts the larger array in place; move_chains() fills it. Without memory all stays as it is.
 */
static void start_growing(struct table *t)
{
    struct table_link **larger = calloc(t->size[0] * 2, sizeof *larger);

    if (larger == NULL)
        return;
    t->slots[1] = t->slots[0];
    t->size[1] = t->size[0];
    t->moved = 0;
    t->slots[0] = larger;
    t->size[0] *= 2;
}

static bool unlink_from(struct table *t, int which, const struct table_link *link)
{
    struct table_link **at;

    if (t->slots[which] == NULL)
        return false;
    for (at = slot_of(t, which, link->hash); *at != NULL; at = &(*at)->next) {
        if (*at == link) {
            *at = link->next;
            return true;
        }
    }
    return false;
}

void hash_key_init(struct hash_key *key)
{
    bytes_random(key->bytes, sizeof key->bytes);
}

uint64_t siphash64(const struct hash_key *key, const void *data, size_t len)
{
    struct sip v = sip_absorb(sip_start(key), data, len);

    v.c ^= 0xff;
    return sip_output(sip_finish(v));
}

void siphash128(const struct hash_key *key, const void *data, size_t len, uint8_t out[16])
{
    struct sip v = sip_start(key);

    v.b ^= 0xee;
    v = sip_absorb(v, data, len);
    v.c ^= 0xee;
    v = sip_finish(v);
    store64(out, sip_output(v));
    v.b ^= 0xdd;
    v = sip_finish(v);
    store64(out + 8, sip_output(v));
}

bool table_init(struct table *t, size_t expect)
{
    size_t size = TABLE_SIZE_MIN;

    while (size < expect && size <= SIZE_MAX / 4)
        size *= 2;
    *t = (struct table){.size = {size, 0}};
    t->slots[0] = calloc(size, sizeof *t->slots[0]);
    return t->slots[0] != NULL;
}

void table_clear(struct table *t)
{
    free(t->slots[0]);
    free(t->slots[1]);
    *t = (struct table){0};
}

struct table_link *table_find(const struct table *t, uint64_t hash,
                              bool (*equal)(const struct table_link *link, const void *arg),
                              const void *arg)
{
    for (int which = 0; which < 2 && t->slots[which] != NULL; which++) {
        struct table_link *link = *slot_of(t, which, hash);

        for (; link != NULL; link = link->next)
            if (link->hash == hash && equal(link, arg))
                return link;
    }
    return NULL;
}

void table_insert(struct table *t, struct table_link *link, uint64_t hash)
{
    move_chains(t, CHAINS_PER_STEP);
    if (t->count >= t->size[0] && t->slots[1] == NULL)
        start_growing(t);
    link->hash = hash;
    push(t, link);
    t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
    bool found = unlink_from(t, 0, link) || unlink_from(t, 1, link);

    assert(found);
    if (!found)
        return;
    link->next = NULL;
    t->count--;
    move_chains(t, CHAINS_PER_STEP);
}

void table_each(struct table *t, void (*fn)(struct table_link *link, void *arg), void *arg)
{
    /* All of the table is visited anyway; afterwards a removal by fn moves nothing under our feet.
     */
    move_chains(t, t->size[1]);
    for (size_t i = 0; i < t->size[0]; i++) {
        struct table_link *link = t->slots[0][i], *next;

        for (; link != NULL; link = next) {
            next = link->next;
            fn(link, arg);
        }
    }
}

/* The walk follows the hashes with their bits reversed: those of one slot stand together then, and
 * growing, which gives a slot's entries another low bit, only splits what stands together. */
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*fn)(struct table_link *link, void *arg), void *arg)
{
    size_t size = t->slots[1] != NULL ? t->size[1] : t->size[0];
    size_t first = (size_t)reverse(cursor) & (size - 1);

    for (int which = 0; which < 2 && t->slots[which] != NULL; which++)
        for (size_t i = first; i < t->size[which]; i += size)
            for (struct table_link *link = t->slots[which][i]; link != NULL; link = link->next)
                fn(link, arg);
    return cursor + UINT64_MAX / size + 1;
}
