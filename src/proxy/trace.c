/*
 * trace: lists of events, one for each who looks. See the header.
 */
#include "proxy/trace.h"

#include "base/bytes.h"
#include "proxy/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 1024
#define LIFE_MS 5000 /* since it was fetched from */

struct trace {
    uint64_t id;
    uint64_t fetched; /* ms */
    size_t identity_len;
    uint8_t identity[PSK_IDENTITY_MAX];
    bool wants_keys;
    uint64_t left_out; /* behind those in the list */
    unsigned count, mark;
    struct trace_event event[EVENTS_MAX];
};

/* ---- events ---- */

static bool is_of(const struct trace *t, const struct session *s)
{
    size_t len;
    const uint8_t *identity = session_identity(s, &len);

    return identity != NULL && len == t->identity_len && memcmp(identity, t->identity, len) == 0;
}

static void insert(struct trace *t, unsigned at, const struct trace_event *event)
{
    if (t->count == EVENTS_MAX) {
        t->left_out++;
        return;
    }
    memmove(&t->event[at + 1], &t->event[at], (t->count - at) * sizeof(*event));
    t->event[at] = *event;
    t->count++;
}

static struct trace_event event_of(const struct traces *all, const struct session *s,
                                   enum trace_what what, uint64_t now)
{
    return (struct trace_event){
        .wall = all->wall0 + now, .session = s->id, .peer = s->peer, .what = (uint8_t)what};
}

static void append_all(struct traces *all, const struct session *s, const struct trace_event *event)
{
    for (unsigned i = 0; i < all->count; i++)
        if (is_of(all->list[i], s))
            insert(all->list[i], all->list[i]->count, event);
}

static void describe(struct trace_event *e, const struct wire_record *rec)
{
    e->type = rec->type;
    e->epoch = rec->epoch;
    e->number = rec->seq;
    e->bytes = (uint32_t)rec->len;
    if (rec->epoch == 0 && rec->type == WIRE_HANDSHAKE && rec->len > 0)
        e->message = rec->body[0];
}

void trace_mark(struct traces *all)
{
    for (unsigned i = 0; i < all->count; i++)
        all->list[i]->mark = all->list[i]->count;
}

/* The first that is known of a handshake's identity is in this record. */
static void tell_hello(struct traces *all, const struct session *s)
{
    struct trace_event hello = event_of(all, s, TRACE_HELLO, s->pending->born);

    if (s->pending->is_traced)
        return;
    s->pending->is_traced = true;
    for (unsigned i = 0; i < all->count; i++)
        if (is_of(all->list[i], s))
            insert(all->list[i], all->list[i]->mark++, &hello);
}

void trace_in(struct traces *all, const struct session *s, const struct wire_record *rec,
              enum fate fate, uint64_t now)
{
    struct trace_event event = event_of(all, s, TRACE_IN, now);
    size_t len;

    if (session_identity(s, &len) == NULL)
        return;
    if (!s->is_placed)
        tell_hello(all, s);
    describe(&event, rec);
    event.fate = (uint8_t)fate;
    for (unsigned i = 0; i < all->count; i++) {
        struct trace *t = all->list[i];
        if (is_of(t, s))
            insert(t, t->mark < t->count ? t->mark : t->count, &event);
    }
}

void trace_out(struct traces *all, const struct session *s, const uint8_t *datagram, size_t len,
               uint64_t now)
{
    const struct association_cid *cid = s != NULL ? association_cid(&s->association) : NULL;
    const size_t cid_len = cid != NULL ? cid->peer_len : 0; /* in records to it */
    struct reader reader = reader_of(datagram, len);
    struct wire_record rec;

    while (s != NULL && wire_next_record_to(&reader, cid_len, &rec)) {
        struct trace_event event = event_of(all, s, TRACE_OUT, now);
        describe(&event, &rec);
        append_all(all, s, &event);
    }
}

void trace_backend(struct traces *all, const struct session *s, size_t len, enum back_fate fate,
                   uint64_t now)
{
    struct trace_event event = event_of(all, s, TRACE_BACKEND, now);

    event.bytes = (uint32_t)len;
    event.back_fate = (uint8_t)fate;
    append_all(all, s, &event);
}

void trace_open(struct traces *all, const struct session *s, uint64_t now)
{
    struct trace_event event = event_of(all, s, TRACE_OPEN, now);

    event.number = s->opened - s->pending->born;
    snprintf(event.text, sizeof event.text, "%s", session_suite_name(s));
    append_all(all, s, &event);
}

void trace_end(struct traces *all, const struct session *s, unsigned reason, uint64_t now)
{
    struct trace_event event = event_of(all, s, TRACE_END, now);

    event.reason = (uint8_t)reason;
    snprintf(event.text, sizeof event.text, "%s", session_why(s));
    append_all(all, s, &event);
}

bool trace_keys(struct traces *all, const struct session *s, uint64_t now)
{
    struct trace_event event = event_of(all, s, TRACE_KEYS, now);
    bool is_wanted = false;

    for (unsigned i = 0; i < all->count; i++) {
        struct trace *t = all->list[i];
        if (!t->wants_keys || !is_of(t, s))
            continue;
        is_wanted = true;
        insert(t, t->count, &event);
    }
    return is_wanted;
}

/* ---- who looks ---- */

static struct trace *find(struct traces *all, uint64_t id)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->list[i]->id == id)
            return all->list[i];
    return NULL;
}

static struct trace *add(struct traces *all, const struct trace_view *v)
{
    struct trace *t = all->count < TRACES_MAX ? calloc(1, sizeof *t) : NULL;

    if (t == NULL)
        return NULL;
    t->id = v->id;
    t->wants_keys = v->wants_keys;
    t->identity_len = v->identity_len;
    memcpy(t->identity, v->identity, t->identity_len);
    all->list[all->count++] = t;
    return t;
}

bool trace_fetch(struct traces *all, struct trace_view *v, uint64_t now)
{
    struct trace *t = find(all, v->id);

    if (t == NULL && (t = add(all, v)) == NULL)
        return false;
    t->fetched = now;
    v->count = t->count < v->limit ? t->count : v->limit;
    memcpy(v->event, t->event, v->count * sizeof *v->event);
    t->count -= (unsigned)v->count;
    memmove(t->event, t->event + v->count, t->count * sizeof *t->event);
    if (t->count == 0 && t->left_out > 0 && v->count < v->limit) {
        v->event[v->count++] = (struct trace_event){
            .wall = all->wall0 + now, .what = TRACE_LEFT_OUT, .number = t->left_out};
        t->left_out = 0;
    }
    v->has_more = t->count > 0 || t->left_out > 0;
    return true;
}

static void drop(struct traces *all, unsigned at)
{
    free(all->list[at]);
    all->list[at] = all->list[--all->count];
}

void traces_expire(struct traces *all, uint64_t now)
{
    for (unsigned i = all->count; i-- > 0;)
        if (now - all->list[i]->fetched > LIFE_MS)
            drop(all, i);
}

void traces_clear(struct traces *all)
{
    while (all->count > 0)
        drop(all, 0);
}
