/*
 * regime: takes settings into use, and does what the master orders. See the header.
 * Must never know a datagram.
 */
#include "proxy/regime.h"

#include "dtls/keylog.h"
#include "proxy/backing.h"
#include "proxy/expiry.h"
#include "proxy/life.h"
#include "proxy/policy.h"
#include "proxy/report.h"

#include <assert.h>

static unsigned share_of(const struct relay *r, unsigned cap)
{
    return (cap + r->parts.worker_count - 1) / r->parts.worker_count;
}

/* Where somebody traces the identity and has asked for that. */
static void write_keys(void *arg, const struct session *s, const struct handshake_result *keys)
{
    struct relay *r = arg;

    if (r->traces.count > 0 && trace_keys(&r->traces, s, s->opened))
        report_keys(s, life_conf(r, s), keylog_write(keys->client_random, keys->master));
}

static struct resumption resumption_of(const struct relay *r, const struct conf_service *conf)
{
    if (!conf->resumption)
        return (struct resumption){0};
    return (struct resumption){&r->tickets,       conf->name, conf->ticket_lifetime,
                               policy_may_resume, conf,       r->parts.cache};
}

void regime_use(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    const struct conf *conf = setup->conf;

    r->setup = *setup;
    *setup = (struct relay_setup){0};
    for (size_t i = 0; i < conf->service_count; i++)
        r->services[i] = (struct session_service){.snapshot = conf,
                                                  .conf = &conf->service[i],
                                                  .tls = r->setup.tls[i],
                                                  .crypt = r->crypt,
                                                  .kdf = r->kdf,
                                                  .short_tag_tries = &r->short_tag_tries,
                                                  .memory = &r->memory,
                                                  .keyring = r->keyring,
                                                  .resumption = resumption_of(r, &conf->service[i]),
                                                  .wall0 = r->expiry.wall0,
                                                  .on_keys = write_keys,
                                                  .arg = r};
    for (unsigned i = 0; i < conf->service_count; i++)
        backing_use(r, i, now);
    const struct gate_rules rules = {
        .prefix_v4 = conf->daemon.prefix_v4,
        .prefix_v6 = conf->daemon.prefix_v6,
        .pending_per_prefix = share_of(r, conf->daemon.max_handshakes_per_prefix),
        .sessions_per_prefix = share_of(r, conf->daemon.max_sessions_per_prefix),
        .rate = share_of(r, conf->daemon.handshake_rate),
        .rate_per_prefix = share_of(r, conf->daemon.handshake_rate_per_prefix),
    };
    gate_set_rules(r->gate, &rules);
    r->peers.open_max = share_of(r, conf->daemon.max_sessions);
    r->peers.pending_max = share_of(r, conf->daemon.max_handshakes);
    expiry_plan(r);
}

struct sweep {
    struct relay *relay;
    uint64_t now;
    const struct conf *before; /* of a reload */
};

static void leave_one(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;

    identities_leave(&sweep->relay->identities, s, &sweep->before->service[s->service]);
}

/* A handshake under way looks its identity up again when it is complete. Those used last come
 * first, so where there are too many of one identity, the longest idle find no place any more. */
static void rebase_one(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    struct relay *r = sweep->relay;
    const bool was_given = s->is_given;
    unsigned cap;

    gate_enter(r->gate, &s->peer);
    session_rebase(s, &r->services[s->service]);
    if (s->ending == SESSION_END_NOT_YET)
        s->ending = policy_fault(life_conf(r, s), s, r->expiry.wall0 + sweep->now);
    if (!life_settle(r, s, sweep->now))
        return;
    life_leave_source(r, s);
    cap = policy_session_cap(life_conf(r, s), s);
    if (life_enter_identity(r, s) > cap && cap > 0)
        life_end(r, s, SESSION_END_ELSEWHERE, sweep->now);
    else if (s->is_given != was_given && s->state == SESSION_OPEN && s->association.lease != 0)
        life_keep(r, s, sweep->now); /* the key is in there or it is not */
}

static void place_one(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;

    life_keep_flow(sweep->relay, s, sweep->now);
}

void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    struct relay_setup old = r->setup;
    struct sweep sweep = {r, now, old.conf};

    assert(setup->conf->service_count == old.conf->service_count);
    keep_set_time(r->keep, now, r->expiry.wall0);
    regime_use(r, setup, now);
    keyring_use_conf(r->keyring, r->setup.conf);
    peers_each_open(&r->peers, leave_one, &sweep); /* all, for counts to begin anew */
    peers_each_open(&r->peers, rebase_one, &sweep);
    peers_each_open(&r->peers, place_one, &sweep); /* where another has left */
    keyring_renew(r->keyring, old.conf);
    relay_setup_clear(&old);
}

void relay_tell(struct relay *r, const struct relay_order *order, uint64_t now)
{
    keep_set_time(r->keep, now, r->expiry.wall0);
    backing_tell(r, order, now);
}

const struct balance *relay_balance(const struct relay *r, unsigned service)
{
    return &r->balances[service];
}

void relay_set_cookies(struct relay *r, const struct cookie_secrets *cookies)
{
    r->cookies = *cookies;
}

void relay_set_tickets(struct relay *r, const struct ticket_keys *tickets)
{
    r->tickets = *tickets;
}

void relay_set_wall(struct relay *r, uint64_t wall, uint64_t now)
{
    r->expiry.wall0 = r->traces.wall0 = wall - now;
    keep_set_time(r->keep, now, r->expiry.wall0);
    for (size_t i = 0; i < r->setup.conf->service_count; i++)
        r->services[i].wall0 = r->expiry.wall0;
}

static void end_if_pending(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    if (s->state == SESSION_HANDSHAKE)
        life_end(sweep->relay, s, SESSION_END_SHUTDOWN, sweep->now);
}

static void end_any(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    life_end(sweep->relay, s, SESSION_END_SHUTDOWN, sweep->now);
}

void relay_drain(struct relay *r, uint64_t now)
{
    struct sweep sweep = {.relay = r, .now = now};
    r->is_draining = true;
    peers_each(&r->peers, end_if_pending, &sweep);
}

void relay_undrain(struct relay *r)
{
    r->is_draining = false;
}

void relay_end_all(struct relay *r, uint64_t now)
{
    struct sweep sweep = {.relay = r, .now = now};
    r->is_draining = true;
    keep_set_time(r->keep, now, r->expiry.wall0);
    peers_each(&r->peers, end_any, &sweep);
}

static void leave_any(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    bool is_kept = s->state == SESSION_OPEN && s->association.lease != 0;

    life_end(sweep->relay, s, is_kept ? SESSION_END_KEPT : SESSION_END_SHUTDOWN, sweep->now);
}

void relay_leave_all(struct relay *r, uint64_t now)
{
    struct sweep sweep = {.relay = r, .now = now};
    r->is_draining = true;
    keep_set_time(r->keep, now, r->expiry.wall0);
    peers_each(&r->peers, leave_any, &sweep);
}

bool relay_end_one(struct relay *r, struct relay_identity *who, uint64_t now)
{
    const struct identities_of of = {who->service, who->identity, who->len,
                                     who->is_given ? who->asked : UINT64_MAX};
    unsigned count = identities_count(&r->identities, &of);
    unsigned stays = who->is_given ? who->room : count - 1;

    keep_set_time(r->keep, now, r->expiry.wall0);
    if (count == 0)
        return false;
    for (; count > stays; count--)
        life_end(r, identities_idlest(&r->identities, &of, NULL), SESSION_END_ELSEWHERE, now);
    who->room -= who->is_given ? count : 0;
    return !who->is_given;
}
