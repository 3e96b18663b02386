/*
 * session_pending: a session from its hello until it has its place among the open ones; session.h
 * has the contracts. Must never know what becomes of it then.
 */
#include "base/bytes.h"
#include "dtls/engine.h"
#include "proxy/session.h"

#include <assert.h>
#include <string.h>

static struct key_source source_of(const struct session_service *service)
{
    return (struct key_source){service->conf, service->keyring,
                               (unsigned)(service->conf - service->snapshot->service),
                               service->wall0};
}

static void send_flight(struct session *s, const struct session_sink *sink)
{
    size_t n;

    do {
        uint8_t *room = sink->reserve(sink->arg, s->pending->mtu);
        n = handshake_take(s->pending->handshake, room);
        if (n > 0 && (room[0] != WIRE_ALERT || sink->may_alert(sink->arg)))
            sink->commit(sink->arg, n);
    } while (n > 0);
}

/* As much of the result as there is room for: what the suite uses. */
static void take_keys(struct session *s, const struct handshake_result *result)
{
    assert(s->association.suite == result->association.suite);
    s->state = SESSION_OPEN;
    memcpy(&s->association, &result->room, association_length(&result->association));
    s->pending->farewell = result->farewell;
}

static void take_engine(struct session *s, const struct handshake_result *result)
{
    size_t max = engine_max_fragment(result->engine);

    s->state = SESSION_LEGACY;
    s->legacy.engine = result->engine;
    s->legacy.seq = result->farewell.ccs_seq;
    if (s->plain_max > max)
        s->plain_max = max;
}

void session_rebase(struct session *s, const struct session_service *service)
{
    const struct key_source source = source_of(service);
    bool is_given = s->is_given;

    switch (key_source_renew(&source, &s->psk, &is_given)) {
    case KEY_SAME:
        s->is_given = is_given;
        break;
    case KEY_CHANGED:
        session_want_end(s, SESSION_END_KEY_CHANGED);
        break;
    case KEY_GONE:
        session_want_end(s, SESSION_END_IDENTITY_REMOVED);
        break;
    }
}

static void complete(struct session *s, const struct session_service *service, uint64_t now)
{
    struct session_pending *p = s->pending;
    struct handshake_result result;

    handshake_finish(p->handshake, &result);
    s->psk = result.psk;
    s->plain_max = result.max_fragment;
    s->has_ems = result.extended_master_secret;
    s->opened = s->used = now;
    if (result.own_records)
        take_keys(s, &result);
    else
        take_engine(s, &result);
    if (service->on_keys != NULL)
        service->on_keys(service->arg, s, &result);
    bytes_wipe(&result, sizeof result);
    /* The keys may have changed since the handshake began. */
    session_rebase(s, service);
    if (s->ending != SESSION_END_NOT_YET)
        return; /* s->psk is the old snapshot's or the handshake's; session_free() lets go of it */
    p->tickets = *handshake_tickets(p->handshake);
    handshake_free(p->handshake);
    p->handshake = NULL;
    conf_unref(p->snapshot);
    p->snapshot = NULL;
}

static void ask_keys(struct session *s, const struct session_service *service, uint64_t now,
                     const struct session_sink *sink)
{
    const struct key_source source = source_of(service);
    const struct key_asker asker = {s, sink->may_ask, sink->arg};

    key_source_ask(&source, &s->pending->questions, s->pending->handshake, &asker, now);
}

/* After each step of the handshake: sends what it has written and sees what became of it. */
static void follow(struct session *s, const struct session_service *service, uint64_t now,
                   const struct session_sink *sink)
{
    ask_keys(s, service, now, sink);
    send_flight(s, sink);
    switch (handshake_state(s->pending->handshake)) {
    case HANDSHAKE_PENDING:
        return;
    case HANDSHAKE_DONE:
        return complete(s, service, now);
    case HANDSHAKE_FAILED:
        return session_want_end(s, SESSION_END_HANDSHAKE_FAILED);
    case HANDSHAKE_EXPIRED:
        return session_want_end(s, SESSION_END_HANDSHAKE_TIMEOUT);
    }
}

static struct handshake *begin_handshake(const struct session_service *service,
                                         const struct wire_record *rec, const uint8_t *cid,
                                         uint64_t now)
{
    const struct conf_service *conf = service->conf;
    const struct key_source source = source_of(service);
    struct handshake_params params = {
        .tls = service->tls,
        .keys = conf->psk,
        .crypt = service->crypt,
        .kdf = service->kdf,
        .mtu = conf->mtu,
        .require_ems = conf->ems == CONF_EMS_REQUIRE,
        .may_ask = key_source_has_helper(&source),
        .alert_unknown = conf->unknown_identity == CONF_UNKNOWN_ALERT,
        .retransmit_first = conf->retransmit_first,
        .retransmit_cap = conf->retransmit_cap,
        .retransmit_total = conf->retransmit_total,
        .timeout = conf->handshake_timeout,
        .wall0 = service->wall0,
        .offers_cid = cid != NULL,
        .resumption = service->resumption,
    };

    if (cid != NULL)
        memcpy(params.own_cid, cid, WIRE_OWN_CID);
    return handshake_new(&params, rec, now);
}

/* By now the handshake has settled the suite, so the session gets no more room than it needs. */
static struct session *make_room(const struct session_service *service,
                                 const struct handshake *handshake)
{
    struct session *s =
        session_take_room(service->memory, handshake_suite(handshake), handshake_cid(handshake),
                          service->snapshot->daemon.access_log != NULL);

    if (s == NULL)
        return NULL;
    s->pending = slab_take(&service->memory->pending);
    if (s->pending == NULL) {
        session_give_room(s);
        return NULL;
    }
    s->pending->session = s;
    key_questions_init(&s->pending->questions);
    return s;
}

struct session *session_new(const struct session_service *service, const struct wire_record *rec,
                            const uint8_t *cid, uint64_t now, const struct session_sink *sink)
{
    struct handshake *handshake = begin_handshake(service, rec, cid, now);
    struct session *s;

    if (handshake == NULL)
        return NULL;
    s = make_room(service, handshake);
    if (s == NULL) {
        handshake_free(handshake);
        return NULL;
    }
    s->pending->handshake = handshake;
    s->pending->snapshot = conf_ref(service->snapshot);
    s->pending->mtu = service->conf->mtu;
    s->pending->born = s->used = now;
    s->state = SESSION_HANDSHAKE;
    list_init(&s->idle);
    follow(s, service, now, sink);
    return s;
}

void session_pending_free(struct session_pending *p)
{
    key_questions_stop(&p->questions);
    handshake_farewell_clear(&p->farewell);
    handshake_free(p->handshake);
    conf_unref(p->snapshot);
    slab_give(p);
}

void session_place(struct session *s, const struct session_service *service)
{
    struct session_pending *p = s->pending;

    assert(!s->is_placed && s->state != SESSION_HANDSHAKE);
    s->is_placed = true;
    s->tail = NULL;
    if (s->state == SESSION_OPEN && !p->tickets.is_resumed)
        session_tail_make(&s->tail, service->memory, &p->farewell, s->opened);
    if (s->has_tally)
        tally_begin(session_tally(s), s->state == SESSION_OPEN ? s->association.window.top : 0,
                    s->opened - p->born, p->tickets.is_resumed);
    session_pending_free(p);
}

enum fate session_feed(struct session *s, const struct session_service *service,
                       const struct wire_record *rec, uint64_t now, const struct session_sink *sink)
{
    enum fate fate = handshake_feed(s->pending->handshake, rec, now);

    follow(s, service, now, sink);
    return fate;
}

enum fate session_set_key(struct session *s, const struct session_service *service,
                          enum keyring_verdict verdict, const struct psk *named, uint64_t now,
                          const struct session_sink *sink)
{
    if (s->state != SESSION_HANDSHAKE)
        return FATE_HANDSHAKE;
    const struct key_source source = source_of(service);
    enum fate fate = key_source_tell(&source, s->pending->handshake, verdict, named, now);
    follow(s, service, now, sink);
    return fate;
}

void session_on_timer(struct session *s, const struct session_service *service, uint64_t now,
                      const struct session_sink *sink)
{
    if (s->state != SESSION_HANDSHAKE)
        return;
    handshake_on_timer(s->pending->handshake, now);
    follow(s, service, now, sink);
}

uint64_t session_next_timer(const struct session *s)
{
    return s->state == SESSION_HANDSHAKE ? handshake_next_timer(s->pending->handshake)
                                         : TIMER_NEVER;
}
