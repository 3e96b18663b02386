/*
 * balance: weighted rendezvous hashing, and smooth weighted turns. See the header.
 * Must never decide what becomes of a flow that is open.
 */
#include "proxy/balance.h"

#include "base/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64
#define ADDR_WORDS ((sizeof(struct addr) + 7) / 8)

/* What others see of a slot: whole between two equal, even versions. */
struct shown {
    _Atomic uint64_t version;
    _Atomic uint64_t addr[ADDR_WORDS];
    _Atomic uint64_t flags; /* the weight and the bits below */
    _Atomic uint64_t down_until, tried_until, changed;
    _Atomic uint64_t flows, opened, refused, sent, sent_bytes, received, received_bytes;
};

enum { SILENT = 1, DRAINED_NOW = 2, BACKUP = 4, LISTED = 8, FAILING = 16, WEIGHT_SHIFT = 5 };

/* Nobody else writes into a line of it. */
struct balance_slot {
    _Alignas(CACHE_LINE) struct addr addr;
    uint64_t seed; /* by its name or, where it has none, its address */
    unsigned weight;
    bool is_listed, is_backup;
    bool is_drained;                  /* by the settings */
    bool is_held;                     /* the same by order */
    bool is_silent;                   /* by the probe */
    bool is_failing;                  /* has refused, and said nothing since */
    uint64_t down_until, tried_until; /* by refusals */
    int64_t credit;                   /* of its turns */
    struct shown shown;
};

/* No secret: what goes where has to be the same in each process. */
static const struct hash_key open_key = {"dtlsgate balance"};

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void store(_Atomic uint64_t *p, uint64_t v)
{
    atomic_store_explicit(p, v, memory_order_relaxed);
}

static struct balance_slot *slot_of(const struct balance *b, unsigned slot)
{
    return atomic_load_explicit(&b->slot[slot], memory_order_acquire);
}

/* ---- what others see ---- */

/* One version of what may change together. */
struct figures {
    uint64_t words[ADDR_WORDS];
    uint64_t flags, down_until, tried_until, changed;
};

/* The end of a time changes a state, too, without anybody's doing. */
static enum balance_state state_at(const struct figures *f, uint64_t now, uint64_t *since)
{
    *since = f->changed;
    if ((f->flags & LISTED) == 0)
        return BALANCE_GONE;
    if ((f->flags & DRAINED_NOW) != 0)
        return BALANCE_DRAINING;
    if ((f->flags & SILENT) != 0)
        return BALANCE_DOWN;
    if ((f->flags & FAILING) == 0)
        return BALANCE_UP;
    if (now < f->down_until)
        return BALANCE_DOWN;
    bool is_tried = now < f->tried_until;
    uint64_t turn = is_tried ? f->down_until : f->tried_until;
    *since = turn > f->changed ? turn : f->changed;
    return is_tried ? BALANCE_TRIED : BALANCE_UP;
}

static void take_figures(const struct balance_slot *s, struct figures *f)
{
    uint64_t version;

    do {
        version = atomic_load_explicit(&s->shown.version, memory_order_acquire);
        for (size_t i = 0; i < ADDR_WORDS; i++)
            f->words[i] = load(&s->shown.addr[i]);
        f->flags = load(&s->shown.flags);
        f->down_until = load(&s->shown.down_until);
        f->tried_until = load(&s->shown.tried_until);
        f->changed = load(&s->shown.changed);
        atomic_thread_fence(memory_order_acquire);
    } while (version % 2 != 0 || version != load(&s->shown.version));
}

static uint64_t flags_of(const struct balance_slot *s)
{
    uint64_t flags = (uint64_t)s->weight << WEIGHT_SHIFT;

    flags |= s->is_silent ? SILENT : 0u;
    flags |= s->is_drained || s->is_held ? DRAINED_NOW : 0u;
    flags |= s->is_backup ? BACKUP : 0u;
    flags |= s->is_listed ? LISTED : 0u;
    flags |= s->is_failing ? FAILING : 0u;
    return flags;
}

/* A slot that was nobody's begins to be somebody's, which is a change as well. */
static uint64_t changed_at(const struct balance_slot *s, uint64_t flags, uint64_t now)
{
    struct figures before;
    const struct figures after = {
        .flags = flags, .down_until = s->down_until, .tried_until = s->tried_until};
    uint64_t since, ignored;

    take_figures(s, &before);
    return state_at(&before, now, &since) == state_at(&after, now, &ignored) ? since : now;
}

static void show(struct balance_slot *s, uint64_t now)
{
    uint64_t words[ADDR_WORDS] = {0};
    uint64_t version = load(&s->shown.version), flags = flags_of(s);
    uint64_t changed = changed_at(s, flags, now);

    memcpy(words, &s->addr, sizeof(s->addr));
    store(&s->shown.version, version + 1);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < ADDR_WORDS; i++)
        store(&s->shown.addr[i], words[i]);
    store(&s->shown.flags, flags);
    store(&s->shown.down_until, s->down_until);
    store(&s->shown.tried_until, s->tried_until);
    store(&s->shown.changed, changed);
    atomic_store_explicit(&s->shown.version, version + 2, memory_order_release);
}

bool balance_look(const struct balance *b, unsigned slot, uint64_t now, struct balance_view *out)
{
    const struct balance_slot *s = slot_of(b, slot);
    struct figures f;

    if (s == NULL)
        return false;
    take_figures(s, &f);
    memcpy(&out->addr, f.words, sizeof(out->addr));
    out->weight = (unsigned)(f.flags >> WEIGHT_SHIFT);
    out->is_backup = (f.flags & BACKUP) != 0;
    out->is_drained = (f.flags & DRAINED_NOW) != 0;
    out->is_up = (f.flags & SILENT) == 0 && f.down_until <= now;
    out->state = state_at(&f, now, &out->since);
    out->flows = load(&s->shown.flows);
    out->opened = load(&s->shown.opened);
    out->refused = load(&s->shown.refused);
    out->sent = load(&s->shown.sent);
    out->sent_bytes = load(&s->shown.sent_bytes);
    out->received = load(&s->shown.received);
    out->received_bytes = load(&s->shown.received_bytes);
    return (f.flags & LISTED) != 0 || out->flows > 0;
}

/* ---- the list ---- */

static uint64_t hash_addr(const struct addr *a, bool has_port)
{
    uint8_t text[sizeof(a->ip) + 8];

    memcpy(text, a->ip, sizeof(a->ip));
    for (int i = 0; i < 4; i++)
        text[sizeof(a->ip) + i] = (uint8_t)(a->scope >> 8 * i);
    text[20] = has_port ? (uint8_t)(a->port >> 8) : 0;
    text[21] = has_port ? (uint8_t)a->port : 0;
    text[22] = (uint8_t)(a->family == AF_INET6);
    text[23] = 0;
    return siphash64(&open_key, text, sizeof(text));
}

static unsigned find(const struct balance *b, const struct addr *a)
{
    for (unsigned i = 0; i < BALANCE_SLOTS; i++) {
        const struct balance_slot *s = slot_of(b, i);
        if (s != NULL && (s->is_listed || load(&s->shown.flows) > 0) && addr_equal(&s->addr, a))
            return i;
    }
    return BALANCE_NOBODY;
}

/* A slot that nobody knows any more. Whoever looks may hold its memory, which stays. */
static unsigned find_free(struct balance *b)
{
    for (unsigned i = 0; i < BALANCE_SLOTS; i++) {
        struct balance_slot *s = slot_of(b, i);
        if (s == NULL) {
            s = aligned_alloc(CACHE_LINE, sizeof(*s));
            if (s != NULL)
                memset(s, 0, sizeof(*s));
            atomic_store_explicit(&b->slot[i], s, memory_order_release);
            return s != NULL ? i : BALANCE_NOBODY;
        }
        if (!s->is_listed && load(&s->shown.flows) == 0)
            return i;
    }
    return BALANCE_NOBODY;
}

static void restart(struct balance_slot *s, const struct addr *a)
{
    const struct balance_slot fresh = {.addr = *a};

    s->addr = fresh.addr;
    s->is_held = s->is_silent = s->is_failing = false;
    s->down_until = s->tried_until = 0;
    s->credit = 0;
    _Atomic uint64_t *const counts[] = {&s->shown.opened,   &s->shown.refused,
                                        &s->shown.sent,     &s->shown.sent_bytes,
                                        &s->shown.received, &s->shown.received_bytes};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        store(counts[i], 0);
}

/* The slot of an address, whether it is new or was there. */
static unsigned take(struct balance *b, const struct addr *a)
{
    unsigned slot = find(b, a);

    if (slot != BALANCE_NOBODY)
        return slot;
    slot = find_free(b);
    if (slot != BALANCE_NOBODY)
        restart(slot_of(b, slot), a);
    return slot;
}

/* Should it come back, it begins anew: whoever watches it stops that, too. */
static void unlist(struct balance_slot *s, uint64_t now)
{
    s->is_listed = s->is_held = s->is_silent = s->is_failing = false;
    s->down_until = s->tried_until = 0;
    show(s, now);
}

bool balance_set(struct balance *b, const struct conf_service *conf, uint64_t now)
{
    uint8_t next[BACKENDS_MAX];
    unsigned count = 0;

    b->by = conf->balance;
    b->retry = conf->backend_retry;
    for (size_t i = 0; i < conf->backend.count; i++) {
        const struct backend *from = &conf->backend.list[i];
        unsigned slot = take(b, &from->addr);
        if (slot == BALANCE_NOBODY)
            continue;
        struct balance_slot *s = slot_of(b, slot);
        s->seed = from->name != NULL ? balance_key(from->name, strlen(from->name))
                                     : hash_addr(&from->addr, true);
        s->weight = from->weight;
        s->is_listed = true;
        s->is_backup = from->is_backup;
        s->is_drained = from->is_drained;
        s->is_silent = s->is_silent && conf->probe != NULL;
        show(s, now);
        next[count++] = (uint8_t)slot;
    }
    for (unsigned i = 0; i < b->count; i++)
        if (count == 0 || memchr(next, b->listed[i], count) == NULL)
            unlist(slot_of(b, b->listed[i]), now);
    memcpy(b->listed, next, count);
    b->count = count;
    return count == conf->backend.count;
}

bool balance_is_gone(const struct balance *b, unsigned slot)
{
    return !slot_of(b, slot)->is_listed;
}

bool balance_move(struct balance *b, const struct addr *from, const struct addr *to, uint64_t now)
{
    unsigned before = find(b, from), slot;

    if (before == BALANCE_NOBODY || balance_is_gone(b, before))
        return true;
    slot = take(b, to);
    if (slot == BALANCE_NOBODY)
        return false;
    struct balance_slot *old = slot_of(b, before), *s = slot_of(b, slot);
    if (s->is_listed)
        return true; /* another entry of the list has it already */
    s->seed = old->seed;
    s->weight = old->weight;
    s->is_backup = old->is_backup;
    s->is_drained = old->is_drained;
    s->is_held = old->is_held;
    s->is_listed = true;
    for (unsigned i = 0; i < b->count; i++)
        if (b->listed[i] == before)
            b->listed[i] = (uint8_t)slot;
    unlist(old, now);
    show(s, now);
    return true;
}

bool balance_tell(struct balance *b, const struct addr *a, enum balance_order what, uint64_t now)
{
    unsigned slot = find(b, a);
    struct balance_slot *s = slot != BALANCE_NOBODY ? slot_of(b, slot) : NULL;

    if (s == NULL || !s->is_listed)
        return false;
    switch (what) {
    case BALANCE_UNDRAIN:
    case BALANCE_DRAIN:
        s->is_held = what == BALANCE_DRAIN;
        s->is_drained = s->is_drained && s->is_held;
        break;
    case BALANCE_ANSWER:
        s->is_silent = false;
        s->down_until = s->tried_until = 0;
        break;
    case BALANCE_SILENT:
        s->is_silent = true;
        break;
    }
    show(s, now);
    return true;
}

void balance_clear(struct balance *b)
{
    for (unsigned i = 0; i < BALANCE_SLOTS; i++)
        free(slot_of(b, i));
    memset(b, 0, sizeof(*b));
}

/* ---- the choice ---- */

uint64_t balance_key(const void *identity, size_t len)
{
    return siphash64(&open_key, identity, len);
}

uint64_t balance_key_of(const struct addr *peer)
{
    return hash_addr(peer, false);
}

/* Who may be taken, from the best choice to the worst. */
enum level { UP, BACKUP_UP, DOWN, BACKUP_DOWN, DRAINED, LEVELS };

struct choice {
    uint64_t key, now;
    unsigned but;
};

static enum level level_of(const struct balance *b, unsigned slot, const struct choice *c)
{
    const struct balance_slot *s = slot_of(b, slot);

    if (s->is_drained || s->is_held)
        return DRAINED;
    if (!s->is_silent && s->down_until <= c->now && slot != c->but)
        return s->is_backup ? BACKUP_UP : UP;
    return s->is_backup ? BACKUP_DOWN : DOWN;
}

/* The finalizer of SplitMix64: each bit of the one depends on each of the other. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Rendezvous hashing with weights: the highest weight / -ln(u), with u of (0, 1) by key and
 * backend, wins in proportion to the weights; and no other backend has a part in a score. */
static double score_of(const struct balance_slot *s, uint64_t key)
{
    double u = ((double)(mix(key + s->seed) >> 11) + 0.5) / (double)(UINT64_C(1) << 53);

    return s->weight / -log(u);
}

static unsigned pick_by_key(const struct balance *b, enum level level, const struct choice *c)
{
    unsigned best = BALANCE_NOBODY;
    double high = -1;

    for (unsigned i = 0; i < b->count; i++) {
        const struct balance_slot *s = slot_of(b, b->listed[i]);
        double score = level_of(b, b->listed[i], c) == level ? score_of(s, c->key) : -1;
        if (score > high) {
            high = score;
            best = b->listed[i];
        }
    }
    return best;
}

/* Each gets its weight of credit, the richest pays for all: turns that are spread evenly. */
static unsigned pick_in_turn(struct balance *b, enum level level, const struct choice *c)
{
    unsigned best = BALANCE_NOBODY;
    int64_t high = 0, sum = 0;

    for (unsigned i = 0; i < b->count; i++) {
        struct balance_slot *s = slot_of(b, b->listed[i]);
        if (level_of(b, b->listed[i], c) != level)
            continue;
        s->credit += s->weight;
        sum += s->weight;
        if (best == BALANCE_NOBODY || s->credit > high) {
            high = s->credit;
            best = b->listed[i];
        }
    }
    slot_of(b, best)->credit -= sum;
    return best;
}

unsigned balance_pick(struct balance *b, uint64_t key, unsigned but, uint64_t now, bool *is_up)
{
    const struct choice c = {key, now, but};
    enum level level = LEVELS;

    for (unsigned i = 0; i < b->count; i++) {
        enum level one = level_of(b, b->listed[i], &c);
        level = one < level ? one : level;
    }
    *is_up = level <= BACKUP_UP;
    if (level == LEVELS)
        return BALANCE_NOBODY;
    if (b->by == CONF_BALANCE_ROUND_ROBIN)
        return pick_in_turn(b, level, &c);
    return pick_by_key(b, level, &c);
}

size_t balance_addresses(const struct balance *b, struct addr out[BACKENDS_MAX])
{
    for (unsigned i = 0; i < b->count; i++)
        out[i] = slot_of(b, b->listed[i])->addr;
    return b->count;
}

unsigned balance_find(const struct balance *b, const struct addr *a)
{
    unsigned slot = find(b, a);

    return slot != BALANCE_NOBODY && slot_of(b, slot)->is_listed ? slot : BALANCE_NOBODY;
}

const struct addr *balance_address(const struct balance *b, unsigned slot)
{
    return &slot_of(b, slot)->addr;
}

/* ---- flows ---- */

void balance_enter(struct balance *b, unsigned slot)
{
    struct shown *shown = &slot_of(b, slot)->shown;

    store(&shown->flows, load(&shown->flows) + 1);
    store(&shown->opened, load(&shown->opened) + 1);
}

void balance_leave(struct balance *b, unsigned slot)
{
    struct shown *shown = &slot_of(b, slot)->shown;

    store(&shown->flows, load(&shown->flows) - 1);
}

bool balance_is_good(const struct balance *b, unsigned slot, uint64_t now)
{
    const struct balance_slot *s = slot_of(b, slot);

    return s->is_listed && !s->is_silent && s->down_until <= now;
}

bool balance_is_failing(const struct balance *b, unsigned slot)
{
    return slot_of(b, slot)->is_failing;
}

bool balance_refused(struct balance *b, unsigned slot, unsigned n, uint64_t now)
{
    struct balance_slot *s = slot_of(b, slot);
    /* One that never speaks cannot tell that it is back; so its next trouble is news again. */
    bool is_news = s->is_listed && (!s->is_failing || now >= s->tried_until);

    store(&s->shown.refused, load(&s->shown.refused) + n);
    if (!s->is_listed)
        return false;
    s->is_failing = true;
    s->down_until = now + b->retry;
    s->tried_until = s->down_until + b->retry;
    show(s, now);
    return is_news;
}

bool balance_answered(struct balance *b, unsigned slot, uint64_t now)
{
    struct balance_slot *s = slot_of(b, slot);

    if (!s->is_failing)
        return false;
    s->is_failing = false;
    s->down_until = s->tried_until = 0;
    show(s, now);
    return true;
}

static void add(_Atomic uint64_t *p, uint64_t n)
{
    store(p, load(p) + n);
}

void balance_count_sent(struct balance *b, unsigned slot, size_t len)
{
    struct shown *shown = &slot_of(b, slot)->shown;

    add(&shown->sent, 1);
    add(&shown->sent_bytes, len);
}

void balance_count_received(struct balance *b, unsigned slot, size_t len)
{
    struct shown *shown = &slot_of(b, slot)->shown;

    add(&shown->received, 1);
    add(&shown->received_bytes, len);
}
