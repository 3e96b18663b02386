/*
 * inquiry: looks at sessions, and ends those that somebody wants to have ended. See the header.
 * Must never change what a session is, nor take longer the more sessions there are.
 */
#include "proxy/inquiry.h"

#include "proxy/life.h"
#include "proxy/report.h"
#include "proxy/roam.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_PER_SLICE 512

/* The sessions that one step of the walk has come across. */
struct caught {
    const struct inquiry_filter *filter;
    size_t count; /* may be more than fit */
    struct session *session[INQUIRY_ROWS];
};

static bool is_identity(const struct session *s, const struct inquiry_filter *f)
{
    size_t len;
    const uint8_t *identity = session_identity(s, &len);

    return identity != NULL && len == f->identity_len && memcmp(identity, f->identity, len) == 0;
}

static bool matches(const struct session *s, const struct inquiry_filter *f)
{
    return (f->id == 0 || s->id == f->id) && (!f->has_service || s->service == f->service) &&
           (!f->has_peer || prefix_contains(&f->peer, &s->peer)) &&
           (f->port == 0 || s->peer.port == f->port) && (!f->has_identity || is_identity(s, f));
}

static void add_cid(struct inquiry_row *row, const struct session *s)
{
    const struct association_cid *cid = association_cid(&s->association);

    if (cid == NULL)
        return;
    row->has_cid = true;
    row->moves = roam_of(&s->association)->moves;
    row->peer_cid_len = cid->peer_len;
    memcpy(row->own_cid, cid->own, WIRE_OWN_CID);
    memcpy(row->peer_cid, cid->peer, cid->peer_len);
}

static void add_row(const struct relay *r, struct inquiry *q, const struct session *s, uint64_t now)
{
    const struct conf_service *conf = life_conf(r, s);
    struct inquiry_row *row = &q->row[q->count++];
    const uint8_t *identity;

    *row = (struct inquiry_row){
        .id = s->id,
        .service = s->service,
        .peer = s->peer,
        .local = *locals_at(&r->peers.locals, s->local),
        .has_ems = s->has_ems,
        .age = now - s->opened,
        .idle = now - s->used,
        .in_datagrams = s->in_datagrams,
        .in_bytes = s->in_bytes,
        .out_datagrams = s->out_datagrams,
        .out_bytes = s->out_bytes,
        .drops = s->drops,
        .refused = s->refused,
        .backend_port = s->backend_port,
    };
    if (s->flow != NULL)
        row->backend = life_backend(r, s);
    add_cid(row, s);
    if (conf->backend_source.count > 0)
        report_source(s, conf, life_source(s), row->backend_source);
    identity = session_identity(s, &row->identity_len);
    if (identity != NULL)
        memcpy(row->identity, identity, row->identity_len);
    snprintf(row->suite, sizeof row->suite, "%s", session_suite_name(s));
    snprintf(row->version, sizeof row->version, "%s", session_version_name(s));
}

static void catch_one(struct table_link *link, void *arg)
{
    struct session *s = table_entry(link, struct session, link);
    struct caught *c = arg;

    if (!matches(s, c->filter))
        return;
    if (c->count < INQUIRY_ROWS)
        c->session[c->count] = s;
    c->count++;
}

static void tell_or_end(struct relay *r, struct inquiry *q, struct session *s, uint64_t now)
{
    if (q->kind == INQUIRY_LIST) {
        add_row(r, q, s, now);
        return;
    }
    life_end(r, s, SESSION_END_OPERATOR, now);
    q->count++;
}

/* Slot by slot, as long as whole slots fit: one that does not begins the next slice. Should more
 * than a slice's share be in one slot, where a few are usual, the list lacks the others, while
 * those that are to be ended are met again. */
static void walk(struct relay *r, struct inquiry *q, size_t room, uint64_t now)
{
    for (unsigned i = 0; i < SLOTS_PER_SLICE && q->count < room; i++) {
        struct caught c = {.filter = &q->filter};
        uint64_t next = table_scan(&r->peers.open, q->cursor, catch_one, &c);
        bool is_whole = c.count <= room - q->count;

        if (!is_whole && q->count > 0)
            return;
        for (size_t n = 0; n < c.count && q->count < room; n++)
            tell_or_end(r, q, c.session[n], now);
        if (!is_whole && q->kind == INQUIRY_END)
            return;
        q->cursor = next;
        if (next == 0)
            return;
    }
}

/* The one used last of those at the ends of the idle lists. */
static struct list **latest(struct list **end, const struct peers *p)
{
    struct list **found = NULL;
    uint64_t used = 0;

    for (size_t i = 0; i < p->service_count; i++) {
        if (end[i] == &p->idle[i])
            continue;
        const struct session *s = list_entry(end[i], struct session, idle);
        if (found == NULL || s->used > used) {
            found = &end[i];
            used = s->used;
        }
    }
    return found;
}

static void take_latest(struct relay *r, struct inquiry *q, uint64_t now)
{
    struct list **end = calloc(r->peers.service_count, sizeof *end), **at;

    if (end == NULL)
        return;
    for (size_t i = 0; i < r->peers.service_count; i++)
        end[i] = r->peers.idle[i].prev;
    for (unsigned looked = 0; looked < SLOTS_PER_SLICE && q->count < q->limit; looked++) {
        at = latest(end, &r->peers);
        if (at == NULL)
            break;
        const struct session *s = list_entry(*at, struct session, idle);
        if (matches(s, &q->filter))
            add_row(r, q, s, now);
        *at = (*at)->prev;
    }
    free(end);
}

static void fetch(struct relay *r, struct inquiry *q, uint64_t now)
{
    struct trace_view view = {.id = q->trace,
                              .identity_len = q->filter.identity_len,
                              .identity = q->filter.identity,
                              .wants_keys = q->wants_keys,
                              .event = q->event,
                              .limit = q->limit};

    q->is_refused = !trace_fetch(&r->traces, &view, now);
    q->count = view.count;
    q->cursor = view.has_more;
}

void relay_inquire(struct relay *r, struct inquiry *q, uint64_t now)
{
    assert(q->kind == INQUIRY_END || q->limit <= INQUIRY_ROWS);
    assert(q->kind == INQUIRY_END || q->kind == INQUIRY_TRACE || q->limit > 0);
    keep_set_time(r->keep, now, r->expiry.wall0);
    q->count = 0;
    if (q->kind == INQUIRY_TRACE) {
        fetch(r, q, now);
        return;
    }
    if (q->kind != INQUIRY_RECENT) {
        walk(r, q, q->kind == INQUIRY_END ? INQUIRY_ROWS : q->limit, now);
        return;
    }
    q->cursor = 0;
    take_latest(r, q, now);
}
