/*
 * keep: slots of two sizes in blocks of one, and the leases of those who have one. See the header.
 * Must never let a number be used before it is told.
 */
#include "proxy/keep.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SIZES 2
#define BLOCK_HEAD 64 /* the slots' size, four bytes */
#define PLACES_MAX (1u << LEASE_PLACE_BITS)

_Static_assert((MAPPED_BLOCK - BLOCK_HEAD) / KEEP_SLOT_SMALL <= PLACES_MAX, "a place has 10 bits");
_Static_assert(BLOCK_HEAD % 64 == 0 && KEEP_SLOT_SMALL % 64 == 0, "a lease is one cache line");

/* Numbers to be sent that are told at a time. */
#define WRITE_AHEAD 256
struct numbers {
    uint32_t *list;
    size_t count, room;
};

struct keep {
    struct keep_shared *shared;
    struct vault *vault;
    struct leases leases;
    uint8_t **blocks;           /* by number, as leases.block; NULL: another worker's */
    size_t room;                /* of both */
    struct numbers free[SIZES]; /* with room for all slots of their size */
    size_t slots[SIZES];
    uint64_t wall0;
};

static const size_t SLOT_SIZES[SIZES] = {KEEP_SLOT_SMALL, KEEP_SLOT_LARGE};

/* ---- numbers ---- */

static bool numbers_reserve(struct numbers *n, size_t room)
{
    uint32_t *list;

    if (room <= n->room)
        return true;
    room = room < 2 * n->room ? 2 * n->room : room;
    list = reallocarray(n->list, room, sizeof(*list));
    if (!list)
        return false;
    n->list = list;
    n->room = room;
    return true;
}

/* There is room for it. */
static void numbers_push(struct numbers *n, uint32_t number)
{
    assert(n->count < n->room);
    n->list[n->count++] = number;
}

/* ---- blocks and slots ---- */

static size_t slots_of(size_t size)
{
    return (MAPPED_BLOCK - BLOCK_HEAD) / size;
}

size_t keep_block_slots(const uint8_t *block, size_t *size)
{
    struct reader r = reader_of(block, 4);

    *size = read_u32(&r);
    return *size == KEEP_SLOT_SMALL || *size == KEEP_SLOT_LARGE ? slots_of(*size) : 0;
}

const uint8_t *keep_block_slot(const uint8_t *block, size_t size, size_t i)
{
    return block + BLOCK_HEAD + i * size;
}

uint64_t keep_place(unsigned block, size_t i)
{
    return (uint64_t)block << LEASE_PLACE_BITS | i;
}

uint64_t keep_place_at(uint64_t offset, size_t size)
{
    return keep_place((unsigned)(offset / MAPPED_BLOCK),
                      (size_t)(offset % MAPPED_BLOCK - BLOCK_HEAD) / size);
}

static size_t size_of(const struct keep *k, uint32_t place)
{
    size_t size;

    (void)keep_block_slots(k->blocks[place >> LEASE_PLACE_BITS], &size);
    return size;
}

static uint8_t *slot_at(const struct keep *k, uint32_t place)
{
    return k->blocks[place >> LEASE_PLACE_BITS] + BLOCK_HEAD +
           (place & (PLACES_MAX - 1)) * size_of(k, place);
}

static bool make_room(struct keep *k, unsigned number)
{
    size_t room = number < 2 * k->room ? 2 * k->room : number + 1;
    struct lease **leases = reallocarray(k->leases.block, room, sizeof(*leases));
    uint8_t **blocks;

    if (leases)
        k->leases.block = leases;
    blocks = leases ? reallocarray(k->blocks, room, sizeof(*blocks)) : NULL;
    if (!blocks)
        return false;
    k->blocks = blocks;
    for (size_t i = k->room; i < room; i++) {
        leases[i] = NULL;
        blocks[i] = NULL;
    }
    k->room = room;
    return true;
}

/* From here on a block of the file is ours. */
static bool take_block(struct keep *k, unsigned which, unsigned number, uint8_t *block)
{
    size_t slots = slots_of(SLOT_SIZES[which]);
    struct writer w = writer_of(block, 4);

    if ((number >= k->room && !make_room(k, number)) ||
        !numbers_reserve(&k->free[which], k->slots[which] + slots))
        return false;
    k->leases.block[number] = calloc(slots, sizeof(struct lease));
    if (!k->leases.block[number])
        return false;
    k->blocks[number] = block;
    k->slots[which] += slots;
    write_u32(&w, (uint32_t)SLOT_SIZES[which]);
    for (size_t i = slots; i-- > 0;)
        numbers_push(&k->free[which], (uint32_t)keep_place(number, i));
    return true;
}

static bool add_block(struct keep *k, unsigned which)
{
    unsigned number;
    uint8_t *block = mapped_add(&k->shared->file, &number);

    if (!block)
        return false;
    if (number <= KEEP_BLOCK_MAX && take_block(k, which, number, block))
        return true;
    mapped_unmap(block);
    return false;
}

/* 0: there is none. */
static uint32_t take_slot(struct keep *k, size_t size)
{
    unsigned which = size == KEEP_SLOT_SMALL ? 0 : 1;
    struct numbers *free_ones = &k->free[which];

    if (free_ones->count == 0 && !add_block(k, which))
        return 0;
    return free_ones->list[--free_ones->count];
}

static void give_slot(struct keep *k, uint32_t place)
{
    size_t size = size_of(k, place);

    keep_entry_wipe(slot_at(k, place), size);
    numbers_push(&k->free[size == KEEP_SLOT_SMALL ? 0 : 1], place);
}

/* ---- leases ---- */

static uint64_t no_more(uint64_t number)
{
    return number < WIRE_SEQ_MAX ? number : WIRE_SEQ_MAX;
}

static void tell(struct keep *k, uint32_t place)
{
    struct lease *lease = leases_at(&k->leases, place);
    const struct keep_lease told = {.write_end = lease->write_end,
                                    .used = (uint32_t)((k->wall0 + k->leases.now) / 1000)};

    lease->told = k->leases.now;
    keep_entry_renew(k->vault, place, &told, slot_at(k, place));
}

static void on_renew(void *arg, const struct association *a)
{
    struct keep *k = arg;

    leases_at(&k->leases, a->lease)->write_end = no_more(a->write_seq + WRITE_AHEAD);
    tell(k, a->lease);
}

/* ---- sessions ---- */

static struct keep_entry entry_of(struct keep *k, const struct session *s, const char *service,
                                  const struct session_image *image)
{
    struct keep_entry e = {
        .generation = atomic_fetch_add(&k->shared->generation, 1) + 1,
        .service_print = keep_entry_print(service),
        .written = k->wall0 + k->leases.now,
        .image = *image,
    };
    uint64_t used = k->wall0 + s->used;

    e.lease = (struct keep_lease){no_more(s->association.write_seq + WRITE_AHEAD),
                                  s->association.window.top, (uint32_t)(used / 1000)};
    return e;
}

static void begin_lease(struct keep *k, struct session *s, uint32_t place,
                        const struct keep_entry *e)
{
    *leases_at(&k->leases, place) = (struct lease){
        .write_end = e->lease.write_end,
        .top = keep_entry_top(slot_at(k, place)),
        .check = keep_entry_check(k->vault, place, e->generation),
        .told = k->leases.now,
    };
    s->association.lease = place & ((1u << (LEASE_PLACE_BITS + LEASE_BLOCK_BITS)) - 1);
}

bool keep_store(struct keep *k, struct session *s, const char *service,
                const struct session_image *image)
{
    struct keep_entry e = entry_of(k, s, service, image);
    size_t size = keep_entry_size(&e);
    uint32_t before = s->association.lease, place = size > 0 ? take_slot(k, size) : 0;
    bool is_written = place != 0 && keep_entry_write(k->vault, place, &e, slot_at(k, place));

    if (is_written) {
        begin_lease(k, s, place, &e);
        if (before != 0)
            give_slot(k, before);
    } else if (place != 0) {
        give_slot(k, place);
    }
    bytes_wipe(&e, sizeof(e));
    return is_written;
}

static bool is_kept(const struct keep *k, const struct session *s)
{
    return k && s->state == SESSION_OPEN && s->association.lease != 0;
}

void keep_drop(struct keep *k, struct session *s)
{
    if (!is_kept(k, s))
        return;
    give_slot(k, s->association.lease);
    s->association.lease = 0;
}

void keep_settle(struct keep *k, struct session *s)
{
    if (!is_kept(k, s))
        return;
    const struct keep_lease last = {.write_end = s->association.write_seq,
                                    .used = (uint32_t)((k->wall0 + s->used) / 1000)};
    keep_entry_renew(k->vault, s->association.lease, &last, slot_at(k, s->association.lease));
    s->association.lease = 0;
}

/* ---- the whole ---- */

const struct leases *keep_leases(const struct keep *k)
{
    return &k->leases;
}

void keep_set_time(struct keep *k, uint64_t now, uint64_t wall0)
{
    if (!k)
        return;
    k->leases.now = now;
    k->wall0 = wall0;
}

struct keep *keep_new(struct keep_shared *shared)
{
    struct keep *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->shared = shared;
    k->leases.renew = on_renew;
    k->leases.arg = k;
    k->vault = vault_new(&shared->keys);
    if (k->vault)
        return k;
    free(k);
    return NULL;
}

void keep_free(struct keep *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->room; i++) {
        free(k->leases.block[i]);
        mapped_unmap(k->blocks[i]);
    }
    for (size_t i = 0; i < SIZES; i++)
        free(k->free[i].list);
    free(k->leases.block);
    free(k->blocks);
    vault_free(k->vault);
    free(k);
}
