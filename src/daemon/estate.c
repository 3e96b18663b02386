/*
 * estate: parcels out of the sockets, the settings and the fleet. See the header.
 * Must never know in which order they are sent.
 */
#include "daemon/estate.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <string.h>
#include <unistd.h>

/* What is said here fits into the queue as a rule. */
#define PATIENCE_MS 2000

static bool post(const struct estate *e, const struct writer *w)
{
    bool is_sent =
        parcel_wrote(e->parcel, w) && parcel_send(e->socket, e->parcel, PATIENCE_MS) == PARCEL_OK;

    e->parcel->fds = 0; /* they stay ours */
    return is_sent;
}

static bool send_hello(const struct estate *e)
{
    const struct handover_hello hello = {.version = HANDOVER_VERSION,
                                         .workers = e->sockets->workers,
                                         .services = (unsigned)e->conf->service_count,
                                         .pid = (uint32_t)getpid()};
    struct writer w = handover_begin(e->parcel, HANDOVER_HELLO);

    handover_write_hello(&w, &hello);
    return post(e, &w);
}

/* Sends a parcel of sockets when it is full. */
static bool add_socket(const struct estate *e, struct writer *w, enum handover_kind kind,
                       const struct handover_socket *s, int fd)
{
    if (w->left < HANDOVER_SOCKET_MAX || e->parcel->fds == PARCEL_FDS) {
        if (!post(e, w))
            return false;
        *w = handover_begin(e->parcel, kind);
    }
    handover_write_socket(w, s);
    e->parcel->fd[e->parcel->fds++] = fd;
    return true;
}

static struct handover_socket describe(const struct conf_service *service, unsigned worker)
{
    size_t len = strlen(service->name);
    struct handover_socket s = {.worker = worker};

    s.name_len = (uint8_t)(len < HANDOVER_NAME_MAX ? len : HANDOVER_NAME_MAX);
    memcpy(s.name, service->name, s.name_len);
    return s;
}

/* A worker's sockets stand in the order of the settings. */
static bool send_listeners(const struct estate *e)
{
    const struct conf *conf = e->conf;
    struct writer w = handover_begin(e->parcel, HANDOVER_LISTEN);

    for (unsigned worker = 0; worker < e->sockets->workers; worker++) {
        const struct worker_socket *slot = sockets_of(e->sockets, worker);
        for (size_t i = 0; i < conf->service_count; i++)
            for (size_t j = 0; j < conf->service[i].listen_count; j++, slot++) {
                struct handover_socket s = describe(&conf->service[i], worker);
                s.at = conf->service[i].listen[j];
                s.bound = slot->bound;
                if (!add_socket(e, &w, HANDOVER_LISTEN, &s, slot->fd))
                    return false;
            }
    }
    return post(e, &w);
}

static bool send_shared(const struct estate *e)
{
    const struct conf *conf = e->conf;
    struct writer w = handover_begin(e->parcel, HANDOVER_SHARED);

    for (unsigned worker = 0; worker < e->sockets->workers; worker++)
        for (unsigned i = 0; i < conf->service_count; i++) {
            const struct prefix *range = prefixes_range(&conf->service[i].backend_source);
            struct handover_socket s = describe(&conf->service[i], worker);
            if (range == NULL)
                continue;
            s.range = *range;
            if (!add_socket(e, &w, HANDOVER_SHARED, &s, fleet_shared_socket(e->fleet, worker, i)))
                return false;
        }
    return post(e, &w);
}

static bool send_things(const struct estate *e)
{
    struct writer w = handover_begin(e->parcel, HANDOVER_THINGS);
    const int fds[] = {e->control, e->http, e->pidfile, e->state};
    const unsigned names[] = {HANDOVER_HAS_CONTROL, HANDOVER_HAS_HTTP, HANDOVER_HAS_PIDFILE,
                              HANDOVER_HAS_STATE};
    unsigned flags = e->is_draining ? HANDOVER_IS_DRAINING : 0;

    for (unsigned i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
        if (fds[i] < 0)
            continue;
        flags |= names[i];
        e->parcel->fd[e->parcel->fds++] = fds[i];
    }
    write_u8(&w, (uint8_t)flags);
    return post(e, &w);
}

static bool send_cookies(const struct estate *e)
{
    struct writer w = handover_begin(e->parcel, HANDOVER_COOKIES);
    bool is_sent;

    handover_write_cookies(&w, fleet_cookies(e->fleet));
    is_sent = post(e, &w);
    bytes_wipe(e->parcel->bytes, e->parcel->len);
    return is_sent;
}

static bool send_tickets(const struct estate *e)
{
    struct writer w = handover_begin(e->parcel, HANDOVER_TICKETS);
    uint64_t age;
    const struct ticket_keys *keys = fleet_tickets(e->fleet, clock_now_ms(), &age);
    bool is_sent;

    handover_write_tickets(&w, keys, age);
    is_sent = post(e, &w);
    bytes_wipe(e->parcel->bytes, e->parcel->len);
    return is_sent;
}

static bool send_backend(const struct estate *e, unsigned service, const struct addr *addr)
{
    struct writer w = handover_begin(e->parcel, HANDOVER_BACKEND);

    write_u16(&w, (uint16_t)service);
    handover_write_addr(&w, addr);
    return post(e, &w);
}

/* Those that the operator drains; who is down is found out again. */
static bool send_backends(const struct estate *e)
{
    struct fleet_backend list[BALANCE_SLOTS];
    bool is_fine = true;

    for (unsigned i = 0; i < e->conf->service_count; i++) {
        size_t count = fleet_backends(e->fleet, i, clock_now_ms(), list);
        for (size_t n = 0; is_fine && n < count; n++)
            if (list[n].is_drained && list[n].state != BALANCE_GONE)
                is_fine = send_backend(e, i, &list[n].addr);
    }
    return is_fine;
}

bool estate_send(const struct estate *e)
{
    return send_hello(e) && send_listeners(e) && send_shared(e) && send_things(e);
}

bool estate_send_rest(const struct estate *e)
{
    return send_cookies(e) && send_tickets(e) && send_backends(e);
}
