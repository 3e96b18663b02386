/*
 * peers: two keyed tables over the same sessions, and the lists that keep their order.
 * Must never free a session, read a clock or send anything: it answers who is there and who goes.
 */
#include "proxy/peers.h"

#include "base/bytes.h"
#include "proxy/upstream.h"

#include <assert.h>
#include <stdlib.h>

/* The tables grow by themselves, so a large cap costs nothing before it is used. */
#define FIRST_ROOM 1024

#define ROUTE_PACKED (16 + 4 + 2 + 2 + 16 + 2 + 4)

struct visit {
    void (*fn)(struct session *s, void *arg);
    void *arg;
};

/* Packed field by field, so that padding never decides. */
static uint64_t hash_route(const struct peers *p, const struct session_route *route)
{
    uint8_t packed[ROUTE_PACKED];
    struct writer w = writer_of(packed, sizeof(packed));

    write_bytes(&w, route->peer.ip, sizeof(route->peer.ip));
    write_u32(&w, route->peer.scope);
    write_u16(&w, route->peer.port);
    write_u16(&w, route->peer.family);
    write_bytes(&w, route->local.ip, sizeof(route->local.ip));
    write_u16(&w, route->local.port);
    write_u32(&w, route->listener);
    assert(!w.bad && w.left == 0);
    return siphash64(&p->key, packed, sizeof(packed));
}

/* What has_route() looks for, and where. */
struct quest {
    const struct peers *peers;
    const struct session_route *route;
};

static bool has_route(const struct table_link *link, const void *arg)
{
    const struct session *s = table_entry(link, const struct session, link);
    const struct quest *q = arg;

    return s->listener == q->route->listener && addr_equal(&s->peer, &q->route->peer) &&
           addr_equal(locals_at(&q->peers->locals, s->local), &q->route->local);
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
    if (!table_init(&p->open, FIRST_ROOM))
        return false;
    if (table_init(&p->pending, FIRST_ROOM)) {
        if (locals_init(&p->locals))
            return true;
        table_clear(&p->pending);
    }
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
    locals_clear(&p->locals);
    free(p->idle);
    free(p->flows);
}

struct peers_found peers_find(const struct peers *p, const struct session_route *route)
{
    const struct quest quest = {p, route};
    uint64_t hash = hash_route(p, route);

    return (struct peers_found){
        .open = session_of(table_find(&p->open, hash, has_route, &quest)),
        .pending = session_of(table_find(&p->pending, hash, has_route, &quest)),
    };
}

struct session *peers_find_open(const struct peers *p, const struct session_route *route)
{
    const struct quest quest = {p, route};

    return session_of(table_find(&p->open, hash_route(p, route), has_route, &quest));
}

struct session *peers_find_pending(const struct peers *p, const struct session_route *route)
{
    const struct quest quest = {p, route};

    return session_of(table_find(&p->pending, hash_route(p, route), has_route, &quest));
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

void peers_add(struct peers *p, struct session *s)
{
    const struct session_route route = peers_route(p, s);
    uint64_t hash = hash_route(p, &route);

    assert(list_is_empty(&s->idle) && s->service < p->service_count);
    if (s->state == SESSION_HANDSHAKE) {
        table_insert(&p->pending, &s->link, hash);
        list_append(&p->handshakes, &s->idle);
    } else {
        table_insert(&p->open, &s->link, hash);
        list_append(&p->idle[s->service], &s->idle);
    }
}

void peers_add_idlest(struct peers *p, struct session *s)
{
    peers_add(p, s);
    list_remove(&s->idle);
    list_prepend(&p->idle[s->service], &s->idle);
}

void peers_flow_idlest(struct peers *p, struct session *s)
{
    upstream_touch_idlest(s->flow, &p->flows[s->service]);
}

void peers_remove(struct peers *p, struct session *s)
{
    if (list_is_empty(&s->idle))
        return;
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
