/*
 * upstream: opens, reads and closes flows towards the backends, of both kinds.
 * Must never look into a datagram, nor touch a flow behind a hook that may have closed it.
 */
#include "proxy/upstream.h"

#include "base/list.h"
#include "base/slab.h"
#include "base/udp_outbox.h"
#include "proxy/fan.h"
#include "proxy/targets.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Pending ICMP errors that one wake-up steps over; each costs a system call. */
#define READ_TRIES 4

struct upstream {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct udp_outbox *outbox;
    struct udp_offload offload;
    struct upstream_hooks hooks;
    struct udp_inbox *shared_inbox; /* of all fans; NULL: there are none */
    struct side **sides;            /* by service */
    unsigned side_count;
    struct list lone;
    struct slab lones, joints; /* the flows themselves: their memory goes back when they close */
    size_t count;              /* flows of both kinds */
    size_t refused; /* datagrams that the kernel did not take, since the last turn's end */
    uint64_t turn;  /* how often all was flushed */
};

/* One service. */
struct side {
    struct upstream *upstream;
    struct prefix *list; /* addresses to take in turn; owned */
    size_t count, next;
    struct fan *fan;        /* the socket that all flows share; NULL: each has its own */
    struct targets targets; /* where flows on that socket go */
};

/* What both kinds begin with. */
struct flow {
    struct side *side;
    void *owner;
    uint16_t target; /* of a joint: by its number in the side's targets */
    uint8_t mark;    /* the caller's */
};

/* With a socket of its own. */
struct lone {
    struct flow flow;
    struct event event;
    struct list node;
    struct list order; /* the caller's, by idleness */
    int fd;
    uint16_t port;
    uint8_t source;              /* which of the side's list */
    bool was_filled;             /* the last batch */
    uint8_t burst;               /* messages that came at a time, in one batch or several */
    uint64_t read_in, queued_in; /* turns, from 1 on */
};

/* With an address of its own: small, for there may be millions. */
struct joint {
    struct flow flow;
    struct source source;
};

/* Constness is the handle's, not the flow's. */
static struct lone *lone_of(const struct flow *f)
{
    return (struct lone *)(uintptr_t)f;
}

static struct joint *joint_of(const struct flow *f)
{
    return (struct joint *)(uintptr_t)f;
}

/* ---- flows with sockets of their own ---- */

/* How many messages to ask for: as many as came the last time, for a batch that is not filled costs
 * a failing attempt; more when the loop comes again right behind a batch that was. */
static unsigned next_batch(struct lone *f, uint64_t turn)
{
    bool goes_on = f->was_filled && f->read_in + 1 == turn;
    unsigned batch = goes_on ? 2u * f->burst : f->burst;

    f->read_in = turn;
    if (!goes_on)
        f->burst = 0;
    if (batch == 0)
        return 1;
    return batch < UDP_BATCH_MAX ? batch : UDP_BATCH_MAX;
}

static void note_batch(struct lone *f, unsigned got, unsigned batch)
{
    unsigned burst = f->burst + got;

    f->was_filled = got == batch;
    f->burst = (uint8_t)(burst < UDP_BATCH_MAX ? burst : UDP_BATCH_MAX);
}

/* One batch, for the loop asks anew whether more is there. The flow may be gone after
 * on_datagrams(), so that call is the last thing done. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct lone *f = arg;
    const struct upstream *u = f->flow.side->upstream;
    const struct upstream_hooks *hooks = &u->hooks;
    unsigned batch = next_batch(f, u->turn);

    (void)what;
    for (int tries = 0; tries < READ_TRIES; tries++) {
        enum udp_status status = udp_receive(fd, u->inbox, batch);
        if (status == UDP_REFUSED) {
            hooks->on_refused(hooks->arg, f->flow.owner, 1);
            continue;
        }
        if (status != UDP_OK)
            return;
        note_batch(f, udp_received(u->inbox), batch);
        hooks->on_datagrams(hooks->arg, f->flow.owner, u->inbox);
        return;
    }
}

static bool watch(struct lone *f)
{
    struct event_base *base = f->flow.side->upstream->base;

    return event_assign(&f->event, base, f->fd, EV_READ | EV_PERSIST, on_readable, f) == 0 &&
           event_add(&f->event, NULL) == 0;
}

/* What another address of the list may cure. */
static bool is_of_the_address(int error)
{
    return error == EADDRINUSE || error == EADDRNOTAVAIL || error == EAGAIN;
}

/* From each address of the list in turn, as long as one will do. */
static int connect_from_list(struct lone *f, struct side *side, const struct addr *to,
                             struct addr *local)
{
    int fd = -1;

    for (size_t tries = 0; fd < 0 && tries < side->count; tries++) {
        f->source = (uint8_t)side->next;
        fd = udp_connect_from(&side->list[side->next].base, to, local);
        if (fd < 0 && !is_of_the_address(errno))
            break;
        side->next = (side->next + 1) % side->count;
    }
    return fd;
}

static int connect_lone(struct lone *f, struct side *side, const struct addr *to,
                        const struct addr *as, struct addr *local)
{
    if (as)
        return udp_connect_as(as, to, local);
    return side->count > 0 ? connect_from_list(f, side, to, local) : udp_connect(to, local);
}

/* `as`: the address that it borrows, or NULL. */
static struct flow *open_lone(struct side *side, const struct addr *to, const struct addr *as)
{
    struct upstream *u = side->upstream;
    struct lone *f = slab_take(&u->lones);
    struct addr local;
    int error;

    if (!f)
        return NULL;
    f->flow.side = side;
    list_init(&f->order);
    f->fd = connect_lone(f, side, to, as, &local);
    if (f->fd >= 0 && watch(f)) {
        if (u->offload.receive)
            (void)udp_join_received(f->fd); /* without, it merely costs more */
        f->port = local.port;
        list_append(&u->lone, &f->node);
        return &f->flow;
    }
    error = errno;
    if (f->fd >= 0)
        close(f->fd);
    slab_give(f);
    errno = error;
    return NULL;
}

/* A socket that is not connected would take datagrams of anybody. */
static bool is_connected(int fd, struct addr *local)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    return getpeername(fd, (struct sockaddr *)&name, &len) == 0 && udp_own_address(fd, local);
}

static struct flow *adopt_lone(struct side *side, int fd, uint32_t number)
{
    struct upstream *u = side->upstream;
    struct lone *f = slab_take(&u->lones);
    struct addr local;

    if (!f)
        return NULL;
    f->flow.side = side;
    list_init(&f->order);
    f->fd = fd;
    f->source = (uint8_t)number;
    if (is_connected(fd, &local) && watch(f)) {
        f->port = local.port;
        list_append(&u->lone, &f->node);
        return &f->flow;
    }
    slab_give(f);
    return NULL;
}

static void close_lone(struct lone *f)
{
    struct upstream *u = f->flow.side->upstream;

    if (f->queued_in == u->turn)
        u->refused += udp_outbox_flush(u->outbox);
    event_del(&f->event); /* takes it out of the turn under way, too */
    close(f->fd);
    list_remove(&f->node);
    list_remove(&f->order);
    slab_give(f);
}

/* ---- flows on a shared socket ---- */

static void on_fan(void *arg, struct fan *fan)
{
    const struct side *side = arg;
    const struct upstream_hooks *hooks = &side->upstream->hooks;
    const struct udp_datagram *d;
    struct source *to;

    while ((d = fan_next(fan, &to)) != NULL)
        hooks->on_shared(hooks->arg, to ? table_entry(to, struct joint, source)->flow.owner : NULL,
                         d);
}

static bool is_backend(void *arg, const struct addr *peer)
{
    const struct side *side = arg;

    return targets_have(&side->targets, peer);
}

static bool take_source(struct side *side, struct joint *f, uint32_t number)
{
    struct sources *sources = fan_sources(side->fan);

    if (number == UPSTREAM_ANY ? sources_take_next(sources, &f->source)
                               : sources_take(sources, &f->source, number))
        return true;
    errno = EBUSY;
    return false;
}

static struct flow *open_joint(struct side *side, const struct addr *to, uint32_t number)
{
    struct joint *f = slab_take(&side->upstream->joints);
    int error;

    if (!f)
        return NULL;
    f->flow.side = side;
    if (targets_take(&side->targets, to, &f->flow.target)) {
        if (take_source(side, f, number))
            return &f->flow;
        targets_give_back(&side->targets, f->flow.target);
    }
    error = errno;
    slab_give(f);
    errno = error;
    return NULL;
}

static void close_joint(struct joint *f)
{
    targets_give_back(&f->flow.side->targets, f->flow.target);
    sources_give_back(fan_sources(f->flow.side->fan), &f->source);
    slab_give(f);
}

static void close_link(struct table_link *link, void *arg)
{
    (void)arg;
    upstream_close(
        &table_entry(table_entry(link, struct source, link), struct joint, source)->flow);
}

static bool open_fan(struct side *side, const struct prefix *prefix,
                     const struct upstream_service *service)
{
    struct upstream *u = side->upstream;
    const struct fan_params params = {.prefix = *prefix,
                                      .worker = service->worker,
                                      .workers = service->workers,
                                      .buffer = service->buffer,
                                      .joins = u->offload.receive,
                                      .taken = service->taken,
                                      .is_backend = is_backend,
                                      .on_datagrams = on_fan,
                                      .arg = side};

    if (!u->shared_inbox)
        u->shared_inbox = udp_inbox_new(false);
    if (!u->shared_inbox)
        return false;
    side->fan = fan_new(u->base, u->shared_inbox, &params);
    return side->fan != NULL;
}

/* ---- services ---- */

static bool copy_list(struct side *side, const struct prefixes *list)
{
    if (list->count == 0)
        return true;
    side->list = calloc(list->count, sizeof(*side->list));
    if (!side->list)
        return false;
    memcpy(side->list, list->list, list->count * sizeof(*side->list));
    side->count = list->count;
    return true;
}

static struct side *side_new(struct upstream *u, const struct upstream_service *service)
{
    const struct prefix *prefix = prefixes_range(service->source);
    struct side *side = calloc(1, sizeof(*side));

    if (!side)
        return NULL;
    side->upstream = u;
    if (prefix ? open_fan(side, prefix, service) : copy_list(side, service->source))
        return side;
    free(side);
    return NULL;
}

static void side_free(struct side *side)
{
    if (side->fan)
        table_each(&fan_sources(side->fan)->table, close_link, NULL);
    fan_free(side->fan);
    targets_clear(&side->targets);
    free(side->list);
    free(side);
}

bool upstream_add(struct upstream *u, const struct upstream_service *service)
{
    struct side **more = realloc(u->sides, (u->side_count + 1) * sizeof(struct side *));

    if (!more)
        return false;
    u->sides = more;
    u->sides[u->side_count] = side_new(u, service);
    if (!u->sides[u->side_count])
        return false;
    u->side_count++;
    return true;
}

bool upstream_set_backends(struct upstream *u, unsigned service, const struct addr *list,
                           size_t count)
{
    struct side *side = u->sides[service];

    return !side->fan || targets_set(&side->targets, list, count);
}

/* ---- both kinds ---- */

static struct flow *enter(struct flow *f, void *owner)
{
    if (!f)
        return NULL;
    f->owner = owner;
    f->mark = 0;
    f->side->upstream->count++;
    return f;
}

struct flow *upstream_open(struct upstream *u, unsigned service, const struct addr *to,
                           uint32_t number, void *owner)
{
    struct side *side = u->sides[service];

    return enter(side->fan ? open_joint(side, to, number) : open_lone(side, to, NULL), owner);
}

struct flow *upstream_open_as(struct upstream *u, unsigned service, const struct addr *to,
                              const struct addr *as, void *owner)
{
    struct side *side = u->sides[service];

    assert(!side->fan);
    return enter(open_lone(side, to, as), owner);
}

struct flow *upstream_take_over(struct upstream *u, unsigned service, int fd, uint32_t number,
                                void *owner)
{
    struct side *side = u->sides[service];

    return side->fan ? NULL : enter(adopt_lone(side, fd, number), owner);
}

int upstream_socket(const struct flow *f)
{
    return f->side->fan ? -1 : lone_of(f)->fd;
}

int upstream_shared_socket(const struct upstream *u, unsigned service)
{
    const struct fan *fan = u->sides[service]->fan;

    return fan ? fan_socket(fan) : -1;
}

bool upstream_is_shared(const struct flow *f)
{
    return f->side->fan != NULL;
}

bool upstream_turn(struct flow *f, const struct addr *to)
{
    struct targets *targets = &f->side->targets;
    uint16_t before = f->target;

    assert(upstream_is_shared(f));
    if (!targets_take(targets, to, &f->target))
        return false;
    targets_give_back(targets, before);
    return true;
}

struct addr upstream_backend(const struct flow *f)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    struct sockaddr *sa = (struct sockaddr *)&name;
    struct addr to;

    if (upstream_is_shared(f))
        return *targets_address(&f->side->targets, f->target);
    if (getpeername(lone_of(f)->fd, sa, &len) != 0 || !addr_from_sockaddr(&to, sa))
        return (struct addr){0};
    return to;
}

void upstream_mark(struct flow *f, uint8_t mark)
{
    f->mark = mark;
}

uint8_t upstream_mark_of(const struct flow *f)
{
    return f->mark;
}

void upstream_close(struct flow *f)
{
    f->side->upstream->count--;
    if (upstream_is_shared(f))
        close_joint(joint_of(f));
    else
        close_lone(lone_of(f));
}

uint32_t upstream_source(const struct flow *f)
{
    return upstream_is_shared(f) ? joint_of(f)->source.number : lone_of(f)->source;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    while (!list_is_empty(&u->lone))
        upstream_close(&list_entry(list_first(&u->lone), struct lone, node)->flow);
    if (u->outbox)
        udp_outbox_flush(u->outbox);
    for (unsigned i = 0; i < u->side_count; i++)
        side_free(u->sides[i]);
    free(u->sides);
    slab_clear(&u->lones);
    slab_clear(&u->joints);
    udp_outbox_free(u->outbox);
    udp_inbox_free(u->inbox);
    udp_inbox_free(u->shared_inbox);
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
    list_init(&u->lone);
    slab_init(&u->lones, sizeof(struct lone));
    slab_init(&u->joints, sizeof(struct joint));
    u->inbox = udp_inbox_new(true);
    u->outbox = udp_outbox_new(offload.send, hooks->on_refused, hooks->arg);
    if (u->inbox && u->outbox)
        return u;
    upstream_free(u);
    return NULL;
}

uint16_t upstream_port(const struct flow *f)
{
    return upstream_is_shared(f) ? fan_port(f->side->fan) : lone_of(f)->port;
}

uint8_t *upstream_reserve(struct upstream *u, size_t max)
{
    return udp_outbox_reserve(u->outbox, max);
}

void upstream_commit(struct flow *f, size_t len)
{
    struct upstream *u = f->side->upstream;

    if (upstream_is_shared(f)) {
        fan_commit(f->side->fan, u->outbox, len, &joint_of(f)->source,
                   targets_address(&f->side->targets, f->target));
        return;
    }
    const struct udp_way way = {.fd = lone_of(f)->fd, .owner = f->owner};
    lone_of(f)->queued_in = u->turn;
    udp_outbox_commit(u->outbox, len, &way);
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
    if (!upstream_is_shared(f))
        list_move_to_end(order, &lone_of(f)->order);
}

void upstream_touch_idlest(struct flow *f, struct list *order)
{
    if (upstream_is_shared(f))
        return;
    list_remove(&lone_of(f)->order);
    list_prepend(order, &lone_of(f)->order);
}

void *upstream_idlest(const struct list *order)
{
    struct list *node = list_first(order);

    return node ? list_entry(node, struct lone, order)->flow.owner : NULL;
}
