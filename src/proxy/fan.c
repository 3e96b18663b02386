/*
 * fan: a shared socket towards backends. See the header.
 * Must never look into a datagram, nor trust that one comes from a backend because it comes in.
 */
#include "proxy/fan.h"

#include "base/udp.h"
#include "proxy/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct fan {
    struct sources sources;
    struct addr bound;
    struct listener *listener;
    fan_judge_fn is_backend;
    fan_fn on_datagrams;
    void *arg;
    int fd;
};

static void on_datagrams(void *arg, struct listener *l)
{
    struct fan *f = arg;

    (void)l;
    f->on_datagrams(f->arg, f);
}

/* No datagram from another host may reach a socket whose addresses no other host can have. */
static bool is_loopback(const struct prefix *p)
{
    return p->base.family == AF_INET && p->base.ip[0] == 127;
}

static bool open_socket(struct fan *f, const struct fan_params *params)
{
    f->fd = params->taken > 0
                ? params->taken
                : udp_share(params->prefix.base.family, is_loopback(&params->prefix), &f->bound);
    if (f->fd < 0 || (params->taken > 0 && !udp_own_address(f->fd, &f->bound)))
        return false;
    (void)udp_set_buffers(f->fd, params->buffer);
    if (params->joins)
        (void)udp_join_received(f->fd); /* without, it merely costs more */
    return true;
}

void fan_free(struct fan *f)
{
    if (!f)
        return;
    listener_free(f->listener);
    if (f->fd >= 0)
        close(f->fd);
    if (f->sources.used)
        sources_clear(&f->sources);
    free(f);
}

struct fan *fan_new(struct event_base *base, struct udp_inbox *inbox,
                    const struct fan_params *params)
{
    struct fan *f = calloc(1, sizeof(*f));
    const struct listener_hooks hooks = {.on_datagrams = on_datagrams, .arg = f};
    int error;

    if (!f)
        return NULL;
    f->fd = -1;
    f->is_backend = params->is_backend;
    f->on_datagrams = params->on_datagrams;
    f->arg = params->arg;
    if (sources_init(&f->sources, &params->prefix, params->worker, params->workers) &&
        open_socket(f, params)) {
        f->listener = listener_new(base, inbox, f->fd, &f->bound, &hooks);
        if (f->listener)
            return f;
    }
    error = errno;
    if (params->taken > 0)
        f->fd = -1; /* still the caller's */
    fan_free(f);
    errno = error;
    return NULL;
}

struct sources *fan_sources(struct fan *f)
{
    return &f->sources;
}

uint16_t fan_port(const struct fan *f)
{
    return f->bound.port;
}

int fan_socket(const struct fan *f)
{
    return f->fd;
}

const struct udp_datagram *fan_next(struct fan *f, struct source **to)
{
    const struct udp_datagram *d = listener_next(f->listener);

    if (d)
        *to = f->is_backend(f->arg, &d->peer) ? sources_find(&f->sources, &d->local) : NULL;
    return d;
}

void fan_commit(struct fan *f, struct udp_outbox *out, size_t len, const struct source *from,
                const struct addr *to)
{
    const struct addr local = sources_address(&f->sources, from);

    listener_commit(f->listener, out, len, to, &local);
}
