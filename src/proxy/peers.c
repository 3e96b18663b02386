/*
 * peers: two keyed tables over the same sessions, and the lists that keep their order.
 * Must never free a session, read a clock or send anything: it answers who is there and who goes.
 */
#include "proxy/peers.h"

#include "base/bytes.h"
#include "proxy/roam.h"
#include "proxy/upstream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The tables grow by themselves, so a large cap costs nothing before it is used. */
#define FIRST_ROOM 1024

struct visit {
    void (*fn)(struct session *s, void *arg);
    void *arg;
};

static uint64_t hash_route(const struct peers *p, const struct session_route *route)
{
    struct {
        struct addr peer, local;
        uint64_t listener;
    } packed = {route->peer, route->local, route->listener};

    _Static_assert(sizeof(packed) == 2 * (16 + 4 + 2 + 2) + 8, "padding never decides");
    return siphash64(&p->key, &packed, sizeof(packed));
}

/* What has_route() looks for, and where. */
struct quest {
    const struct peers *peers;
    const struct session_route *route;
};

static bool is_at_route(const struct session *s, const struct quest *q)
{
    return s->listener == q->route->listener && addr_equal(&s->peer, &q->route->peer) &&
           addr_equal(locals_at(&q->peers->locals, s->local), &q->route->local);
}

static bool has_route(const struct table_link *link, const void *arg)
{
    return is_at_route(table_entry(link, const struct session, link), arg);
}

static bool is_roam_at_route(const struct table_link *link, const void *arg)
{
    return is_at_route(table_entry(link, const struct roam, at)->session, arg);
}

static uint64_t hash_cid(const uint8_t cid[WIRE_OWN_CID])
{
    struct reader r = reader_of(cid, WIRE_OWN_CID);

    return read_u64(&r); /* nobody else has chosen those that are in */
}

static struct roam *roam_of_link(const struct table_link *link)
{
    return table_entry(link, struct roam, link);
}

static bool has_cid(const struct table_link *link, const void *arg)
{
    return memcmp(association_cid(&roam_of_link(link)->session->association)->own, arg,
                  WIRE_OWN_CID) == 0;
}

static bool is_link(const struct table_link *link, const void *arg)
{
    return link == arg;
}

static struct session *session_of(struct table_link *link)
{
    return link ? table_entry(link, struct session, link) : NULL;
}

static struct session *session_of_idle(struct list *node)
{
    return node ? list_entry(node, struct session, idle) : NULL;
}

/* Of two, either of which may be NULL, the one that was used earlier. */
static struct session *longer_idle(struct session *a, struct session *b)
{
    if (!a || !b)
        return a ? a : b;
    return b->used < a->used ? b : a;
}

static void visit_link(struct table_link *link, void *arg)
{
    const struct visit *v = arg;

    v->fn(session_of(link), v->arg);
}

static bool init_tables(struct peers *p)
{
    if (table_init(&p->open, FIRST_ROOM) && table_init(&p->pending, FIRST_ROOM) &&
        table_init(&p->cids, 0) && table_init(&p->routes, 0) && locals_init(&p->locals))
        return true;
    table_clear(&p->routes);
    table_clear(&p->cids);
    table_clear(&p->pending);
    table_clear(&p->open);
    return false;
}

bool peers_init(struct peers *p, size_t service_count, size_t open_max, size_t pending_max)
{
    *p = (struct peers){
        .service_count = service_count, .open_max = open_max, .pending_max = pending_max};
    p->idle = calloc(service_count, sizeof(*p->idle));
    p->flows = calloc(service_count, sizeof(*p->flows));
    if (!p->idle || !p->flows || !init_tables(p))
        goto out;
    hash_key_init(&p->key);
    for (size_t i = 0; i < service_count; i++) {
        list_init(&p->idle[i]);
        list_init(&p->flows[i]);
    }
    list_init(&p->handshakes);
    return true;
out:
    free(p->idle);
    free(p->flows);
    return false;
}

void peers_clear(struct peers *p)
{
    assert(p->open.count == 0 && p->pending.count == 0);
    table_clear(&p->open);
    table_clear(&p->pending);
    table_clear(&p->cids);
    table_clear(&p->routes);
    locals_clear(&p->locals);
    free(p->idle);
    free(p->flows);
}

static struct roam *find_roam(const struct peers *p, const struct session_route *route,
                              uint64_t hash)
{
    const struct quest quest = {p, route};
    struct table_link *link = table_find(&p->routes, hash, is_roam_at_route, &quest);

    return link != NULL ? table_entry(link, struct roam, at) : NULL;
}

static struct session *find_open(const struct peers *p, const struct session_route *route,
                                 uint64_t hash)
{
    const struct quest quest = {p, route};
    struct table_link *link = table_find(&p->open, hash, has_route, &quest);
    struct roam *roam = NULL;

    if (link == NULL && p->routes.count > 0)
        roam = find_roam(p, route, hash);
    return roam != NULL ? roam->session : session_of(link);
}

struct peers_found peers_find(const struct peers *p, const struct session_route *route)
{
    const struct quest quest = {p, route};
    uint64_t hash = hash_route(p, route);

    return (struct peers_found){
        .open = find_open(p, route, hash),
        .pending = session_of(table_find(&p->pending, hash, has_route, &quest)),
    };
}

struct session *peers_find_open(const struct peers *p, const struct session_route *route)
{
    return find_open(p, route, hash_route(p, route));
}

struct session *peers_find_replaced(const struct peers *p, const struct session *s)
{
    const struct session_route route = peers_route(p, s);
    const struct quest quest = {p, &route};
    uint64_t hash = hash_route(p, &route);
    struct table_link *link = table_find(&p->open, hash, has_route, &quest);
    struct roam *roam;

    if (link != NULL)
        return session_of(link);
    roam = find_roam(p, &route, hash);
    return roam != NULL && roam->session->psk == s->psk ? roam->session : NULL;
}

struct session *peers_find_pending(const struct peers *p, const struct session_route *route)
{
    const struct quest quest = {p, route};

    return session_of(table_find(&p->pending, hash_route(p, route), has_route, &quest));
}

struct session *peers_find_cid(const struct peers *p, const uint8_t cid[WIRE_OWN_CID])
{
    struct table_link *link = table_find(&p->cids, hash_cid(cid), has_cid, cid);

    return link != NULL ? roam_of_link(link)->session : NULL;
}

void peers_make_cid(const struct peers *p, uint8_t first, uint8_t cid[WIRE_OWN_CID])
{
    do {
        cid[0] = first;
        bytes_random(cid + 1, WIRE_OWN_CID - 1);
    } while (peers_find_cid(p, cid) != NULL);
}

bool peers_set_route(struct peers *p, struct session *s, const struct session_route *route)
{
    assert(s->local == LOCALS_NONE && route->listener <= UINT16_MAX);
    s->local = locals_take(&p->locals, &route->local);
    s->peer = route->peer;
    s->listener = route->listener;
    return s->local != LOCALS_NONE;
}

void peers_forget_route(struct peers *p, struct session *s)
{
    locals_give(&p->locals, s->local);
    s->local = LOCALS_NONE;
}

struct session_route peers_route(const struct peers *p, const struct session *s)
{
    return (struct session_route){s->peer, *locals_at(&p->locals, s->local), s->listener};
}

static void leave_route(struct peers *p, struct roam *roam)
{
    if (roam->is_at)
        table_remove(&p->routes, &roam->at);
    roam->is_at = false;
}

/* Of those at one route only the newest is found there: anybody with a key may bring any number of
 * them to one address, and then each look at it would cost as many steps. */
static void take_route(struct peers *p, struct roam *roam, const struct session_route *route)
{
    uint64_t hash = hash_route(p, route);
    struct roam *before = find_roam(p, route, hash);

    if (before != NULL)
        leave_route(p, before);
    table_insert(&p->routes, &roam->at, hash);
    roam->is_at = true;
}

bool peers_move(struct peers *p, struct session *s, const struct session_route *route)
{
    uint32_t local = locals_take(&p->locals, &route->local);

    if (local == LOCALS_NONE)
        return false;
    leave_route(p, roam_of(&s->association));
    locals_give(&p->locals, s->local);
    s->local = local;
    s->peer = route->peer;
    s->listener = route->listener;
    take_route(p, roam_of(&s->association), route);
    return true;
}

static bool has_roam(const struct peers *p, const struct session_route *route)
{
    return find_roam(p, route, hash_route(p, route)) != NULL;
}

/* One that was there before all others takes no route from them. */
static void add(struct peers *p, struct session *s, bool is_newest)
{
    const struct session_route route = peers_route(p, s);
    struct roam *roam = roam_of(&s->association);
    uint64_t cid = roam != NULL ? hash_cid(association_cid(&s->association)->own) : 0;

    assert(list_is_empty(&s->idle) && s->service < p->service_count);
    if (roam != NULL)
        table_insert(&p->cids, &roam->link, cid);
    if (s->state == SESSION_HANDSHAKE) {
        table_insert(&p->pending, &s->link, hash_route(p, &route));
        list_append(&p->handshakes, &s->idle);
        return;
    }
    table_insert(&p->open, &s->link, roam != NULL ? cid : hash_route(p, &route));
    if (roam != NULL && (is_newest || !has_roam(p, &route)))
        take_route(p, roam, &route);
    list_append(&p->idle[s->service], &s->idle);
}

void peers_add(struct peers *p, struct session *s)
{
    add(p, s, true);
}

void peers_add_idlest(struct peers *p, struct session *s)
{
    add(p, s, false);
    list_remove(&s->idle);
    list_prepend(&p->idle[s->service], &s->idle);
}

void peers_flow_idlest(struct peers *p, struct session *s)
{
    upstream_touch_idlest(s->flow, &p->flows[s->service]);
}

void peers_remove(struct peers *p, struct session *s)
{
    struct roam *roam = roam_of(&s->association);

    if (list_is_empty(&s->idle))
        return;
    if (roam != NULL) {
        table_remove(&p->cids, &roam->link);
        leave_route(p, roam);
    }
    /* Its state may be a newer one than that it was added with, so the tables are asked. */
    if (table_find(&p->pending, s->link.hash, is_link, &s->link))
        table_remove(&p->pending, &s->link);
    else
        table_remove(&p->open, &s->link);
    list_remove(&s->idle);
}

void peers_touch(struct peers *p, struct session *s)
{
    if (s->state == SESSION_HANDSHAKE)
        return;
    list_move_to_end(&p->idle[s->service], &s->idle);
    if (s->flow)
        upstream_touch(s->flow, &p->flows[s->service]);
}

struct session *peers_open_victim(const struct peers *p)
{
    struct session *victim = NULL;

    if (p->open.count < p->open_max)
        return NULL;
    for (size_t i = 0; i < p->service_count; i++)
        victim = longer_idle(victim, session_of_idle(list_first(&p->idle[i])));
    return victim;
}

struct session *peers_flow_victim(const struct peers *p)
{
    struct session *victim = NULL;

    for (size_t i = 0; i < p->service_count; i++)
        victim = longer_idle(victim, upstream_idlest(&p->flows[i]));
    return victim;
}

struct session *peers_pending_victim(const struct peers *p)
{
    if (p->pending.count < p->pending_max)
        return NULL;
    return session_of_idle(list_first(&p->handshakes));
}

void peers_each(struct peers *p, void (*fn)(struct session *s, void *arg), void *arg)
{
    struct visit v = {.fn = fn, .arg = arg};

    table_each(&p->open, visit_link, &v);
    table_each(&p->pending, visit_link, &v);
}

void peers_each_open(struct peers *p, void (*fn)(struct session *s, void *arg), void *arg)
{
    for (size_t i = 0; i < p->service_count; i++) {
        struct list *node = p->idle[i].prev, *before;

        for (; node != &p->idle[i]; node = before) {
            before = node->prev;
            fn(list_entry(node, struct session, idle), arg);
        }
    }
}
