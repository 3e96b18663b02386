/*
 * hash: SipHash-2-4 (Aumasson and Bernstein) and the table that grows a few chains at a time.
 * Must never know what is in the table.
 */
#include "base/hash.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>

#define TABLE_SIZE_MIN 16
/* Growing doubles, so anything from two on is done long before the next growing starts. */
#define CHAINS_PER_STEP 4

static uint64_t load64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
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

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    for (; rounds > 0; rounds--) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void sip_start(uint64_t v[4], const struct hash_key *key)
{
    uint64_t k0 = load64(key->bytes), k1 = load64(key->bytes + 8);

    v[0] = k0 ^ 0x736f6d6570736575;
    v[1] = k1 ^ 0x646f72616e646f6d;
    v[2] = k0 ^ 0x6c7967656e657261;
    v[3] = k1 ^ 0x7465646279746573;
}

static void sip_block(uint64_t v[4], uint64_t block)
{
    v[3] ^= block;
    sip_rounds(v, 2);
    v[0] ^= block;
}

static void sip_absorb(uint64_t v[4], const uint8_t *data, size_t len)
{
    uint64_t last = (uint64_t)len << 56;
    size_t i;

    for (i = 0; len - i >= 8; i += 8)
        sip_block(v, load64(data + i));
    for (unsigned shift = 0; i < len; i++, shift += 8)
        last |= (uint64_t)data[i] << shift;
    sip_block(v, last);
}

static uint64_t sip_squeeze(uint64_t v[4])
{
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct table_link **slot_of(const struct table *t, int which, uint64_t hash)
{
    return &t->slots[which][hash & (t->size[which] - 1)];
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
    uint64_t v[4];

    sip_start(v, key);
    sip_absorb(v, data, len);
    v[2] ^= 0xff;
    return sip_squeeze(v);
}

void siphash128(const struct hash_key *key, const void *data, size_t len, uint8_t out[16])
{
    uint64_t v[4];

    sip_start(v, key);
    v[1] ^= 0xee;
    sip_absorb(v, data, len);
    v[2] ^= 0xee;
    store64(out, sip_squeeze(v));
    v[1] ^= 0xdd;
    store64(out + 8, sip_squeeze(v));
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
