/* upstream: on a real loop and loopback sockets: ports, boundaries, refusals, and flows that end in
 * the middle of a turn. */
#include "loop_rig.h"

#include "proxy/upstream.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_MAX 64

struct world {
    struct event_base *base;
    struct udp_offload offload;
    struct upstream *upstream;
    struct addr backend;
    int backend_fd;
    unsigned refused;
    void *refused_owner;
    size_t calls, count;
    void *owner[GOT_MAX];
    size_t len[GOT_MAX];
    uint8_t first[GOT_MAX];
    void (*then)(struct world *w); /* within the hook */
    struct flow *flow[3];
};

static void on_datagrams(void *arg, void *owner, struct udp_inbox *in)
{
    struct world *w = arg;
    const struct udp_datagram *d;

    w->calls++;
    while ((d = udp_next(in)) != NULL) {
        assert_true(w->count < GOT_MAX);
        w->owner[w->count] = owner;
        w->len[w->count] = d->len;
        w->first[w->count++] = d->len > 0 ? d->data[0] : 0;
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
    static const struct prefixes no_source;
    struct upstream_service service = {.source = &no_source};
    const bool *is_joined = *state;
    struct addr any;

    w = (struct world){.base = event_base_new()};
    assert_non_null(w.base);
    if (*is_joined)
        w.offload = udp_probe_offload();
    w.upstream = upstream_new(w.base, w.offload, &hooks);
    assert_non_null(w.upstream);
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    w.backend_fd = udp_listen(&any, false, false, &w.backend);
    assert_true(w.backend_fd >= 0);
    assert_true(upstream_add(w.upstream, &service));
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    upstream_free(w->upstream);
    close(w->backend_fd);
    event_base_free(w->base);
    return 0;
}

/* Turns the loop until `count` datagrams and `refused` refusals are here. */
static void await(struct world *w, size_t count, unsigned refused)
{
    struct event *guard = loop_guard(w->base);

    while (w->count < count || w->refused < refused) {
        event_base_loop(w->base, EVLOOP_ONCE);
        assert_int_equal(upstream_flush(w->upstream), 0);
    }
    event_free(guard);
    assert_int_equal(w->count, count);
}

static struct flow *open_flow(struct world *w, void *owner)
{
    struct flow *f = upstream_open(w->upstream, 0, &w->backend, UPSTREAM_ANY, owner);

    assert_non_null(f);
    return f;
}

static void queue(struct world *w, struct flow *f, const void *data, size_t len)
{
    memcpy(upstream_reserve(w->upstream, len), data, len);
    upstream_commit(f, len);
}

/* In a turn of its own. Returns whether the kernel took it. */
static bool say(struct world *w, struct flow *f, const void *data, size_t len)
{
    queue(w, f, data, len);
    return upstream_flush(w->upstream) == 0;
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
    struct addr to = upstream_backend(a);
    assert_true(addr_equal(&to, &w->backend));
    assert_int_equal(upstream_count(w->upstream), 2);
    upstream_close(a);
    assert_int_equal(upstream_count(w->upstream), 1);
}

static void test_backend_sees_datagrams_as_sent(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    char got[16];

    assert_true(say(w, f, "abc", 3));
    assert_true(say(w, f, "", 0));
    assert_true(say(w, f, "de", 2));
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
    assert_true(say(w, f, "x", 1));
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
    assert_true(say(w, f, "lost", 4));
    w->backend_fd = udp_listen(&w->backend, false, false, &bound);
    assert_true(w->backend_fd >= 0);
    assert_true(say(w, f, "next", 4));
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
    assert_true(say(w, f, "lost", 4));
    w->backend_fd = udp_listen(&w->backend, false, false, &bound);
    assert_true(w->backend_fd >= 0);
    reply(w->backend_fd, f, "r", 1);
    await(w, 1, 1);
    assert_int_equal(w->first[0], 'r');
}

static void test_too_big_is_told(void **state)
{
    static const uint8_t big[65508]; /* over IPv4 */
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);

    assert_false(say(w, f, big, sizeof(big)));
    assert_true(say(w, f, "x", 1));
}

static void test_out_of_descriptors_is_told(void **state)
{
    struct world *w = *state;
    struct rlimit before, none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_null(upstream_open(w->upstream, 0, &w->backend, UPSTREAM_ANY, NULL));
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

/* ---- the queue ---- */

static void assert_hears(const struct world *w, const char *text)
{
    char got[64];

    assert_int_equal(recv(w->backend_fd, got, sizeof(got), MSG_DONTWAIT), (int)strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void assert_hears_nothing(const struct world *w)
{
    assert_int_equal(recv(w->backend_fd, &(char){0}, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

static void test_what_is_queued_leaves_at_the_turns_end(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, NULL), *b = open_flow(w, NULL);

    queue(w, a, "a1", 2);
    queue(w, b, "b1", 2);
    queue(w, a, "a2", 2);
    assert_hears_nothing(w);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_hears(w, "a1");
    if (w->offload.send) {
        assert_hears(w, "a2");
        assert_hears(w, "b1");
    } else {
        assert_hears(w, "b1");
        assert_hears(w, "a2");
    }
    assert_hears_nothing(w);
}

static void test_one_turns_datagrams_arrive_as_one_message(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);
    char got[64];

    if (!w->offload.receive)
        return; /* then they arrive one by one, as in the other tests */
    assert_true(udp_join_received(w->backend_fd));
    for (int i = 0; i < 16; i++)
        queue(w, f, "abc", 3);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_int_equal(recv(w->backend_fd, got, sizeof(got), MSG_DONTWAIT), 48);
    assert_hears_nothing(w);
}

static void test_what_is_queued_leaves_before_its_flow_closes(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, NULL), *b = open_flow(w, NULL);

    queue(w, a, "last", 4);
    queue(w, b, "one", 3);
    upstream_close(a);
    assert_hears(w, "last");
    queue(w, b, "two", 3);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_hears(w, "one");
    assert_hears(w, "two");
    assert_hears_nothing(w);
}

static void test_what_is_queued_leaves_before_all_is_freed(void **state)
{
    struct world *w = *state;

    queue(w, open_flow(w, NULL), "last", 4);
    upstream_free(w->upstream);
    w->upstream = NULL;
    assert_hears(w, "last");
}

static void test_what_fails_when_a_flow_closes_is_counted(void **state)
{
    static const uint8_t big[65508];
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);

    queue(w, f, big, sizeof(big));
    upstream_close(f);
    assert_int_equal(upstream_flush(w->upstream), 1);
    assert_int_equal(upstream_flush(w->upstream), 0);
}

static void test_room_outlives_what_closes_and_opens(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, NULL);
    struct flow *b;

    queue(w, a, "first", 5);
    memcpy(upstream_reserve(w->upstream, 100), "second", 6);
    upstream_close(a);
    b = open_flow(w, NULL);
    upstream_commit(b, 6);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_hears(w, "first");
    assert_hears(w, "second");
}

/* A refusal that waits on a flow that closes still has its owner. */
static void test_refusal_is_reported_when_a_flow_closes(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, &w->refused);

    close(w->backend_fd);
    w->backend_fd = -1;
    assert_true(say(w, f, "x", 1));
    queue(w, f, "y", 1);
    upstream_close(f);
    assert_int_equal(w->refused, 1);
    assert_ptr_equal(w->refused_owner, &w->refused);
}

/* ---- how much is read at a time ---- */

static void reply_burst(struct world *w, const struct flow *f, size_t n)
{
    size_t before = w->count;

    w->calls = 0;
    for (size_t i = 0; i < n; i++)
        reply(w->backend_fd, f, "x", 1);
    await(w, before + n, 0);
}

static void test_a_flow_takes_as_many_as_came_the_last_time(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);

    reply_burst(w, f, 9);
    assert_int_equal(w->calls, 3); /* 1, 2, 6 */
    upstream_flush(w->upstream);   /* a turn without it */
    reply_burst(w, f, 9);
    assert_int_equal(w->calls, 1);
    upstream_flush(w->upstream);
    reply_burst(w, f, 1);
    assert_int_equal(w->calls, 1);
    upstream_flush(w->upstream);
    reply_burst(w, f, 2);
    assert_int_equal(w->calls, 2);
}

static void test_a_long_burst_is_read_in_batches(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, NULL);

    reply_burst(w, f, 59);
    assert_int_equal(w->calls, 5); /* 1, 2, 6, 18, 32 */
}

static bool joined = true, single = false;

#define TEST(name)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, &joined),                    \
        cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, &single)

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
        TEST(test_what_is_queued_leaves_at_the_turns_end),
        TEST(test_one_turns_datagrams_arrive_as_one_message),
        TEST(test_what_is_queued_leaves_before_its_flow_closes),
        TEST(test_what_is_queued_leaves_before_all_is_freed),
        TEST(test_what_fails_when_a_flow_closes_is_counted),
        TEST(test_room_outlives_what_closes_and_opens),
        TEST(test_refusal_is_reported_when_a_flow_closes),
        TEST(test_a_flow_takes_as_many_as_came_the_last_time),
        TEST(test_a_long_burst_is_read_in_batches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
