/*
 * moves: an address is no more than where a session was last heard of. See the header.
 * Must never move one before a record of it has authenticated, and was the newest.
 */
#include "proxy/moves.h"

#include "proxy/policy.h"
#include "proxy/report.h"
#include "proxy/roam.h"

#include <string.h>

const uint8_t *moves_offer(const struct relay *r, unsigned service, const struct wire_hello *hello,
                           uint8_t cid[WIRE_OWN_CID])
{
    const uint8_t *peer;
    uint8_t len;

    if (!r->services[service].conf->cid || !wire_hello_cid(hello, &peer, &len))
        return NULL;
    peers_make_cid(&r->peers, (uint8_t)r->parts.worker, cid);
    return cid;
}

static bool is_same(const struct session_route *a, const struct session_route *b)
{
    return a->listener == b->listener && addr_equal(&a->peer, &b->peer) &&
           addr_equal(&a->local, &b->local);
}

/* An address that may not begin a session may not go on with one. It is asked before the record is
 * opened, so a copy from there does not make a replay of the client's own. */
static bool may_come_from(const struct relay *r, const struct session *s, const struct addr *peer)
{
    const struct conf_service *conf = life_conf(r, s);

    return !prefixes_contain(&conf->deny, peer) &&
           (conf->allow.count == 0 || prefixes_contain(&conf->allow, peer)) &&
           policy_allows(conf, s, peer);
}

struct session *moves_find(const struct relay *r, const struct session_route *from,
                           const struct wire_record *rec, enum fate *fate)
{
    struct session *s = peers_find_cid(&r->peers, rec->cid);

    *fate = FATE_DROP_STRANGER;
    if (s == NULL || s->service != listener_service(r->parts.listeners[from->listener]))
        return NULL;
    const struct session_route home = peers_route(&r->peers, s);
    if (is_same(&home, from))
        return s;
    if (!s->is_placed) /* its cookie was for one address */
        return NULL;
    *fate = FATE_DROP_DENIED;
    return may_come_from(r, s, &from->peer) ? s : NULL;
}

/* Does its backend know it by an address that it has no more? */
static bool has_stale_source(const struct conf_service *conf, const struct addr *old,
                             const struct addr *now)
{
    struct addr was = *old;

    if (conf->transparent == CONF_TRANSPARENT_YES)
        was.port = now->port;
    return conf->transparent != CONF_TRANSPARENT_NO && !addr_equal(&was, now);
}

/* An open session is never refused its place where it moves to. False: out of memory. */
static bool move(struct relay *r, struct session *s, const struct session_route *to, uint64_t now)
{
    const struct conf_service *conf = life_conf(r, s);
    struct roam *roam = roam_of(&s->association);
    const struct addr old = s->peer;

    gate_exit(r->gate, &old);
    bool has_moved = peers_move(&r->peers, s, to);
    gate_enter(r->gate, &s->peer);
    if (!has_moved)
        return false;
    if (roam->moves < UINT32_MAX)
        roam->moves++;
    stats_add(&r->parts.stats->sessions_moved, 1);
    if (has_stale_source(conf, &old, &s->peer))
        life_close_flow(r, s);
    report_move(s, conf, &old, &r->move_lines, now);
    return true;
}

static void send_check(const struct turn *t, const struct session_route *to, uint8_t what,
                       const uint8_t cookie[WIRE_RRC_COOKIE])
{
    struct turn turn = *t;
    turn.route = to;
    const struct session_sink sink = life_sink(&turn);
    uint8_t message[WIRE_RRC_MESSAGE] = {what};

    memcpy(message + 1, cookie, WIRE_RRC_COOKIE);
    session_send_check(t->session, &t->relay->services[t->session->service], message, &sink);
}

/* Where the client checks routes, an address is proven by its answer and by nothing else. */
static bool is_checked(const struct session *s)
{
    return association_cid(&s->association)->has_rrc && roam_of(&s->association)->proof != NULL;
}

static void challenge(const struct turn *t)
{
    struct roam *roam = roam_of(&t->session->association);

    if (is_checked(t->session) && roam_asks(roam, &t->from->peer, t->now))
        send_check(t, t->from, WIRE_PATH_CHALLENGE, roam->proof->cookie);
}

/* Has it come home for want of an answer? Then whoever made it leave may do it again, so it waits
 * for an answer first. */
static bool is_wary(const struct session *s)
{
    return is_checked(s) && !roam_of(&s->association)->is_unproven;
}

static struct session_route route_of(const struct roam_place *place)
{
    return (struct session_route){place->peer, place->local, place->listener};
}

/* Back where it was proven to be, it needs no other proof. */
static bool is_home(const struct roam *roam, const struct session_route *route)
{
    if (roam->proof == NULL)
        return false;
    const struct session_route home = route_of(&roam->proof->home);
    return is_same(&home, route);
}

static void follow(struct turn *t, size_t size)
{
    struct relay *r = t->relay;
    struct roam *roam = roam_of(&t->session->association);
    const struct roam_place before = {t->route->peer, t->route->local, t->route->listener};

    if (!move(r, t->session, t->from, t->now))
        return;
    t->route = t->from;
    if (is_home(roam, t->from)) {
        roam_prove(roam);
        return;
    }
    roam_move(roam, &before, size, &r->memory.proofs, t->datagram);
    challenge(t);
}

/* From here on the next start finds it there, too. */
static void believe(struct turn *t)
{
    roam_prove(roam_of(&t->session->association));
    life_keep(t->relay, t->session, t->now);
}

/* A client may have an id so long that the answer is many times the question. Where it is, that is
 * its own affair, or the budget's. */
static bool may_answer(const struct turn *t)
{
    return is_same(t->route, t->from) ||
           record_sealed_size(&t->session->association, WIRE_RRC_MESSAGE) <=
               ROAM_AMPLIFICATION * t->heard;
}

static void hear_elsewhere(struct turn *t)
{
    if (!t->is_newest)
        return;
    if (!is_wary(t->session))
        follow(t, t->heard);
    else if (may_answer(t))
        challenge(t);
}

static void hear(void *arg, size_t size, bool is_newest)
{
    struct turn *t = arg;
    struct roam *roam = roam_of(&t->session->association);

    t->heard = size;
    t->is_newest = is_newest;
    if (!is_same(t->route, t->from)) {
        hear_elsewhere(t);
        return;
    }
    roam_hear(roam, size);
    if (!is_newest || !roam_is_in_doubt(roam))
        return;
    if (roam->is_unproven && is_checked(t->session))
        challenge(t);
    else if (roam_may_believe(roam, t->datagram))
        believe(t);
}

/* It may come from where the session is not, or not any more. */
static void take_answer(struct turn *t)
{
    if (!is_same(t->route, t->from)) {
        if (!t->is_newest || !move(t->relay, t->session, t->from, t->now))
            return;
        t->route = t->from;
    }
    believe(t);
}

/* An answer goes to where the question came from, at once, whatever else is to be thought of that
 * address (RFC 9853 5.4). What is invalid is not answered. */
static bool check(void *arg, const uint8_t *message, size_t len)
{
    struct turn *t = arg;
    const struct roam *roam = roam_of(&t->session->association);

    if (!association_cid(&t->session->association)->has_rrc)
        return false;
    if (len != WIRE_RRC_MESSAGE)
        return true;
    if (message[0] == WIRE_PATH_CHALLENGE && may_answer(t))
        send_check(t, t->from, WIRE_PATH_RESPONSE, message + 1);
    if (message[0] == WIRE_PATH_RESPONSE && roam_is_answer(roam, &t->from->peer, message + 1))
        take_answer(t);
    return true;
}

void moves_settle(struct relay *r, struct session *s, uint64_t now)
{
    struct roam *roam = roam_of(&s->association);

    if (roam == NULL || !roam_is_overdue(roam, now))
        return;
    const struct session_route home = route_of(&roam->proof->home);
    if (move(r, s, &home, now))
        roam->is_unproven = false; /* the question stays, for an answer that is late */
}

struct session_sink moves_sink(struct turn *t)
{
    struct session_sink sink = life_sink(t);

    sink.hear = hear;
    sink.check = check;
    return sink;
}

bool moves_is_elsewhere(const struct relay *r, const struct wire_record *rec)
{
    return r->parts.elsewhere.pass != NULL && rec->cid[0] != r->parts.worker &&
           rec->cid[0] < r->parts.worker_count;
}

bool moves_pass(struct relay *r, const struct turn *t, const struct wire_record *rec)
{
    const struct relay_record record = {.peer = t->route->peer,
                                        .local = t->route->local,
                                        .listener = t->route->listener,
                                        .datagram = t->datagram,
                                        .len = wire_record_size(rec),
                                        .data = rec->whole};

    if (!r->parts.elsewhere.pass(r->parts.elsewhere.arg, rec->cid[0], &record))
        return false;
    stats_add(&r->parts.stats->records_passed_on, 1);
    return true;
}
