/*
 * handshake: from a verified ClientHello to keys. See the header for what it promises.
 * Must never hand libssl a record that has not been judged here.
 */
#include "dtls/handshake.h"

#include "base/bytes.h"
#include "dtls/greeting.h"
#include "dtls/opener.h"
#include "dtls/own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libssl's record number for the hello; those fed behind it go on from here. */
#define FED_SEQ_FIRST 1

/* ---- what libssl is fed ---- */

static void take_status(struct handshake *h, enum engine_status status, uint64_t now)
{
    if (h->flight.len > 0)
        flight_send(&h->flight, &h->timing, now);
    if (h->flight.is_overflown)
        return handshake_fail(h, "the flight is too long");
    if (status == ENGINE_DEAD) {
        snprintf(h->engine_why, sizeof h->engine_why, "%s", engine_why(h->engine));
        return handshake_fail(h, h->engine_why);
    }
    if (status != ENGINE_DONE || h->state != HANDSHAKE_PENDING)
        return;
    h->farewell.ccs_seq = h->flight.next_seq;
    h->state = HANDSHAKE_DONE;
}

static void feed(struct handshake *h, const uint8_t *record, size_t len, uint64_t now)
{
    if (h->state != HANDSHAKE_PENDING)
        return;
    flight_clear(&h->flight);
    enum engine_status status = engine_feed(h->engine, record, len);
    take_status(h, status, now);
}

static void feed_plain(struct handshake *h, uint8_t type, const uint8_t *body, size_t len,
                       uint64_t now)
{
    uint8_t record[WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + CANDIDATE_BODY_MAX];

    wire_put_record_header(record, type, h->terms.version, h->fed_seq++, len);
    memcpy(record + WIRE_RECORD_HEADER, body, len);
    feed(h, record, WIRE_RECORD_HEADER + len, now);
}

static void feed_key_exchange(struct handshake *h, struct candidate *k, uint64_t now)
{
    uint8_t decoy[PSK_KEY_MAX];

    h->chosen = k;
    if (k->psk != NULL) {
        engine_set_key(h->engine, k->psk->key, k->psk->key_len);
    } else {
        size_t len = psk_decoy(h->params.keys, k->identity, k->identity_len, decoy);
        engine_set_key(h->engine, decoy, len);
        bytes_wipe(decoy, sizeof decoy);
    }
    feed_plain(h, WIRE_HANDSHAKE, k->message, k->len, now);
}

static void feed_ccs(struct handshake *h, uint64_t now)
{
    static const uint8_t body[1] = {1};

    if (h->ccs_fed)
        return;
    h->ccs_fed = true;
    feed_plain(h, WIRE_CCS, body, sizeof body, now);
}

/* ---- keys ---- */

/* The candidate under whose keys the record opens, or NULL. */
static struct candidate *find_opener(struct handshake *h, const struct wire_record *rec,
                                     struct opened *out, uint64_t now)
{
    const struct opener opener = {
        .keys = h->params.keys,
        .crypt = h->params.crypt,
        .kdf = h->params.kdf,
        .suite = h->terms.suite,
        .exchange = h->exchange,
        .engine = h->engine,
        .transcript = h->terms.extended_master_secret ? h->transcript : NULL,
        .randoms = {h->client_random, h->terms.server_random},
        .derivations = &h->dhe_derivations,
        .candidates = &h->candidates,
        .chosen = h->chosen,
        .cid = h->has_cid ? &h->cid : NULL,
    };

    return opener_find(&opener, rec, out, now);
}

/* ---- records of the client ---- */

static enum fate hold(struct handshake *h, const struct wire_record *rec)
{
    h->held_len = wire_record_size(rec);
    memcpy(h->held, rec->whole, h->held_len);
    return FATE_HANDSHAKE;
}

/* For associations that stay with libssl nothing but libssl can judge a Finished. */
static enum fate feed_unjudged(struct handshake *h, const struct wire_record *rec, uint64_t now)
{
    if (h->chosen == NULL || !h->ccs_came)
        return hold(h, rec);
    feed_ccs(h, now);
    feed(h, rec->whole, wire_record_size(rec), now);
    if (h->state == HANDSHAKE_DONE && h->chosen->psk == NULL) {
        h->state = HANDSHAKE_PENDING;
        handshake_fail(h, "unknown identity");
    }
    return FATE_HANDSHAKE;
}

static enum fate take_encrypted(struct handshake *h, const struct wire_record *rec, uint64_t now)
{
    if (wire_record_size(rec) > HELD_MAX)
        return FATE_DROP_SIZE;
    if (h->terms.suite == NULL)
        return feed_unjudged(h, rec, now);
    if (candidates_newest(&h->candidates) == NULL)
        return hold(h, rec);
    struct opened opened;
    struct candidate *k = find_opener(h, rec, &opened, now);
    if (k == NULL && candidates_find(&h->candidates, CANDIDATE_ASKED) == NULL)
        return FATE_DROP_FORGED;
    if (k != NULL && opened.type != WIRE_HANDSHAKE)
        return opened.type == WIRE_DATA ? FATE_DROP_EARLY : FATE_DROP_TYPE;
    if (k == NULL || !h->ccs_came)
        return hold(h, rec);
    record_window_mark(&k->association.window, rec->seq);
    h->chosen = k;
    own_take_finished(h, &opened, now);
    return FATE_HANDSHAKE;
}

/* What was too early may be right now. Returns its fate now, or FATE_HANDSHAKE. */
static enum fate retry_held(struct handshake *h, uint64_t now)
{
    uint8_t copy[HELD_MAX];
    struct wire_record rec;

    if (h->held_len == 0 || h->state != HANDSHAKE_PENDING)
        return FATE_HANDSHAKE;
    memcpy(copy, h->held, h->held_len);
    struct reader r = reader_of(copy, h->held_len);
    h->held_len = 0;
    return wire_next_record(&r, &rec) ? take_encrypted(h, &rec, now) : FATE_HANDSHAKE;
}

/* All is known of the candidate's key that ever will be, or it is awaited. */
static enum fate take_key(struct handshake *h, struct candidate *k, uint64_t now)
{
    if (k->asking == CANDIDATE_SETTLED && k->psk == NULL && h->params.alert_unknown)
        handshake_refuse(h, WIRE_UNKNOWN_PSK_IDENTITY, "unknown identity", now);
    else if (k->asking == CANDIDATE_SETTLED && h->terms.suite == NULL && h->chosen == NULL)
        feed_key_exchange(h, k, now);
    return retry_held(h, now);
}

static enum fate take_key_exchange(struct handshake *h, const struct wire_message *m, uint64_t now)
{
    bool is_repeat;

    if (m->seq != h->next_message || m->type != WIRE_CLIENT_KEY_EXCHANGE)
        return m->seq < h->next_message ? FATE_DROP_REPEAT : FATE_DROP_ORDER;
    if (m->length > CANDIDATE_BODY_MAX)
        return FATE_DROP_SIZE;
    if (h->chosen != NULL)
        return FATE_DROP_REPEAT;
    const uint8_t *message = candidates_assemble(&h->candidates, m);
    if (message == NULL)
        return FATE_HANDSHAKE;
    struct candidate *k = candidates_add(&h->candidates, message, WIRE_MESSAGE_HEADER + m->length,
                                         h->exchange, &is_repeat);
    if (k == NULL)
        return is_repeat ? FATE_DROP_REPEAT : FATE_DROP_ORDER;
    k->psk = psk_find_valid(h->params.keys, k->identity, k->identity_len, h->params.wall0 + now);
    if (h->params.may_ask && psk_find(h->params.keys, k->identity, k->identity_len) == NULL)
        k->asking = CANDIDATE_TO_ASK;
    take_key(h, k, now);
    return FATE_HANDSHAKE;
}

/* A repeated hello says that our flight was lost; no more than two answers per timer period. */
static enum fate take_hello_copy(struct handshake *h, uint64_t now)
{
    if ((h->chosen != NULL && !h->tickets.is_resumed) ||
        now - h->flight.sent_at < h->timing.first / 2)
        return FATE_DROP_HELLO_COPY;
    own_seal_anew(h);
    flight_resend(&h->flight, now);
    return FATE_DROP_HELLO_COPY;
}

static enum fate take_plain_handshake(struct handshake *h, const struct wire_record *rec,
                                      uint64_t now)
{
    struct reader r = reader_of(rec->body, rec->len);
    struct wire_message m;
    enum fate fate = FATE_DROP_ORDER;

    while (h->state == HANDSHAKE_PENDING && wire_next_message(&r, &m)) {
        if (m.type == WIRE_CLIENT_HELLO && m.seq + 1u == h->next_message)
            fate = take_hello_copy(h, now);
        else
            fate = take_key_exchange(h, &m, now);
    }
    return fate;
}

static enum fate take_ccs(struct handshake *h, const struct wire_record *rec, uint64_t now)
{
    if (rec->len != 1 || rec->body[0] != 1)
        return FATE_DROP_ORDER;
    if (h->ccs_came)
        return FATE_DROP_REPEAT;
    h->ccs_came = true;
    retry_held(h, now);
    return FATE_HANDSHAKE;
}

static enum fate take_plain(struct handshake *h, const struct wire_record *rec, uint64_t now)
{
    switch (rec->type) {
    case WIRE_HANDSHAKE:
        return take_plain_handshake(h, rec, now);
    case WIRE_CCS:
        return take_ccs(h, rec, now);
    case WIRE_DATA:
        return FATE_DROP_EPOCH;
    default: /* plaintext alerts, too: anybody can write one */
        return FATE_DROP_TYPE;
    }
}

enum fate handshake_feed(struct handshake *h, const struct wire_record *rec, uint64_t now)
{
    if (h->state != HANDSHAKE_PENDING)
        return FATE_DROP_ORDER;
    if (rec->epoch == 0)
        return take_plain(h, rec, now);
    if (rec->epoch != 1)
        return FATE_DROP_EPOCH;
    if (rec->type == (h->has_cid ? WIRE_CID : WIRE_HANDSHAKE))
        return take_encrypted(h, rec, now);
    return rec->type == WIRE_DATA ? FATE_DROP_EARLY : FATE_DROP_TYPE;
}

const uint8_t *handshake_asks(const struct handshake *h, size_t *len)
{
    const struct candidate *k =
        h->chosen == NULL ? candidates_find(&h->candidates, CANDIDATE_TO_ASK) : NULL;

    *len = k != NULL ? k->identity_len : 0;
    return k != NULL ? k->identity : NULL;
}

enum fate handshake_set_key(struct handshake *h, const struct psk *named, enum candidate_key asking,
                            uint64_t now)
{
    if (h->state != HANDSHAKE_PENDING)
        return FATE_HANDSHAKE;
    struct candidate *k = candidates_set_key(&h->candidates, named, asking);
    return k != NULL && asking != CANDIDATE_ASKED ? take_key(h, k, now) : FATE_HANDSHAKE;
}

/* ---- begin and end ---- */

/* libssl takes the hello and writes the first flight. */
static void negotiate(struct handshake *h, const struct wire_record *hello, const uint8_t *own_cid,
                      uint64_t now)
{
    uint8_t record[WIRE_RECORD_HEADER + WIRE_CIPHERTEXT_MAX];
    size_t len = wire_record_size(hello);

    h->engine = engine_new(h->params.tls, h->params.mtu, handshake_on_record, h);
    if (h->engine == NULL)
        return handshake_fail(h, "out of memory");
    if (own_cid != NULL)
        engine_offer_cid(h->engine, own_cid);
    memcpy(record, hello->whole, len);
    put_u48(record + 5, FED_SEQ_FIRST);
    h->fed_seq = FED_SEQ_FIRST + 1;
    take_status(h, engine_hello(h->engine, record, len), now);
    if (h->state != HANDSHAKE_PENDING)
        return;
    if (h->terms.version == 0)
        return handshake_fail(h, "libssl sent no ServerHello");
    h->exchange = h->terms.suite != NULL ? h->terms.suite->exchange : engine_exchange(h->engine);
}

/* We do, where there is nothing in it but what both can. */
static void greet(struct handshake *h, const struct greeting *g, const uint8_t *own_cid,
                  uint64_t now)
{
    const struct greeting_words words = {tlsctx_hint(h->params.tls), own_cid};

    greeting_write(g, &words, handshake_on_record, h);
    h->exchange = g->suite->exchange;
    take_status(h, ENGINE_WAIT, now);
}

/* By a ticket or a session id, or with a key exchange. */
static void choose_way(struct handshake *h, const struct wire_record *record,
                       const struct wire_hello *hello, const uint8_t *own_cid, uint64_t now)
{
    struct resumed old;
    struct greeting g;

    enum resume_verdict verdict = own_judge(h, hello, &old, now);
    switch (verdict) {
    case RESUME_WELCOME:
        own_resume(h, &old, own_cid);
        break;
    case RESUME_FORBIDDEN:
        h->terms.version = WIRE_DTLS12; /* the alert's */
        handshake_refuse(h, WIRE_HANDSHAKE_FAILURE, "to be resumed, but no extended master secret",
                         now);
        break;
    default:
        h->offer = own_offer(h, hello, own_cid != NULL);
        if (h->offer == RESUME_ID)
            bytes_random(h->id, sizeof h->id);
        if (greeting_judge(h->params.tls, h->params.mtu, hello, &g))
            greet(h, &g, own_cid, now);
        else
            negotiate(h, record, own_cid, now);
    }
    if (verdict != RESUME_NONE)
        bytes_wipe(&old, sizeof old);
}

static void begin(struct handshake *h, const struct wire_record *record,
                  const struct wire_hello *hello, uint64_t now)
{
    bool offers_cid = h->params.offers_cid && tlsctx_has_cid(h->params.tls) &&
                      terms_may_settle_cid(hello, h->params.mtu);
    const uint8_t *own_cid = offers_cid ? h->params.own_cid : NULL;

    choose_way(h, record, hello, own_cid, now);
    if (h->state != HANDSHAKE_PENDING)
        return;
    if (h->params.require_ems && !h->terms.extended_master_secret)
        return handshake_refuse(h, WIRE_HANDSHAKE_FAILURE, "no extended master secret", now);
    if (h->terms.suite != NULL && !own_begin_transcript(h, record))
        handshake_fail(h, "out of memory");
}

struct handshake *handshake_new(const struct handshake_params *params,
                                const struct wire_record *hello, uint64_t now)
{
    struct wire_hello parsed;
    struct handshake *h;

    if (wire_parse_hello(hello, &parsed) != WIRE_HELLO_OK || (h = calloc(1, sizeof *h)) == NULL)
        return NULL;
    h->params = *params;
    memcpy(h->client_random, parsed.random, WIRE_RANDOM);
    h->next_message = (uint16_t)(parsed.message_seq + 1);
    h->asked_len = own_hello_rest(hello, &parsed);
    terms_init(&h->terms);
    h->timing = (struct flight_timing){params->retransmit_first, params->retransmit_cap,
                                       params->retransmit_total};
    h->deadline = now + params->timeout;
    flight_init(&h->flight, hello->seq); /* RFC 6347 4.2.1: the answer begins with its number */
    begin(h, hello, &parsed, now);
    h->has_cid = terms_settle_cid(&h->terms, &parsed, params->own_cid, &h->cid);
    h->flight.cid_len = h->cid.peer_len;
    if (h->tickets.is_resumed)
        own_speak_first(h, now);
    return h;
}

void handshake_free(struct handshake *h)
{
    if (h == NULL)
        return;
    engine_free(h->engine);
    transcript_free(h->transcript);
    handshake_farewell_clear(&h->farewell);
    bytes_wipe(h, sizeof *h);
    free(h);
}

void handshake_on_timer(struct handshake *h, uint64_t now)
{
    if (h->state != HANDSHAKE_PENDING)
        return;
    if (now >= h->deadline) {
        h->state = HANDSHAKE_EXPIRED;
        h->why = h->tickets.is_resumed ? "no Finished came" : candidates_flaw(&h->candidates);
        return;
    }
    if (now >= h->flight.repeat_at)
        own_seal_anew(h);
    flight_on_timer(&h->flight, &h->timing, now);
}

uint64_t handshake_next_timer(const struct handshake *h)
{
    return h->flight.repeat_at < h->deadline ? h->flight.repeat_at : h->deadline;
}

size_t handshake_take(struct handshake *h, uint8_t *out)
{
    return flight_take(&h->flight, h->params.mtu, out);
}

enum handshake_state handshake_state(const struct handshake *h)
{
    return h->state;
}

const char *handshake_why(const struct handshake *h)
{
    return h->why != NULL ? h->why : "";
}

const struct suite *handshake_suite(const struct handshake *h)
{
    return h->terms.suite;
}

const struct association_cid *handshake_cid(const struct handshake *h)
{
    return h->has_cid ? &h->cid : NULL;
}

const uint8_t *handshake_identity(const struct handshake *h, size_t *len)
{
    const struct candidate *k = h->chosen != NULL ? h->chosen : candidates_newest(&h->candidates);
    *len = k == NULL ? 0 : k->identity_len;
    return k == NULL ? NULL : k->identity;
}

const struct handshake_tickets *handshake_tickets(const struct handshake *h)
{
    return &h->tickets;
}

void handshake_finish(struct handshake *h, struct handshake_result *out)
{
    memset(out, 0, sizeof *out);
    out->psk = h->chosen->psk;
    out->max_fragment = h->terms.max_fragment;
    out->extended_master_secret = h->terms.extended_master_secret;
    out->own_records = h->terms.suite != NULL;
    out->farewell = h->farewell;
    memset(&h->farewell, 0, sizeof h->farewell);
    memcpy(out->client_random, h->client_random, WIRE_RANDOM);
    if (out->own_records) {
        out->room = h->association;
        memcpy(out->master, h->chosen->master, KEYS_MASTER);
        return;
    }
    engine_master(h->engine, out->master);
    out->engine = h->engine;
    h->engine = NULL;
}
