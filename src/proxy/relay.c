/*
 * relay: the data path. See the header.
 * Knows both sides, and must never know the event loop, a file descriptor or the clock.
 */
#include "proxy/relay.h"

#include "proxy/answers.h"
#include "proxy/expiry.h"
#include "proxy/life.h"
#include "proxy/moves.h"
#include "proxy/policy.h"
#include "proxy/report.h"

#include <assert.h>
#include <stdlib.h>

/* Records of one datagram that may go to other workers; a client has no reason to send any. */
#define PASSED_PER_DATAGRAM 8

/* ---- from clients ---- */

static enum fate answer_hello(struct relay *r, struct turn *t, const struct wire_hello *hello)
{
    const struct session_sink sink = life_sink(t);
    uint8_t *room = sink.reserve(sink.arg, COOKIE_ANSWER_SIZE);
    size_t n = cookie_answer(&r->cookies, hello, &t->route->peer, &t->route->local, room);
    sink.commit(sink.arg, n);
    return FATE_HELLO_ANSWERED;
}

static enum fate begin_session(struct relay *r, struct turn *t, unsigned service,
                               const struct wire_record *rec, const struct wire_hello *hello)
{
    const struct session_sink sink = life_sink(t);
    uint64_t print = seen_print(hello->random, &t->route->peer);
    struct gate_seat *seat;
    struct session *victim;

    while ((seat = gate_oldest(r->gate, &t->route->peer)) != NULL)
        life_end(r, list_entry(seat, struct session_pending, seat)->session,
                 SESSION_END_HANDSHAKE_EVICTED, t->now);
    while ((victim = peers_pending_victim(&r->peers)) != NULL)
        life_end(r, victim, SESSION_END_HANDSHAKE_EVICTED, t->now);
    uint8_t cid[WIRE_OWN_CID];
    struct session *s =
        session_new(&r->services[service], rec, moves_offer(r, service, hello, cid), t->now, &sink);
    if (s == NULL)
        return FATE_DROP_MEMORY;
    if (!peers_set_route(&r->peers, s, t->route) ||
        !gate_sit(r->gate, &s->pending->seat, &t->route->peer)) {
        peers_forget_route(&r->peers, s);
        session_free(s);
        return FATE_DROP_MEMORY;
    }
    seen_add(r->seen, print);
    s->service = service;
    s->id = r->next_id;
    s->hello_print = (uint32_t)print;
    s->pending->hello_print = print;
    r->next_id += r->parts.worker_count;
    stats_add(&r->parts.stats->handshakes_started, 1);
    const struct handshake_tickets *tickets = handshake_tickets(s->pending->handshake);
    stats_add(&r->parts.stats->tickets_refused, tickets->is_refused);
    stats_add(&r->parts.stats->session_ids_refused, tickets->is_id_refused);
    peers_add(&r->peers, s);
    life_update_gauges(r);
    life_settle(r, s, t->now);
    return FATE_HELLO_ACCEPTED;
}

static bool is_allowed(const struct conf_service *conf, const struct addr *peer)
{
    return !prefixes_contain(&conf->deny, peer) &&
           (conf->allow.count == 0 || prefixes_contain(&conf->allow, peer));
}

static bool is_admitted(struct relay *r, const struct turn *t, bool replaces, enum fate *refusal)
{
    switch (gate_admit(r->gate, &t->route->peer, replaces, t->now)) {
    case GATE_WELCOME:
        return true;
    case GATE_FULL:
        *refusal = FATE_DROP_CAP;
        return false;
    default:
        *refusal = FATE_DROP_RATE;
        return false;
    }
}

/* Every hello goes the stateless way first, also one from the address of a session. */
static enum fate take_hello(struct relay *r, struct turn *t, unsigned service,
                            const struct wire_record *rec)
{
    const struct session_sink sink = life_sink(t);
    struct wire_hello hello;

    switch (wire_parse_hello(rec, &hello)) {
    case WIRE_HELLO_OK:
        break;
    case WIRE_HELLO_FRAGMENT:
        return FATE_DROP_HELLO_FRAGMENT;
    default:
        return FATE_DROP_HELLO_BAD;
    }
    if (hello.record_seq > HANDSHAKE_SEQ_LIMIT)
        return FATE_DROP_HELLO_BAD;
    if (!is_allowed(r->services[service].conf, &t->route->peer))
        return FATE_DROP_DENIED;
    if (r->is_draining)
        return FATE_DROP_DRAINING;
    uint64_t print = seen_print(hello.random, &t->route->peer);
    const struct session *open = peers_find_open(&r->peers, t->route);
    if (open != NULL && open->hello_print == (uint32_t)print)
        return FATE_DROP_HELLO_COPY;
    if (!cookie_check(&r->cookies, &hello, &t->route->peer, &t->route->local))
        return answer_hello(r, t, &hello);
    struct session *pending = peers_find_pending(&r->peers, t->route);
    if (pending != NULL && pending->pending->hello_print == print) {
        enum fate fate = session_from_wire(pending, &r->services[service], rec, t->now, &sink);
        life_settle(r, pending, t->now);
        return fate;
    }
    if (seen_has(r->seen, print))
        return FATE_DROP_HELLO_COPY;
    if (r->is_settling) /* it comes again, with the same cookie */
        return FATE_DROP_DRAINING;
    enum fate refusal;
    if (!is_admitted(r, t, open != NULL, &refusal))
        return refusal;
    if (pending != NULL)
        life_end(r, pending, SESSION_END_HANDSHAKE_REPLACED, t->now);
    return begin_session(r, t, service, rec, &hello);
}

static enum fate give_record(struct relay *r, struct turn *t, struct session *s,
                             const struct wire_record *rec)
{
    const struct session_sink sink = moves_sink(t);

    t->session = s;
    if (r->traces.count > 0)
        trace_mark(&r->traces);
    enum fate fate = session_from_wire(s, &r->services[s->service], rec, t->now, &sink);
    if (r->traces.count > 0)
        trace_in(&r->traces, s, rec, fate, t->now);
    if (fate == FATE_DROP_FORGED && s->state == SESSION_OPEN)
        report_forgeries(s, life_conf(r, s), &r->forgery_lines, t->now);
    life_doubt(r, s, fate, t->now);
    life_settle(r, s, t->now);
    return fate;
}

static enum fate take_record(struct relay *r, struct turn *t, const struct wire_record *rec)
{
    struct peers_found found = peers_find(&r->peers, t->route);
    struct session *pending = found.pending, *open = found.open;

    if (pending == NULL && open == NULL)
        return FATE_DROP_STRANGER;
    if (open == NULL)
        return give_record(r, t, pending, rec);
    if (pending == NULL)
        return give_record(r, t, open, rec);
    /* Both: plaintext is the handshake's, data is the session's, and a sealed handshake message may
     * be either's. */
    if (rec->epoch == 0)
        return give_record(r, t, pending, rec);
    if (rec->type != WIRE_HANDSHAKE)
        return give_record(r, t, open, rec);
    enum fate fate = give_record(r, t, pending, rec);
    return fate_is_drop(fate) ? give_record(r, t, open, rec) : fate;
}

/* Its session is where it is, whereever this came from, until the record has authenticated. */
static enum fate take_cid_record(struct relay *r, const struct turn *t,
                                 const struct wire_record *rec)
{
    enum fate fate;
    struct session *s = moves_find(r, t->route, rec, &fate);

    if (s == NULL)
        return fate;
    moves_settle(r, s, t->now);
    const struct session_route home = peers_route(&r->peers, s);
    struct turn turn = {
        .relay = r, .route = &home, .from = t->route, .now = t->now, .datagram = t->datagram};
    return give_record(r, &turn, s, rec);
}

static bool is_hello(const struct wire_record *rec)
{
    return rec->type == WIRE_HANDSHAKE && rec->epoch == 0 && rec->len > 0 &&
           rec->body[0] == WIRE_CLIENT_HELLO;
}

/* `rec` is NULL for a datagram that holds none. */
static void count_record(struct relay *r, const struct turn *t, const struct wire_record *rec,
                         enum fate fate)
{
    report_fate(t->route, rec, fate, &r->fate_lines, t->now);
    stats_add(&r->parts.stats->client_records, 1);
    stats_add(&r->parts.stats->from_client[fate], 1);
}

void relay_from_client(struct relay *r, struct listener *l, const struct udp_datagram *d,
                       uint64_t now)
{
    const struct session_route route = {d->peer, d->local, listener_index(l)};
    struct turn turn = {.relay = r, .route = &route, .now = now, .datagram = r->next_datagram};
    struct reader reader = reader_of(d->data, d->len);
    struct wire_record rec;
    size_t count = 0, hellos = 0, passed = 0;

    keep_set_time(r->keep, now, r->expiry.wall0);
    stats_add(&r->parts.stats->client_datagrams, 1);
    stats_add(&r->parts.stats->client_bytes, d->len);
    r->next_datagram += r->parts.worker_count;
    for (; wire_next_record(&reader, &rec); count++) {
        enum fate fate = FATE_DROP_WORKER;
        if (rec.type != WIRE_CID && !is_hello(&rec))
            fate = take_record(r, &turn, &rec);
        else if (is_hello(&rec)) /* one answer to a datagram is enough, or it would amplify */
            fate = hellos++ == 0 ? take_hello(r, &turn, listener_service(l), &rec)
                                 : FATE_DROP_HELLO_COPY;
        else if (!moves_is_elsewhere(r, &rec))
            fate = take_cid_record(r, &turn, &rec);
        else if (passed++ < PASSED_PER_DATAGRAM && moves_pass(r, &turn, &rec))
            continue; /* the other worker tells its fate */
        count_record(r, &turn, &rec, fate);
    }
    if (reader.bad || count == 0)
        count_record(r, &turn, NULL, FATE_DROP_JUNK);
}

void relay_from_worker(struct relay *r, const struct relay_record *record, uint64_t now)
{
    const struct session_route route = {record->peer, record->local, record->listener};
    struct turn turn = {.relay = r, .route = &route, .now = now, .datagram = record->datagram};
    struct reader reader = reader_of(record->data, record->len);
    struct wire_record rec;

    keep_set_time(r->keep, now, r->expiry.wall0);
    if (wire_next_record(&reader, &rec))
        count_record(r, &turn, &rec, take_cid_record(r, &turn, &rec));
}

/* ---- from backends ---- */

static void count_back(struct relay *r, const struct udp_datagram *d, enum back_fate fate)
{
    stats_add(&r->parts.stats->backend_datagrams, 1);
    stats_add(&r->parts.stats->backend_bytes, d->len);
    stats_add(&r->parts.stats->from_backend[fate], 1);
}

/* One that refused and now speaks is back. */
static void note_answer(struct relay *r, struct session *s, size_t len, uint64_t now)
{
    struct balance *b = &r->balances[s->service];

    if (s->flow == NULL)
        return;
    life_note_answer(s);
    unsigned slot = life_slot(s);
    if (slot == BALANCE_NOBODY)
        return;
    balance_count_received(b, slot, len);
    if (!balance_answered(b, slot, now))
        return;
    const struct addr backend = life_backend(r, s);
    const struct report_news news = {&backend, true, "answers"};
    report_backend(life_conf(r, s), &news, &r->backend_lines, now);
}

bool relay_from_backend(struct relay *r, void *session, const struct udp_datagram *d, uint64_t now)
{
    struct session *s = session;

    moves_settle(r, s, now);
    const struct session_route route = peers_route(&r->peers, s);
    struct turn turn = {.relay = r, .route = &route, .session = s, .now = now};
    const struct session_sink sink = life_sink(&turn);

    keep_set_time(r->keep, now, r->expiry.wall0);
    s->used = now;
    peers_touch(&r->peers, s);
    note_answer(r, s, d->len, now);
    enum back_fate fate = session_from_plain(s, &r->services[s->service], d->data, d->len, &sink);
    if (r->traces.count > 0)
        trace_backend(&r->traces, s, d->len, fate, now);
    count_back(r, d, fate);
    return life_settle(r, s, now);
}

void relay_from_stranger(struct relay *r, const struct udp_datagram *d)
{
    count_back(r, d, BACK_DROP_STRANGER);
}

void relay_refused(struct relay *r, void *session, unsigned n, uint64_t now)
{
    struct session *s = session;

    const struct addr backend = life_backend(r, s);

    s->refused = n < UINT32_MAX - s->refused ? s->refused + n : UINT32_MAX;
    report_refused(s, life_conf(r, s), &backend, &r->refused_lines, now);
    life_note_refusal(s);
    if (life_slot(s) != BALANCE_NOBODY &&
        balance_refused(&r->balances[s->service], life_slot(s), n, now)) {
        const struct report_news news = {&backend, false, "refused"};
        report_backend(life_conf(r, s), &news, &r->backend_lines, now);
    }
    stats_add(&r->parts.stats->backend_refused, n);
    life_count(r, s, SERVICE_BACKEND_REFUSED, n);
}

/* ---- from helpers ---- */

void relay_on_answer(struct relay *r, void *token, const struct helper_answer *answer, uint64_t now)
{
    keep_set_time(r->keep, now, r->expiry.wall0);
    keyring_answer(r->keyring, token, answer, now);
}

/* ---- time ---- */

static void tick_handshakes(struct relay *r, uint64_t now)
{
    struct timer *timer;

    while ((timer = timers_expired(&r->timers, now)) != NULL) {
        struct session *s = timer_entry(timer, struct session_pending, timer)->session;
        const struct session_route route = peers_route(&r->peers, s);
        struct turn turn = {.relay = r, .route = &route, .session = s, .now = now};
        const struct session_sink sink = life_sink(&turn);
        session_on_timer(s, &r->services[s->service], now, &sink);
        life_settle(r, s, now);
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Ends the sessions that were idle for too long. Returns when the next one will be. */
static uint64_t tick_idle(struct relay *r, size_t service, uint64_t now)
{
    uint64_t timeout = r->services[service].conf->idle_timeout;
    struct list *node;

    while ((node = list_first(&r->peers.idle[service])) != NULL) {
        struct session *s = list_entry(node, struct session, idle);
        if (s->used + timeout > now)
            return s->used + timeout;
        life_end(r, s, SESSION_END_IDLE, now);
    }
    return TIMER_NEVER;
}

/* Closes the flows that were idle for too long; their sessions live on. */
static uint64_t tick_flows(struct relay *r, size_t service, uint64_t now)
{
    uint64_t timeout = r->services[service].conf->flow_timeout;
    struct session *s;

    while (timeout > 0 && (s = upstream_idlest(&r->peers.flows[service])) != NULL) {
        if (s->used + timeout > now)
            return s->used + timeout;
        life_close_flow(r, s);
    }
    return TIMER_NEVER;
}

uint64_t relay_tick(struct relay *r, uint64_t now)
{
    keep_set_time(r->keep, now, r->expiry.wall0);
    uint64_t keyring = answers_tick(r, now);
    if (r->traces.count > 0)
        traces_expire(&r->traces, now);
    tick_handshakes(r, now);
    uint64_t next = sooner(timers_next(&r->timers), session_tails_expire(&r->memory, now));
    next = sooner(next, keyring);
    for (size_t i = 0; i < r->setup.conf->service_count; i++) {
        next = sooner(next, tick_idle(r, i, now));
        next = sooner(next, tick_flows(r, i, now));
    }
    return sooner(next, expiry_tick(r, now));
}

void relay_flush(struct relay *r)
{
    struct stats *stats = r->parts.stats;

    stats_add(&stats->backend_send_failed, upstream_flush(r->parts.upstream));
    stats_add(&stats->client_send_failed, udp_outbox_flush(r->parts.outbox));
}

/* ---- begin and end ---- */

bool relay_keep(struct relay *r, struct keep_shared *shared)
{
    unsigned count = r->parts.worker_count;

    r->keep = keep_new(shared);
    if (r->keep == NULL)
        return false;
    record_crypt_lend(r->crypt, keep_leases(r->keep));
    if (shared->highest_id >= r->next_id) /* whose ever they were */
        r->next_id += ((shared->highest_id - r->next_id) / count + 1) * count;
    return true;
}

static void free_parts(struct relay *r)
{
    keep_free(r->keep);
    record_crypt_free(r->crypt);
    keys_kdf_free(r->kdf);
    gate_free(r->gate);
    seen_free(r->seen);
    for (size_t i = 0; r->balances != NULL && i < r->service_count; i++)
        balance_clear(&r->balances[i]);
    free(r->balances);
    keyring_free(r->keyring);
    free(r->services);
}

static bool make_parts(struct relay *r, const struct conf *conf)
{
    static const struct gate_rules no_rules;
    const struct keyring_hooks hooks = {
        .asker = r->parts.asker, .tell = answers_tell, .arg = r, .stats = r->parts.stats};
    size_t service_count = conf->service_count;

    r->crypt = record_crypt_new();
    r->kdf = keys_kdf_new();
    r->gate = gate_new(&no_rules);
    r->seen = seen_new();
    r->keyring = keyring_new(conf, &hooks);
    r->services = calloc(service_count, sizeof *r->services);
    r->balances = calloc(service_count, sizeof *r->balances);
    r->service_count = service_count;
    if (r->crypt == NULL || r->kdf == NULL || r->gate == NULL || r->seen == NULL ||
        r->keyring == NULL || r->services == NULL || r->balances == NULL ||
        !identities_init(&r->identities))
        return false;
    if (peers_init(&r->peers, service_count, 1, 1))
        return true;
    identities_clear(&r->identities);
    return false;
}

/* The sources stay as they are for the life of the process; the backends may change. */
static bool add_services(const struct relay *r, const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct upstream_service service = {
            .source = &conf->service[i].backend_source,
            .worker = r->parts.worker,
            .workers = r->parts.worker_count,
            .buffer = conf->daemon.socket_buffer,
            .taken = r->parts.shared != NULL ? r->parts.shared[i] : 0};
        if (!upstream_add(r->parts.upstream, &service))
            return false;
    }
    return true;
}

struct relay *relay_new(const struct relay_parts *parts, struct relay_setup *setup,
                        const struct cookie_secrets *cookies)
{
    struct relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->parts = *parts;
    r->cookies = *cookies;
    r->next_id = r->next_datagram = parts->worker + 1;
    timers_init(&r->timers);
    session_prepare(&r->memory);
    if (!add_services(r, setup->conf) || !make_parts(r, setup->conf)) {
        cookie_secrets_wipe(&r->cookies);
        free_parts(r);
        free(r);
        return NULL;
    }
    regime_use(r, setup, 0);
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    traces_clear(&r->traces);
    peers_clear(&r->peers);
    identities_clear(&r->identities);
    session_memory_clear(&r->memory);
    timers_clear(&r->timers);
    free_parts(r);
    relay_setup_clear(&r->setup);
    ticket_keys_wipe(&r->tickets);
    cookie_secrets_wipe(&r->cookies);
    free(r);
}
