/*
 * relay: the data path. See the header.
 * Knows both sides, and must never know the event loop, a file descriptor or the clock.
 */
#include "proxy/relay.h"

#include "dtls/handshake.h"
#include "proxy/peers.h"
#include "proxy/report.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct relay {
    struct relay_parts parts;
    struct relay_setup setup;
    struct session_service *services; /* one per service of the snapshot */
    struct cookie_secrets cookies;
    struct record_crypt *crypt;
    struct keys_kdf *kdf;
    struct peers peers;
    struct timers timers;
    struct log_limit failed_lines;
    uint64_t next_id;
    bool is_draining;
    uint8_t scratch[WIRE_PLAINTEXT_MAX];
};

/* One step on behalf of one peer: what a sink's functions need to know. */
struct turn {
    struct relay *relay;
    const struct session_route *route;
    struct session *session; /* NULL while it is being made */
    uint64_t now;
};

static const struct conf_service *conf_of(const struct relay *r, const struct session *s)
{
    return r->services[s->service].conf;
}

static void update_gauges(struct relay *r)
{
    stats_set(&r->parts.stats->sessions, r->peers.open.count);
    stats_set(&r->parts.stats->handshakes, r->peers.pending.count);
    stats_set(&r->parts.stats->flows, upstream_count(r->parts.upstream));
}

/* ---- flows ---- */

static void close_flow(struct relay *r, struct session *s)
{
    if (s->flow == NULL)
        return;
    upstream_close(s->flow);
    s->flow = NULL;
    list_remove(&s->flow_idle);
    stats_add(&r->parts.stats->flows_closed, 1);
    update_gauges(r);
}

/* Out of descriptors or ports: what can be cured by closing another flow. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == EAGAIN || error == EADDRNOTAVAIL ||
           error == ENOBUFS;
}

static bool open_flow(struct relay *r, struct session *s)
{
    const struct addr *backend = &conf_of(r, s)->backend;
    struct session *victim;

    s->flow = upstream_open(r->parts.upstream, backend, s);
    if (s->flow == NULL && is_shortage(errno) && (victim = peers_flow_victim(&r->peers)) != NULL) {
        close_flow(r, victim);
        s->flow = upstream_open(r->parts.upstream, backend, s);
    }
    if (s->flow == NULL) {
        stats_add(&r->parts.stats->flows_failed, 1);
        return false;
    }
    s->backend_port = upstream_port(s->flow);
    stats_add(&r->parts.stats->flows_opened, 1);
    update_gauges(r);
    report_flow(s, conf_of(r, s));
    return true;
}

/* ---- the sink: where a session leaves what goes out ---- */

static uint8_t *sink_reserve(void *arg, size_t max)
{
    const struct turn *t = arg;
    return udp_outbox_reserve(t->relay->parts.outbox, max);
}

static void sink_commit(void *arg, size_t len)
{
    const struct turn *t = arg;
    struct relay *r = t->relay;
    listener_commit(r->parts.listeners[t->route->listener], r->parts.outbox, len, &t->route->peer,
                    &t->route->local);
    stats_add(&r->parts.stats->client_sent, 1);
}

static enum fate sink_deliver(void *arg, const uint8_t *plain, size_t len)
{
    const struct turn *t = arg;
    struct session *s = t->session;

    s->used = t->now;
    bool has_flow = s->flow != NULL || open_flow(t->relay, s);
    peers_touch(&t->relay->peers, s);
    if (!has_flow || !upstream_send(s->flow, plain, len))
        return FATE_DROP_BACKEND;
    return FATE_FORWARDED;
}

static struct session_sink sink_of(struct turn *t)
{
    return (struct session_sink){sink_reserve, sink_commit, sink_deliver, t, t->relay->scratch};
}

/* ---- the life of sessions ---- */

/* The one place where a session, or a handshake that became none, ends. */
static void end_session(struct relay *r, struct session *s, enum session_end why, uint64_t now)
{
    struct turn turn = {r, &s->route, s, now};
    const struct session_sink sink = sink_of(&turn);
    struct stats *stats = r->parts.stats;

    if (s->state == SESSION_HANDSHAKE) {
        stats_add(&stats->handshakes_failed, 1);
        report_failed(s, conf_of(r, s), why, &r->failed_lines, now);
    } else if (s->is_placed) {
        stats_add(&stats->sessions_ended, 1);
        if (why == SESSION_END_EVICTED)
            stats_add(&stats->sessions_evicted, 1);
        /* The client has said goodbye itself, or holds newer keys under the same address. */
        if (why != SESSION_END_CLOSED && why != SESSION_END_ALERT && why != SESSION_END_REPLACED)
            session_say_goodbye(s, &r->services[s->service], &sink);
        report_end(s, conf_of(r, s), why, now);
    }
    close_flow(r, s);
    timer_cancel(&r->timers, &s->timer);
    peers_remove(&r->peers, s);
    session_free(s);
    update_gauges(r);
}

/* A handshake is complete: the session takes its place, and the one it replaces (RFC 6347 4.2.8).
 */
static void open_session(struct relay *r, struct session *s, uint64_t now)
{
    struct session *old = peers_find_open(&r->peers, &s->route);
    struct session *victim;

    timer_cancel(&r->timers, &s->timer);
    peers_remove(&r->peers, s);
    stats_add(&r->parts.stats->handshakes_completed, 1);
    if (old != NULL)
        end_session(r, old, SESSION_END_REPLACED, now);
    while ((victim = peers_open_victim(&r->peers)) != NULL)
        end_session(r, victim, SESSION_END_EVICTED, now);
    peers_add(&r->peers, s);
    s->is_placed = true;
    report_open(s, conf_of(r, s));
    update_gauges(r);
}

/* After each step: a session that wants to end does, one that has become open moves, one that waits
 * is timed. False: it is gone. */
static bool settle(struct relay *r, struct session *s, uint64_t now)
{
    if (s->state != SESSION_HANDSHAKE && !s->is_placed)
        open_session(r, s, now);
    if (s->ending == SESSION_END_NOT_YET && s->state == SESSION_HANDSHAKE &&
        !timer_set(&r->timers, &s->timer, session_next_timer(s)))
        s->ending = SESSION_END_HANDSHAKE_FAILED;
    if (s->ending == SESSION_END_NOT_YET)
        return true;
    end_session(r, s, s->ending, now);
    return false;
}

/* ---- from clients ---- */

static enum fate answer_hello(struct relay *r, struct turn *t, const struct wire_hello *hello)
{
    uint8_t *room = sink_reserve(t, COOKIE_ANSWER_SIZE);
    size_t n = cookie_answer(&r->cookies, hello, &t->route->peer, &t->route->local, room);
    sink_commit(t, n);
    return FATE_HELLO_ANSWERED;
}

static enum fate begin_session(struct relay *r, struct turn *t, unsigned service,
                               const struct wire_record *rec, const struct wire_hello *hello)
{
    const struct session_sink sink = sink_of(t);
    struct session *victim;

    while ((victim = peers_pending_victim(&r->peers)) != NULL)
        end_session(r, victim, SESSION_END_HANDSHAKE_EVICTED, t->now);
    struct session *s = session_new(&r->services[service], t->route, rec, t->now, &sink);
    if (s == NULL)
        return FATE_DROP_MEMORY;
    s->service = service;
    s->id = r->next_id;
    s->hello_print = session_hello_print(hello->random);
    r->next_id += r->parts.worker_count;
    stats_add(&r->parts.stats->handshakes_started, 1);
    peers_add(&r->peers, s);
    update_gauges(r);
    settle(r, s, t->now);
    return FATE_HELLO_ACCEPTED;
}

/* Every hello goes the stateless way first, also one from the address of a session. */
static enum fate take_hello(struct relay *r, struct turn *t, unsigned service,
                            const struct wire_record *rec)
{
    const struct session_sink sink = sink_of(t);
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
    if (r->is_draining)
        return FATE_DROP_DRAINING;
    uint64_t print = session_hello_print(hello.random);
    const struct session *open = peers_find_open(&r->peers, t->route);
    if (open != NULL && open->hello_print == print)
        return FATE_DROP_HELLO_COPY;
    if (!cookie_check(&r->cookies, &hello, &t->route->peer, &t->route->local))
        return answer_hello(r, t, &hello);
    struct session *pending = peers_find_pending(&r->peers, t->route);
    if (pending != NULL && pending->hello_print == print) {
        enum fate fate = session_from_wire(pending, &r->services[service], rec, t->now, &sink);
        settle(r, pending, t->now);
        return fate;
    }
    if (pending != NULL)
        end_session(r, pending, SESSION_END_HANDSHAKE_REPLACED, t->now);
    return begin_session(r, t, service, rec, &hello);
}

static enum fate give_record(struct relay *r, struct turn *t, struct session *s,
                             const struct wire_record *rec)
{
    const struct session_sink sink = sink_of(t);

    t->session = s;
    enum fate fate = session_from_wire(s, &r->services[s->service], rec, t->now, &sink);
    settle(r, s, t->now);
    return fate;
}

static enum fate take_record(struct relay *r, struct turn *t, const struct wire_record *rec)
{
    struct session *pending = peers_find_pending(&r->peers, t->route);
    struct session *open = peers_find_open(&r->peers, t->route);

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

static bool is_hello(const struct wire_record *rec)
{
    return rec->type == WIRE_HANDSHAKE && rec->epoch == 0 && rec->len > 0 &&
           rec->body[0] == WIRE_CLIENT_HELLO;
}

static void count_record(struct relay *r, enum fate fate)
{
    stats_add(&r->parts.stats->client_records, 1);
    stats_add(&r->parts.stats->from_client[fate], 1);
}

void relay_from_client(struct relay *r, struct listener *l, const struct udp_datagram *d,
                       uint64_t now)
{
    const struct session_route route = {d->peer, d->local, listener_index(l)};
    struct turn turn = {r, &route, NULL, now};
    struct reader reader = reader_of(d->data, d->len);
    struct wire_record rec;
    size_t count = 0;

    stats_add(&r->parts.stats->client_datagrams, 1);
    stats_add(&r->parts.stats->client_bytes, d->len);
    while (wire_next_record(&reader, &rec)) {
        enum fate fate;
        if (!is_hello(&rec))
            fate = take_record(r, &turn, &rec);
        else if (count == 0)
            fate = take_hello(r, &turn, listener_service(l), &rec);
        else /* one answer to a datagram is enough, or it would amplify */
            fate = FATE_DROP_HELLO_COPY;
        count_record(r, fate);
        count++;
    }
    if (reader.bad || count == 0)
        count_record(r, FATE_DROP_JUNK);
}

/* ---- from backends ---- */

bool relay_from_backend(struct relay *r, void *session, const struct udp_datagram *d, uint64_t now)
{
    struct session *s = session;
    struct turn turn = {r, &s->route, s, now};
    const struct session_sink sink = sink_of(&turn);

    s->used = now;
    peers_touch(&r->peers, s);
    enum back_fate fate = session_from_plain(s, &r->services[s->service], d->data, d->len, &sink);
    stats_add(&r->parts.stats->backend_datagrams, 1);
    stats_add(&r->parts.stats->backend_bytes, d->len);
    stats_add(&r->parts.stats->from_backend[fate], 1);
    return settle(r, s, now);
}

void relay_refused(struct relay *r, unsigned n)
{
    stats_add(&r->parts.stats->backend_refused, n);
}

/* ---- time ---- */

static void tick_handshakes(struct relay *r, uint64_t now)
{
    struct timer *timer;

    while ((timer = timers_expired(&r->timers, now)) != NULL) {
        struct session *s = timer_entry(timer, struct session, timer);
        struct turn turn = {r, &s->route, s, now};
        const struct session_sink sink = sink_of(&turn);
        session_on_timer(s, &r->services[s->service], now, &sink);
        settle(r, s, now);
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
        end_session(r, s, SESSION_END_IDLE, now);
    }
    return TIMER_NEVER;
}

/* Closes the flows that were idle for too long; their sessions live on. */
static uint64_t tick_flows(struct relay *r, size_t service, uint64_t now)
{
    uint64_t timeout = r->services[service].conf->flow_timeout;
    struct list *node;

    while (timeout > 0 && (node = list_first(&r->peers.flows[service])) != NULL) {
        struct session *s = list_entry(node, struct session, flow_idle);
        if (s->used + timeout > now)
            return s->used + timeout;
        close_flow(r, s);
    }
    return TIMER_NEVER;
}

uint64_t relay_tick(struct relay *r, uint64_t now)
{
    tick_handshakes(r, now);
    uint64_t next = timers_next(&r->timers);
    for (size_t i = 0; i < r->setup.conf->service_count; i++) {
        next = sooner(next, tick_idle(r, i, now));
        next = sooner(next, tick_flows(r, i, now));
    }
    return next;
}

void relay_flush(struct relay *r)
{
    stats_add(&r->parts.stats->client_send_failed, udp_outbox_flush(r->parts.outbox));
}

/* ---- orders of the master ---- */

static size_t share_of(const struct relay *r, unsigned cap)
{
    return (cap + r->parts.worker_count - 1) / r->parts.worker_count;
}

static void use_setup(struct relay *r, struct relay_setup *setup)
{
    const struct conf *conf = setup->conf;

    r->setup = *setup;
    *setup = (struct relay_setup){0};
    for (size_t i = 0; i < conf->service_count; i++)
        r->services[i] =
            (struct session_service){conf, &conf->service[i], r->setup.tls[i], r->crypt, r->kdf};
    r->peers.open_max = share_of(r, conf->daemon.max_sessions);
    r->peers.pending_max = share_of(r, conf->daemon.max_handshakes);
}

struct sweep {
    struct relay *relay;
    uint64_t now;
};

static void rebase_one(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;

    if (s->state == SESSION_HANDSHAKE)
        return; /* it looks its identity up again when it is complete */
    session_rebase(s, conf_of(sweep->relay, s)->psk);
    settle(sweep->relay, s, sweep->now);
}

void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    struct relay_setup old = r->setup;
    struct sweep sweep = {r, now};

    assert(setup->conf->service_count == old.conf->service_count);
    use_setup(r, setup);
    peers_each(&r->peers, rebase_one, &sweep);
    relay_setup_clear(&old);
}

void relay_set_cookies(struct relay *r, const struct cookie_secrets *cookies)
{
    r->cookies = *cookies;
}

static void end_if_pending(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    if (s->state == SESSION_HANDSHAKE)
        end_session(sweep->relay, s, SESSION_END_SHUTDOWN, sweep->now);
}

static void end_any(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    end_session(sweep->relay, s, SESSION_END_SHUTDOWN, sweep->now);
}

void relay_drain(struct relay *r, uint64_t now)
{
    struct sweep sweep = {r, now};
    r->is_draining = true;
    peers_each(&r->peers, end_if_pending, &sweep);
}

void relay_end_all(struct relay *r, uint64_t now)
{
    struct sweep sweep = {r, now};
    r->is_draining = true;
    peers_each(&r->peers, end_any, &sweep);
}

struct relay *relay_new(const struct relay_parts *parts, struct relay_setup *setup,
                        const struct cookie_secrets *cookies)
{
    struct relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->parts = *parts;
    r->cookies = *cookies;
    r->next_id = parts->worker + 1;
    timers_init(&r->timers);
    r->crypt = record_crypt_new();
    r->kdf = keys_kdf_new();
    r->services = calloc(setup->conf->service_count, sizeof *r->services);
    if (r->crypt == NULL || r->kdf == NULL || r->services == NULL ||
        !peers_init(&r->peers, setup->conf->service_count, 1, 1)) {
        record_crypt_free(r->crypt);
        keys_kdf_free(r->kdf);
        free(r->services);
        free(r);
        return NULL;
    }
    use_setup(r, setup);
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    peers_clear(&r->peers);
    timers_clear(&r->timers);
    record_crypt_free(r->crypt);
    keys_kdf_free(r->kdf);
    relay_setup_clear(&r->setup);
    cookie_secrets_wipe(&r->cookies);
    free(r->services);
    free(r);
}
