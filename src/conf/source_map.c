/*
 * source_map: which address of a prefix each identity has. See the header.
 * Must never depend on anything but its arguments, the machine's byte order included.
 */
#include "conf/source_map.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Places that an identity tries all over the prefix before it takes the next free one: where the
 * prefix has hardly more addresses than there are identities, a search of one step after the other
 * would pile up. */
#define LEAPS 32

/* The numbers that are taken: open addressing, a number + 1, or 0. At most half are in use. */
struct taken {
    uint32_t *slots;
    size_t mask;
};

static bool taken_init(struct taken *t, size_t count)
{
    size_t slots = 2;

    while (slots < 2 * count)
        slots *= 2;
    t->slots = calloc(slots, sizeof(*t->slots));
    t->mask = slots - 1;
    return t->slots != NULL;
}

/* False: it was taken before. */
static bool take(struct taken *t, uint32_t number)
{
    size_t i = (number * UINT64_C(0x9e3779b97f4a7c15) >> 32) & t->mask;

    while (t->slots[i] != 0 && t->slots[i] != number + 1)
        i = (i + 1) & t->mask;
    if (t->slots[i] != 0)
        return false;
    t->slots[i] = number + 1;
    return true;
}

static uint32_t place(struct taken *t, const struct psk *psk, const struct hash_key *key,
                      uint32_t hosts)
{
    uint8_t hash[16];
    struct reader r = reader_of(hash, sizeof(hash));
    uint64_t at, leap;

    siphash128(key, psk->identity, psk->identity_len, hash);
    at = read_u64(&r) % hosts;
    leap = read_u64(&r) % hosts;
    for (int tries = 0; tries < LEAPS; tries++, at = (at + leap) % hosts)
        if (take(t, (uint32_t)at))
            return (uint32_t)at;
    while (!take(t, (uint32_t)at))
        at = (at + 1) % hosts;
    return (uint32_t)at;
}

uint32_t *source_map_new(const struct prefix *prefix, const struct psk_set *set, const char *name)
{
    static const struct hash_key none;
    uint32_t hosts = prefix_hosts(prefix);
    size_t count = psk_count(set);
    uint32_t *map = calloc(count, sizeof(*map));
    struct hash_key key;
    struct taken taken;

    assert(hosts >= count);
    if (!map || !taken_init(&taken, count)) {
        free(map);
        return NULL;
    }
    siphash128(&none, name, strlen(name), key.bytes);
    for (size_t i = 0; i < count; i++)
        map[i] = place(&taken, psk_at(set, i), &key, hosts);
    free(taken.slots);
    return map;
}
