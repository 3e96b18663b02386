/*
 * worker: makes the parts of one data path, wires them to each other, and turns the loop.
 * The one file of this layer that reads the clock. Must never decide what becomes of a datagram,
 * nor touch anything of another worker.
 */
#include "proxy/worker.h"

#include "base/access.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/timer.h"
#include "proxy/helper.h"
#include "proxy/worker_state.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* What one turn takes from clients before the backends, the timers and the master have theirs. A
 * batch of joined datagrams may hold two thousand hellos; how many records are in a datagram is
 * bounded by its length, so that counts, too. */
#define TURN_COST 128
#define COST_BYTES 1024 /* of a datagram, for one more */

#define WALL_LOOK_MS 60000 /* the wall clock may be set, or drift */

/* Hands a request on around the ring, until one can serve it or all have been asked. Lost when
 * memory is short: then an identity has one session more than it should. */
static void ask_next(struct worker *w, const struct relay_identity *who, unsigned asked)
{
    struct message what = {.kind = MESSAGE_END_ONE};

    if (!w->next || asked >= w->count)
        return;
    what.with.end_one.who = *who;
    what.with.end_one.asked = asked;
    (void)messages_post_copy(&w->next->messages, &what);
}

static void on_elsewhere(void *arg, const struct relay_identity *who)
{
    struct relay_identity request = *who;

    request.asked = clock_now_ms(); /* now_of() is of when this turn began */
    ask_next(arg, &request, 1);
}

/* What it posts to is another worker's. */
static bool on_pass(void *arg, unsigned index, const struct relay_record *record)
{
    struct worker *w = arg;

    while (w && w->index != index)
        w = w->next != arg ? w->next : NULL;
    return w && messages_pass(&w->messages, record);
}

/* Records of others that have waited since it stopped, and can have no successor: all others have
 * stopped, too. No session has gone yet, so they are dealt with as in any turn. */
static void finish_records(struct worker *w, uint64_t now)
{
    struct message *m;

    while ((m = messages_take_record(&w->messages))) {
        relay_from_worker(w->relay, &m->with.record, now);
        message_free(m);
    }
    relay_flush(w->relay);
}

/* What is let go is told goodbye at once, for there is no turn any more. */
static void move(struct worker *w, struct moving *m, uint64_t now)
{
    if (m->step == MOVING_STOP) {
        w->stopping = m;
        return;
    }
    if (m->step == MOVING_PACK)
        finish_records(w, now);
    moving_carry_out(w->relay, m, now);
    if (m->step == MOVING_GO_ON)
        w->messages.is_held = false;
    if (m->step == MOVING_LET_GO)
        relay_flush(w->relay);
    log_flush();
    access_flush();
    mailbox_post(m->replies, &m->node);
}

static void carry_out(struct worker *w, struct message *m, uint64_t now)
{
    switch (m->kind) {
    case MESSAGE_MOVING:
        move(w, m->with.moving, now);
        break;
    case MESSAGE_SETUP:
        relay_apply(w->relay, &m->with.setup, now);
        break;
    case MESSAGE_COOKIES:
        relay_set_cookies(w->relay, &m->with.cookies);
        break;
    case MESSAGE_TICKETS:
        relay_set_tickets(w->relay, &m->with.tickets);
        break;
    case MESSAGE_BACKEND:
        relay_tell(w->relay, &m->with.backend, now);
        break;
    case MESSAGE_DRAIN:
        relay_drain(w->relay, now);
        break;
    case MESSAGE_UNDRAIN:
        relay_undrain(w->relay);
        break;
    case MESSAGE_INQUIRY:
        relay_inquire(w->relay, m->with.inquiry, now);
        mailbox_post(m->with.inquiry->replies, &m->with.inquiry->node);
        break;
    case MESSAGE_PING:
        break;
    case MESSAGE_END_ONE:
        if (!relay_end_one(w->relay, &m->with.end_one.who, now))
            ask_next(w, &m->with.end_one.who, m->with.end_one.asked + 1);
        break;
    case MESSAGE_RECORD:
        relay_from_worker(w->relay, &m->with.record, now);
        break;
    case MESSAGE_STOP:
        if (w->forgets)
            relay_end_all(w->relay, now);
        else
            relay_leave_all(w->relay, now);
        w->is_over = true;
        break;
    }
}

/* One look at the clock a turn. */
static uint64_t now_of(struct worker *w)
{
    if (w->now == 0)
        w->now = clock_now_ms();
    return w->now;
}

/* Clients cause what others pass on, and others may be faster than one can take it. */
static size_t cost_of(const struct message *m)
{
    return m->kind == MESSAGE_RECORD ? 1 + m->with.record.len / COST_BYTES : 0;
}

/* What it leaves keeps the descriptor readable; of what has waited it leaves nothing. */
static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    uint64_t now = now_of(w);
    struct message *m;
    size_t cost = 0;

    (void)fd;
    (void)what;
    while (!w->is_over && (cost < TURN_COST || messages_have_waited(&w->messages)) &&
           (m = messages_take(&w->messages))) {
        bool is_acknowledged = message_is_acknowledged(m);
        cost += cost_of(m);
        carry_out(w, m, now);
        message_free(m);
        if (!w->is_over && is_acknowledged) {
            log_flush(); /* what it has led to stands before what the master says of it */
            mailbox_ring(w->acks);
        }
    }
}

/* Only ends the wait; what is due is done behind each turn. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    w->tick_at = TIMER_NEVER;
}

static void on_client_batch(void *arg, struct listener *l)
{
    struct worker *w = arg;
    const struct udp_datagram *d;
    uint64_t now = now_of(w);
    size_t cost = 0;

    w->unfinished = NULL;
    while (cost < TURN_COST) {
        d = listener_next(l);
        if (!d)
            return;
        cost += 1 + d->len / COST_BYTES;
        relay_from_client(w->relay, l, d, now);
    }
    w->unfinished = udp_has_rest(w->inbox) ? l : NULL; /* while there is one, nobody reads more */
}

static void on_backend_batch(void *arg, void *owner, struct udp_inbox *in)
{
    struct worker *w = arg;
    const struct udp_datagram *d;
    uint64_t now = now_of(w);

    while ((d = udp_next(in)) != NULL)
        if (!relay_from_backend(w->relay, owner, d, now))
            return;
}

static void on_shared(void *arg, void *owner, const struct udp_datagram *d)
{
    struct worker *w = arg;

    if (owner)
        (void)relay_from_backend(w->relay, owner, d, now_of(w));
    else
        relay_from_stranger(w->relay, d);
}

static void on_refused(void *arg, void *owner, unsigned n)
{
    struct worker *w = arg;

    relay_refused(w->relay, owner, n, now_of(w));
}

static void on_helper_answer(void *arg, void *token, const struct helper_answer *answer)
{
    struct worker *w = arg;

    relay_on_answer(w->relay, token, answer, now_of(w));
}

static const char *on_question(void *arg, unsigned service, const char *path,
                               const struct helper_question *q)
{
    struct worker *w = arg;

    return helpers_ask(w->helpers, service, path, q);
}

static void on_helper_reset(void *arg, unsigned service, const char *why)
{
    struct worker *w = arg;

    helpers_reset(w->helpers, service, why);
}

/* What is due later than the loop wakes anyway is looked at then. */
static void arm_tick(struct worker *w, uint64_t at, uint64_t now)
{
    uint64_t wait = at > now ? at - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000),
                         .tv_usec = (suseconds_t)(wait % 1000 * 1000)};

    if (at >= w->tick_at)
        return;
    w->tick_at = at;
    if (event_add(&w->tick_event, &tv) != 0)
        w->tick_at = TIMER_NEVER; /* out of memory: the next turn tries again */
}

static void end_turn(struct worker *w)
{
    uint64_t now = now_of(w);

    if (now >= w->wall_at) {
        relay_set_wall(w->relay, clock_wall_ms(), now);
        w->wall_at = now + WALL_LOOK_MS;
    }
    arm_tick(w, relay_tick(w->relay, now), now);
    log_flush(); /* who has an answer finds in the log what led to it */
    relay_flush(w->relay);
    log_flush();
    access_flush();
    w->now = 0;
}

/* What has been read is dealt with and what was to be sent is sent: nothing is in between. */
static void stop_if_asked(struct worker *w)
{
    struct moving *m = w->stopping;

    if (!m || w->unfinished)
        return;
    w->stopping = NULL;
    w->messages.is_held = true;
    m->is_done = true;
    mailbox_post(m->replies, &m->node);
}

static void turn(struct worker *w)
{
    struct listener *before = w->unfinished;

    if (event_base_loop(w->base, EVLOOP_ONCE | (before ? EVLOOP_NONBLOCK : 0)) != 0) {
        log_error("worker: the event loop failed: %s", strerror(errno));
        abort(); /* a descriptor that is not ours to wait on: our bug */
    }
    if (before && !w->is_over)
        on_client_batch(w, before);
    end_turn(w);
    stop_if_asked(w);
}

/* The loop watches sockets, which have to wait. */
static void rest(struct worker *w)
{
    struct pollfd mail = {.fd = mailbox_fd(&w->messages.mailbox), .events = POLLIN};

    (void)poll(&mail, 1, -1);
    on_mail(mail.fd, 0, w);
    if (w->messages.is_held)
        w->now = 0;
    else
        end_turn(w); /* what had to wait has led to something, and the loop may have to wait now */
}

static void *run(void *arg)
{
    struct worker *w = arg;

    log_hold();
    if (!w->messages.is_held)
        end_turn(w);
    while (!w->is_over)
        if (w->messages.is_held)
            rest(w);
        else
            turn(w);
    end_turn(w);
    mailbox_ring(w->acks);
    return NULL;
}

static bool make_loop(struct worker *w)
{
    w->base = event_base_new();
    if (!w->base)
        return false;
    w->tick_at = TIMER_NEVER;
    return event_assign(&w->tick_event, w->base, -1, 0, on_tick, w) == 0 &&
           event_assign(&w->mail_event, w->base, mailbox_fd(&w->messages.mailbox),
                        EV_READ | EV_PERSIST, on_mail, w) == 0 &&
           event_add(&w->mail_event, NULL) == 0;
}

static bool make_upstream(struct worker *w, const struct worker_params *params)
{
    struct upstream_hooks hooks = {.on_datagrams = on_backend_batch,
                                   .on_shared = on_shared,
                                   .on_refused = on_refused,
                                   .arg = w};

    w->upstream = upstream_new(w->base, params->offload, &hooks);
    return w->upstream != NULL;
}

static bool make_listeners(struct worker *w, const struct worker_params *params)
{
    struct listener_hooks hooks = {.on_datagrams = on_client_batch, .arg = w};

    w->listeners = calloc(params->socket_count, sizeof(struct listener *));
    if (!w->listeners)
        return false;
    for (size_t i = 0; i < params->socket_count; i++) {
        const struct worker_socket *s = &params->sockets[i];
        struct listener *l = listener_new(w->base, w->inbox, s->fd, &s->bound, &hooks);
        if (!l)
            return false;
        listener_tag(l, (unsigned)i, s->service);
        w->listeners[w->listener_count++] = l;
    }
    return true;
}

static bool make_relay(struct worker *w, const struct worker_params *params,
                       struct relay_setup *setup)
{
    struct relay_parts parts = {.worker = params->index,
                                .worker_count = params->count,
                                .upstream = w->upstream,
                                .outbox = w->outbox,
                                .stats = &w->stats,
                                .services = w->services,
                                .listeners = w->listeners,
                                .listener_count = w->listener_count,
                                .shared = params->shared,
                                .cache = params->cache,
                                .elsewhere = {on_elsewhere, params->count > 1 ? on_pass : NULL, w},
                                .asker = {on_question, on_helper_reset, w}};

    w->helpers = helpers_new(w->base, on_helper_answer, w);
    if (!w->helpers)
        return false;
    w->relay = relay_new(&parts, setup, params->cookies);
    if (!w->relay)
        return false;
    if (params->tickets)
        relay_set_tickets(w->relay, params->tickets);
    return true;
}

/* Each service has a socket, so the last one of them tells how many there are. */
static struct service_stats *new_services(const struct worker_params *params)
{
    unsigned last = 0;

    for (size_t i = 0; i < params->socket_count; i++)
        if (params->sockets[i].service > last)
            last = params->sockets[i].service;
    return calloc(last + 1, sizeof(struct service_stats));
}

/* The mirror of worker_new(), whose last step may be missing as well as all but the first. */
static void free_parts(struct worker *w)
{
    if (w->relay)
        relay_free(w->relay);
    helpers_free(w->helpers);
    for (size_t i = 0; i < w->listener_count; i++)
        listener_free(w->listeners[i]);
    free(w->listeners);
    upstream_free(w->upstream);
    udp_outbox_free(w->outbox);
    udp_inbox_free(w->inbox);
    if (w->base) {
        event_del(&w->mail_event);
        event_del(&w->tick_event);
        event_base_free(w->base);
    }
    free(w->services);
    messages_clear(&w->messages);
    free(w);
}

struct worker *worker_new(const struct worker_params *params, struct relay_setup *setup)
{
    struct worker *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    if (!messages_init(&w->messages)) {
        free(w);
        return NULL;
    }
    w->acks = params->acks;
    w->index = params->index;
    w->count = params->count;
    w->stop.kind = MESSAGE_STOP;
    w->ping.kind = MESSAGE_PING;
    w->moving.kind = MESSAGE_MOVING;
    w->messages.is_held = params->is_stopped;
    w->inbox = udp_inbox_new(false);
    w->outbox = udp_outbox_new(params->offload.send, NULL, NULL);
    w->services = new_services(params);
    if (w->services && w->inbox && w->outbox && make_loop(w) && make_upstream(w, params) &&
        make_listeners(w, params) && make_relay(w, params, setup))
        return w;
    free_parts(w);
    return NULL;
}

bool worker_keep(struct worker *w, struct keep_shared *shared)
{
    return relay_keep(w->relay, shared);
}

const char *worker_restore(struct worker *w, const struct restore *order)
{
    return relay_restore(w->relay, order);
}

void worker_restored(struct worker *w)
{
    relay_restored(w->relay, clock_now_ms());
}

bool worker_start(struct worker *w)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* a denied system call must reach its thread (daemon/box) */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->is_started = error == 0;
    errno = error;
    return w->is_started;
}

bool worker_unpack(struct worker *w, struct moving_arrival *a, const char **why)
{
    uint64_t now = clock_now_ms();

    relay_set_wall(w->relay, clock_wall_ms(), now);
    return moving_unpack(w->relay, a, now, why);
}

void worker_join(struct worker *w)
{
    if (!w->is_started)
        return;
    worker_post_stop(w);
    pthread_join(w->thread, NULL);
    w->is_started = false;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    worker_join(w);
    free_parts(w);
}
