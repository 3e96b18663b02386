/*
 * backing: tells the balance and the upstream of changes. See the header.
 * Must never open a flow, nor close one that a backend of the list has.
 */
#include "proxy/backing.h"

#include "base/log.h"

struct leaving {
    struct relay *relay;
    unsigned service;
};

static void leave_if_gone(struct session *s, void *arg)
{
    const struct leaving *l = arg;

    if (s->service == l->service && s->flow != NULL && life_slot(s) != BALANCE_NOBODY &&
        balance_is_gone(&l->relay->balances[s->service], life_slot(s)))
        life_close_flow(l->relay, s);
}

/* Where so many have left the list that no slot is free for others, their flows go. */
static void leave_gone(struct relay *r, unsigned service)
{
    struct leaving leaving = {r, service};

    peers_each(&r->peers, leave_if_gone, &leaving);
}

/* Those that may speak on a socket that flows share. */
static bool admit(struct relay *r, unsigned service)
{
    struct addr list[BACKENDS_MAX];
    size_t count = balance_addresses(&r->balances[service], list);

    return upstream_set_backends(r->parts.upstream, service, list, count);
}

static void tell_shortage(const struct relay *r, unsigned service)
{
    log_error("service %s: out of memory, not all of its backends are in use",
              r->services[service].conf->name);
}

void backing_use(struct relay *r, unsigned service, uint64_t now)
{
    const struct conf_service *conf = r->services[service].conf;
    struct balance *b = &r->balances[service];
    bool has_all = balance_set(b, conf, now);

    if (!has_all) {
        leave_gone(r, service);
        has_all = balance_set(b, conf, now);
    }
    if (!admit(r, service) || !has_all)
        tell_shortage(r, service);
}

static void move(struct relay *r, const struct relay_order *order, uint64_t now)
{
    struct balance *b = &r->balances[order->service];
    bool has_moved = balance_move(b, &order->backend, &order->to, now);

    if (!has_moved) {
        leave_gone(r, order->service);
        has_moved = balance_move(b, &order->backend, &order->to, now);
    }
    if (!admit(r, order->service) || !has_moved)
        tell_shortage(r, order->service);
}

/* One that is not in the list any more has nothing to be told. */
void backing_tell(struct relay *r, const struct relay_order *order, uint64_t now)
{
    if (order->is_move)
        move(r, order, now);
    else
        (void)balance_tell(&r->balances[order->service], &order->backend, order->what, now);
}
