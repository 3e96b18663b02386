/*
 * upstream: opens, reads and closes the sockets towards the backends.
 * Must never look into a datagram, nor touch a flow behind a hook that may have closed it.
 */
#include "proxy/upstream.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

/* Pending ICMP errors that one wake-up steps over; each costs a system call. */
#define READ_TRIES 4

struct upstream {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct upstream_hooks hooks;
    struct list flows;
    size_t count;
};

struct flow {
    struct event event;
    struct list node;
    struct list order; /* the caller's, by idleness */
    struct upstream *upstream;
    void *owner;
    int fd;
    uint16_t port;
};

/* One batch, for the loop asks anew whether more is there. The flow may be gone after
 * on_datagrams(), so that call is the last thing done. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    const struct flow *f = arg;
    const struct upstream_hooks *hooks = &f->upstream->hooks;
    const struct udp_datagram *list;
    size_t count;

    (void)what;
    for (int tries = 0; tries < READ_TRIES; tries++) {
        enum udp_status status = udp_receive(fd, f->upstream->inbox, &list, &count);
        if (status == UDP_REFUSED) {
            hooks->on_refused(hooks->arg, f->owner, 1);
            continue;
        }
        if (status == UDP_OK)
            hooks->on_datagrams(hooks->arg, f->owner, list, count);
        return;
    }
}

static bool watch(struct flow *f)
{
    struct event_base *base = f->upstream->base;

    return event_assign(&f->event, base, f->fd, EV_READ | EV_PERSIST, on_readable, f) == 0 &&
           event_add(&f->event, NULL) == 0;
}

struct upstream *upstream_new(struct event_base *base, struct udp_inbox *inbox,
                              const struct upstream_hooks *hooks)
{
    struct upstream *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->base = base;
    u->inbox = inbox;
    u->hooks = *hooks;
    list_init(&u->flows);
    return u;
}

struct flow *upstream_open(struct upstream *u, const struct addr *backend, void *owner)
{
    struct flow *f = calloc(1, sizeof(*f));
    struct addr local;
    int error;

    if (!f)
        return NULL;
    f->upstream = u;
    f->owner = owner;
    list_init(&f->order);
    f->fd = udp_connect(backend, &local);
    if (f->fd >= 0 && watch(f)) {
        f->port = local.port;
        list_append(&u->flows, &f->node);
        u->count++;
        return f;
    }
    error = errno;
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    errno = error;
    return NULL;
}

void upstream_close(struct flow *f)
{
    event_del(&f->event); /* takes it out of the turn under way, too */
    close(f->fd);
    list_remove(&f->node);
    list_remove(&f->order);
    f->upstream->count--;
    free(f);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    while (!list_is_empty(&u->flows))
        upstream_close(list_entry(list_first(&u->flows), struct flow, node));
    free(u);
}

uint16_t upstream_port(const struct flow *f)
{
    return f->port;
}

bool upstream_send(struct flow *f, const void *data, size_t len)
{
    const struct upstream_hooks *hooks = &f->upstream->hooks;
    unsigned refused = 0;
    enum udp_status status = udp_send(f->fd, data, len, &refused);

    if (refused > 0)
        hooks->on_refused(hooks->arg, f->owner, refused);
    return status == UDP_OK;
}

size_t upstream_count(const struct upstream *u)
{
    return u->count;
}

void upstream_touch(struct flow *f, struct list *order)
{
    list_move_to_end(order, &f->order);
}

void *upstream_idlest(const struct list *order)
{
    struct list *node = list_first(order);

    return node ? list_entry(node, struct flow, order)->owner : NULL;
}
