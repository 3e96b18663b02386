/*
 * moves: an address is no more than where a session was last heard of. See the header.
 * Must never move one before a record of it has authenticated, and was the newest.
 */
#include "proxy/moves.h"

#include "proxy/policy.h"
#include "proxy/report.h"
#include "proxy/roam.h"

const uint8_t *moves_offer(const struct relay *r, unsigned service, const struct wire_hello *hello,
                           uint8_t cid[WIRE_OWN_CID])
{
    const uint8_t *peer;
    uint8_t len;

    if (!r->services[service].conf->cid || !wire_hello_cid(hello, &peer, &len))
        return NULL;
    peers_make_cid(&r->peers, (uint8_t)r->parts.worker, cid);
    return cid;
}

static bool is_same(const struct session_route *a, const struct session_route *b)
{
    return a->listener == b->listener && addr_equal(&a->peer, &b->peer) &&
           addr_equal(&a->local, &b->local);
}

/* An address that may not begin a session may not go on with one. It is asked before the record is
 * opened, so a copy from there does not make a replay of the client's own. */
static bool may_come_from(const struct relay *r, const struct session *s, const struct addr *peer)
{
    const struct conf_service *conf = life_conf(r, s);

    return !prefixes_contain(&conf->deny, peer) &&
           (conf->allow.count == 0 || prefixes_contain(&conf->allow, peer)) &&
           policy_allows(conf, s, peer);
}

struct session *moves_find(const struct relay *r, const struct session_route *from,
                           const struct wire_record *rec, enum fate *fate)
{
    struct session *s = peers_find_cid(&r->peers, rec->cid);

    *fate = FATE_DROP_STRANGER;
    if (s == NULL || s->service != listener_service(r->parts.listeners[from->listener]))
        return NULL;
    const struct session_route home = peers_route(&r->peers, s);
    if (is_same(&home, from))
        return s;
    if (!s->is_placed) /* its cookie was for one address */
        return NULL;
    *fate = FATE_DROP_DENIED;
    return may_come_from(r, s, &from->peer) ? s : NULL;
}

/* Does its backend know it by an address that it has no more? */
static bool has_stale_source(const struct conf_service *conf, const struct addr *old,
                             const struct addr *now)
{
    struct addr was = *old;

    if (conf->transparent == CONF_TRANSPARENT_YES)
        was.port = now->port;
    return conf->transparent != CONF_TRANSPARENT_NO && !addr_equal(&was, now);
}

static void follow(struct turn *t, size_t size)
{
    struct relay *r = t->relay;
    struct session *s = t->session;
    const struct conf_service *conf = life_conf(r, s);
    const struct addr old = s->peer;

    gate_exit(r->gate, &old);
    bool has_moved = peers_move(&r->peers, s, t->from);
    gate_enter(r->gate, &s->peer); /* an open session is never refused its place */
    if (!has_moved)
        return;
    t->route = t->from;
    roam_move(roam_of(&s->association), size);
    stats_add(&r->parts.stats->sessions_moved, 1);
    if (has_stale_source(conf, &old, &s->peer))
        life_close_flow(r, s);
    report_move(s, conf, &old, &r->move_lines, t->now);
}

static void hear(void *arg, size_t size, bool is_newest)
{
    struct turn *t = arg;

    if (is_same(t->route, t->from))
        roam_hear(roam_of(&t->session->association), size, is_newest);
    else if (is_newest)
        follow(t, size);
}

struct session_sink moves_sink(struct turn *t)
{
    struct session_sink sink = life_sink(t);

    sink.hear = hear;
    return sink;
}

bool moves_is_elsewhere(const struct relay *r, const struct wire_record *rec)
{
    return r->parts.elsewhere.pass != NULL && rec->cid[0] != r->parts.worker &&
           rec->cid[0] < r->parts.worker_count;
}

bool moves_pass(struct relay *r, const struct session_route *from, const struct wire_record *rec)
{
    const struct relay_record record = {.peer = from->peer,
                                        .local = from->local,
                                        .listener = from->listener,
                                        .len = wire_record_size(rec),
                                        .data = rec->whole};

    if (!r->parts.elsewhere.pass(r->parts.elsewhere.arg, rec->cid[0], &record))
        return false;
    stats_add(&r->parts.stats->records_passed_on, 1);
    return true;
}
