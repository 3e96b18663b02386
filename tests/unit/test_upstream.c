/* upstream: on a real loop and loopback sockets: ports, boundaries, refusals, and flows that end in
 * the middle of a turn. */
#include "proxy/upstream.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GOT_MAX 64

struct world {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct upstream *upstream;
    struct addr backend;
    int backend_fd;
    unsigned refused;
    void *refused_owner;
    size_t count;
    void *owner[GOT_MAX];
    size_t len[GOT_MAX];
    uint8_t first[GOT_MAX];
    void (*then)(struct world *w); /* within the hook */
    struct flow *flow[3];
};

static void on_datagrams(void *arg, void *owner, const struct udp_datagram *list, size_t count)
{
    struct world *w = arg;

    for (size_t i = 0; i < count; i++) {
        assert_true(w->count < GOT_MAX);
        w->owner[w->count] = owner;
        w->len[w->count] = list[i].len;
        w->first[w->count++] = list[i].len > 0 ? list[i].data[0] : 0;
    }
    if (w->then)
        w->then(w);
}

static void on_refused(void *arg, void *owner, unsigned n)
{
    struct world *w = arg;

    w->refused_owner = owner;
    w->refused += n;
}

static int set_up(void **state)
{
    static struct world w;
    struct upstream_hooks hooks = {
        .on_datagrams = on_datagrams, .on_refused = on_refused, .arg = &w};
    struct addr any;

    w = (struct world){.base = event_base_new(), .inbox = udp_inbox_new()};
    assert_non_null(w.base);
    assert_non_null(w.inbox);
    w.upstream = upstream_new(w.base, w.inbox, &hooks);
    assert_non_null(w.upstream);
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    w.backend_fd = udp_listen(&any, false, false, &w.backend);
    assert_true(w.backend_fd >= 0);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    upstream_free(w->upstream);
    close(w->backend_fd);
    udp_inbox_free(w->inbox);
    event_base_free(w->base);
    return 0;
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
    bool *expired = arg;

    (void)fd;
    (void)what;
    *expired = true;
}

/* Turns the loop until `count` datagrams and `refused` refusals are here. */
static void await(struct world *w, size_t count, unsigned refused)
{
    struct timeval limit = {.tv_sec = 5};
    bool expired = false;
    struct event *guard = evtimer_new(w->base, on_guard, &expired);

    assert_int_equal(evtimer_add(guard, &limit), 0);
    while ((w->count < count || w->refused < refused) && !expired)
        event_base_loop(w->base, EVLOOP_ONCE);
    event_free(guard);
    assert_int_equal(w->count, count);
    assert_true(w->refused >= refused);
}

static struct flow *open_flow(struct world *w, void *owner)
{
    struct flow *f = upstream_open(w->upstream, &w->backend, owner);

    assert_non_null(f);
    return f;
}

static void reply(int fd, const struct flow *f, const void *data, size_t len)
{
    struct addr to;
    struct sockaddr_storage name;
    socklen_t name_len;

    assert_true(addr_parse(&to, "127.0.0.1:0"));
    to.port = upstream_port(f);
    name_len = addr_to_sockaddr(&to, AF_INET, &name);
    assert_int_equal(sendto(fd, data, len, 0, (struct sockaddr *)&name, name_len), (int)len);
}

static void test_each_flow_has_its_own_port(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, NULL);
    struct flow *b = open_flow(w, NULL);

    assert_int_not_equal(upstream_port(a), 0);
    assert_int_not_equal(upstream_port(a), upstream_port(b));
    assert_int_equal(upstream_count(w->upstream), 2);
    upstream_close(a);
    assert_int_equal(upstream_count(w->upstream), 1);
}

static void test_backend_sees_datagrams_as_sent(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    char got[16];

    assert_true(upstream_send(f, "abc", 3));
    assert_true(upstream_send(f, "", 0));
    assert_true(upstream_send(f, "de", 2));
    assert_int_equal(recv(w->backend_fd, got, sizeof(got), 0), 3);
    assert_memory_equal(got, "abc", 3);
    assert_int_equal(recv(w->backend_fd, got, sizeof(got), 0), 0);
    assert_int_equal(recv(w->backend_fd, got, sizeof(got), 0), 2);
    assert_int_equal(w->refused, 0);
}

static void test_owner_gets_datagrams_as_sent(void **state)
{
    struct world *w = *state;
    int one, two;
    struct flow *a = open_flow(w, &one);
    struct flow *b = open_flow(w, &two);

    reply(w->backend_fd, a, "1x", 2);
    reply(w->backend_fd, a, "", 0);
    await(w, 2, 0);
    reply(w->backend_fd, b, "2", 1);
    await(w, 3, 0);
    assert_ptr_equal(w->owner[0], &one);
    assert_int_equal(w->first[0], '1');
    assert_int_equal(w->len[0], 2);
    assert_ptr_equal(w->owner[1], &one);
    assert_int_equal(w->len[1], 0);
    assert_ptr_equal(w->owner[2], &two);
    assert_int_equal(w->len[2], 1);
}

static void test_third_parties_are_not_heard(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    struct addr any, bound;
    int stranger;

    assert_true(addr_parse(&any, "127.0.0.1:0"));
    stranger = udp_listen(&any, false, false, &bound);
    assert_true(stranger >= 0);
    reply(stranger, f, "s", 1);
    reply(w->backend_fd, f, "b", 1);
    await(w, 1, 0);
    assert_int_equal(w->first[0], 'b');
    close(stranger);
}

static void close_first(struct world *w)
{
    upstream_close(w->flow[0]);
    w->flow[0] = NULL;
    w->then = NULL;
}

static void test_a_flow_may_close_within_its_hook(void **state)
{
    struct world *w = *state;

    w->flow[0] = open_flow(w, NULL);
    w->then = close_first;
    reply(w->backend_fd, w->flow[0], "a", 1);
    await(w, 1, 0);
    assert_null(w->flow[0]);
    assert_int_equal(upstream_count(w->upstream), 0);
}

static void close_all(struct world *w)
{
    for (size_t i = 0; i < 3; i++)
        upstream_close(w->flow[i]);
    w->then = NULL;
}

static void test_flows_active_in_the_same_turn_may_close(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < 3; i++)
        w->flow[i] = open_flow(w, NULL);
    w->then = close_all;
    for (size_t i = 0; i < 3; i++)
        reply(w->backend_fd, w->flow[i], "x", 1);
    await(w, 1, 0);
    assert_int_equal(event_base_loop(w->base, EVLOOP_ONCE), 1); /* 1: nothing is watched */
    assert_int_equal(w->count, 1);
    assert_int_equal(upstream_count(w->upstream), 0);
}

static void reopen_first(struct world *w)
{
    upstream_close(w->flow[0]);
    w->flow[0] = open_flow(w, &w->flow[0]);
    w->then = NULL;
}

static void test_a_flow_may_be_replaced_within_its_hook(void **state)
{
    struct world *w = *state;

    w->flow[0] = open_flow(w, NULL);
    w->then = reopen_first;
    reply(w->backend_fd, w->flow[0], "a", 1);
    await(w, 1, 0);
    reply(w->backend_fd, w->flow[0], "b", 1);
    await(w, 2, 0);
    assert_null(w->owner[0]);
    assert_ptr_equal(w->owner[1], &w->flow[0]);
    assert_int_equal(upstream_count(w->upstream), 1);
}

static void test_refusal_is_reported_when_read(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, &w->refused);

    close(w->backend_fd);
    w->backend_fd = -1;
    assert_true(upstream_send(f, "x", 1));
    await(w, 0, 1);
    assert_int_equal(w->refused, 1);
    assert_ptr_equal(w->refused_owner, &w->refused);
}

static void test_refusal_does_not_lose_the_next_datagram(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    struct addr bound;
    char got[8];

    close(w->backend_fd);
    assert_true(upstream_send(f, "lost", 4));
    w->backend_fd = udp_listen(&w->backend, false, false, &bound);
    assert_true(w->backend_fd >= 0);
    assert_true(upstream_send(f, "next", 4));
    assert_int_equal(w->refused, 1);
    assert_int_equal(recv(w->backend_fd, got, sizeof(got), 0), 4);
    assert_memory_equal(got, "next", 4);
}

static void test_datagram_behind_a_refusal_is_read(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    struct addr bound;

    close(w->backend_fd);
    assert_true(upstream_send(f, "lost", 4));
    w->backend_fd = udp_listen(&w->backend, false, false, &bound);
    assert_true(w->backend_fd >= 0);
    reply(w->backend_fd, f, "r", 1);
    await(w, 1, 1);
    assert_int_equal(w->first[0], 'r');
}

static void test_too_big_is_told(void **state)
{
    static const uint8_t big[70000];
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);

    assert_false(upstream_send(f, big, sizeof(big)));
    assert_true(upstream_send(f, "x", 1));
}

static void test_out_of_descriptors_is_told(void **state)
{
    struct world *w = *state;
    struct rlimit before, none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_null(upstream_open(w->upstream, &w->backend, NULL));
    assert_int_equal(errno, EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(upstream_count(w->upstream), 0);
    upstream_close(open_flow(w, NULL));
}

static void test_flows_are_told_by_their_order(void **state)
{
    struct world *w = *state;
    struct list order;
    int one, two;

    list_init(&order);
    assert_null(upstream_idlest(&order));
    struct flow *f = open_flow(w, &one), *g = open_flow(w, &two);
    assert_null(upstream_idlest(&order)); /* it is the caller's who is in it */
    upstream_touch(f, &order);
    upstream_touch(g, &order);
    assert_ptr_equal(upstream_idlest(&order), &one);
    upstream_touch(f, &order);
    assert_ptr_equal(upstream_idlest(&order), &two);
    upstream_close(g);
    assert_ptr_equal(upstream_idlest(&order), &one);
    upstream_close(f);
    assert_null(upstream_idlest(&order));
}

static int lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_free_closes_what_is_open(void **state)
{
    struct world *w = *state;
    int before = lowest_free_descriptor();

    open_flow(w, NULL);
    open_flow(w, NULL);
    assert_int_not_equal(lowest_free_descriptor(), before);
    upstream_free(w->upstream);
    w->upstream = NULL;
    assert_int_equal(lowest_free_descriptor(), before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_flow_has_its_own_port),
        TEST(test_backend_sees_datagrams_as_sent),
        TEST(test_owner_gets_datagrams_as_sent),
        TEST(test_third_parties_are_not_heard),
        TEST(test_a_flow_may_close_within_its_hook),
        TEST(test_flows_active_in_the_same_turn_may_close),
        TEST(test_a_flow_may_be_replaced_within_its_hook),
        TEST(test_refusal_is_reported_when_read),
        TEST(test_refusal_does_not_lose_the_next_datagram),
        TEST(test_datagram_behind_a_refusal_is_read),
        TEST(test_too_big_is_told),
        TEST(test_out_of_descriptors_is_told),
        TEST(test_flows_are_told_by_their_order),
        TEST(test_free_closes_what_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
