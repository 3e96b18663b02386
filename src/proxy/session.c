/*
 * session: what comes for one peer and what goes to it, until it goes. See the header.
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
        session_want_end(s, SESSION_END_CLOSED);
    } else if (plain[0] == WIRE_ALERT_FATAL) {
        session_want_end(s, SESSION_END_ALERT);
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
        session_want_end(s, fault);
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
    session_want_end(s, SESSION_END_EXHAUSTED);
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
        session_want_end(s, SESSION_END_CLOSED);
        return FATE_CONTROL;
    default:
        session_want_end(s, SESSION_END_ALERT);
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
    session_want_end(s, SESSION_END_BROKEN);
    return BACK_DROP_SEAL_FAILED;
}

void session_free(struct session *s)
{
    if (s->is_given)
        keyring_leave(s->psk);
    if (s->is_placed)
        session_tail_drop(&s->tail);
    else
        session_pending_free(s->pending);
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
        fate = session_feed(s, service, rec, now, sink);
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

void session_send_check(struct session *s, const struct session_service *service,
                        const uint8_t message[WIRE_RRC_MESSAGE], const struct session_sink *sink)
{
    send_record(s, service, WIRE_RRC, message, WIRE_RRC_MESSAGE, sink);
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
