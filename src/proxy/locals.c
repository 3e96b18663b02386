/*
 * locals: addresses by number, and numbers by address. See the header.
 * Must never know who holds a number.
 */
#include "proxy/locals.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 8
#define ROOM_MAX (UINT32_MAX / 2)

struct local {
    struct table_link link;
    struct addr addr;
    uint32_t number;
    uint32_t holders;
};

static uint64_t hash_addr(const struct locals *ls, const struct addr *a)
{
    uint8_t packed[sizeof *a];

    _Static_assert(sizeof *a == sizeof a->ip + sizeof a->scope + sizeof a->port + sizeof a->family,
                   "no padding may decide");
    memcpy(packed, a, sizeof packed);
    return siphash64(&ls->key, packed, sizeof packed);
}

static bool has_addr(const struct table_link *link, const void *arg)
{
    return addr_equal(&table_entry(link, const struct local, link)->addr, arg);
}

/* Makes numbers that are free. */
static bool make_room(struct locals *ls)
{
    uint32_t room = ls->room > 0 ? 2 * ls->room : ROOM_FIRST;
    struct locals_place *larger;

    if (ls->room > ROOM_MAX)
        return false;
    larger = reallocarray(ls->places, room, sizeof *larger);
    if (larger == NULL)
        return false;
    ls->places = larger;
    for (uint32_t n = room - 1; n >= ls->room && n != LOCALS_NONE; n--) {
        larger[n] = (struct locals_place){.next_free = ls->next_free};
        ls->next_free = n;
    }
    ls->room = room;
    return true;
}

static struct local *add(struct locals *ls, const struct addr *a, uint64_t hash)
{
    struct local *local;

    if (ls->next_free == LOCALS_NONE && !make_room(ls))
        return NULL;
    local = slab_take(&ls->entries);
    if (local == NULL)
        return NULL;
    local->addr = *a;
    local->number = ls->next_free;
    ls->next_free = ls->places[local->number].next_free;
    ls->places[local->number].local = local;
    table_insert(&ls->table, &local->link, hash);
    return local;
}

bool locals_init(struct locals *ls)
{
    *ls = (struct locals){.next_free = LOCALS_NONE};
    hash_key_init(&ls->key);
    slab_init(&ls->entries, sizeof(struct local));
    return table_init(&ls->table, 0);
}

void locals_clear(struct locals *ls)
{
    assert(ls->table.count == 0);
    table_clear(&ls->table);
    slab_clear(&ls->entries);
    free(ls->places);
}

uint32_t locals_take(struct locals *ls, const struct addr *a)
{
    uint64_t hash = hash_addr(ls, a);
    struct table_link *link = table_find(&ls->table, hash, has_addr, a);
    struct local *local = link != NULL ? table_entry(link, struct local, link) : add(ls, a, hash);

    if (local == NULL)
        return LOCALS_NONE;
    local->holders++;
    return local->number;
}

void locals_give(struct locals *ls, uint32_t number)
{
    struct local *local;

    if (number == LOCALS_NONE)
        return;
    local = ls->places[number].local;
    if (--local->holders > 0)
        return;
    table_remove(&ls->table, &local->link);
    ls->places[number] = (struct locals_place){.next_free = ls->next_free};
    ls->next_free = number;
    slab_give(local);
}

const struct addr *locals_at(const struct locals *ls, uint32_t number)
{
    return &ls->places[number].local->addr;
}
