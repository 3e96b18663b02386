/*
 * revival: from entries to workers. See the header.
 * Must never let a datagram be read before the file in which numbers are told is the one that
 * counts.
 */
#include "daemon/revival.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon/heir.h"
#include "daemon/renewal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct taking {
    struct fleet *fleet;
    struct state_dir *state;
    const struct conf *conf;
    const struct sockets *sockets;
    struct steer steer;
    size_t restored, refused;
};

static int find_service(const struct conf *conf, uint64_t print)
{
    for (size_t i = 0; i < conf->service_count; i++)
        if (keep_entry_print(conf->service[i].name) == print)
            return (int)i;
    return -1;
}

/* How well a socket fits an address that a client has written to; 0: not at all. */
static int fit(const struct addr *bound, const struct addr *local)
{
    if (bound->port != local->port)
        return 0;
    if (addr_equal(bound, local))
        return 3;
    if (!addr_is_wildcard(bound))
        return 0;
    return bound->family == local->family ? 2 : bound->family == AF_INET6;
}

/* False: nobody listens there any more. */
static bool find_listener(const struct sockets *sockets, int service, const struct addr *local,
                          unsigned *listener)
{
    const struct worker_socket *list = sockets_of(sockets, 0); /* as all workers have them */
    int best = 0;

    for (unsigned i = 0; i < sockets->per_worker; i++) {
        int fits = (int)list[i].service == service ? fit(&list[i].bound, local) : 0;
        if (fits <= best)
            continue;
        best = fits;
        *listener = i;
    }
    return best > 0;
}

/* Where its datagrams come: with connection ids it is whose ours is. One of a worker that is not
 * there any more finds out itself that it is elsewhere. */
static unsigned find_worker(const struct taking *t, const struct keep_entry *e)
{
    unsigned count = fleet_count(t->fleet);

    if (!e->image.has_cid)
        return steer_index(&t->steer, &e->image.peer, count);
    return e->image.cid.own[0] < count ? e->image.cid.own[0] : 0;
}

static void take_one(struct taking *t, const struct keep_entry *e)
{
    unsigned worker = find_worker(t, e);
    struct restore order = {.entry = e,
                            .service = find_service(t->conf, e->service_print),
                            .now = clock_now_ms(),
                            .wall = clock_wall_ms()};

    if (order.service >= 0 &&
        !find_listener(t->sockets, order.service, &e->image.local, &order.listener))
        order.service = -1;
    if (fleet_restore(t->fleet, worker, &order) == NULL)
        t->restored++;
    else
        t->refused++;
}

static void take_all(struct taking *t)
{
    struct keep_entry e;

    while (state_next(t->state, &e)) {
        take_one(t, &e);
        bytes_wipe(&e, sizeof(e));
    }
    fleet_restored(t->fleet);
}

static bool steer_clients(const struct taking *t, char *why, size_t why_size)
{
    const struct udp_steering by_id = sockets_steering(t->sockets);
    const struct worker_socket *list = sockets_of(t->sockets, 0);

    for (size_t i = 0; t->sockets->workers > 1 && i < t->sockets->per_worker; i++) {
        if (steer_attach(&t->steer, list[i].fd, &by_id))
            continue;
        snprintf(why, why_size,
                 "daemon.state-dir: clients cannot be shared out: %s; it takes one "
                 "worker, or Linux 4.6",
                 strerror(errno));
        return false;
    }
    return true;
}

static void log_taken(const struct taking *t, bool has_cookies)
{
    const struct log_field fields[] = {
        {"restored", NULL, (long long)t->restored},
        {"not-restored", NULL, (long long)t->refused},
        {"damaged", NULL, (long long)state_damaged(t->state)},
        {"cookies", has_cookies ? "kept" : "new", 0},
        {NULL, NULL, 0},
    };

    log_event(state_damaged(t->state) > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "state", fields);
}

static bool put_secrets(const struct fleet *f, char *why, size_t why_size)
{
    struct state_dir *state = fleet_state(f);
    uint64_t age;
    const struct ticket_keys *tickets = fleet_tickets(f, clock_now_ms(), &age);

    if (state_put_cookies(state, fleet_cookies(f)) && state_put_tickets(state, tickets, age))
        return true;
    snprintf(why, why_size, "daemon.state-dir: libcrypto failed");
    return false;
}

/* Those that had their time while nothing ran are renewed before they are used. */
static void take_tickets(const struct revival *r)
{
    uint64_t age, now = clock_now_ms();
    struct renewal renewal;

    if (!state_tickets(r->state, &renewal.keys, &age))
        return;
    renewal_take(&renewal, &renewal.keys, age, now);
    renewal_catch_up(&renewal, r->conf, now);
    fleet_use_tickets(r->fleet, &renewal.keys, renewal_age(&renewal, now), now);
    renewal_wipe(&renewal);
}

static bool take_secrets(const struct revival *r)
{
    struct cookie_secrets cookies;
    bool has_cookies = state_cookies(r->state, &cookies);

    if (has_cookies)
        fleet_use_cookies(r->fleet, &cookies);
    cookie_secrets_wipe(&cookies);
    take_tickets(r);
    return has_cookies;
}

/* The kernel's program stays with the sockets, so those of a running process have it. */
static bool revive(const struct revival *r, char *why, size_t why_size)
{
    struct taking t = {.fleet = r->fleet,
                       .state = r->state,
                       .conf = r->conf,
                       .sockets = r->sockets,
                       .steer = state_steer(r->state)};

    if (!steer_clients(&t, why, why_size))
        return false;
    bool has_cookies = take_secrets(r);
    take_all(&t);
    log_taken(&t, has_cookies);
    return put_secrets(r->fleet, why, why_size) && state_begin(r->state, why, why_size);
}

bool revival_begin(const struct revival *r, char *why, size_t why_size)
{
    if (r->state == NULL)
        return true;
    if (!fleet_keep(r->fleet, r->state, why, why_size))
        return false;
    return heir_is_there() || revive(r, why, why_size);
}

bool revival_prepare(const struct fleet *f, char *why, size_t why_size)
{
    return fleet_state(f) == NULL || put_secrets(f, why, why_size);
}

bool revival_confirm(const struct fleet *f, char *why, size_t why_size)
{
    return fleet_state(f) == NULL || state_begin(fleet_state(f), why, why_size);
}
