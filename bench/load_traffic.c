/*
 * load_traffic: datagrams over open sessions, in a closed or an open loop, and the check of each
 * answer: its owner, its place, its content.
 */
#include "load.h"

#include "args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EVENTS 256
#define NOISE_STARTS 256
/* The slot of what is sent in the open loop; no window has as many. */
#define PACED UINT32_MAX

static uint8_t noise[NOISE_STARTS + RAW_PLAIN_MAX];
static uint64_t last_end_us; /* when the last datagram came back or was given up */
static uint64_t stop_us;     /* no new datagrams from then on; 0: no such time */

/* Neighbours in session, slot or turn carry different bytes. */
static const uint8_t *noise_of(uint32_t session, uint32_t slot, uint64_t turn)
{
    return noise + (session * 31 + slot * 7 + turn) % NOISE_STARTS;
}

struct mark {
    uint32_t id, at;
    uint64_t turn;
};

static void send_marked(struct load *l, struct load_session *s, uint32_t at, uint64_t turn)
{
    uint8_t data[RAW_PLAIN_MAX];

    l->count.sent++;
    memcpy(data, &s->id, 4);
    memcpy(data + 4, &at, 4);
    memcpy(data + 8, &turn, 8);
    memcpy(data + LOAD_HEADER, noise_of(s->id, at, turn), l->opt.payload - LOAD_HEADER);
    client_send(&s->client, data, l->opt.payload);
}

/* False: no answer to anything this session has sent. */
static bool read_mark(const struct load *l, const struct load_session *s, const uint8_t *data,
                      size_t len, struct mark *out)
{
    if (len != l->opt.payload)
        return false;
    memcpy(&out->id, data, 4);
    memcpy(&out->at, data + 4, 4);
    memcpy(&out->turn, data + 8, 8);
    return out->id == s->id && memcmp(data + LOAD_HEADER, noise_of(out->id, out->at, out->turn),
                                      len - LOAD_HEADER) == 0;
}

/* --- the closed loop ------------------------------------------------------------------------- */

static bool may_send(const struct load *l)
{
    if (load_terminated || (l->opt.count != 0 && l->count.sent >= l->opt.count))
        return false;
    return stop_us == 0 || l->now_us < stop_us;
}

static void send_next(struct load *l, struct load_session *s, uint32_t at)
{
    struct load_slot *slot = &s->slot[at];

    slot->turn++;
    slot->sent_us = l->now_us;
    slot->flying = true;
    send_marked(l, s, at, slot->turn);
}

static void end_flight(struct load *l, struct load_session *s, uint32_t at)
{
    s->slot[at].flying = false;
    last_end_us = l->now_us;
    if (s->client.state == CLIENT_OPEN && may_send(l))
        send_next(l, s, at);
}

static void on_answer(struct load *l, struct load_session *s, const uint8_t *data, size_t len)
{
    struct mark m;

    if (!read_mark(l, s, data, len, &m) || m.at >= l->opt.window || m.turn == 0 ||
        m.turn > s->slot[m.at].turn) {
        l->count.wrong++;
    } else if (m.turn < s->slot[m.at].turn || !s->slot[m.at].flying) {
        l->count.late++; /* after it was given up, or a second time */
    } else {
        l->count.round_trips++;
        end_flight(l, s, m.at);
    }
}

typedef void (*on_datagram)(struct load *l, struct load_session *s, const uint8_t *data,
                            size_t len);

static void on_readable(struct load *l, struct load_session *s, on_datagram answer)
{
    uint8_t data[RAW_PLAIN_MAX + 1];
    size_t n;

    while ((n = client_receive(&s->client, data, sizeof(data))) > 0)
        answer(l, s, data, n);
    l->count.closed += s->client.state != CLIENT_OPEN;
}

/* Gives up what has waited too long; returns how many are still on their way. */
static size_t give_up_overdue(struct load *l)
{
    uint64_t wait_us = (uint64_t)l->opt.timeout_ms * 1000;
    size_t flying = 0;

    for (unsigned i = 0; i < l->opt.sessions; i++) {
        struct load_session *s = &l->session[i];
        for (uint32_t at = 0; at < l->opt.window; at++) {
            struct load_slot *slot = &s->slot[at];
            if (slot->flying &&
                (s->client.state != CLIENT_OPEN || l->now_us > slot->sent_us + wait_us)) {
                l->count.lost++;
                end_flight(l, s, at);
            }
            flying += slot->flying;
        }
    }
    return flying;
}

static void exchange(struct load *l)
{
    struct epoll_event event[EVENTS];
    uint64_t next_tick_us = 0;
    bool running = true;

    for (unsigned i = 0; i < l->opt.sessions; i++)
        for (uint32_t at = 0; at < l->opt.window; at++)
            if (l->session[i].client.state == CLIENT_OPEN && may_send(l))
                send_next(l, &l->session[i], at);
    while (running) {
        client_flush();
        int ready = epoll_wait(l->poller, event, EVENTS, LOAD_TICK_MS);
        l->now_us = clock_ns() / 1000;
        for (int i = 0; i < ready; i++)
            on_readable(l, event[i].data.ptr, on_answer);
        if (l->now_us >= next_tick_us || l->count.round_trips + l->count.lost == l->count.sent) {
            next_tick_us = l->now_us + LOAD_TICK_MS * 1000;
            running = give_up_overdue(l) > 0;
        }
    }
}

static double seconds_since(uint64_t start_us, uint64_t end_us)
{
    return end_us > start_us ? (double)(end_us - start_us) / 1e6 : 0;
}

static void print_counters(const struct load *l, const char *mode, uint64_t start_us)
{
    const struct load_counters *c = &l->count;
    double seconds = seconds_since(start_us, last_end_us);

    printf("mode=%s sessions=%" PRIu64 " failed=%" PRIu64 " closed=%" PRIu64
           " payload=%u round_trips=%" PRIu64 " lost=%" PRIu64 " late=%" PRIu64 " wrong=%" PRIu64
           " refused=%" PRIu64 " seconds=%.3f per_second=%.0f",
           mode, c->opened, c->failed, c->closed, l->opt.payload, c->round_trips, c->lost, c->late,
           c->wrong, client_refusals(), seconds,
           seconds > 0 ? (double)c->round_trips / seconds : 0);
}

void load_warm_up(struct load *l)
{
    struct load_slot *slots = calloc((size_t)l->opt.sessions * l->opt.window, sizeof(*slots));
    struct load_options measured = l->opt;

    if (!slots)
        die("calloc");
    for (unsigned i = 0; i < l->opt.sessions; i++)
        l->session[i].slot = slots + (size_t)i * l->opt.window;
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((i * 2654435761u) >> 13);
    l->opt.window = 1;
    l->opt.count = l->opt.sessions;
    exchange(l);
    l->opt = measured;
    l->count.sent = l->count.round_trips = l->count.lost = l->count.late = 0;
}

void load_traffic(struct load *l)
{
    uint64_t start_us = clock_ns() / 1000;

    l->now_us = last_end_us = start_us;
    if (l->opt.seconds != 0)
        stop_us = start_us + (uint64_t)l->opt.seconds * 1000000;
    exchange(l);
    print_counters(l, "traffic", start_us);
    printf(" window=%u\n", l->opt.window);
    free(l->session[0].slot);
}

/* --- the open loop --------------------------------------------------------------------------- */

/* Datagram n is due n/rate after the start, whatever has become of those before it, and its latency
 * counts from then on: so a proxy that stalls pays for all that should have been sent meanwhile. */
static uint64_t start_ns;
static uint32_t *latency_ns; /* by turn; 0: no answer yet */

static uint64_t due_ns(const struct load *l, uint64_t turn)
{
    return start_ns + turn / l->opt.rate * 1000000000u +
           turn % l->opt.rate * 1000000000u / l->opt.rate;
}

static void on_paced_answer(struct load *l, struct load_session *s, const uint8_t *data, size_t len)
{
    uint64_t now = clock_ns();
    struct mark m;

    if (!read_mark(l, s, data, len, &m)) {
        l->count.wrong++;
    } else if (m.at != PACED) {
        l->count.late++; /* of the warm-up */
    } else if (m.turn >= l->count.sent || m.turn % l->opt.sessions != s->id) {
        l->count.wrong++;
    } else if (latency_ns[m.turn] != 0 || now - due_ns(l, m.turn) >= UINT32_MAX) {
        l->count.late++;
    } else {
        l->count.round_trips++;
        latency_ns[m.turn] = (uint32_t)(now - due_ns(l, m.turn));
        last_end_us = now / 1000;
    }
}

static void send_due(struct load *l, uint64_t now_ns)
{
    while (l->count.sent < l->opt.count && due_ns(l, l->count.sent) <= now_ns) {
        uint64_t turn = l->count.sent;
        struct load_session *s = &l->session[turn % l->opt.sessions];
        if (s->client.state == CLIENT_OPEN)
            send_marked(l, s, PACED, turn);
        else
            l->count.sent++;
    }
    client_flush();
}

/* Never sleeps: the time it takes to wake up would be added to each latency. */
static void pace(struct load *l)
{
    struct epoll_event event[EVENTS];
    uint64_t end_ns = due_ns(l, l->opt.count) + (uint64_t)l->opt.timeout_ms * 1000000u, now_ns;

    do {
        now_ns = clock_ns();
        send_due(l, now_ns);
        int ready = epoll_wait(l->poller, event, EVENTS, 0);
        for (int i = 0; i < ready; i++)
            on_readable(l, event[i].data.ptr, on_paced_answer);
    } while (!load_terminated && now_ns < end_ns && l->count.round_trips < l->opt.count);
    l->count.lost = l->count.sent - l->count.round_trips;
}

static int compare_latency(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

    return (one > other) - (one < other);
}

/* Of those that came back, which stand behind the others once sorted. */
static double latency_us(const struct load *l, double part)
{
    uint64_t came = l->count.round_trips, rank = (uint64_t)((double)came * part);

    if (came == 0)
        return 0;
    rank = rank < came ? rank : came - 1;
    return (double)latency_ns[l->opt.count - came + rank] / 1000;
}

void load_paced(struct load *l)
{
    latency_ns = calloc(l->opt.count, sizeof(*latency_ns));
    if (!latency_ns)
        die("calloc");
    start_ns = clock_ns();
    last_end_us = start_ns / 1000;
    pace(l);
    print_counters(l, "paced", start_ns / 1000);
    qsort(latency_ns, l->opt.count, sizeof(*latency_ns), compare_latency);
    printf(" rate=%" PRIu64 " p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f\n", l->opt.rate,
           latency_us(l, 0.5), latency_us(l, 0.99), latency_us(l, 0.999), latency_us(l, 1));
    free(latency_ns);
    free(l->session[0].slot);
}
