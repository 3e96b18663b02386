/*
 * keep: slots of two sizes in blocks of one, and the leases of those who have one. See the header.
 * Must never let a number be used before it is told.
 */
#include "proxy/keep.h"

#include "base/bytes.h"
#include "base/timer.h"

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
/* What a lease of numbers received is to last, and how few and many it may hold: fewer are worth
 * less than what they cost the client behind a crash. */
#define READ_AHEAD_MS 100
#define READ_AHEAD_MIN 4
#define READ_AHEAD_MAX 4095
/* So soon behind the last one, and so often in a row, before a session counts as fast. */
#define SOON_MS 25
#define STREAK 8
#define SHORT_MS 10 /* too short to tell a rate from */

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
    struct numbers busy; /* told ahead */
    uint64_t wall0, next_tick;
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

    leases_at(&k->leases, place)->of = NULL;
    keep_entry_wipe(slot_at(k, place), size);
    numbers_push(&k->free[size == KEEP_SLOT_SMALL ? 0 : 1], place);
}

/* ---- leases ---- */

static uint64_t no_more(uint64_t number)
{
    return number < WIRE_SEQ_MAX ? number : WIRE_SEQ_MAX;
}

static struct keep_lease lease_as_told(const struct keep *k, const struct lease *lease)
{
    return (struct keep_lease){lease->write_end, lease->read_end,
                               (uint32_t)((k->wall0 + k->leases.now) / 1000)};
}

static void tell(struct keep *k, uint32_t place)
{
    struct lease *lease = leases_at(&k->leases, place);
    const struct keep_lease told = lease_as_told(k, lease);

    lease->told = k->leases.now;
    keep_entry_renew(k->vault, place, &told, slot_at(k, place));
}

/* Whether a session that is told of as it is has been fast for a while. */
static bool is_fast(struct lease *lease, uint64_t since)
{
    if (since >= SOON_MS)
        lease->streak = 0;
    else if (lease->streak < STREAK)
        lease->streak++;
    return lease->streak == STREAK;
}

/* How far to tell ahead: what the last lease has served, by the time it has lasted; where that is
 * too short to tell, twice as far as before. */
static uint64_t ahead_of(const struct keep *k, struct lease *lease, uint64_t top)
{
    uint64_t since = k->leases.now - lease->told, began = lease->read_end - lease->ahead, ahead;

    if (lease->ahead == 0)
        return is_fast(lease, since) ? READ_AHEAD_MIN : 0;
    if (since < SHORT_MS)
        return 2 * (uint64_t)lease->ahead;
    ahead = (top > began ? top - began : 0) * READ_AHEAD_MS / since;
    if (ahead >= READ_AHEAD_MIN)
        return ahead;
    lease->streak = 0;
    return 0;
}

/* One that cannot be noted as busy is not told ahead. */
static void note_busy(struct keep *k, struct lease *lease, uint32_t place)
{
    if (lease->ahead == 0 || lease->is_busy)
        return;
    if (!numbers_reserve(&k->busy, k->busy.count + 1)) {
        lease->ahead = 0;
        return;
    }
    numbers_push(&k->busy, place);
    lease->is_busy = true;
}

static void on_renew(void *arg, const struct association *a, uint64_t top)
{
    struct keep *k = arg;
    struct lease *lease = leases_at(&k->leases, a->lease);

    uint64_t ahead = ahead_of(k, lease, top);

    lease->ahead = (ahead < READ_AHEAD_MAX ? ahead : READ_AHEAD_MAX) & READ_AHEAD_MAX;
    note_busy(k, lease, a->lease);
    lease->write_end = no_more(a->write_seq + WRITE_AHEAD);
    lease->read_end = no_more(top + lease->ahead);
    tell(k, a->lease);
}

/* False: it goes on as it is. */
static bool draw_back(struct keep *k, uint32_t place)
{
    struct lease *lease = leases_at(&k->leases, place);

    if (lease->of && k->leases.now - lease->told < LEASE_READ_MS)
        return false;
    lease->is_busy = false;
    lease->ahead = 0;
    if (lease->of) {
        lease->read_end = lease->of->window.top;
        tell(k, place);
    }
    return true;
}

uint64_t keep_tick(struct keep *k)
{
    size_t i = 0;

    if (!k || k->busy.count == 0)
        return TIMER_NEVER;
    if (k->leases.now >= k->next_tick) {
        while (i < k->busy.count) {
            if (draw_back(k, k->busy.list[i]))
                k->busy.list[i] = k->busy.list[--k->busy.count];
            else
                i++;
        }
        k->next_tick = k->leases.now + LEASE_READ_MS;
    }
    return k->busy.count > 0 ? k->next_tick : TIMER_NEVER;
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

/* A lease that begins here: nothing is told ahead. */
static void begin_lease(struct keep *k, struct session *s, uint32_t place,
                        const struct keep_lease *told)
{
    struct lease *lease = leases_at(&k->leases, place);

    lease->write_end = told->write_end;
    lease->read_end = told->read_end;
    lease->of = &s->association;
    lease->told = k->leases.now;
    lease->streak = 0;
    lease->ahead = 0;
    s->association.lease = place & ((1u << (LEASE_PLACE_BITS + LEASE_BLOCK_BITS)) - 1);
}

bool keep_store(struct keep *k, struct session *s, const char *service,
                const struct session_image *image)
{
    struct keep_entry e = entry_of(k, s, service, image);
    size_t size = keep_entry_size(&e);
    uint32_t before = s->association.lease, place = size > 0 ? take_slot(k, size) : 0;
    bool is_kept = place != 0 && keep_entry_write(k->vault, place, &e, slot_at(k, place));

    if (is_kept) {
        begin_lease(k, s, place, &e.lease);
        if (before != 0)
            give_slot(k, before);
    } else if (place != 0) {
        give_slot(k, place);
    }
    bytes_wipe(&e, sizeof(e));
    return is_kept;
}

void keep_drop(struct keep *k, struct session *s)
{
    if (!k || s->state != SESSION_OPEN || s->association.lease == 0)
        return;
    give_slot(k, s->association.lease);
    s->association.lease = 0;
}

void keep_leave(struct keep *k, struct session *s)
{
    if (!k || s->state != SESSION_OPEN || s->association.lease == 0)
        return;
    leases_at(&k->leases, s->association.lease)->of = NULL;
    s->association.lease = 0;
}

void keep_settle(struct keep *k, struct session *s)
{
    struct lease *lease;
    struct keep_lease last;

    if (!k || s->state != SESSION_OPEN || s->association.lease == 0)
        return;
    lease = leases_at(&k->leases, s->association.lease);
    lease->write_end = s->association.write_seq;
    lease->read_end = s->association.window.top;
    lease->of = NULL;
    last = lease_as_told(k, lease);
    last.used = (uint32_t)((k->wall0 + s->used) / 1000);
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
    free(k->busy.list);
    free(k->leases.block);
    free(k->blocks);
    vault_free(k->vault);
    free(k);
}
