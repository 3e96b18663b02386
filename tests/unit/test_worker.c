/* worker: the thread, its messages and acknowledgements, and what it passes on to the relay, whose
 * place a recording one takes here. */
#include "proxy/worker.h"

#include "base/timer.h"
#include "proxy/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
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
    uint64_t due;            /* 0: nothing is */
    bool is_late;            /* asked once since it was due */
    unsigned walls;          /* so often it was told the wall clock's time */
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
    if (is_refusing)
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
        r->flow = upstream_open(r->parts.upstream, &backend_at, r);
    if (r->flow) {
        memcpy(upstream_reserve(r->parts.upstream, d->len), d->data, d->len);
        upstream_commit(r->flow, d->len);
        if (d->data[0] == '2')
            answer_twice(upstream_port(r->flow));
    }
    memcpy(udp_outbox_reserve(r->parts.outbox, d->len), d->data, d->len);
    listener_commit(l, r->parts.outbox, d->len, &d->peer, &d->local);
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

void relay_refused(struct relay *r, void *session, unsigned n, uint64_t now)
{
    say(r, n == 1 && session != NULL && now > 0 ? 'r' : '?');
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
    r->is_flushed = upstream_flush(r->parts.upstream) + udp_outbox_flush(r->parts.outbox) == 0;
}

void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    r->conf = setup->conf;
    say(r, now > 0 ? 'A' : '?');
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

void relay_drain(struct relay *r, uint64_t now)
{
    say(r, now > 0 ? 'D' : '?');
}

void relay_end_all(struct relay *r, uint64_t now)
{
    r->is_flushed = false;
    say(r, now > 0 ? 'E' : '?');
}

bool relay_end_one(struct relay *r, const struct relay_identity *who, uint64_t now)
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

static void test_relay_gets_the_parts(void **state)
{
    (void)state;
    assert_int_equal(relay.parts.worker, 1);
    assert_int_equal(relay.parts.worker_count, 2);
    assert_non_null(relay.parts.upstream);
    for (unsigned i = 0; i < SOCKETS; i++) {
        assert_int_equal(listener_index(relay.parts.listeners[i]), i);
        assert_int_equal(listener_service(relay.parts.listeners[i]), 3 + i);
    }
}

static void test_clients_are_heard_and_answered(void **state)
{
    struct world *w = *state;
    int one = client_of(w, 0), two = client_of(w, 1);

    assert_true(worker_start(w->worker));
    exchange(one, "hello");
    exchange(two, "you");
    stop_and_wait(w);
    assert_string_equal(relay.said, "34E");
    assert_int_equal(relay.walls, 1); /* before the first turn, and again when a minute is over */
    close(one);
    close(two);
}

static void test_counters_are_readable_while_it_runs(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    assert_int_equal(
        atomic_load_explicit(&worker_stats(w->worker)->client_datagrams, memory_order_relaxed), 1);
    close(fd);
}

static void test_backend_is_heard_until_the_session_is_gone(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "2");
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3bE");
    close(fd);
}

static void test_refusals_reach_the_relay(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    close(backend_fd);
    backend_fd = -1;
    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3rE");
    close(fd);
}

static void test_tick_comes_when_it_was_asked_for(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    assert_int_equal(send(fd, "t", 1, 0), 1);
    await_count(rung, 1);
    assert_int_equal(send(fd, "t", 1, 0), 1); /* and again */
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3T3TE");
    close(fd);
}

static void test_messages_are_carried_out_in_order_and_acknowledged(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};

    cookie_secrets_rotate(&w->cookies);
    assert_int_not_equal(relay.generation, w->cookies.generation);
    assert_true(worker_post_drain(w->worker));
    assert_true(worker_post_cookies(w->worker, &w->cookies));
    assert_true(worker_post_setup(w->worker, &next));
    assert_null(next.conf);
    assert_nothing_added(w->acks);
    assert_true(worker_start(w->worker));
    await_count(w->acks, 3);
    assert_string_equal(relay.said, "DCA");
    assert_ptr_equal(relay.conf, snapshot(1));
    assert_int_equal(relay.generation, w->cookies.generation);
    assert_int_equal(cleared, 0);
}

static void test_messages_reach_a_waiting_thread(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    for (int i = 0; i < 3; i++) {
        assert_true(worker_post_drain(w->worker));
        await_count(w->acks, 1);
    }
    assert_string_equal(relay.said, "DDD");
}

static void test_stop_is_acknowledged_once_all_is_sent(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    worker_post_stop(w->worker);
    worker_post_stop(w->worker); /* harmless */
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "E");
    assert_true(relay.is_flushed);
    worker_free(w->worker);
    w->worker = NULL;
    assert_nothing_added(w->acks);
    assert_string_equal(relay.said, "EF");
}

static void test_messages_behind_the_stop_are_dropped(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};

    worker_post_stop(w->worker);
    assert_true(worker_post_setup(w->worker, &next));
    assert_true(worker_post_cookies(w->worker, &w->cookies));
    assert_true(worker_start(w->worker));
    worker_free(w->worker);
    w->worker = NULL;
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "EF");
    assert_int_equal(cleared, 1);
}

static void test_requests_of_workers_go_around_once_and_unacknowledged(void **state)
{
    struct world *w = *state;
    const struct relay_identity none_has = {.service = 1, .len = 2, .identity = "me"};
    const struct relay_identity one_has = {.service = 0, .len = 2, .identity = "me"};

    /* A ring of two, both of which are this one. */
    worker_link(w->worker, w->worker);
    relay.parts.elsewhere.end_one(relay.parts.elsewhere.arg, &none_has);
    relay.parts.elsewhere.end_one(relay.parts.elsewhere.arg, &one_has);
    assert_true(worker_post_drain(w->worker));
    assert_true(worker_start(w->worker));
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "11D");
    stop_and_wait(w);
    assert_string_equal(relay.said, "11DE");
    assert_nothing_added(w->acks);
}

static void test_free_stops_a_running_thread(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    worker_free(w->worker);
    w->worker = NULL;
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "EF");
}

static void test_free_without_a_start_gives_waiting_setups_back(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};

    assert_true(worker_post_setup(w->worker, &next));
    worker_free(w->worker);
    w->worker = NULL;
    assert_int_equal(cleared, 1);
    assert_string_equal(relay.said, "F");
    assert_nothing_added(w->acks);
}

static int lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_failing_to_make_one_leaves_the_setup_and_no_descriptor(void **state)
{
    struct world *w = *state;
    struct relay_setup setup = {.conf = snapshot(2)};
    int before = lowest_free_descriptor();

    is_refusing = true;
    assert_null(worker_new(&w->params, &setup));
    assert_ptr_equal(setup.conf, snapshot(2));
    assert_int_equal(cleared, 0);
    assert_int_equal(lowest_free_descriptor(), before);
}

static void test_signals_are_blocked_in_the_thread_alone(void **state)
{
    struct world *w = *state;
    sigset_t mine;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    stop_and_wait(w);
    assert_int_equal(sigismember(&relay.blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&relay.blocked, SIGHUP), 1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    assert_int_equal(sigismember(&mine, SIGTERM), 0);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_relay_gets_the_parts),
        TEST(test_clients_are_heard_and_answered),
        TEST(test_counters_are_readable_while_it_runs),
        TEST(test_backend_is_heard_until_the_session_is_gone),
        TEST(test_refusals_reach_the_relay),
        TEST(test_tick_comes_when_it_was_asked_for),
        TEST(test_messages_are_carried_out_in_order_and_acknowledged),
        TEST(test_messages_reach_a_waiting_thread),
        TEST(test_stop_is_acknowledged_once_all_is_sent),
        TEST(test_messages_behind_the_stop_are_dropped),
        TEST(test_requests_of_workers_go_around_once_and_unacknowledged),
        TEST(test_free_stops_a_running_thread),
        TEST(test_free_without_a_start_gives_waiting_setups_back),
        TEST(test_failing_to_make_one_leaves_the_setup_and_no_descriptor),
        TEST(test_signals_are_blocked_in_the_thread_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
