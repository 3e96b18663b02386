/*
 * restore: what a kept session must still be to go on. See the header.
 * Must never let a number be used twice: everything below what was told counts as used.
 */
#include "proxy/restore.h"

#include "base/bytes.h"
#include "proxy/life.h"
#include "proxy/moving.h"
#include "proxy/report.h"

/* How much longer than it was told a session may have been in use. */
#define TOLD_LATE_MS LEASE_TOLD_MS

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

/* What only one that was away for a while can have met. */
static const char *find_fault(const struct relay *r, const struct restore *o)
{
    const struct conf_service *conf;

    if (o->service < 0)
        return "nobody listens there any more";
    conf = r->services[o->service].conf;
    if (is_denied(conf, &o->entry->image.peer))
        return "address not allowed";
    if (idle_of(o) > conf->idle_timeout)
        return session_end_text(SESSION_END_IDLE);
    if (o->entry->image.has_cid && o->entry->image.cid.own[0] != r->parts.worker)
        return "its connection id is of a worker that is not there any more";
    if (o->entry->lease.write_end >= WIRE_SEQ_MAX || o->entry->lease.read_end >= WIRE_SEQ_MAX)
        return session_end_text(SESSION_END_EXHAUSTED);
    return NULL;
}

/* What came or was lost since it was written is not known: it counts as received. */
static void begin_tally(struct tally *tally, uint64_t newest)
{
    const struct tally before = *tally;

    *tally = (struct tally){.newest = newest,
                            .opened = newest + 1,
                            .handshake_ms = before.handshake_ms,
                            .is_resumed = before.is_resumed};
}

/* Behind all that was told; the times as of now, the wall clock having gone on in between. */
static struct session_image image_now(const struct restore *o)
{
    const struct keep_entry *e = o->entry;
    struct session_image image = e->image;

    image.service = (unsigned)o->service;
    image.listener = o->listener;
    image.association.write_seq = e->lease.write_end;
    image.association.window = (struct record_window){e->lease.read_end, UINT64_MAX};
    begin_tally(&image.tally, e->lease.read_end);
    image.idle = idle_of(o);
    image.age += since(e->written, o->wall);
    if (image.age < image.idle)
        image.age = image.idle;
    return image;
}

/* One on a socket of its own is opened anew by the client's next datagram; one that shares a socket
 * has its address again, where that is still its own. Another one it has not before all are there:
 * it may be that of one that comes later. */
static void resume_flow(struct relay *r, struct session *s, const struct restore *o)
{
    const struct session_image_flow *flow = &o->entry->image.flow;

    if (flow->is_open && !flow->is_lone && life_take_flow(r, s, flow, -1)) {
        stats_add(&r->parts.stats->flows_opened, 1);
        life_count(r, s, SERVICE_FLOWS_OPENED, 1);
    }
    life_leave_source(r, s);
}

static const char *restore(struct relay *r, const struct restore *o)
{
    const char *why = find_fault(r, o);
    struct session_image image;
    struct session *s;

    if (why != NULL)
        return why;
    image = image_now(o);
    why = moving_admit(r, &image, o->now, &s);
    bytes_wipe(&image, sizeof image);
    if (why != NULL)
        return why;
    stats_add(&r->parts.stats->sessions_restored, 1);
    life_count(r, s, SERVICE_SESSIONS_OPENED, 1);
    report_restored(s, &o->entry->image.local, life_conf(r, s), o->now);
    resume_flow(r, s, o);
    life_keep(r, s, o->now);
    life_update_gauges(r);
    return NULL;
}

struct placing {
    struct relay *relay;
    uint64_t now;
};

static void place_one(struct session *s, void *arg)
{
    const struct placing *placing = arg;

    life_keep_flow(placing->relay, s, placing->now);
}

const char *relay_restore(struct relay *r, const struct restore *order)
{
    const char *why;

    relay_set_wall(r, order->wall, order->now);
    why = restore(r, order);
    if (why != NULL)
        report_not_restored(&order->entry->image, why);
    return why;
}

void relay_restored(struct relay *r, uint64_t now)
{
    struct placing placing = {r, now};

    keep_set_time(r->keep, now, r->expiry.wall0);
    peers_each_open(&r->peers, place_one, &placing);
}
