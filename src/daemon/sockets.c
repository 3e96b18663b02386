/*
 * sockets: opens and binds, and explains why where that fails.
 * Must never know what comes in through them.
 */
#include "daemon/sockets.h"

#include "base/log.h"
#include "base/udp.h"
#include "daemon/passed.h"
#include "daemon/priv.h"
#include "dtls/wire.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHERE_MAX (PATH_MAX + 16)

/* One listen address of the settings. */
struct place {
    const struct conf_service *service;
    const struct addr *at;
};

struct opening {
    struct sockets *sockets;
    const struct conf *conf;
    const char *path;
    struct errors *errors;
};

/* Another address of our own settings that is in the way of this one. */
static bool find_overlap(const struct conf *conf, const struct addr *at, struct place *found)
{
    for (size_t s = 0; s < conf->service_count; s++) {
        const struct conf_service *service = &conf->service[s];
        for (size_t i = 0; i < service->listen_count; i++) {
            if (&service->listen[i] == at || !addr_overlap(&service->listen[i], at))
                continue;
            *found = (struct place){.service = service, .at = &service->listen[i]};
            return true;
        }
    }
    return false;
}

/* An IPv6 wildcard that took IPv4 as well would be in the way of each such address. */
static bool has_ipv4_on(const struct conf *conf, uint16_t port)
{
    for (size_t s = 0; s < conf->service_count; s++) {
        const struct conf_service *service = &conf->service[s];
        for (size_t i = 0; i < service->listen_count; i++)
            if (service->listen[i].family == AF_INET && service->listen[i].port == port)
                return true;
    }
    return false;
}

static const char *cure(const struct addr *at, int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "start as root, give CAP_NET_BIND_SERVICE, or choose a port from 1024 up";
    case EADDRINUSE:
        return "stop what holds it (ss -ulnp tells), or choose another port";
    case EADDRNOTAVAIL:
        return "choose an address of this machine (ip address lists them) or a wildcard";
    case EAFNOSUPPORT:
        return "this system has no IPv6; choose an IPv4 address such as 0.0.0.0:5684";
    case EINVAL:
        if (at->family == AF_INET6 && at->scope == 0)
            return "a link-local address needs its interface, as in [fe80::1%eth0]:5684";
        return "choose another address";
    case EMFILE:
    case ENFILE:
        return "allow more open files (ulimit -n) or set fewer daemon.workers";
    default:
        return "choose another address";
    }
}

static const char *place_in(const struct opening *o, const struct conf_service *service,
                            char where[WHERE_MAX])
{
    if (service->line > 0)
        snprintf(where, WHERE_MAX, "%s:%u", o->path, service->line);
    else
        snprintf(where, WHERE_MAX, "command line");
    return where;
}

/* `passed`: so many sockets were passed for this address. They are another user's as a rule, and
 * then none of ours can join them. */
static void explain(const struct opening *o, const struct place *p, int error, unsigned passed)
{
    const struct conf_service *service = p->service;
    char where[WHERE_MAX], text[ADDR_TEXT_MAX], other_text[ADDR_TEXT_MAX];
    struct place other;

    place_in(o, service, where);
    addr_format(p->at, text);
    if (passed > 0)
        errors_add(o->errors,
                   "%s: service.%s.listen: %u of the sockets for %s were passed, and no other can "
                   "join them: %s; let the socket unit have ReusePort=yes and one "
                   "ListenDatagram=%s for each worker, or set daemon.workers = %u",
                   where, service->name, passed, text, strerror(error), text, passed);
    else if (error == EADDRINUSE && find_overlap(o->conf, p->at, &other))
        errors_add(o->errors,
                   "%s: service.%s.listen: cannot bind %s: it overlaps %s of service %s; "
                   "keep one of the two",
                   where, service->name, text, addr_format(other.at, other_text),
                   other.service->name);
    else
        errors_add(o->errors, "%s: service.%s.listen: cannot bind %s: %s; %s", where, service->name,
                   text, strerror(error), cure(p->at, error));
}

static void tune(struct sockets *s, int fd, const struct conf *conf)
{
    size_t granted = udp_set_buffers(fd, conf->daemon.socket_buffer);

    if (granted < s->buffer)
        s->buffer = granted;
    if (s->offload.receive)
        (void)udp_join_received(fd); /* without, it merely costs more */
}

struct udp_steering sockets_steering(const struct sockets *s)
{
    return (struct udp_steering){.first = WIRE_CID, .at = WIRE_CID_AT, .count = s->workers};
}

/* Records with a connection id go to the worker whose session it is. Where the kernel cannot do
 * that, or the sockets that were passed stand in another order, workers pass them on. */
static void steer(const struct sockets *s, size_t column)
{
    const struct udp_steering to = sockets_steering(s);

    if (s->workers > 1)
        (void)udp_steer(s->list[column].fd, &to);
}

/* Opens one address for each worker, where no socket was passed for it. `column` is its place in a
 * worker's row. The first socket shows that nobody else holds the address, the others join it. */
static bool open_place(const struct opening *o, const struct place *p, size_t column)
{
    struct sockets *s = o->sockets;
    bool dual =
        p->at->family == AF_INET6 && addr_is_wildcard(p->at) && !has_ipv4_on(o->conf, p->at->port);
    struct addr at = *p->at;
    unsigned passed = 0;

    for (unsigned w = 0; w < s->workers; w++) {
        struct worker_socket *slot = &s->list[w * s->per_worker + column];
        int fd = passed_claim(&at, &dual);
        if (fd >= 0) {
            slot->bound = at;
            passed++;
        } else {
            fd = udp_listen(&at, w > 0, dual, &slot->bound);
        }
        if (fd < 0) {
            explain(o, p, errno, passed);
            return false;
        }
        slot->fd = fd;
        slot->service = (unsigned)(p->service - o->conf->service);
        at = slot->bound;
        tune(s, fd, o->conf);
    }
    steer(s, column);
    return true;
}

/* Whether its flows may have addresses of others, which each asks for when it opens. All backends
 * are of one family then. */
static bool check_transparent(const struct opening *o, const struct conf_service *service)
{
    char where[WHERE_MAX];

    /* CAP_NET_ADMIN would do for the socket, but is not what the process keeps. */
    if (service->transparent == CONF_TRANSPARENT_NO ||
        (priv_may_keep_raw() && udp_may_connect_as(service->backend.list[0].addr.family)))
        return true;
    errors_add(o->errors,
               "%s: service.%s.transparent: cannot take a client's address: %s; start as root, "
               "give CAP_NET_RAW, or set it to no",
               place_in(o, service, where), service->name, strerror(errno));
    return false;
}

static bool open_all(const struct opening *o)
{
    bool is_fine = true;
    size_t column = 0;

    for (size_t s = 0; s < o->conf->service_count; s++) {
        struct place p = {.service = &o->conf->service[s]};
        for (size_t i = 0; i < p.service->listen_count; i++) {
            p.at = &p.service->listen[i];
            is_fine &= open_place(o, &p, column++);
        }
        is_fine &= check_transparent(o, p.service);
    }
    return is_fine;
}

/* "coap has [::]:5684, syslog has 0.0.0.0:6514", as much of it as fits. */
static void list_places(const struct conf *conf, char *text, size_t size)
{
    size_t len = 0;
    char at[ADDR_TEXT_MAX];

    text[0] = '\0';
    for (size_t s = 0; s < conf->service_count; s++)
        for (size_t i = 0; i < conf->service[s].listen_count && len < size; i++)
            len += (size_t)snprintf(text + len, size - len, "%s%s has %s", len > 0 ? ", " : "",
                                    conf->service[s].name,
                                    addr_format(&conf->service[s].listen[i], at));
}

/* A socket that nobody reads would take datagrams and lose them. */
static bool refuse_left(const struct opening *o)
{
    char text[PASSED_TEXT_MAX], places[512];
    struct addr at;
    int fd = passed_left(-1, &at, text);

    if (fd < 0)
        return true;
    list_places(o->conf, places, sizeof(places));
    for (; fd >= 0; fd = passed_left(fd, &at, text))
        errors_add(o->errors,
                   "%s: no worker of any service is left to take it (%s); let the socket unit and "
                   "the service's listen name the same address, at most once for each worker",
                   text, places);
    return false;
}

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->workers * s->per_worker; i++)
        if (s->list[i].fd >= 0)
            close(s->list[i].fd);
    free(s->list);
    free(s->shared);
    *s = (struct sockets){0};
}

/* Room for all of them. */
static bool make(struct sockets *s, const struct conf *conf, struct errors *errors)
{
    size_t per_worker = 0, count;

    for (size_t i = 0; i < conf->service_count; i++)
        per_worker += conf->service[i].listen_count;
    count = per_worker * conf->daemon.workers;
    *s = (struct sockets){.list = calloc(count, sizeof(*s->list)), .buffer = SIZE_MAX};
    if (s->list == NULL) {
        errors_add(errors, "out of memory");
        return false;
    }
    s->per_worker = per_worker;
    s->workers = conf->daemon.workers;
    if (conf->daemon.udp_offload == CONF_OFFLOAD_AUTO)
        s->offload = udp_probe_offload();
    for (size_t i = 0; i < count; i++)
        s->list[i].fd = -1;
    return true;
}

bool sockets_open(struct sockets *s, const struct conf *conf, const char *path,
                  struct errors *errors)
{
    struct opening o = {.sockets = s, .conf = conf, .path = path, .errors = errors};

    if (!make(s, conf, errors))
        return false;
    if (open_all(&o) && refuse_left(&o))
        return true;
    sockets_close(s);
    return false;
}

bool sockets_claim(struct sockets *s, const struct conf *conf, const char *path,
                   sockets_claim_fn claim, struct errors *errors)
{
    struct opening o = {.sockets = s, .conf = conf, .path = path, .errors = errors};
    bool is_fine = make(s, conf, errors) && claim(s, conf, path, errors);

    for (size_t i = 0; is_fine && i < conf->service_count; i++)
        is_fine = check_transparent(&o, &conf->service[i]);
    for (size_t i = 0; is_fine && i < s->workers * s->per_worker; i++)
        tune(s, s->list[i].fd, conf);
    if (!is_fine)
        sockets_close(s);
    return is_fine;
}

const int *sockets_shared(const struct sockets *s, unsigned worker)
{
    return s->shared != NULL ? &s->shared[worker * s->services] : NULL;
}

const struct worker_socket *sockets_of(const struct sockets *s, unsigned worker)
{
    return &s->list[worker * s->per_worker];
}

void sockets_check_buffers(const struct sockets *s, const struct conf *conf)
{
    if (s->buffer < conf->daemon.socket_buffer)
        log_warning("dtlsgate: the kernel grants socket buffers of %zu bytes only, where "
                    "daemon.socket-buffer asks for %zu; raise net.core.rmem_max",
                    s->buffer, conf->daemon.socket_buffer);
}

static void check_source(const struct conf_service *service, const struct addr *a)
{
    const struct prefix shown = prefix_of(a, 128);
    char text[PREFIX_TEXT_MAX];

    if (!udp_is_local(a))
        log_warning("service %s: backend-source: %s is no address of this host; give it to an "
                    "interface or make a route to it (ip route add local PREFIX dev lo)",
                    service->name, prefix_format(&shown, text));
}

void sockets_check_sources(const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        const struct prefix *range = prefixes_range(&service->backend_source);

        if (range != NULL && range->base.family == AF_INET) {
            const struct addr first = prefix_host(range, 0);
            check_source(service, &first);
        }
        for (size_t j = 0; range == NULL && j < service->backend_source.count; j++)
            check_source(service, &service->backend_source.list[j].base);
    }
}

void sockets_log(const struct sockets *s, const struct conf *conf)
{
    char text[ADDR_TEXT_MAX];

    log_debug("dtlsgate: udp-offload: datagrams are %s when sent and %s when received",
              s->offload.send ? "joined" : "single", s->offload.receive ? "joined" : "single");

    for (size_t i = 0; i < s->per_worker; i++)
        log_info("service %s: listening on %s", conf->service[s->list[i].service].name,
                 addr_format(&s->list[i].bound, text));
}
