/*
 * upstream: opens, reads and closes the sockets towards the backends.
 * Must never look into a datagram, nor touch a flow behind a hook that may have closed it.
 */
#include "proxy/upstream.h"

#include "base/udp_outbox.h"

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
    struct udp_outbox *outbox;
    struct udp_offload offload;
    struct upstream_hooks hooks;
    struct list flows;
    size_t count;
    size_t refused; /* datagrams that the kernel did not take, since the last turn's end */
    uint64_t turn;  /* how often all was flushed */
};

struct flow {
    struct event event;
    struct list node;
    struct list order; /* the caller's, by idleness */
    struct upstream *upstream;
    void *owner;
    int fd;
    uint16_t port;
    bool was_filled;             /* the last batch */
    uint8_t burst;               /* messages that came at a time, in one batch or several */
    uint64_t read_in, queued_in; /* turns, from 1 on */
};

/* How many messages to ask for: as many as came the last time, for a batch that is not filled costs
 * a failing attempt; more when the loop comes again right behind a batch that was. */
static unsigned next_batch(struct flow *f)
{
    bool goes_on = f->was_filled && f->read_in + 1 == f->upstream->turn;
    unsigned batch = goes_on ? 2u * f->burst : f->burst;

    f->read_in = f->upstream->turn;
    if (!goes_on)
        f->burst = 0;
    if (batch == 0)
        return 1;
    return batch < UDP_BATCH_MAX ? batch : UDP_BATCH_MAX;
}

static void note_batch(struct flow *f, unsigned batch)
{
    unsigned got = udp_received(f->upstream->inbox), burst = f->burst + got;

    f->was_filled = got == batch;
    f->burst = (uint8_t)(burst < UDP_BATCH_MAX ? burst : UDP_BATCH_MAX);
}

/* One batch, for the loop asks anew whether more is there. The flow may be gone after
 * on_datagrams(), so that call is the last thing done. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct flow *f = arg;
    struct udp_inbox *inbox = f->upstream->inbox;
    const struct upstream_hooks *hooks = &f->upstream->hooks;
    unsigned batch = next_batch(f);

    (void)what;
    for (int tries = 0; tries < READ_TRIES; tries++) {
        enum udp_status status = udp_receive(fd, inbox, batch);
        if (status == UDP_REFUSED) {
            hooks->on_refused(hooks->arg, f->owner, 1);
            continue;
        }
        if (status != UDP_OK)
            return;
        note_batch(f, batch);
        hooks->on_datagrams(hooks->arg, f->owner, inbox);
        return;
    }
}

static bool watch(struct flow *f)
{
    struct event_base *base = f->upstream->base;

    return event_assign(&f->event, base, f->fd, EV_READ | EV_PERSIST, on_readable, f) == 0 &&
           event_add(&f->event, NULL) == 0;
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
        if (u->offload.receive)
            (void)udp_join_received(f->fd); /* without, it merely costs more */
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
    struct upstream *u = f->upstream;

    if (f->queued_in == u->turn)
        u->refused += udp_outbox_flush(u->outbox);
    event_del(&f->event); /* takes it out of the turn under way, too */
    close(f->fd);
    list_remove(&f->node);
    list_remove(&f->order);
    u->count--;
    free(f);
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    while (!list_is_empty(&u->flows))
        upstream_close(list_entry(list_first(&u->flows), struct flow, node));
    udp_outbox_free(u->outbox);
    udp_inbox_free(u->inbox);
    free(u);
}

struct upstream *upstream_new(struct event_base *base, struct udp_offload offload,
                              const struct upstream_hooks *hooks)
{
    struct upstream *u = calloc(1, sizeof(*u));

    if (!u)
        return NULL;
    u->base = base;
    u->offload = offload;
    u->hooks = *hooks;
    u->turn = 1;
    list_init(&u->flows);
    u->inbox = udp_inbox_new(true);
    u->outbox = udp_outbox_new(offload.send, hooks->on_refused, hooks->arg);
    if (u->inbox && u->outbox)
        return u;
    upstream_free(u);
    return NULL;
}

uint16_t upstream_port(const struct flow *f)
{
    return f->port;
}

uint8_t *upstream_reserve(struct upstream *u, size_t max)
{
    return udp_outbox_reserve(u->outbox, max);
}

void upstream_commit(struct flow *f, size_t len)
{
    const struct udp_way way = {.fd = f->fd, .owner = f->owner};

    f->queued_in = f->upstream->turn;
    udp_outbox_commit(f->upstream->outbox, len, &way);
}

size_t upstream_flush(struct upstream *u)
{
    size_t refused = u->refused + udp_outbox_flush(u->outbox);

    u->refused = 0;
    u->turn++;
    return refused;
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
