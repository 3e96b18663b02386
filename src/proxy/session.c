/*
 * session: one peer's life, from hello to goodbye. See the header.
 * Must never touch a socket, read a clock or free itself.
 */
#include "proxy/session.h"

#include "base/bytes.h"
#include "dtls/engine.h"
#include "proxy/roam.h"
#include "proxy/wear.h"

#include <assert.h>
#include <string.h>

/* Repeated last flights and refused renegotiations: an authenticated client may cause a few. */
#define REPEATS_PER_SECOND 2
#define REPEATS_BURST 5
/* Records under CCM_8 that one worker opens per second; more than clients send, fewer than a flood.
 */
#define SHORT_TAG_TRIES 100000

static void want_end(struct session *s, enum session_end why)
{
    if (s->ending == SESSION_END_NOT_YET)
        s->ending = why;
}

static struct key_source source_of(const struct session_service *service)
{
    return (struct key_source){service->conf, service->keyring,
                               (unsigned)(service->conf - service->snapshot->service),
                               service->wall0};
}

/* ---- associations of our own ---- */

static void send_record(struct session *s, const struct session_service *service, uint8_t type,
                        const uint8_t *plain, size_t len, const struct session_sink *sink)
{
    if (!roam_may_send(&s->association, len))
        return;
    uint8_t *room = sink->reserve(sink->arg, len + RECORD_OVERHEAD_MAX);
    size_t n = record_seal(service->crypt, &s->association, type, plain, len, room);
    if (n > 0)
        sink->commit(sink->arg, n);
}

static void send_alert(struct session *s, const struct session_service *service, uint8_t level,
                       uint8_t description, const struct session_sink *sink)
{
    const uint8_t alert[2] = {level, description};
    send_record(s, service, WIRE_ALERT, alert, sizeof alert, sink);
}

static enum fate take_alert(struct session *s, const struct session_service *service,
                            const uint8_t *plain, size_t len, const struct session_sink *sink)
{
    if (len != 2)
        return FATE_DROP_ORDER;
    if (plain[1] == WIRE_CLOSE_NOTIFY) {
        send_alert(s, service, WIRE_ALERT_WARNING, WIRE_CLOSE_NOTIFY, sink);
        want_end(s, SESSION_END_CLOSED);
    } else if (plain[0] == WIRE_ALERT_FATAL) {
        want_end(s, SESSION_END_ALERT);
    }
    return FATE_CONTROL;
}

/* A client that repeats its Finished has not got ours; one that says hello wants to renegotiate. */
static enum fate take_handshake(struct session *s, const struct session_service *service,
                                const uint8_t *plain, size_t len, uint64_t now,
                                const struct session_sink *sink)
{
    bool is_finished = len > 0 && plain[0] == WIRE_FINISHED && session_tail_has_farewell(s->tail);
    bool is_hello = len > 0 && plain[0] == WIRE_CLIENT_HELLO;

    if (!is_finished && !is_hello)
        return FATE_CONTROL;
    if (s->tail == NULL)
        session_tail_make(&s->tail, service->memory, NULL, now);
    if (s->tail == NULL || !rate_take(&s->tail->rate, REPEATS_PER_SECOND, REPEATS_BURST, now, NULL))
        return FATE_CONTROL;
    if (is_hello) {
        send_alert(s, service, WIRE_ALERT_WARNING, WIRE_NO_RENEGOTIATION, sink);
        return FATE_CONTROL;
    }
    const struct handshake_farewell *f = &s->tail->farewell;
    if (!roam_may_send(&s->association,
                       f->ticket_len + sizeof f->finished + WIRE_RECORD_HEADER + 1))
        return FATE_CONTROL;
    uint8_t *room = sink->reserve(sink->arg, HANDSHAKE_FAREWELL_MAX);
    size_t n = handshake_repeat_farewell(&s->tail->farewell, service->crypt, &s->association, room);
    if (n > 0)
        sink->commit(sink->arg, n);
    return FATE_CONTROL;
}

/* Data proves that the client has our Finished. */
static void drop_farewell(struct session *s)
{
    if (session_tail_has_farewell(s->tail))
        session_tail_drop(&s->tail);
}

/* Only what has a way to the backend counts as a datagram of the session. */
static enum fate deliver(struct session *s, size_t len, const struct session_sink *sink)
{
    enum fate fate = sink->deliver(sink->arg, len);

    if (fate == FATE_FORWARDED) {
        s->in_datagrams++;
        s->in_bytes += len;
    }
    return fate;
}

static enum fate fate_of(enum record_verdict verdict)
{
    switch (verdict) {
    case RECORD_EPOCH:
        return FATE_DROP_EPOCH;
    case RECORD_REPLAY:
        return FATE_DROP_REPLAY;
    case RECORD_SIZE:
        return FATE_DROP_SIZE;
    case RECORD_FORM:
    case RECORD_INNER:
        return FATE_DROP_TYPE;
    default:
        return FATE_DROP_FORGED;
    }
}

static void check_wear(struct session *s, const struct session_service *service)
{
    enum session_end fault = wear_fault(service->conf, &s->association);

    if (fault != SESSION_END_NOT_YET)
        want_end(s, fault);
}

/* A short tag is worth a bound on how often anybody may try. */
static bool may_try(const struct session *s, const struct session_service *service, uint64_t now)
{
    return !suite_has_short_tag(s->association.suite) ||
           rate_take(service->short_tag_tries, SHORT_TAG_TRIES, SHORT_TAG_TRIES, now, NULL);
}

static bool is_known(uint8_t type)
{
    return type == WIRE_DATA || type == WIRE_ALERT || type == WIRE_HANDSHAKE;
}

static enum fate from_wire_open(struct session *s, const struct session_service *service,
                                const struct wire_record *rec, uint64_t now,
                                const struct session_sink *sink)
{
    struct wire_record inner = *rec;
    bool is_newest = rec->seq > s->association.window.top;
    size_t len;

    assert(s->is_placed);
    if (rec->epoch != 1)
        return FATE_DROP_EPOCH;
    if (rec->type != WIRE_CID && !is_known(rec->type))
        return FATE_DROP_TYPE;
    if (!may_try(s, service, now))
        return FATE_DROP_RATE;
    uint8_t *plain = sink->plain_room(sink->arg);
    enum record_verdict verdict = record_open(service->crypt, &s->association, &inner, plain, &len);
    check_wear(s, service);
    if (verdict != RECORD_OK)
        return fate_of(verdict);
    if (s->has_tally)
        tally_record(session_tally(s), rec->seq);
    if (rec->type == WIRE_CID)
        sink->hear(sink->arg, wire_record_size(rec), is_newest);
    if (inner.type == WIRE_RRC && sink->check(sink->arg, plain, len))
        return FATE_CONTROL;
    if (!is_known(inner.type))
        return FATE_DROP_TYPE;
    if (inner.type == WIRE_ALERT)
        return take_alert(s, service, plain, len, sink);
    if (inner.type == WIRE_HANDSHAKE)
        return take_handshake(s, service, plain, len, now, sink);
    drop_farewell(s);
    return deliver(s, len, sink);
}

static enum back_fate from_plain_open(struct session *s, const struct session_service *service,
                                      const uint8_t *plain, size_t len,
                                      const struct session_sink *sink)
{
    if (!roam_may_send(&s->association, len))
        return BACK_DROP_UNPROVEN;
    uint8_t *room = sink->reserve(sink->arg, len + RECORD_OVERHEAD_MAX);
    size_t n = record_seal(service->crypt, &s->association, WIRE_DATA, plain, len, room);
    check_wear(s, service);
    if (n > 0) {
        sink->commit(sink->arg, n);
        return BACK_SEALED;
    }
    if (s->association.write_seq <= WIRE_SEQ_MAX)
        return BACK_DROP_SEAL_FAILED;
    want_end(s, SESSION_END_EXHAUSTED);
    return BACK_DROP_EXHAUSTED;
}

/* ---- associations that libssl keeps ---- */

struct legacy_out {
    struct session *session;
    const struct session_sink *sink;
};

/* Plaintext records (a repeated ChangeCipherSpec) carry on with the handshake's numbers. */
static void on_legacy_record(void *arg, const uint8_t *record, size_t len)
{
    struct legacy_out *out = arg;
    uint8_t *room = out->sink->reserve(out->sink->arg, len);
    struct reader r = reader_of(record, len);
    struct wire_record rec;

    if (!wire_next_record(&r, &rec))
        return;
    memcpy(room, record, len);
    if (rec.epoch == 0)
        put_u48(room + 5, out->session->legacy.seq++);
    out->sink->commit(out->sink->arg, len);
}

static enum fate from_wire_legacy(struct session *s, const struct wire_record *rec,
                                  const struct session_sink *sink)
{
    struct legacy_out out = {s, sink};
    size_t len;

    if (rec->epoch != 1)
        return FATE_DROP_EPOCH;
    if (!is_known(rec->type))
        return FATE_DROP_TYPE;
    engine_set_sink(s->legacy.engine, on_legacy_record, &out);
    switch (engine_read(s->legacy.engine, rec->whole, wire_record_size(rec),
                        sink->plain_room(sink->arg), &len)) {
    case ENGINE_READ_DATA:
        if (s->has_tally)
            tally_record(session_tally(s), rec->seq);
        return deliver(s, len, sink);
    case ENGINE_READ_NOTHING: /* libssl does not say whether it was forged, a replay or a repeat */
        return rec->type == WIRE_DATA ? FATE_DROP_FORGED : FATE_CONTROL;
    case ENGINE_READ_CLOSED:
        engine_close(s->legacy.engine);
        want_end(s, SESSION_END_CLOSED);
        return FATE_CONTROL;
    default:
        want_end(s, SESSION_END_ALERT);
        return FATE_CONTROL;
    }
}

static enum back_fate from_plain_legacy(struct session *s, const uint8_t *plain, size_t len,
                                        const struct session_sink *sink)
{
    struct legacy_out out = {s, sink};

    if (len == 0) /* libssl sends no empty record */
        return BACK_DROP_EMPTY;
    engine_set_sink(s->legacy.engine, on_legacy_record, &out);
    if (engine_write(s->legacy.engine, plain, len))
        return BACK_SEALED;
    want_end(s, SESSION_END_BROKEN);
    return BACK_DROP_SEAL_FAILED;
}

/* ---- the handshake ---- */

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
        want_end(s, SESSION_END_KEY_CHANGED);
        break;
    case KEY_GONE:
        want_end(s, SESSION_END_IDENTITY_REMOVED);
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
        return want_end(s, SESSION_END_HANDSHAKE_FAILED);
    case HANDSHAKE_EXPIRED:
        return want_end(s, SESSION_END_HANDSHAKE_TIMEOUT);
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

static void free_pending(struct session_pending *p)
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
    free_pending(p);
}

void session_free(struct session *s)
{
    if (s->is_given)
        keyring_leave(s->psk);
    if (s->is_placed)
        session_tail_drop(&s->tail);
    else
        free_pending(s->pending);
    if (s->state == SESSION_LEGACY)
        engine_free(s->legacy.engine);
    session_give_room(s);
}

/* ---- what comes in ---- */

/* Anybody can cause one: it stays at its largest. */
static void count_drop(struct session *s)
{
    if (s->drops < UINT32_MAX)
        s->drops++;
}

enum fate session_from_wire(struct session *s, const struct session_service *service,
                            const struct wire_record *rec, uint64_t now,
                            const struct session_sink *sink)
{
    enum fate fate;

    switch (s->state) {
    case SESSION_HANDSHAKE:
        fate = handshake_feed(s->pending->handshake, rec, now);
        follow(s, service, now, sink);
        break;
    case SESSION_OPEN:
        fate = from_wire_open(s, service, rec, now, sink);
        break;
    default:
        fate = from_wire_legacy(s, rec, sink);
        break;
    }
    if (!fate_is_drop(fate))
        return fate;
    count_drop(s);
    if (s->has_tally)
        tally_client_drop(session_tally(s), fate, rec->seq);
    return fate;
}

enum back_fate session_from_plain(struct session *s, const struct session_service *service,
                                  const uint8_t *plain, size_t len, const struct session_sink *sink)
{
    enum back_fate fate = BACK_DROP_TOO_BIG;

    if (len <= s->plain_max)
        fate = s->state == SESSION_OPEN ? from_plain_open(s, service, plain, len, sink)
                                        : from_plain_legacy(s, plain, len, sink);
    if (fate == BACK_SEALED) {
        s->out_datagrams++;
        s->out_bytes += len;
        return fate;
    }
    count_drop(s);
    if (s->has_tally)
        tally_backend_drop(session_tally(s), fate);
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

void session_send_check(struct session *s, const struct session_service *service,
                        const uint8_t message[WIRE_RRC_MESSAGE], const struct session_sink *sink)
{
    send_record(s, service, WIRE_RRC, message, WIRE_RRC_MESSAGE, sink);
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

void session_say_goodbye(struct session *s, const struct session_service *service,
                         const struct session_sink *sink)
{
    struct legacy_out out = {s, sink};

    if (s->state == SESSION_OPEN) {
        send_alert(s, service, WIRE_ALERT_WARNING, WIRE_CLOSE_NOTIFY, sink);
    } else if (s->state == SESSION_LEGACY) {
        engine_set_sink(s->legacy.engine, on_legacy_record, &out);
        engine_close(s->legacy.engine);
    }
}
