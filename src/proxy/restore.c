/*
 * restore: what a kept session must still be to go on. See the header.
 * Must never let a number be used twice: everything below what was told counts as used.
 */
#include "proxy/restore.h"

#include "base/bytes.h"
#include "proxy/life.h"
#include "proxy/policy.h"
#include "proxy/report.h"

/* How much longer than it was told a session may have been in use. */
#define TOLD_LATE_MS LEASE_WRITE_MS

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

static uint64_t idle_of(const struct restore *o)
{
    return since((uint64_t)o->entry->lease.used * 1000 + TOLD_LATE_MS, o->wall);
}

static bool is_denied(const struct conf_service *conf, const struct addr *peer)
{
    return prefixes_contain(&conf->deny, peer) ||
           (conf->allow.count > 0 && !prefixes_contain(&conf->allow, peer));
}

/* What needs no session to be seen. *psk is its identity's. */
static enum session_end find_fault(const struct relay *r, const struct restore *o,
                                   const struct psk **psk)
{
    const struct session_image *image = &o->entry->image;
    const struct conf_service *conf;
    uint8_t print[SESSION_SECRET_PRINT];

    if (o->service < 0)
        return SESSION_END_NO_SERVICE;
    conf = r->services[o->service].conf;
    *psk = psk_find(conf->psk, image->identity, image->identity_len);
    if (*psk == NULL)
        return SESSION_END_IDENTITY_REMOVED;
    session_image_print(&image->association, *psk, print);
    if (!bytes_equal_secret(print, image->secret_print, sizeof print))
        return SESSION_END_KEY_CHANGED;
    if (is_denied(conf, &image->peer))
        return SESSION_END_DENIED;
    if (idle_of(o) > conf->idle_timeout)
        return SESSION_END_IDLE;
    if (o->entry->lease.write_end >= WIRE_SEQ_MAX || o->entry->lease.read_end >= WIRE_SEQ_MAX)
        return SESSION_END_EXHAUSTED;
    if (peers_open_victim(&r->peers) != NULL)
        return SESSION_END_FULL;
    return gate_may_open(r->gate, &image->peer, false) ? SESSION_END_NOT_YET
                                                       : SESSION_END_PREFIX_FULL;
}

/* Behind all that was told; the times as of now, the wall clock having gone on in between. */
static struct session_image image_now(const struct restore *o)
{
    const struct keep_entry *e = o->entry;
    struct session_image image = e->image;

    image.association.write_seq = e->lease.write_end;
    image.association.window = (struct record_window){e->lease.read_end, UINT64_MAX};
    image.idle = idle_of(o);
    image.age += since(e->written, o->wall);
    if (image.age < image.idle)
        image.age = image.idle;
    return image;
}

static struct session *make_session(struct relay *r, const struct restore *o, const struct psk *psk)
{
    struct session_image image = image_now(o);
    struct session *s = session_image_restore(&image, &r->services[o->service], psk, o->now);

    bytes_wipe(&image, sizeof image);
    if (s != NULL)
        s->service = (unsigned)o->service;
    return s;
}

/* One on a socket of its own is opened anew by the client's next datagram; one that shares a socket
 * has its address again, where that is still its own. */
static void resume_flow(struct relay *r, struct session *s, const struct restore *o)
{
    const struct session_image_flow *flow = &o->entry->image.flow;

    if (flow->is_open && !flow->is_lone && life_take_flow(r, s, flow, -1)) {
        stats_add(&r->parts.stats->flows_opened, 1);
        life_count(r, s, SERVICE_FLOWS_OPENED, 1);
    }
    life_leave_source(r, s);
    life_keep_flow(r, s, o->now);
}

static void open_again(struct relay *r, struct session *s, const struct restore *o,
                       const struct session_route *route)
{
    struct session *old = peers_find_open(&r->peers, route);
    unsigned cap = policy_session_cap(life_conf(r, s), s);

    if (old != NULL)
        life_end(r, old, SESSION_END_REPLACED, o->now);
    peers_add(&r->peers, s);
    gate_enter(r->gate, &s->peer);
    stats_add(&r->parts.stats->sessions_restored, 1);
    life_count(r, s, SERVICE_SESSIONS_OPENED, 1);
    report_restored(s, &route->local, life_conf(r, s), o->now);
    if (life_enter_identity(r, s) > cap && cap > 0) {
        life_end(r, s, SESSION_END_ELSEWHERE, o->now);
        return;
    }
    resume_flow(r, s, o);
    life_keep(r, s, o->now);
    life_update_gauges(r);
}

static enum session_end restore(struct relay *r, const struct restore *o)
{
    const struct session_image *image = &o->entry->image;
    const struct session_route route = {image->peer, image->local, o->listener};
    const struct psk *psk;
    enum session_end fault = find_fault(r, o, &psk);
    struct session *s;

    if (fault != SESSION_END_NOT_YET)
        return fault;
    s = make_session(r, o, psk);
    if (s == NULL)
        return SESSION_END_BROKEN;
    fault = policy_fault(life_conf(r, s), s, o->wall);
    if (fault == SESSION_END_NOT_YET && !peers_set_route(&r->peers, s, &route))
        fault = SESSION_END_BROKEN;
    if (fault != SESSION_END_NOT_YET) {
        peers_forget_route(&r->peers, s);
        session_free(s);
        return fault;
    }
    open_again(r, s, o, &route);
    return SESSION_END_NOT_YET;
}

enum session_end relay_restore(struct relay *r, const struct restore *order)
{
    enum session_end fault;

    relay_set_wall(r, order->wall, order->now);
    fault = restore(r, order);
    if (fault != SESSION_END_NOT_YET)
        report_not_restored(&order->entry->image, fault);
    return fault;
}
