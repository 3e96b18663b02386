/*
 * own: the end of handshakes under suites of our own, and the whole of those that are resumed. See
 * the header. Must never know libssl.
 */
#include "dtls/own.h"

#include "base/bytes.h"
#include "dtls/greeting.h"

#include <stdlib.h>
#include <string.h>

void handshake_fail(struct handshake *h, const char *why)
{
    if (h->state != HANDSHAKE_PENDING)
        return;
    h->state = HANDSHAKE_FAILED;
    h->why = why;
}

void handshake_refuse(struct handshake *h, uint8_t description, const char *why, uint64_t now)
{
    uint8_t alert[WIRE_RECORD_HEADER + 2];

    wire_put_record_header(alert, WIRE_ALERT, h->terms.version, 0, 2);
    alert[WIRE_RECORD_HEADER] = WIRE_ALERT_FATAL;
    alert[WIRE_RECORD_HEADER + 1] = description;
    flight_clear(&h->flight);
    flight_add(&h->flight, alert, sizeof alert);
    flight_resend(&h->flight, now);
    handshake_fail(h, why);
}

void handshake_on_record(void *arg, const uint8_t *record, size_t len)
{
    struct handshake *h = arg;
    struct reader r = reader_of(record, len);
    struct wire_record rec;

    if (!wire_next_record(&r, &rec))
        return;
    if (rec.epoch == 0)
        terms_learn(&h->terms, &rec);
    uint8_t room[FLIGHT_MAX];
    size_t n = 0;
    if (h->offer != RESUME_NOTHING && !h->is_promised)
        n = resume_promise(&h->terms, &rec, h->offer == RESUME_ID ? h->id : NULL, room,
                           h->params.mtu < sizeof room ? h->params.mtu : sizeof room);
    h->is_promised |= n > 0;
    flight_add(&h->flight, n > 0 ? room : record, n > 0 ? n : len);
}

bool own_begin_transcript(struct handshake *h, const struct wire_record *hello)
{
    h->transcript = transcript_new(h->params.kdf, h->terms.suite->sha384);
    return h->transcript != NULL && transcript_add(h->transcript, hello->body, hello->len) &&
           finished_hash_records(h->transcript, h->flight.records, h->flight.len);
}

/* ---- the end ---- */

static struct finished_state finished_state(const struct handshake *h)
{
    return (struct finished_state){
        .kdf = h->params.kdf,
        .suite = h->terms.suite,
        .transcript = h->transcript,
        .chosen = h->chosen,
        /* without a key exchange in front of it where there is none */
        .client_seq = (uint16_t)(h->next_message + !h->tickets.is_resumed),
        .server_seq = h->terms.next_message,
    };
}

/* What of a datagram the end of the handshake leaves to a record in front of it. */
static size_t room_for_ticket(const struct handshake *h, size_t cid_len)
{
    return h->params.mtu - (FINISHED_FLIGHT_MAX - WIRE_CID_MAX + cid_len);
}

size_t own_hello_rest(const struct wire_record *rec, const struct wire_hello *hello)
{
    const uint8_t *ticket;
    size_t len = 0;

    if (!wire_hello_ticket(hello, &ticket, &len))
        len = 0;
    return wire_record_size(rec) - hello->session_id_len - len;
}

/* The longest ticket with which the client's hello is still one datagram: it is not taken in
 * pieces, so who has a longer one could not come back at all. */
static size_t room_in_hello(const struct handshake *h)
{
    size_t taken = h->asked_len + WIRE_SESSION_ID_MAX;

    return taken < h->params.mtu ? h->params.mtu - taken : 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum resume_offer own_offer(const struct handshake *h, const struct wire_hello *hello,
                            bool offers_cid)
{
    enum resume_offer offer = resume_offer(&h->params.resumption, hello);
    const uint8_t *cid;
    uint8_t len = 0;

    if (offer != RESUME_TICKET || !offers_cid || !wire_hello_cid(hello, &cid, &len))
        return offer;
    return room_for_ticket(h, len) >= RESUME_RECORD_MIN ? offer : RESUME_NOTHING;
}

static struct resume_facts facts_of(const struct handshake *h, uint64_t now)
{
    return (struct resume_facts){
        .suite = h->terms.suite,
        .psk = h->chosen->psk,
        .master = h->chosen->master,
        .wall = h->params.wall0 + now,
        .max_fragment = (uint16_t)h->terms.max_fragment,
        .seq = h->terms.next_message,
        .room = smaller(room_for_ticket(h, h->cid.peer_len), RESUME_RECORD_MIN + room_in_hello(h)),
    };
}

/* The promise in the ServerHello binds (RFC 5077 3.3). All of the farewell is to fit one datagram.
 */
static bool make_ticket(struct handshake *h, uint64_t now)
{
    const struct resume_facts facts = facts_of(h, now);
    uint8_t record[RESUME_RECORD_MAX];

    size_t len = resume_write_ticket(&h->params.resumption, &facts, record, &h->tickets.is_issued);
    h->farewell.ticket = malloc(len);
    if (h->farewell.ticket == NULL)
        return false;
    memcpy(h->farewell.ticket, record, len);
    h->farewell.ticket_len = (uint16_t)len;
    return true;
}

/* That of an id does not: who comes back by one that is not known makes a whole handshake. */
static void remember(struct handshake *h, uint64_t now)
{
    const struct resume_facts facts = facts_of(h, now);

    h->tickets.is_id_issued =
        resume_remember(&h->params.resumption, &facts, h->id, &h->tickets.id_gave_way);
}

static bool check_finished(struct handshake *h)
{
    struct finished_state state = finished_state(h);

    if (h->farewell.ticket != NULL) {
        state.ticket = h->farewell.ticket + WIRE_RECORD_HEADER;
        state.ticket_len = h->farewell.ticket_len - WIRE_RECORD_HEADER;
        state.server_seq++;
    }
    return finished_answer(&state, &h->finished, h->farewell.finished);
}

/* Adds what is sealed, under the next number. */
static void add_sealed(struct handshake *h)
{
    uint8_t sealed[FINISHED_FLIGHT_MAX];
    size_t len = finished_write(h->farewell.finished, 0, h->params.crypt,
                                &h->association.association, sealed);

    if (len == 0)
        return handshake_fail(h, "the Finished cannot be sealed");
    flight_add(&h->flight, sealed, len);
}

static void answer_finished(struct handshake *h, uint64_t now)
{
    flight_clear(&h->flight);
    if (h->farewell.ticket != NULL)
        flight_add(&h->flight, h->farewell.ticket, h->farewell.ticket_len);
    add_sealed(h);
    if (h->state != HANDSHAKE_PENDING)
        return;
    flight_send(&h->flight, &h->timing, now);
    h->farewell.ccs_seq = h->flight.next_seq;
    h->state = HANDSHAKE_DONE;
}

/* What comes under the right keys and is wrong is an error of its owner's, and never a forgery. */
static void refuse_finished(struct handshake *h, uint64_t now)
{
    if (h->is_by_id)
        resume_forget(&h->params.resumption, h->id);
    handshake_refuse(h, WIRE_DECRYPT_ERROR, "the client's Finished is wrong", now);
}

/* The client has spoken last: nobody will ask us to repeat ourselves. */
static void end_resumed(struct handshake *h, uint64_t now)
{
    const struct finished_state state = finished_state(h);

    if (!finished_ends(&state, &h->finished))
        return refuse_finished(h, now);
    h->association.association.window = h->chosen->association.window;
    handshake_farewell_clear(&h->farewell);
    flight_clear(&h->flight);
    h->state = HANDSHAKE_DONE;
}

static bool promises(const struct handshake *h, enum resume_offer what)
{
    return h->is_promised && h->offer == what;
}

void own_take_finished(struct handshake *h, const struct opened *opened, uint64_t now)
{
    enum finished_verdict verdict =
        finished_take(&h->finished, finished_state(h).client_seq, opened->plain, opened->len);

    if (verdict == FINISHED_PARTLY)
        return;
    if (verdict == FINISHED_WHOLE && h->tickets.is_resumed)
        return end_resumed(h, now);
    if (verdict == FINISHED_WHOLE && promises(h, RESUME_TICKET) && !make_ticket(h, now))
        return handshake_fail(h, "out of memory");
    if (verdict == FINISHED_WRONG || !check_finished(h))
        return refuse_finished(h, now);
    opener_equip(h->chosen, h->has_cid ? &h->cid : NULL, &h->association);
    answer_finished(h, now);
    if (h->state == HANDSHAKE_DONE && promises(h, RESUME_ID))
        remember(h, now);
}

void own_seal_anew(struct handshake *h)
{
    if (!h->tickets.is_resumed)
        return;
    flight_cut(&h->flight, h->hello_len);
    add_sealed(h);
}

/* ---- sessions that are resumed ---- */

/* Keys from the old master secret and the new randoms (RFC 5246 7.3). */
static bool derive_again(struct handshake *h, const struct resumed *old)
{
    const struct keys_randoms randoms = {h->client_random, h->terms.server_random};
    struct candidate *k = candidates_add_known(&h->candidates, old->psk);

    memcpy(k->master, old->ticket.master, KEYS_MASTER);
    k->association.suite = h->terms.suite;
    k->is_derived = true;
    h->chosen = k;
    return keys_expand(h->params.kdf, h->terms.suite, k->master, &randoms, &k->association.keys);
}

void own_resume(struct handshake *h, const struct resumed *old, const uint8_t *own_cid)
{
    const struct greeting_words words = {NULL, own_cid};

    h->tickets.is_resumed = true;
    h->is_by_id = old->is_by_id;
    if (h->is_by_id)
        memcpy(h->id, old->greeting.session_id, CACHE_ID);
    greeting_write_hello(&old->greeting, &words, handshake_on_record, h);
    h->exchange = old->ticket.suite->exchange;
    h->hello_len = h->flight.len;
    if (!derive_again(h, old))
        handshake_fail(h, "the keys cannot be derived");
}

void own_speak_first(struct handshake *h, uint64_t now)
{
    const struct finished_state state = finished_state(h);

    if (h->state != HANDSHAKE_PENDING)
        return;
    opener_equip(h->chosen, h->has_cid ? &h->cid : NULL, &h->association);
    if (!finished_begin(&state, h->farewell.finished))
        return handshake_fail(h, "the Finished cannot be made");
    add_sealed(h);
    flight_send(&h->flight, &h->timing, now);
}

enum resume_verdict own_judge(struct handshake *h, const struct wire_hello *hello,
                              struct resumed *old, uint64_t now)
{
    const struct resume_bench bench = {&h->params.resumption, h->params.tls, h->params.keys,
                                       h->params.wall0 + now};
    enum resume_verdict verdict = resume_judge(&bench, hello, old);

    if (verdict == RESUME_REFUSED || verdict == RESUME_FORBIDDEN) {
        h->tickets.is_refused = !old->is_by_id;
        h->tickets.is_id_refused = old->is_by_id;
    }
    return verdict;
}
