/*
 * health: probes and names. See the header.
 * Must never touch what is a worker's, nor wait for an answer anywhere but in the loop.
 */
#include "daemon/health.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/udp.h"
#include "conf/probe.h"
#include "daemon/fleet.h"
#include "daemon/lookup.h"
#include "proxy/pp2.h"
#include "proxy/report.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MISSES_MAX 2  /* probes in a row without an answer that make a backend down */
#define ANSWERS_MAX 8 /* read at a time: one that answers more has time until the next wake-up */

struct watched {
    struct ward *ward;
    const struct backend *conf;
    struct addr addr;
    struct event event; /* on fd */
    int fd;             /* -1: none */
    unsigned missed;
    bool is_asked; /* and has not answered yet */
    bool is_down;
};

/* One service. */
struct ward {
    struct health *health;
    const struct conf_service *conf;
    unsigned service;
    struct event *tick; /* NULL: there is no probe */
    struct watched *list;
    size_t count;
};

struct health {
    struct event_base *base;
    struct fleet *fleet;
    const struct conf *conf; /* a reference; NULL: none yet */
    struct ward *wards;
    size_t count;
    struct lookup *lookup;
    struct event *on_names, *on_turn; /* a round is over; the next one is due */
    unsigned generation, asked_in;    /* snapshots so far; that of the round under way */
    struct log_limit lines;
};

static void tell(const struct health *h, const struct relay_order *order)
{
    unsigned failed = fleet_tell_backend(h->fleet, order);

    if (failed > 0)
        log_error("dtlsgate: out of memory: %u workers miss news of a backend", failed);
}

static struct timeval timeval_of(uint64_t ms)
{
    return (struct timeval){.tv_sec = (time_t)(ms / 1000),
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* ---- probes ---- */

static void set_down(struct watched *w, bool is_down, const char *why)
{
    const struct relay_order order = {.service = w->ward->service,
                                      .what = is_down ? BALANCE_SILENT : BALANCE_ANSWER,
                                      .backend = w->addr};
    const struct report_news news = {&w->addr, !is_down, why};

    if (w->is_down == is_down)
        return;
    w->is_down = is_down;
    tell(w->ward->health, &order);
    report_backend(w->ward->conf, &news, &w->ward->health->lines, clock_now_ms());
}

static void close_socket(struct watched *w)
{
    if (w->fd < 0)
        return;
    event_del(&w->event);
    close(w->fd);
    w->fd = -1;
}

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct watched *w = arg;
    uint8_t byte;

    (void)what;
    for (int i = 0; i < ANSWERS_MAX; i++) {
        if (recv(fd, &byte, sizeof(byte), 0) >= 0) {
            w->is_asked = false;
            w->missed = 0;
            set_down(w, false, "answers the probe");
        } else if (errno == ECONNREFUSED) {
            w->missed = MISSES_MAX;
            set_down(w, true, "refuses the probe");
        } else {
            return;
        }
    }
}

/* From where flows come, as far as a single socket can be there. */
static bool open_socket(struct watched *w)
{
    const struct prefixes *source = &w->ward->conf->backend_source;
    struct addr local;

    w->fd = source->count > 0 && prefixes_range(source) == NULL
                ? udp_connect_from(&source->list[0].base, &w->addr, &local)
                : udp_connect(&w->addr, &local);
    if (w->fd < 0)
        return false;
    if (event_assign(&w->event, w->ward->health->base, w->fd, EV_READ | EV_PERSIST, on_answer, w) ==
            0 &&
        event_add(&w->event, NULL) == 0)
        return true;
    close(w->fd);
    w->fd = -1;
    return false;
}

/* What is not sent is not answered; that is all there is to say of it. A backend that awaits PROXY
 * headers gets one before the probe, too, and would drop it without. */
static void ask(struct watched *w)
{
    const struct conf_service *conf = w->ward->conf;
    size_t head = conf->proxy_protocol != CONF_PROXY_PROTOCOL_OFF ? PP2_LOCAL_SIZE : 0;
    uint8_t datagram[PP2_LOCAL_SIZE + PROBE_MAX];
    size_t len;

    w->is_asked = true;
    if (w->fd < 0 && !open_socket(w))
        return;
    if (head > 0)
        pp2_write_local(datagram);
    for (unsigned i = 0; (len = probe_datagram(conf->probe, i, datagram + head)) > 0; i++)
        if (send(w->fd, datagram, head + len, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED) {
            w->missed = MISSES_MAX;
            set_down(w, true, "refuses the probe");
        }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct ward *ward = arg;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < ward->count; i++) {
        struct watched *w = &ward->list[i];
        if (w->is_asked && w->missed < MISSES_MAX && ++w->missed == MISSES_MAX)
            set_down(w, true, "does not answer the probe");
        ask(w);
    }
}

static bool start_probe(struct ward *ward)
{
    const struct timeval every = timeval_of(ward->conf->probe_interval);

    if (ward->conf->probe == NULL)
        return true;
    ward->tick = event_new(ward->health->base, -1, EV_PERSIST, on_tick, ward);
    if (ward->tick == NULL || event_add(ward->tick, &every) != 0)
        return false;
    event_active(ward->tick, EV_TIMEOUT, 1); /* the first ones go now */
    return true;
}

/* ---- names ---- */

static bool is_listed(const struct ward *ward, const struct addr *a)
{
    for (size_t i = 0; i < ward->count; i++)
        if (addr_equal(&ward->list[i].addr, a))
            return true;
    return false;
}

static void move(struct watched *w, const struct addr *to)
{
    const struct relay_order order = {
        .service = w->ward->service, .is_move = true, .backend = w->addr, .to = *to};
    char before[ADDR_TEXT_MAX], now[ADDR_TEXT_MAX];
    const struct log_field fields[] = {
        {"service", w->ward->conf->name, 0},
        {"name", w->conf->name, 0},
        {"before", addr_format(&w->addr, before), 0},
        {"backend", addr_format(to, now), 0},
        {NULL, NULL, 0},
    };

    log_event(LOG_LEVEL_INFO, "backend moved", fields);
    tell(w->ward->health, &order);
    close_socket(w);
    w->addr = *to;
    w->missed = 0;
    w->is_asked = w->is_down = false;
}

static void on_names(evutil_socket_t fd, short what, void *arg)
{
    struct health *h = arg;
    struct lookup_round *round = lookup_take(h->lookup);

    (void)fd;
    (void)what;
    for (size_t i = 0; round != NULL && h->asked_in == h->generation && i < round->count; i++) {
        const struct lookup_name *n = &round->name[i];
        struct ward *ward = &h->wards[n->tags[0]];
        if (n->now.family != 0 && !addr_is_wildcard(&n->now) && !is_listed(ward, &n->now))
            move(&ward->list[n->tags[1]], &n->now);
    }
    lookup_round_free(round);
}

static size_t count_names(const struct health *h)
{
    size_t n = 0;

    for (size_t i = 0; i < h->count; i++)
        for (size_t j = 0; j < h->wards[i].count; j++)
            n += h->wards[i].list[j].conf->name != NULL;
    return n;
}

/* A turn that comes while a round is under way is left out, and so is one that memory is short for.
 */
static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct health *h = arg;
    struct lookup_round *round = lookup_round_new(count_names(h));

    (void)fd;
    (void)what;
    for (unsigned i = 0; round != NULL && i < h->count; i++)
        for (unsigned j = 0; j < h->wards[i].count; j++) {
            const struct watched *w = &h->wards[i].list[j];
            const struct lookup_name name = {.text = w->conf->name,
                                             .before = w->addr,
                                             .is_bound = w->ward->conf->backend_source.count > 0,
                                             .tags = {i, j}};
            if (name.text != NULL && !lookup_add(round, &name)) {
                lookup_round_free(round);
                return;
            }
        }
    if (round != NULL && lookup_start(h->lookup, round))
        h->asked_in = h->generation;
}

static bool start_names(struct health *h)
{
    uint64_t ms = h->conf->daemon.resolve_interval;
    const struct timeval every = timeval_of(ms);

    event_del(h->on_turn);
    return ms == 0 || count_names(h) == 0 || event_add(h->on_turn, &every) == 0;
}

/* ---- snapshots ---- */

static void clear_ward(struct ward *ward)
{
    for (size_t i = 0; i < ward->count; i++)
        close_socket(&ward->list[i]);
    if (ward->tick != NULL)
        event_free(ward->tick);
    free(ward->list);
}

static void clear_wards(struct ward *wards, size_t count)
{
    for (size_t i = 0; wards != NULL && i < count; i++)
        clear_ward(&wards[i]);
    free(wards);
}

/* The workers keep what they know of a backend that stays while there is a probe, so we do. */
static void remember(struct watched *w, const struct ward *before)
{
    if (before->conf == NULL || before->conf->probe == NULL || w->ward->conf->probe == NULL)
        return;
    for (size_t i = 0; i < before->count; i++)
        if (addr_equal(&before->list[i].addr, &w->addr)) {
            w->is_down = before->list[i].is_down;
            w->missed = before->list[i].missed;
        }
}

static bool fill_ward(struct ward *ward)
{
    const struct backends *b = &ward->conf->backend;

    ward->list = calloc(b->count, sizeof(*ward->list));
    if (ward->list == NULL)
        return false;
    for (; ward->count < b->count; ward->count++)
        ward->list[ward->count] = (struct watched){.ward = ward,
                                                   .conf = &b->list[ward->count],
                                                   .addr = b->list[ward->count].addr,
                                                   .fd = -1};
    return true;
}

/* The set of services is the same in each snapshot. */
bool health_use(struct health *h, const struct conf *conf)
{
    struct ward *wards = calloc(conf->service_count, sizeof(*wards));
    bool ok = wards != NULL;

    for (unsigned i = 0; ok && i < conf->service_count; i++) {
        wards[i] = (struct ward){.health = h, .conf = &conf->service[i], .service = i};
        ok = fill_ward(&wards[i]);
        for (size_t j = 0; ok && h->wards != NULL && j < wards[i].count; j++)
            remember(&wards[i].list[j], &h->wards[i]);
    }
    clear_wards(h->wards, h->count);
    conf_unref(h->conf);
    h->conf = conf_ref(conf);
    h->wards = wards;
    h->count = wards != NULL ? conf->service_count : 0;
    h->generation++;
    for (size_t i = 0; ok && i < h->count; i++)
        ok = start_probe(&wards[i]);
    return ok && start_names(h);
}

void health_free(struct health *h)
{
    if (h == NULL)
        return;
    clear_wards(h->wards, h->count);
    if (h->on_turn != NULL)
        event_free(h->on_turn);
    if (h->on_names != NULL)
        event_free(h->on_names);
    lookup_free(h->lookup);
    conf_unref(h->conf);
    free(h);
}

struct health *health_new(struct event_base *base, struct fleet *fleet)
{
    struct health *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return NULL;
    h->base = base;
    h->fleet = fleet;
    h->lookup = lookup_new();
    if (h->lookup != NULL) {
        h->on_turn = event_new(base, -1, EV_PERSIST, on_turn, h);
        h->on_names = event_new(base, lookup_fd(h->lookup), EV_READ | EV_PERSIST, on_names, h);
    }
    if (h->on_turn != NULL && h->on_names != NULL && event_add(h->on_names, NULL) == 0)
        return h;
    health_free(h);
    return NULL;
}
