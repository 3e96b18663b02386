/*
 * worker_rig: a worker whose place of a relay a recording one takes, with sockets around it.
 */
#ifndef DTLSGATE_TESTS_WORKER_RIG_H
#define DTLSGATE_TESTS_WORKER_RIG_H

#include "proxy/worker.h"

#include "base/timer.h"
#include "proxy/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SAID_MAX 32
#define SOCKETS 2

/* The thread writes it; the test reads it behind an acknowledgement or a ring only. */
struct relay {
    struct relay_parts parts;
    const struct conf *conf;
    uint8_t generation;
    struct flow *flow;
    uint64_t due;   /* 0: nothing is */
    bool is_late;   /* asked once since it was due */
    unsigned walls; /* so often it was told the wall clock's time */
    atomic_uint flushes;
    bool is_flushed;         /* since the last thing that queues */
    char said[SAID_MAX + 1]; /* what was called, a letter each */
    size_t said_count;
    sigset_t blocked;
};

struct world {
    struct worker_socket socket[SOCKETS];
    struct worker_params params;
    struct cookie_secrets cookies;
    struct relay_setup setup;
    struct worker *worker;
    int acks;
};

static struct relay relay;
static struct addr backend_at;
static int backend_fd;
static int rung;           /* eventfd: the relay has been called */
static int cleared;        /* setups that were given back unused */
static bool is_refusing;   /* relay_new() fails */
static char conf_of_id[3]; /* snapshots are only told apart */

static const struct conf *snapshot(size_t id)
{
    return (const struct conf *)(const void *)&conf_of_id[id];
}

static void say(struct relay *r, char what)
{
    if (r->said_count < SAID_MAX)
        r->said[r->said_count++] = what;
}

void relay_setup_clear(struct relay_setup *setup)
{
    (void)setup;
    cleared++;
}

struct relay *relay_new(const struct relay_parts *parts, struct relay_setup *setup,
                        const struct cookie_secrets *cookies)
{
    static const struct prefixes no_source;
    const struct upstream_service service = {.source = &no_source};

    if (is_refusing || !upstream_add(parts->upstream, &service))
        return NULL;
    relay = (struct relay){.parts = *parts, .conf = setup->conf, .generation = cookies->generation};
    return &relay;
}

void relay_free(struct relay *r)
{
    if (r->flow)
        upstream_close(r->flow);
    say(r, 'F');
}

/* Two answers that are there before the worker looks. */
static void answer_twice(uint16_t port)
{
    struct addr to = backend_at;
    struct sockaddr_storage name;
    socklen_t len;

    to.port = port;
    len = addr_to_sockaddr(&to, AF_INET, &name);
    for (int i = 0; i < 2; i++)
        (void)sendto(backend_fd, "re", 2, 0, (struct sockaddr *)&name, len);
}

/* "t" asks for a tick soon; anything else goes to the backend and back to the client. */
void relay_from_client(struct relay *r, struct listener *l, const struct udp_datagram *d,
                       uint64_t now)
{
    say(r, (char)('0' + listener_service(l)));
    stats_add(&r->parts.stats->client_datagrams, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &r->blocked);
    if (d->len == 1 && d->data[0] == 't') {
        r->due = now + 10;
        return;
    }
    if (!r->flow)
        r->flow = upstream_open(r->parts.upstream, 0, &backend_at, UPSTREAM_ANY, r);
    if (r->flow) {
        memcpy(upstream_reserve(r->parts.upstream, d->len), d->data, d->len);
        upstream_commit(r->flow, d->len);
        if (d->data[0] == '2')
            answer_twice(upstream_port(r->flow));
    }
    memcpy(udp_outbox_reserve(r->parts.outbox, d->len), d->data, d->len);
    listener_commit(l, r->parts.outbox, d->len, &d->peer, &d->local);
}

void relay_from_worker(struct relay *r, const struct relay_record *record, uint64_t now)
{
    (void)now;
    say(r, record->listener == 7 && record->len == 4 && memcmp(record->data, "some", 4) == 0 ? 'p'
                                                                                             : '?');
}

/* Takes the first and ends the session with it. */
bool relay_from_backend(struct relay *r, void *session, const struct udp_datagram *d, uint64_t now)
{
    say(r, session == r && r->flow && d->len > 0 && now > 0 ? 'b' : '?');
    if (r->flow)
        upstream_close(r->flow);
    r->flow = NULL;
    mailbox_ring(rung);
    return false;
}

void relay_from_stranger(struct relay *r, const struct udp_datagram *d)
{
    (void)d;
    say(r, '?'); /* no service here shares a socket */
}

void relay_refused(struct relay *r, void *session, unsigned n, uint64_t now)
{
    say(r, n == 1 && session != NULL && now > 0 ? 'r' : '?');
    mailbox_ring(rung);
}

void relay_on_answer(struct relay *r, void *token, const struct helper_answer *answer, uint64_t now)
{
    say(r, token == r && answer->verdict == HELPER_FAILED && now > 0 ? 'a' : '?');
    mailbox_ring(rung);
}

/* Wants to be asked twice, for the loop may wake a little early and has to come again. */
uint64_t relay_tick(struct relay *r, uint64_t now)
{
    if (r->due == 0)
        return TIMER_NEVER;
    if (now < r->due || !r->is_late) {
        r->is_late = now >= r->due;
        return r->due;
    }
    r->due = 0;
    r->is_late = false;
    say(r, 'T');
    mailbox_ring(rung);
    return TIMER_NEVER;
}

void relay_flush(struct relay *r)
{
    atomic_fetch_add(&r->flushes, 1);
    r->is_flushed = upstream_flush(r->parts.upstream) + udp_outbox_flush(r->parts.outbox) == 0;
}

void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    r->conf = setup->conf;
    say(r, now > 0 ? 'A' : '?');
}

void relay_tell(struct relay *r, const struct relay_order *order, uint64_t now)
{
    say(r, order->service == 1 && order->what == BALANCE_DRAIN && now > 0 ? 'B' : '?');
}

const struct balance *relay_balance(const struct relay *r, unsigned service)
{
    (void)r;
    (void)service;
    return NULL;
}

void relay_set_wall(struct relay *r, uint64_t wall, uint64_t now)
{
    assert_true(wall > 0 && now > 0);
    r->walls++;
}

void relay_set_cookies(struct relay *r, const struct cookie_secrets *cookies)
{
    r->generation = cookies->generation;
    say(r, 'C');
}

void relay_set_tickets(struct relay *r, const struct ticket_keys *tickets)
{
    say(r, tickets->is_set ? 'K' : '?');
}

void relay_drain(struct relay *r, uint64_t now)
{
    say(r, now > 0 ? 'D' : '?');
}

void relay_undrain(struct relay *r)
{
    say(r, 'U');
}

void relay_inquire(struct relay *r, struct inquiry *q, uint64_t now)
{
    say(r, now > 0 ? 'Q' : '?');
    q->count = 7;
}

void relay_end_all(struct relay *r, uint64_t now)
{
    r->is_flushed = false;
    say(r, now > 0 ? 'E' : '?');
}

void relay_leave_all(struct relay *r, uint64_t now)
{
    r->is_flushed = false;
    say(r, now > 0 ? 'L' : '?');
}

bool relay_keep(struct relay *r, struct keep_shared *shared)
{
    say(r, shared != NULL ? 'K' : '?');
    return true;
}

const char *relay_restore(struct relay *r, const struct restore *order)
{
    say(r, order->entry != NULL ? 'R' : '?');
    return NULL;
}

void relay_restored(struct relay *r, uint64_t now)
{
    (void)now;
    say(r, 'r');
}

void moving_carry_out(struct relay *r, struct moving *m, uint64_t now)
{
    (void)now;
    if (m->step == MOVING_PACK)
        say(r, 'K');
    m->is_done = true;
}

bool moving_unpack(struct relay *r, struct moving_arrival *a, uint64_t now, const char **why)
{
    (void)r;
    (void)a;
    (void)now;
    (void)why;
    return true;
}

bool relay_end_one(struct relay *r, struct relay_identity *who, uint64_t now)
{
    say(r, now > 0 && who->len == 2 && memcmp(who->identity, "me", 2) == 0 ? '1' : '?');
    return who->service == 0;
}

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

/* Waits until `n` have been added in all. */
static void await_count(int fd, uint64_t n)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t sum = 0, got;

    while (sum < n) {
        assert_int_equal(poll(&p, 1, 5000), 1);
        assert_int_equal(read(fd, &got, sizeof(got)), sizeof(got));
        sum += got;
    }
    assert_int_equal(sum, n);
}

static void assert_nothing_added(int fd)
{
    uint64_t got;

    assert_int_equal(read(fd, &got, sizeof(got)), -1);
}

static int open_socket(struct addr *bound)
{
    struct addr any;
    int fd;

    assert_true(addr_parse(&any, "127.0.0.1:0"));
    fd = udp_listen(&any, false, false, bound);
    assert_true(fd >= 0);
    return fd;
}

static int set_up(void **state)
{
    static struct world w;

    w = (struct world){.setup.conf = snapshot(0)};
    for (unsigned i = 0; i < SOCKETS; i++) {
        w.socket[i].fd = open_socket(&w.socket[i].bound);
        w.socket[i].service = 3 + i;
    }
    backend_fd = open_socket(&backend_at);
    w.acks = new_eventfd();
    rung = new_eventfd();
    cleared = 0;
    is_refusing = false;
    cookie_secrets_init(&w.cookies);
    w.params = (struct worker_params){.index = 1,
                                      .count = 2,
                                      .sockets = w.socket,
                                      .socket_count = SOCKETS,
                                      .acks = w.acks,
                                      .cookies = &w.cookies};
    w.worker = worker_new(&w.params, &w.setup);
    assert_non_null(w.worker);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    worker_free(w->worker);
    for (unsigned i = 0; i < SOCKETS; i++)
        close(w->socket[i].fd);
    close(backend_fd);
    close(w->acks);
    close(rung);
    return 0;
}

static int client_of(const struct world *w, unsigned socket)
{
    struct addr self;
    int fd = udp_connect(&w->socket[socket].bound, &self);

    assert_true(fd >= 0);
    return fd;
}

/* Sends and waits for the echo, so that the turn is over but for its end. */
static void exchange(int fd, const char *text)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char got[16];

    assert_int_equal(send(fd, text, strlen(text), 0), (int)strlen(text));
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(recv(fd, got, sizeof(got), 0), (int)strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void stop_and_wait(struct world *w)
{
    worker_post_stop(w->worker);
    await_count(w->acks, 1);
}

#endif
