/*
 * life: how sessions open and end. See the header.
 * Must never read a datagram, nor decide what a record is.
 */
#include "proxy/life.h"

#include "base/access.h"
#include "conf/policies.h"
#include "proxy/account.h"
#include "proxy/policy.h"
#include "proxy/pp2.h"
#include "proxy/report.h"
#include "proxy/session_image.h"

#include <errno.h>
#include <string.h>

const struct conf_service *life_conf(const struct relay *r, const struct session *s)
{
    return r->services[s->service].conf;
}

void life_count(struct relay *r, const struct session *s, enum service_counter what, uint64_t n)
{
    if (r->parts.services != NULL)
        stats_add(&r->parts.services[s->service].count[what], n);
}

void life_update_gauges(struct relay *r)
{
    stats_set(&r->parts.stats->sessions, r->peers.open.count);
    stats_set(&r->parts.stats->handshakes, r->peers.pending.count);
    stats_set(&r->parts.stats->flows, upstream_count(r->parts.upstream));
}

/* ---- flows ---- */

static struct balance *balance_of(const struct relay *r, const struct session *s)
{
    return &r->balances[s->service];
}

/* What a flow's mark is beside its slot, and in place of BALANCE_NOBODY. */
#define MARK_REFUSED 0x80
#define MARK_NOBODY 0x7f
_Static_assert(BALANCE_SLOTS <= MARK_NOBODY, "a slot and a flag fit into a mark");

static void mark_slot(struct session *s, unsigned slot)
{
    upstream_mark(s->flow, (uint8_t)(slot == BALANCE_NOBODY ? MARK_NOBODY : slot));
}

unsigned life_slot(const struct session *s)
{
    unsigned slot = upstream_mark_of(s->flow) & ~(unsigned)MARK_REFUSED;

    return slot == MARK_NOBODY ? BALANCE_NOBODY : slot;
}

bool life_was_refused(const struct session *s)
{
    return (upstream_mark_of(s->flow) & MARK_REFUSED) != 0;
}

void life_note_refusal(struct session *s)
{
    upstream_mark(s->flow, upstream_mark_of(s->flow) | MARK_REFUSED);
}

void life_note_answer(struct session *s)
{
    if (life_was_refused(s))
        mark_slot(s, life_slot(s));
}

struct addr life_backend(const struct relay *r, const struct session *s)
{
    unsigned slot = life_slot(s);

    return slot != BALANCE_NOBODY ? *balance_address(balance_of(r, s), slot)
                                  : upstream_backend(s->flow);
}

static void leave_backend(struct relay *r, const struct session *s, unsigned slot)
{
    if (slot != BALANCE_NOBODY)
        balance_leave(balance_of(r, s), slot);
}

static void shut_flow(struct relay *r, struct session *s)
{
    unsigned slot = life_slot(s);

    upstream_close(s->flow);
    s->flow = NULL;
    leave_backend(r, s, slot);
}

void life_close_flow(struct relay *r, struct session *s)
{
    if (s->flow == NULL)
        return;
    shut_flow(r, s);
    stats_add(&r->parts.stats->flows_closed, 1);
    life_count(r, s, SERVICE_FLOWS_CLOSED, 1);
    life_update_gauges(r);
}

/* The number of the address that the session must have, if it must have one. */
static uint32_t wanted_source(const struct relay *r, const struct session *s)
{
    const struct conf_service *conf = life_conf(r, s);

    if (conf->identity_source == NULL || s->is_given)
        return UPSTREAM_ANY;
    return conf->identity_source[psk_index(conf->psk, s->psk)];
}

void life_leave_source(struct relay *r, struct session *s)
{
    uint32_t wanted = wanted_source(r, s);

    if (s->flow != NULL && wanted != UPSTREAM_ANY && wanted != upstream_source(s->flow))
        life_close_flow(r, s);
}

uint32_t life_source(const struct session *s)
{
    return s->flow != NULL ? upstream_source(s->flow) : s->backend_source;
}

/* Out of descriptors or ports: what can be cured by closing another flow. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == EAGAIN || error == EADDRNOTAVAIL ||
           error == EADDRINUSE || error == ENOBUFS;
}

/* Where a flow is to go. */
struct aim {
    const struct addr *to; /* NULL: nowhere */
    unsigned slot;         /* in the balance; BALANCE_NOBODY: it is of a policy alone */
    bool is_up;
};

/* `but`: a slot that is taken for down, or BALANCE_NOBODY. Where a policy names a backend there is
 * nothing to choose, up or down. */
static struct aim take_aim(const struct relay *r, const struct session *s, unsigned but,
                           uint64_t now)
{
    struct balance *b = balance_of(r, s);
    struct aim aim = {.to = policy_backend(life_conf(r, s), s), .is_up = true};

    if (aim.to != NULL) {
        aim.slot = balance_find(b, aim.to);
        return aim;
    }
    uint64_t key = life_conf(r, s)->balance == CONF_BALANCE_ADDRESS
                       ? balance_key_of(&s->peer)
                       : balance_key(s->psk->identity, s->psk->identity_len);

    aim.slot = balance_pick(b, key, but, now, &aim.is_up);
    if (aim.slot != BALANCE_NOBODY)
        aim.to = balance_address(b, aim.slot);
    return aim;
}

static void tell_flow(struct relay *r, const struct session *s, struct log_limit *limit,
                      uint64_t now)
{
    const struct report_way way = {life_source(s), life_backend(r, s)};

    report_flow(s, life_conf(r, s), &way, limit, now);
}

static void enter_backend(struct relay *r, struct session *s, const struct aim *aim)
{
    mark_slot(s, aim->slot);
    if (aim->slot != BALANCE_NOBODY)
        balance_enter(balance_of(r, s), aim->slot);
    if (!aim->is_up)
        stats_add(&r->parts.stats->flows_hopeless, 1);
}

/* Where it comes from is the settings' choice, or the client's. */
static struct flow *try_flow(struct relay *r, struct session *s, const struct addr *to)
{
    const struct conf_service *conf = life_conf(r, s);
    struct addr client = s->peer;

    if (conf->transparent == CONF_TRANSPARENT_NO)
        return upstream_open(r->parts.upstream, s->service, to, wanted_source(r, s), s);
    if (conf->transparent == CONF_TRANSPARENT_YES)
        client.port = 0;
    return upstream_open_as(r->parts.upstream, s->service, to, &client, s);
}

/* While there is a shortage, any datagram may take a flow from another session, so the lines that
 * tell of it are limited. */
static bool open_flow(struct relay *r, struct session *s, const struct aim *aim, uint64_t now)
{
    struct log_limit *limit = NULL;
    struct session *victim;

    if (aim->to != NULL)
        s->flow = try_flow(r, s, aim->to);
    if (s->flow == NULL && aim->to != NULL && is_shortage(errno) &&
        (victim = peers_flow_victim(&r->peers)) != NULL) {
        life_close_flow(r, victim);
        s->flow = try_flow(r, s, aim->to);
        limit = &r->shortage_lines;
    }
    if (s->flow == NULL) {
        stats_add(&r->parts.stats->flows_failed, 1);
        life_count(r, s, SERVICE_FLOWS_FAILED, 1);
        return false;
    }
    enter_backend(r, s, aim);
    s->backend_port = upstream_port(s->flow);
    if (!upstream_is_shared(s->flow))
        s->backend_source = upstream_source(s->flow) & 31; /* there are no more in a list */
    stats_add(&r->parts.stats->flows_opened, 1);
    life_count(r, s, SERVICE_FLOWS_OPENED, 1);
    life_update_gauges(r);
    tell_flow(r, s, limit, now);
    if (upstream_is_shared(s->flow) && s->state == SESSION_OPEN && s->association.lease != 0)
        life_keep(r, s, now); /* with the address that it has now */
    return true;
}

static bool has_flow(struct relay *r, struct session *s, uint64_t now)
{
    if (s->flow != NULL)
        return true;
    struct aim aim = take_aim(r, s, BALANCE_NOBODY, now);
    return open_flow(r, s, &aim, now);
}

/* With an address of its own it keeps that: the backends are to know it by it. */
static void turn_flow(struct relay *r, struct session *s, const struct aim *aim, uint64_t now)
{
    unsigned before = life_slot(s);

    if (!upstream_turn(s->flow, aim->to))
        return;
    leave_backend(r, s, before);
    enter_backend(r, s, aim);
    tell_flow(r, s, NULL, now);
    if (s->state == SESSION_OPEN && s->association.lease != 0)
        life_keep(r, s, now);
}

/* Leads a session away from a backend that is down or gone, or that has refused its datagrams and
 * not been heard of since: one that speaks rarely would else try it again each time. When none is
 * up there is nothing better than to stay, and one that a policy chose has no other. */
static void aim_anew(struct relay *r, struct session *s, uint64_t now)
{
    struct balance *b = balance_of(r, s);
    unsigned slot = life_slot(s);

    if (slot == BALANCE_NOBODY)
        return;
    if (balance_is_good(b, slot, now) && !(life_was_refused(s) && balance_is_failing(b, slot)))
        return;
    struct aim aim = take_aim(r, s, slot, now);
    if (aim.to == NULL || addr_equal(aim.to, balance_address(b, slot)) ||
        (!aim.is_up && !balance_is_gone(b, slot)))
        return;
    stats_add(&r->parts.stats->flows_moved, 1);
    if (upstream_is_shared(s->flow)) {
        turn_flow(r, s, &aim, now);
        return;
    }
    life_close_flow(r, s);
    (void)open_flow(r, s, &aim, now);
}

/* Another process may have had a larger prefix, or shared it out among more workers: what is not
 * this worker's to hand out may be another session's already. */
static bool may_have_source(const struct relay *r, const struct session *s, uint32_t number)
{
    const struct prefix *range = prefixes_range(&life_conf(r, s)->backend_source);

    return range == NULL ||
           (number < prefix_hosts(range) &&
            (number % r->parts.worker_count == r->parts.worker || number == wanted_source(r, s)));
}

/* A backend that is in no list any more has no slot, and without one a flow would never leave it.
 */
bool life_take_flow(struct relay *r, struct session *s, const struct session_image_flow *flow,
                    int fd)
{
    unsigned slot =
        flow->is_listed ? balance_find(balance_of(r, s), &flow->backend) : BALANCE_NOBODY;
    const struct aim aim = {.to = &flow->backend, .slot = slot, .is_up = true};

    bool is_shared = upstream_shared_socket(r->parts.upstream, s->service) >= 0;

    if ((flow->is_listed && slot == BALANCE_NOBODY) || is_shared == flow->is_lone ||
        !may_have_source(r, s, flow->source))
        return false;
    s->flow = flow->is_lone ? upstream_take_over(r->parts.upstream, s->service, fd, flow->source, s)
                            : upstream_open(r->parts.upstream, s->service, aim.to, flow->source, s);
    if (s->flow == NULL)
        return false;
    enter_backend(r, s, &aim);
    if (flow->was_refused)
        life_note_refusal(s);
    s->backend_port = upstream_port(s->flow);
    return true;
}

void life_keep_flow(struct relay *r, struct session *s, uint64_t now)
{
    if (s->flow == NULL && prefixes_range(&life_conf(r, s)->backend_source) != NULL)
        (void)has_flow(r, s, now);
}

/* ---- the sink: where a session leaves what goes out ---- */

static uint8_t *sink_reserve(void *arg, size_t max)
{
    struct turn *t = arg;
    uint8_t *room = udp_outbox_reserve(t->relay->parts.outbox, max);
    t->out = room;
    return room;
}

static void sink_commit(void *arg, size_t len)
{
    const struct turn *t = arg;
    struct relay *r = t->relay;
    if (r->traces.count > 0)
        trace_out(&r->traces, t->session, t->out, len, t->now);
    listener_commit(r->parts.listeners[t->route->listener], r->parts.outbox, len, &t->route->peer,
                    &t->route->local);
    stats_add(&r->parts.stats->client_sent, 1);
}

static struct pp2_facts facts_of(const struct turn *t)
{
    struct pp2_facts facts = {.peer = &t->route->peer,
                              .local = &t->route->local,
                              .id = t->session->id,
                              .version = session_version_name(t->session),
                              .cipher = session_suite_name(t->session)};

    facts.identity = session_identity(t->session, &facts.identity_len);
    return facts;
}

static size_t head_length(const struct turn *t)
{
    if (life_conf(t->relay, t->session)->proxy_protocol == CONF_PROXY_PROTOCOL_OFF)
        return 0;
    const struct pp2_facts facts = facts_of(t);
    return pp2_length(&facts);
}

/* The record itself may have moved its session, and to the other family. */
static void write_head(struct turn *t, size_t len)
{
    const struct pp2_facts facts = facts_of(t);
    size_t head_len = pp2_length(&facts);

    if (head_len != t->head_len)
        memmove(t->head + head_len, t->head + t->head_len, len);
    t->head_len = head_len;
    pp2_write(&facts, t->head);
}

/* The largest record with the longest header still is a datagram, over IPv4, too. */
_Static_assert(WIRE_PLAINTEXT_MAX + PP2_MAX <= UDP_PAYLOAD_MAX - 20, "a header may not fit");

/* The plaintext is opened where it stays, behind the room for its header. */
static uint8_t *sink_plain_room(void *arg)
{
    struct turn *t = arg;

    t->head_len = head_length(t);
    t->head = upstream_reserve(t->relay->parts.upstream,
                               (t->head_len > 0 ? PP2_MAX : 0) + WIRE_PLAINTEXT_MAX);
    return t->head + t->head_len;
}

static enum fate sink_deliver(void *arg, size_t len)
{
    struct turn *t = arg;
    struct session *s = t->session;

    s->used = t->now;
    if (s->is_metered && !policy_draw(life_conf(t->relay, s), s, len, t->now)) {
        peers_touch(&t->relay->peers, s);
        return FATE_DROP_POLICY_RATE;
    }
    if (s->flow != NULL)
        aim_anew(t->relay, s, t->now);
    bool is_ready = has_flow(t->relay, s, t->now);
    peers_touch(&t->relay->peers, s);
    if (!is_ready)
        return FATE_DROP_BACKEND;
    if (t->head_len > 0)
        write_head(t, len);
    upstream_commit(s->flow, t->head_len + len);
    if (life_slot(s) != BALANCE_NOBODY)
        balance_count_sent(balance_of(t->relay, s), life_slot(s), len);
    return FATE_FORWARDED;
}

static bool sink_may_alert(void *arg)
{
    const struct turn *t = arg;
    return gate_may_alert(t->relay->gate, &t->route->peer, t->now);
}

static bool sink_may_ask(void *arg)
{
    const struct turn *t = arg;
    return gate_may_ask(t->relay->gate, &t->route->peer, t->now);
}

struct session_sink life_sink(struct turn *t)
{
    return (struct session_sink){.reserve = sink_reserve,
                                 .commit = sink_commit,
                                 .plain_room = sink_plain_room,
                                 .deliver = sink_deliver,
                                 .may_alert = sink_may_alert,
                                 .may_ask = sink_may_ask,
                                 .arg = t};
}

/* ---- the life of sessions ---- */

/* A client that named itself and had no Finished that opens: a wrong key or an unknown identity. */
static void note_failure(struct relay *r, const struct session *s, enum session_end why,
                         uint64_t now)
{
    size_t len;

    if (why != SESSION_END_HANDSHAKE_TIMEOUT && why != SESSION_END_HANDSHAKE_FAILED)
        return;
    if (session_identity(s, &len) != NULL)
        gate_note_failure(r->gate, &s->peer, now);
}

void life_doubt(struct relay *r, struct session *s, enum fate fate, uint64_t now)
{
    if (fate != FATE_DROP_FORGED || s->state != SESSION_HANDSHAKE || s->pending->is_doubted)
        return;
    s->pending->is_doubted = true;
    report_doubt(s, life_conf(r, s), &r->failed_lines, now);
}

static void leave_gate(struct relay *r, struct session *s)
{
    if (s->is_placed) {
        gate_exit(r->gate, &s->peer);
        return;
    }
    timer_cancel(&r->timers, &s->pending->timer);
    gate_leave(r->gate, &s->pending->seat);
}

static void remove_session(struct relay *r, struct session *s)
{
    identities_leave(&r->identities, s, life_conf(r, s));
    leave_gate(r, s);
    peers_remove(&r->peers, s);
    peers_forget_route(&r->peers, s);
    session_free(s);
    life_update_gauges(r);
}

/* The one place where a session, or a handshake that became none, ends. */
void life_end(struct relay *r, struct session *s, enum session_end why, uint64_t now)
{
    const struct session_route route = peers_route(&r->peers, s);
    struct turn turn = {.relay = r, .route = &route, .session = s, .now = now};
    const struct session_sink sink = life_sink(&turn);
    struct stats *stats = r->parts.stats;
    if (r->traces.count > 0)
        trace_end(&r->traces, s, why, now);
    uint32_t source = life_source(s); /* this and the next while the flow is there */
    struct addr backend = {0};

    /* The client has said goodbye itself, or holds newer keys under the same address. */
    if (why != SESSION_END_CLOSED && why != SESSION_END_ALERT && why != SESSION_END_REPLACED &&
        why != SESSION_END_KEPT)
        session_say_goodbye(s, &r->services[s->service], &sink);
    if (s->flow != NULL)
        backend = life_backend(r, s);
    if (why == SESSION_END_KEPT)
        keep_settle(r->keep, s);
    else
        keep_drop(r->keep, s);
    life_close_flow(r, s); /* what it had to send may still meet a refusal, which the log counts */
    if (s->is_placed) {
        stats_add(&stats->sessions_ended, 1);
        life_count(r, s, SERVICE_SESSIONS_ENDED, 1);
        if (why == SESSION_END_EVICTED)
            stats_add(&stats->sessions_evicted, 1);
        report_end(s, life_conf(r, s), source, why, now);
        if (access_is_on()) {
            const struct account_way way = {&route.local, &backend, source};
            account_write(s, life_conf(r, s), &way, why, now);
        }
    } else {
        stats_add(&stats->handshakes_failed, 1);
        life_count(r, s, SERVICE_HANDSHAKES_FAILED, 1);
        note_failure(r, s, why, now);
        if (why == SESSION_END_HANDSHAKE_EVICTED)
            seen_forget(r->seen, s->pending->hello_print);
        report_failed(s, life_conf(r, s), why, &r->failed_lines, now);
    }
    remove_session(r, s);
}

void life_forget(struct relay *r, struct session *s)
{
    if (s->flow != NULL)
        shut_flow(r, s);
    remove_session(r, s);
}

static void count_tickets(struct stats *stats, const struct handshake_tickets *tickets)
{
    stats_add(&stats->handshakes_resumed, tickets->is_resumed);
    stats_add(&stats->tickets_issued, tickets->is_issued);
    stats_add(&stats->session_ids_issued, tickets->is_id_issued);
    stats_add(&stats->session_ids_evicted, tickets->id_gave_way);
}

/* A handshake is complete: the session takes its place, and the one it replaces (RFC 6347 4.2.8).
 */
static void open_session(struct relay *r, struct session *s, uint64_t now)
{
    const struct session_route route = peers_route(&r->peers, s);
    struct session *old, *victim;

    leave_gate(r, s);
    peers_remove(&r->peers, s);
    stats_add(&r->parts.stats->handshakes_completed, 1);
    count_tickets(r->parts.stats, &s->pending->tickets);
    life_count(r, s, SERVICE_SESSIONS_OPENED, 1);
    while ((old = peers_find_replaced(&r->peers, s)) != NULL)
        life_end(r, old, SESSION_END_REPLACED, now);
    while ((victim = peers_open_victim(&r->peers)) != NULL)
        life_end(r, victim, SESSION_END_EVICTED, now);
    peers_add(&r->peers, s);
    report_open(s, &route.local, life_conf(r, s));
    if (r->traces.count > 0)
        trace_open(&r->traces, s, now);
    session_place(s, &r->services[s->service]);
    gate_enter(r->gate, &s->peer);
    life_limit_identity(r, s, life_enter_identity(r, s), now);
    life_keep_flow(r, s, now); /* behind the end of another that may have had its address */
    life_keep(r, s, now);
    life_update_gauges(r);
}

/* Why a session whose handshake is complete may not open, or SESSION_END_NOT_YET. */
static enum session_end opening_fault(const struct relay *r, const struct session *s, uint64_t now)
{
    if (!gate_may_open(r->gate, &s->peer, peers_find_replaced(&r->peers, s) != NULL))
        return SESSION_END_PREFIX_FULL;
    return policy_fault(life_conf(r, s), s, r->expiry.wall0 + now);
}

/* After each step: a session that wants to end does, one that has become open moves, one that waits
 * is timed. False: it is gone. One whose identity was taken away during its handshake never opens,
 * so it takes nobody's place. */
bool life_settle(struct relay *r, struct session *s, uint64_t now)
{
    if (s->ending == SESSION_END_NOT_YET && s->state == SESSION_HANDSHAKE &&
        !timer_set(&r->timers, &s->pending->timer, session_next_timer(s)))
        s->ending = SESSION_END_HANDSHAKE_FAILED;
    if (s->ending == SESSION_END_NOT_YET && s->state != SESSION_HANDSHAKE && !s->is_placed) {
        s->ending = opening_fault(r, s, now);
        if (s->ending == SESSION_END_NOT_YET)
            open_session(r, s, now);
    }
    if (s->ending == SESSION_END_NOT_YET)
        return true;
    life_end(r, s, s->ending, now);
    return false;
}
