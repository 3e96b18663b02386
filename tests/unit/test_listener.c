/* listener: on a real loop and loopback sockets: what comes in, under which local address, and from
 * where an answer leaves. */
#include "loop_rig.h"

#include "proxy/listener.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_MAX 120 /* more than a batch, less than a socket buffer */

struct world {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct udp_outbox *outbox;
    struct listener *listener;
    struct addr bound;
    int fd;
    size_t calls, count;
    struct addr peer[GOT_MAX], local[GOT_MAX];
    uint8_t first[GOT_MAX]; /* byte of each datagram */
    size_t len[GOT_MAX];
};

static void on_datagrams(void *arg, struct listener *l)
{
    struct world *w = arg;
    const struct udp_datagram *d;

    assert_ptr_equal(l, w->listener);
    w->calls++;
    while ((d = listener_next(l)) != NULL) {
        assert_true(w->count < GOT_MAX);
        w->peer[w->count] = d->peer;
        w->local[w->count] = d->local;
        w->len[w->count] = d->len;
        w->first[w->count++] = d->len > 0 ? d->data[0] : 0;
    }
}

/* Skips the test where this host has no IPv6. */
static void listen_at(struct world *w, const char *at, bool dual)
{
    struct listener_hooks hooks = {.on_datagrams = on_datagrams, .arg = w};
    struct addr a;

    assert_true(addr_parse(&a, at));
    w->fd = udp_listen(&a, false, dual, &w->bound);
    if (w->fd < 0 && a.family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        skip();
    assert_true(w->fd >= 0);
    w->listener = listener_new(w->base, w->inbox, w->fd, &w->bound, &hooks);
    assert_non_null(w->listener);
}

static int set_up(void **state)
{
    static struct world w;

    w = (struct world){.base = event_base_new(),
                       .inbox = udp_inbox_new(false),
                       .outbox = udp_outbox_new(false, NULL, NULL),
                       .fd = -1};
    assert_non_null(w.base);
    assert_non_null(w.inbox);
    assert_non_null(w.outbox);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    listener_free(w->listener);
    close(w->fd);
    udp_outbox_free(w->outbox);
    udp_inbox_free(w->inbox);
    event_base_free(w->base);
    return 0;
}

/* A client that sends to the listener's port at the address `host`; skips without IPv6. */
static int client_of(const struct world *w, const char *host, struct addr *self)
{
    char text[ADDR_TEXT_MAX];
    struct addr to;
    int fd;

    snprintf(text, sizeof(text), "%s:%u", host, w->bound.port);
    assert_true(addr_parse(&to, text));
    fd = udp_connect(&to, self);
    if (fd < 0 && to.family == AF_INET6)
        skip();
    assert_true(fd >= 0);
    return fd;
}

static void assert_local(const struct world *w, size_t i, const char *host)
{
    char want[ADDR_TEXT_MAX], got[ADDR_TEXT_MAX];

    snprintf(want, sizeof(want), "%s:%u", host, w->bound.port);
    assert_string_equal(addr_format(&w->local[i], got), want);
}

static void test_specific_socket_tells_its_address(void **state)
{
    struct world *w = *state;
    struct addr self;
    int fd;

    listen_at(w, "127.0.0.3:0", false);
    fd = client_of(w, "127.0.0.3", &self);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    loop_await(w->base, &w->count, 1);
    assert_true(addr_equal(&w->local[0], &w->bound));
    assert_true(addr_equal(&w->peer[0], &self));
    assert_int_equal(w->first[0], 'x');
    close(fd);
}

static void test_wildcard_socket_tells_the_address_written_to(void **state)
{
    struct world *w = *state;
    struct addr self;
    int one, two;

    listen_at(w, "0.0.0.0:0", false);
    one = client_of(w, "127.0.0.1", &self);
    two = client_of(w, "127.0.0.2", &self);
    assert_int_equal(send(one, "1", 1, 0), 1);
    loop_await(w->base, &w->count, 1);
    assert_int_equal(send(two, "2", 1, 0), 1);
    loop_await(w->base, &w->count, 2);
    assert_local(w, 0, "127.0.0.1");
    assert_local(w, 1, "127.0.0.2");
    close(one);
    close(two);
}

static void test_dual_socket_tells_both_families(void **state)
{
    struct world *w = *state;
    struct addr self;
    int four, six;

    listen_at(w, "[::]:0", true);
    four = client_of(w, "127.0.0.2", &self);
    six = client_of(w, "[::1]", &self);
    assert_int_equal(send(four, "4", 1, 0), 1);
    loop_await(w->base, &w->count, 1);
    assert_int_equal(send(six, "6", 1, 0), 1);
    loop_await(w->base, &w->count, 2);
    assert_local(w, 0, "127.0.0.2");
    assert_local(w, 1, "[::1]");
    close(four);
    close(six);
}

static void test_answer_leaves_from_the_address_written_to(void **state)
{
    static const char *const hosts[] = {"127.0.0.2", "[::1]"};
    struct world *w = *state;

    listen_at(w, "[::]:0", true);
    for (size_t i = 0; i < 2; i++) {
        struct addr self;
        char got[8];
        int fd = client_of(w, hosts[i], &self); /* connected: it takes from that address only */
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(send(fd, "q", 1, 0), 1);
        loop_await(w->base, &w->count, i + 1);
        memcpy(udp_outbox_reserve(w->outbox, 100), "back", 4);
        listener_commit(w->listener, w->outbox, 4, &w->peer[i], &w->local[i]);
        assert_int_equal(udp_outbox_flush(w->outbox), 0);
        assert_int_equal(poll(&p, 1, 5000), 1);
        assert_int_equal(recv(fd, got, sizeof(got), 0), 4);
        assert_memory_equal(got, "back", 4);
        close(fd);
    }
}

static void test_many_come_in_order_and_leave_room_for_others(void **state)
{
    struct world *w = *state;
    struct addr self;
    int fd;

    listen_at(w, "127.0.0.1:0", false);
    fd = client_of(w, "127.0.0.1", &self);
    for (size_t i = 0; i < GOT_MAX; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(send(fd, &byte, 1, 0), 1);
    }
    event_base_loop(w->base, EVLOOP_ONCE);
    assert_true(w->count > 0);
    assert_true(w->count < GOT_MAX); /* one turn does not take all */
    loop_await(w->base, &w->count, GOT_MAX);
    for (size_t i = 0; i < GOT_MAX; i++)
        assert_int_equal(w->first[i], i);
    close(fd);
}

static void test_empty_datagram_is_one(void **state)
{
    struct world *w = *state;
    struct addr self;
    int fd;

    listen_at(w, "127.0.0.1:0", false);
    fd = client_of(w, "127.0.0.1", &self);
    assert_int_equal(send(fd, "", 0, 0), 0);
    loop_await(w->base, &w->count, 1);
    assert_int_equal(w->len[0], 0);
    close(fd);
}

static void test_tag_is_kept(void **state)
{
    struct world *w = *state;

    listen_at(w, "127.0.0.1:0", false);
    assert_int_equal(listener_index(w->listener), 0);
    assert_int_equal(listener_service(w->listener), 0);
    listener_tag(w->listener, 7, 3);
    assert_int_equal(listener_index(w->listener), 7);
    assert_int_equal(listener_service(w->listener), 3);
}

static void test_free_leaves_the_descriptor_and_stops_watching(void **state)
{
    struct world *w = *state;
    struct addr self;
    int fd;

    listen_at(w, "127.0.0.1:0", false);
    fd = client_of(w, "127.0.0.1", &self);
    listener_free(w->listener);
    w->listener = NULL;
    assert_int_equal(send(fd, "x", 1, 0), 1);
    assert_int_equal(event_base_loop(w->base, EVLOOP_ONCE), 1); /* 1: nothing is watched */
    assert_int_equal(w->count, 0);
    assert_int_equal(recv(w->fd, &(char){0}, 1, 0), 1);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_specific_socket_tells_its_address),
        TEST(test_wildcard_socket_tells_the_address_written_to),
        TEST(test_dual_socket_tells_both_families),
        TEST(test_answer_leaves_from_the_address_written_to),
        TEST(test_many_come_in_order_and_leave_room_for_others),
        TEST(test_empty_datagram_is_one),
        TEST(test_tag_is_kept),
        TEST(test_free_leaves_the_descriptor_and_stops_watching),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
