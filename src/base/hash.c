/*
 * hash: SipHash-2-4 (Aumasson and Bernstein) and a table by linear hashing (Litwin): it has any
 * number of slots, and one more means that one chain is split in two.
 * Must never know what is in the table.
 */
#include "base/hash.h"

#include "base/bytes.h"
#include "base/pages.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SIZE_MIN 16
/* Slots that one call adds or takes away: more than one, to catch up after memory was short, and
 * because shrinking has to go faster than the entries do. */
#define SLOTS_PER_STEP 2
#define SEGMENT (PAGES_BLOCK / sizeof(struct table_link *))

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

static struct table_link **slot_at(const struct table *t, size_t index)
{
    return &t->segments[index / SEGMENT][index % SEGMENT];
}

/* The largest power of two up to `size`: below it all slots are split alike. */
static size_t round_down(size_t size)
{
    return (size_t)1 << (63 - __builtin_clzll(size));
}

/* As many bits of the hash as name a slot that is there. */
static struct table_link **slot_of(const struct table *t, uint64_t hash)
{
    size_t low = round_down(t->size);
    size_t index = hash & (2 * low - 1);

    return slot_at(t, index < t->size ? index : index - low);
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
    struct table_link **slot = slot_of(t, link->hash);

    link->next = *slot;
    *slot = link;
}

/* Takes a chain out of its slot, gives the table `size` slots and puts the chain back. */
static void resize(struct table *t, struct table_link **slot, size_t size)
{
    struct table_link *link = *slot, *next;

    *slot = NULL;
    t->size = size;
    for (; link != NULL; link = next) {
        next = link->next;
        push(t, link);
    }
}

static bool add_segment(struct table *t, size_t at)
{
    if (at == t->segment_room) {
        size_t room = at > 0 ? 2 * at : 1;
        struct table_link ***larger = reallocarray(t->segments, room, sizeof *larger);
        if (larger == NULL)
            return false;
        t->segments = larger;
        t->segment_room = room;
    }
    t->segments[at] = pages_new();
    return t->segments[at] != NULL;
}

/* Splits one chain. Without memory all stays as it is. */
static void add_slot(struct table *t)
{
    if (t->size % SEGMENT == 0 && !add_segment(t, t->size / SEGMENT))
        return;
    resize(t, slot_at(t, t->size - round_down(t->size)), t->size + 1);
}

/* Joins two chains. */
static void drop_slot(struct table *t)
{
    size_t last = t->size - 1;

    resize(t, slot_at(t, last), last);
    if (last % SEGMENT == 0)
        pages_free(t->segments[last / SEGMENT]);
}

/* Shrinks at three quarters, so that nobody makes it grow and shrink by turns. */
static bool is_too_large(const struct table *t)
{
    return t->size > t->least && t->count < t->size - t->size / 4;
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
    size_t size = TABLE_SIZE_MIN, segments;

    while (size < expect && size <= SIZE_MAX / 4)
        size *= 2;
    segments = (size + SEGMENT - 1) / SEGMENT;
    *t = (struct table){.least = size};
    t->segments = calloc(segments, sizeof *t->segments);
    if (t->segments == NULL)
        return false;
    t->segment_room = segments;
    for (size_t i = 0; i < segments; i++) {
        if (!add_segment(t, i)) {
            table_clear(t);
            return false;
        }
        t->size = i + 1 < segments ? (i + 1) * SEGMENT : size;
    }
    return true;
}

void table_clear(struct table *t)
{
    for (size_t i = 0; i * SEGMENT < t->size; i++)
        pages_free(t->segments[i]);
    free(t->segments);
    *t = (struct table){0};
}

struct table_link *table_find(const struct table *t, uint64_t hash,
                              bool (*equal)(const struct table_link *link, const void *arg),
                              const void *arg)
{
    struct table_link *link = *slot_of(t, hash);

    for (; link != NULL; link = link->next)
        if (link->hash == hash && equal(link, arg))
            return link;
    return NULL;
}

void table_insert(struct table *t, struct table_link *link, uint64_t hash)
{
    link->hash = hash;
    push(t, link);
    t->count++;
    for (int i = 0; i < SLOTS_PER_STEP && t->count > t->size; i++)
        add_slot(t);
}

void table_remove(struct table *t, struct table_link *link)
{
    struct table_link **at = slot_of(t, link->hash);

    while (*at != NULL && *at != link)
        at = &(*at)->next;
    assert(*at == link);
    if (*at == NULL)
        return;
    *at = link->next;
    link->next = NULL;
    t->count--;
    for (int i = 0; i < SLOTS_PER_STEP && !t->is_walked && is_too_large(t); i++)
        drop_slot(t);
}

void table_each(struct table *t, void (*fn)(struct table_link *link, void *arg), void *arg)
{
    t->is_walked = true;
    for (size_t i = 0; i < t->size; i++) {
        struct table_link *link = *slot_at(t, i), *next;

        for (; link != NULL; link = next) {
            next = link->next;
            fn(link, arg);
        }
    }
    t->is_walked = false;
    while (is_too_large(t)) /* no more work than the walk was */
        drop_slot(t);
}

/* The walk follows the hashes with their bits reversed: those of one slot stand together then, and
 * a split or a join of slots only splits or joins what stands together. */
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*fn)(struct table_link *link, void *arg), void *arg)
{
    uint64_t hash = reverse(cursor);
    size_t low = round_down(t->size);
    /* A slot that was split, or came of it, goes by one bit more. */
    uint64_t stretch = UINT64_MAX / ((hash & (low - 1)) + low < t->size ? 2 * low : low);

    for (struct table_link *link = *slot_of(t, hash); link != NULL; link = link->next)
        fn(link, arg);
    return (cursor | stretch) + 1;
}
