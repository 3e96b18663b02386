/*
 * listener: reads one public socket when it wakes, and tells what address each datagram was for.
 * Must never look into a datagram, nor hold on to the loop: what one batch leaves waits for the
 * next turn.
 */
#include "proxy/listener.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

/* Errors that one wake-up steps over; each costs a system call. */
#define READ_TRIES 4

struct listener {
    struct event event;
    struct listener_hooks hooks;
    struct udp_inbox *inbox;
    struct addr bound;
    bool is_wildcard;
    int fd;
    unsigned index, service;
};

/* One batch: the loop asks anew whether more is there, after the others have had their turn. None
 * while the last one of the inbox, whose ever it is, has not been finished. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)what;
    if (udp_has_rest(l->inbox))
        return;
    for (int tries = 0; tries < READ_TRIES; tries++) {
        enum udp_status status = udp_receive(fd, l->inbox, UDP_BATCH_MAX);
        if (status == UDP_REFUSED)
            continue;
        if (status == UDP_OK)
            l->hooks.on_datagrams(l->hooks.arg, l);
        return;
    }
}

struct listener *listener_new(struct event_base *base, struct udp_inbox *inbox, int fd,
                              const struct addr *bound, const struct listener_hooks *hooks)
{
    struct listener *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->hooks = *hooks;
    l->inbox = inbox;
    l->bound = *bound;
    l->is_wildcard = addr_is_wildcard(bound);
    l->fd = fd;
    if (event_assign(&l->event, base, fd, EV_READ | EV_PERSIST, on_readable, l) != 0 ||
        event_add(&l->event, NULL) != 0) {
        free(l);
        return NULL;
    }
    return l;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    event_del(&l->event);
    free(l);
}

const struct udp_datagram *listener_next(struct listener *l)
{
    struct udp_datagram *d = udp_next(l->inbox);

    if (!d)
        return NULL;
    if (l->is_wildcard)
        d->local.port = l->bound.port;
    else
        d->local = l->bound;
    return d;
}

void listener_tag(struct listener *l, unsigned index, unsigned service)
{
    l->index = index;
    l->service = service;
}

unsigned listener_index(const struct listener *l)
{
    return l->index;
}

unsigned listener_service(const struct listener *l)
{
    return l->service;
}

void listener_commit(struct listener *l, struct udp_outbox *out, size_t len,
                     const struct addr *peer, const struct addr *local)
{
    /* A socket with an address of its own sends from there, and it costs to be told. */
    const struct udp_way way = {.fd = l->fd,
                                .family = l->bound.family,
                                .peer = peer,
                                .local = l->is_wildcard ? local : NULL};

    udp_outbox_commit(out, len, &way);
}
