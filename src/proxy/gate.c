/*
 * gate: admission by prefix and address. See the header.
 * Must never end a session itself, or remember a peer that showed no cookie.
 */
#include "proxy/gate.h"

#include "base/hash.h"
#include "base/prefix.h"
#include "base/rate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Places that nobody sits in are kept for their rates, the newest so many. */
#define EMPTY_PLACES_MAX 8192
#define ADDRESS_BITS 128
/* Failed handshakes of one address: so many at once are forgiven, then so many per second. */
#define FAILURES_BURST 30
#define FAILURES_PER_SECOND 1
#define ALERTS_PER_SECOND 1

/* What is remembered of a prefix, or of a single address (a prefix of all its bits). */
struct gate_place {
    struct table_link link;
    struct prefix prefix;
    struct list empty;      /* in the gate's list, oldest first, while nobody sits here */
    struct list waiting;    /* seats of handshakes under way, oldest first */
    unsigned pending, open; /* open ones only where they are capped */
    struct rate handshakes, alerts, failures;
    uint64_t refused_until; /* ms */
};

struct gate {
    struct gate_rules rules;
    struct hash_key key;
    struct table places;
    struct list empty;
    size_t empty_count;
    struct rate handshakes; /* of all */
};

struct gate *gate_new(const struct gate_rules *rules)
{
    struct gate *g = calloc(1, sizeof *g);
    if (g == NULL || !table_init(&g->places, 64)) {
        free(g);
        return NULL;
    }
    g->rules = *rules;
    hash_key_init(&g->key);
    list_init(&g->empty);
    return g;
}

static void forget(struct gate *g, struct gate_place *p)
{
    list_remove(&p->empty);
    g->empty_count--;
    table_remove(&g->places, &p->link);
    free(p);
}

void gate_free(struct gate *g)
{
    struct list *node;

    if (g == NULL)
        return;
    while ((node = list_first(&g->empty)) != NULL)
        forget(g, list_entry(node, struct gate_place, empty));
    assert(g->places.count == 0);
    table_clear(&g->places);
    free(g);
}

/* A place counts as empty while nobody sits there and no open session is counted. */
static bool is_empty(const struct gate_place *p)
{
    return p->pending + p->open == 0;
}

/* The oldest gives way when there are too many. */
static void note_empty(struct gate *g, struct gate_place *p)
{
    list_append(&g->empty, &p->empty);
    g->empty_count++;
}

static void trim_empty(struct gate *g)
{
    while (g->empty_count > EMPTY_PLACES_MAX)
        forget(g, list_entry(list_first(&g->empty), struct gate_place, empty));
}

static void note_used(struct gate *g, struct gate_place *p)
{
    list_remove(&p->empty);
    g->empty_count--;
}

static void forget_open(struct table_link *link, void *arg)
{
    struct gate_place *p = table_entry(link, struct gate_place, link);
    bool was_empty = is_empty(p);

    p->open = 0;
    if (!was_empty && is_empty(p))
        note_empty(arg, p);
}

void gate_set_rules(struct gate *g, const struct gate_rules *rules)
{
    g->rules = *rules;
    table_each(&g->places, forget_open, g);
    trim_empty(g);
}

static uint64_t hash_prefix(const struct gate *g, const struct prefix *p)
{
    uint8_t packed[sizeof p->base.ip + 2];

    memcpy(packed, p->base.ip, sizeof p->base.ip);
    packed[sizeof p->base.ip] = (uint8_t)p->base.family;
    packed[sizeof p->base.ip + 1] = (uint8_t)p->bits;
    return siphash64(&g->key, packed, sizeof packed);
}

static bool is_prefix(const struct table_link *link, const void *arg)
{
    const struct gate_place *p = table_entry(link, const struct gate_place, link);
    const struct prefix *want = arg;
    return p->prefix.bits == want->bits && addr_equal(&p->prefix.base, &want->base);
}

static struct prefix prefix_for(const struct gate *g, const struct addr *peer)
{
    return prefix_of(peer, peer->family == AF_INET ? g->rules.prefix_v4 : g->rules.prefix_v6);
}

static struct gate_place *find(const struct gate *g, const struct prefix *prefix)
{
    struct table_link *link = table_find(&g->places, hash_prefix(g, prefix), is_prefix, prefix);
    return link != NULL ? table_entry(link, struct gate_place, link) : NULL;
}

/* The place of a prefix, made when there is none yet; the oldest empty one gives way. */
static struct gate_place *find_or_make(struct gate *g, const struct prefix *prefix)
{
    struct gate_place *p = find(g, prefix);

    if (p != NULL)
        return p;
    if (g->empty_count >= EMPTY_PLACES_MAX)
        forget(g, list_entry(list_first(&g->empty), struct gate_place, empty));
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->prefix = *prefix;
    list_init(&p->waiting);
    note_empty(g, p);
    table_insert(&g->places, &p->link, hash_prefix(g, prefix));
    return p;
}

static struct gate_place *address_place(struct gate *g, const struct addr *peer)
{
    struct prefix prefix = prefix_of(peer, ADDRESS_BITS);
    return find_or_make(g, &prefix);
}

struct gate_seat *gate_oldest(struct gate *g, const struct addr *peer)
{
    struct prefix prefix = prefix_for(g, peer);
    struct gate_place *p = find(g, &prefix);

    if (p == NULL || g->rules.pending_per_prefix == 0 || p->pending < g->rules.pending_per_prefix)
        return NULL;
    return list_entry(list_first(&p->waiting), struct gate_seat, node);
}

static bool has_token(struct rate *rate, unsigned per_second, uint64_t now)
{
    return per_second == 0 || rate_take(rate, per_second, per_second, now, NULL);
}

static bool take_tokens(struct gate *g, struct gate_place *p, uint64_t now)
{
    return has_token(&p->handshakes, g->rules.rate_per_prefix, now) &&
           has_token(&g->handshakes, g->rules.rate, now);
}

enum gate_verdict gate_admit(struct gate *g, const struct addr *peer, bool replaces, uint64_t now)
{
    struct prefix prefix = prefix_for(g, peer), address = prefix_of(peer, ADDRESS_BITS);
    const struct gate_place *known = find(g, &address);

    if (known != NULL && now < known->refused_until)
        return GATE_STORM;
    struct gate_place *p = find_or_make(g, &prefix);
    if (p == NULL)
        return GATE_FULL;
    if (g->rules.sessions_per_prefix > 0 && p->open >= g->rules.sessions_per_prefix && !replaces)
        return GATE_FULL;
    return take_tokens(g, p, now) ? GATE_WELCOME : GATE_RATE;
}

bool gate_sit(struct gate *g, struct gate_seat *seat, const struct addr *peer)
{
    struct prefix prefix = prefix_for(g, peer);
    struct gate_place *p = find_or_make(g, &prefix);

    if (p == NULL)
        return false;
    if (is_empty(p))
        note_used(g, p);
    p->pending++;
    seat->place = p;
    list_init(&seat->node);
    list_append(&p->waiting, &seat->node);
    return true;
}

bool gate_may_open(const struct gate *g, const struct addr *peer, bool replaces)
{
    unsigned cap = g->rules.sessions_per_prefix;
    struct prefix prefix = prefix_for(g, peer);
    const struct gate_place *p;

    if (cap == 0 || replaces)
        return true;
    p = find(g, &prefix);
    return p == NULL || p->open < cap;
}

void gate_leave(struct gate *g, struct gate_seat *seat)
{
    struct gate_place *p = seat->place;

    if (p == NULL)
        return;
    p->pending--;
    list_remove(&seat->node);
    seat->place = NULL;
    if (is_empty(p))
        note_empty(g, p);
    trim_empty(g);
}

void gate_enter(struct gate *g, const struct addr *peer)
{
    struct prefix prefix = prefix_for(g, peer);
    struct gate_place *p;

    if (g->rules.sessions_per_prefix == 0 || (p = find_or_make(g, &prefix)) == NULL)
        return;
    if (is_empty(p))
        note_used(g, p);
    p->open++;
}

void gate_exit(struct gate *g, const struct addr *peer)
{
    struct prefix prefix = prefix_for(g, peer);
    struct gate_place *p = find(g, &prefix);

    if (p == NULL || p->open == 0)
        return;
    p->open--;
    if (is_empty(p))
        note_empty(g, p);
    trim_empty(g);
}

bool gate_may_alert(struct gate *g, const struct addr *peer, uint64_t now)
{
    struct gate_place *p = address_place(g, peer);
    return p != NULL && rate_take(&p->alerts, ALERTS_PER_SECOND, 1, now, NULL);
}

bool gate_may_ask(struct gate *g, const struct addr *peer, uint64_t now)
{
    struct prefix prefix = prefix_for(g, peer);
    struct gate_place *p = find_or_make(g, &prefix);

    return p != NULL && take_tokens(g, p, now);
}

void gate_note_failure(struct gate *g, const struct addr *peer, uint64_t now)
{
    struct gate_place *p = address_place(g, peer);

    if (p != NULL && !rate_take(&p->failures, FAILURES_PER_SECOND, FAILURES_BURST, now, NULL))
        p->refused_until = now + 1000 / FAILURES_PER_SECOND;
}
