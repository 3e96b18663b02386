/*
 * test_udp: sockets and batches over loopback, on ports the kernel picks.
 * Waits with poll(2) and never sleeps. recvmmsg and sendmmsg are defined in here, too, so that a
 * test can make the kernel's rarer answers; without a request for one they pass on to the kernel.
 */
#include "base/udp.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 5000
#define PEERS 6

static struct udp_inbox *inbox;
static struct udp_outbox *outbox;
static int server, client; /* the pair that most tests use; opened by the set-up over IPv4 */
static struct addr bound, local;
static uint8_t pattern[UDP_PAYLOAD_MAX];

#define SIZES 5
static const size_t sizes[SIZES] = {0, 1, 1200, 16384, 65507};

static bool truncate_first;
static int send_error;      /* what sendmmsg says instead of sending */
static unsigned send_calls; /* how often it was asked */

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    long n = syscall(SYS_recvmmsg, fd, messages, count, flags, timeout);

    if (n > 0 && truncate_first) {
        messages[0].msg_hdr.msg_flags |= MSG_TRUNC;
        truncate_first = false;
    }
    return (int)n;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    send_calls++;
    if (send_error != 0) {
        errno = send_error;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

static struct addr parse(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

/* Skips the test where this host has no IPv6. */
static int listen_at(const char *text, bool dual, struct addr *at)
{
    struct addr wanted = parse(text);
    int fd = udp_listen(&wanted, false, dual, at);

    if (fd < 0 && wanted.family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        skip();
    assert_true(fd >= 0);
    assert_true(at->port != 0);
    return fd;
}

static int connect_to(const struct addr *to, struct addr *from)
{
    int fd = udp_connect(to, from);

    assert_true(fd >= 0);
    assert_true(from->port != 0);
    return fd;
}

/* Another pair: the server listens at one address, the client writes to another of it. */
static struct addr open_pair(const char *listen, bool dual, const char *to)
{
    struct addr target = parse(to);

    close(server);
    close(client);
    server = client = -1;
    server = listen_at(listen, dual, &bound);
    target.port = bound.port;
    client = connect_to(&target, &local);
    return target;
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
    truncate_first = false;
    send_error = 0;
    send_calls = 0;
    inbox = udp_inbox_new();
    outbox = udp_outbox_new();
    server = listen_at("127.0.0.1:0", false, &bound);
    client = connect_to(&bound, &local);
    return inbox && outbox ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    udp_inbox_free(inbox);
    udp_outbox_free(outbox);
    close(server);
    close(client);
    return 0;
}

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, WAIT_MS) == 1;
}

static void send_plain(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, 0), (ssize_t)len);
}

/* Queues for `peer`, to leave through `fd` from any address. */
static void queue(const void *data, size_t len, int fd, const struct addr *peer)
{
    static const struct addr any;

    memcpy(udp_outbox_reserve(outbox, len), data, len);
    udp_outbox_commit(outbox, len, fd, peer->family, peer, &any);
}

/* The one datagram that is expected to be waiting or on its way. */
static struct udp_datagram receive_one(int fd)
{
    const struct udp_datagram *list;
    size_t count;

    assert_true(wait_for(fd, POLLIN));
    assert_int_equal(udp_receive(fd, inbox, &list, &count), UDP_OK);
    assert_int_equal(count, 1);
    return list[0];
}

static void assert_received(int fd, const void *data, size_t len)
{
    struct udp_datagram d = receive_one(fd);

    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, data, len);
}

static void assert_silent(int fd)
{
    const struct udp_datagram *list;
    size_t count;

    assert_int_equal(udp_receive(fd, inbox, &list, &count), UDP_EMPTY);
    assert_int_equal(count, 0);
}

/* Loopback delivers before send() returns, so after the last number there is nothing more to come.
 */
static void assert_sequence(int fd, unsigned first, unsigned step, unsigned total)
{
    const struct udp_datagram *list;
    size_t count;
    unsigned seen = 0;

    while (seen < total) {
        assert_true(wait_for(fd, POLLIN));
        assert_int_equal(udp_receive(fd, inbox, &list, &count), UDP_OK);
        for (size_t i = 0; i < count; i++, seen++) {
            unsigned number;
            assert_true(list[i].len >= sizeof(number));
            memcpy(&number, list[i].data, sizeof(number));
            assert_int_equal(number, first + seen * step);
        }
    }
    assert_silent(fd);
}

static void size_is_kept(size_t len)
{
    unsigned refused = 0;

    assert_int_equal(udp_send(client, pattern, len, &refused), UDP_OK);
    assert_int_equal(refused, 0);
    struct udp_datagram d = receive_one(server);
    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, pattern, len);
    assert_true(addr_equal(&d.peer, &local));

    queue(pattern, len, server, &d.peer);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    d = receive_one(client);
    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, pattern, len);
    assert_true(addr_equal(&d.peer, &bound));
}

static void test_sizes_are_kept_over_ipv4(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        size_is_kept(sizes[i]);
}

static void test_sizes_are_kept_over_ipv6(void **state)
{
    (void)state;
    open_pair("[::1]:0", false, "[::1]:0");
    for (size_t i = 0; i < SIZES; i++)
        size_is_kept(sizes[i]);
    size_is_kept(UDP_PAYLOAD_MAX);
}

static void test_boundaries_are_kept_within_a_batch(void **state)
{
    const struct udp_datagram *list;
    size_t count;

    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        queue(pattern, sizes[i], server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, &list, &count), UDP_OK);
    assert_int_equal(count, SIZES);
    for (size_t i = 0; i < SIZES; i++) {
        assert_int_equal(list[i].len, sizes[i]);
        assert_memory_equal(list[i].data, pattern, sizes[i]);
    }
}

static void test_receive_says_empty_and_batches_what_waits(void **state)
{
    const struct udp_datagram *list;
    size_t count;

    (void)state;
    assert_silent(server);
    for (unsigned i = 0; i < 40; i++)
        send_plain(client, &i, sizeof(i));
    assert_int_equal(udp_receive(server, inbox, &list, &count), UDP_OK);
    assert_int_equal(count, 32);
    assert_sequence(server, 32, 1, 8);
}

static void test_truncated_datagram_is_not_passed_on(void **state)
{
    (void)state;
    truncate_first = true;
    send_plain(client, "cut", 3);
    send_plain(client, "whole", 5);
    assert_received(server, "whole", 5);

    truncate_first = true;
    send_plain(client, "cut", 3);
    assert_silent(server);
}

/* An address that refuses the client, held so that nobody else takes its port meanwhile: its socket
 * hears one peer only, and that is not the client. */
static int hold_refusing_address(void)
{
    struct addr discard = parse("127.0.0.1:9"), closed;
    int holder = connect_to(&discard, &closed);

    close(client);
    client = connect_to(&closed, &local);
    bound = closed;
    return holder;
}

static void test_refusal_is_told_once_by_receive(void **state)
{
    const struct udp_datagram *list;
    size_t count;
    int holder = hold_refusing_address();

    (void)state;
    send_plain(client, "x", 1);
    assert_true(wait_for(client, 0)); /* POLLERR */
    assert_int_equal(udp_receive(client, inbox, &list, &count), UDP_REFUSED);
    assert_int_equal(count, 0);
    assert_silent(client);
    close(holder);
}

static void test_send_counts_a_refusal_and_sends_all_the_same(void **state)
{
    struct addr at;
    unsigned refused = 0;
    int holder = hold_refusing_address();

    (void)state;
    assert_int_equal(udp_send(client, "x", 1, &refused), UDP_OK);
    assert_int_equal(refused, 0);
    assert_true(wait_for(client, 0));
    close(holder);

    close(server);
    server = udp_listen(&bound, false, false, &at);
    assert_true(server >= 0);
    assert_int_equal(udp_send(client, "yz", 2, &refused), UDP_OK);
    assert_int_equal(refused, 1);
    assert_received(server, "yz", 2);
}

static void test_send_reports_what_cannot_be_sent(void **state)
{
    unsigned refused = 0;

    (void)state;
    assert_int_equal(udp_send(client, pattern, 65508, &refused), UDP_REFUSED);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(udp_send(-1, pattern, 1, &refused), UDP_BROKEN);
    assert_int_equal(errno, EBADF);
    assert_int_equal(refused, 0);
    assert_silent(server);
}

static void test_receive_reports_a_bad_descriptor(void **state)
{
    const struct udp_datagram *list;
    size_t count;

    (void)state;
    assert_int_equal(udp_receive(-1, inbox, &list, &count), UDP_BROKEN);
    assert_int_equal(errno, EBADF);
}

/* A connected client hears an answer only when it comes from the very address it has written to. */
static void local_is_kept(const char *listen, bool dual, const char *to)
{
    struct addr target = open_pair(listen, dual, to), expected = parse(to);

    send_plain(client, "ping", 4);
    struct udp_datagram d = receive_one(server);
    assert_true(addr_equal(&d.peer, &local));
    assert_true(addr_equal(&d.local, &expected));

    memcpy(udp_outbox_reserve(outbox, 1500), "pong", 4);
    udp_outbox_commit(outbox, 4, server, bound.family, &d.peer, &d.local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    d = receive_one(client);
    assert_memory_equal(d.data, "pong", 4);
    assert_true(addr_equal(&d.peer, &target));
    assert_int_equal(d.local.family, 0); /* a connected socket does not report it */
}

static void test_local_address_is_kept_on_ipv4_wildcard(void **state)
{
    (void)state;
    local_is_kept("0.0.0.0:0", false, "127.0.0.1:0");
    local_is_kept("0.0.0.0:0", false, "127.0.0.2:0");
}

static void test_local_address_is_kept_on_ipv6_wildcard(void **state)
{
    (void)state;
    local_is_kept("[::]:0", false, "[::1]:0");
}

static void test_local_address_is_kept_on_dual_wildcard(void **state)
{
    (void)state;
    local_is_kept("[::]:0", true, "127.0.0.1:0");
    local_is_kept("[::]:0", true, "127.0.0.2:0");
    local_is_kept("[::]:0", true, "[::1]:0");
}

static void test_foreign_source_address_is_refused(void **state)
{
    struct addr foreign = parse("192.0.2.1:0");

    (void)state;
    open_pair("0.0.0.0:0", false, "127.0.0.1:0");
    memcpy(udp_outbox_reserve(outbox, 1), "x", 1);
    udp_outbox_commit(outbox, 1, server, AF_INET, &local, &foreign);
    assert_int_equal(udp_outbox_flush(outbox), 1);
    assert_silent(client);
}

static void test_order_is_kept_across_peers_and_sockets(void **state)
{
    struct addr at[2], from[4];
    int left[2], right[4];

    (void)state;
    for (int i = 0; i < 2; i++)
        left[i] = listen_at("127.0.0.1:0", false, &at[i]);
    for (int i = 0; i < 4; i++)
        right[i] = connect_to(&at[i % 2], &from[i]);
    for (unsigned i = 0; i < 60; i++)
        queue(&i, sizeof(i), left[i % 2], &from[i % 4]);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(send_calls, 2);
    for (unsigned i = 0; i < 4; i++) {
        assert_sequence(right[i], i, 4, 15);
        close(right[i]);
    }
    close(left[0]);
    close(left[1]);
}

/* Over several peers, so that what waits fits the sockets' buffers. */
static void full_outbox_flushes(size_t len, unsigned total)
{
    struct addr from[PEERS];
    int peer[PEERS];

    for (unsigned i = 0; i < PEERS; i++)
        peer[i] = connect_to(&bound, &from[i]);
    for (unsigned i = 0; i < total; i++) {
        uint8_t *room = udp_outbox_reserve(outbox, UDP_PAYLOAD_MAX);
        memset(room, (int)i, UDP_PAYLOAD_MAX);
        memcpy(room, &i, sizeof(i));
        udp_outbox_commit(outbox, len, server, AF_INET, &from[i % PEERS], &bound);
    }
    assert_true(send_calls > 0);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    for (unsigned i = 0; i < PEERS; i++) {
        assert_sequence(peer[i], i, PEERS, total / PEERS);
        close(peer[i]);
    }
}

static void test_outbox_full_of_datagrams_flushes_by_itself(void **state)
{
    (void)state;
    full_outbox_flushes(sizeof(unsigned), 33 * PEERS);
    assert_int_equal(send_calls, 4);
}

static void test_outbox_full_of_bytes_flushes_by_itself(void **state)
{
    (void)state;
    full_outbox_flushes(65507, PEERS);
}

static void test_reserved_room_may_be_left_unused(void **state)
{
    (void)state;
    memset(udp_outbox_reserve(outbox, 100), 'x', 100);
    queue("kept", 4, server, &local);
    memset(udp_outbox_reserve(outbox, 100), 'x', 100);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_received(client, "kept", 4);
    assert_silent(client);
}

static void test_refused_datagrams_are_skipped_and_counted(void **state)
{
    struct addr no_port = parse("127.0.0.1:0");
    struct addr broadcast = parse("255.255.255.255:9"); /* EACCES without SO_BROADCAST */

    (void)state;
    for (unsigned i = 0; i < 15; i++) {
        queue(&i, sizeof(i), server, &local);
        queue(&i, sizeof(i), server, i % 2 ? &no_port : &broadcast);
    }
    assert_int_equal(udp_outbox_flush(outbox), 15);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_sequence(client, 0, 1, 15);
}

static void test_flush_ends_when_the_kernel_takes_nothing(void **state)
{
    static const int errors[] = {EAGAIN, ENOBUFS, EPERM, ECONNREFUSED, EINTR};

    (void)state;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        send_error = errors[e];
        for (unsigned i = 0; i < 100; i++)
            queue(&i, sizeof(i), server, &local);
        assert_int_equal(udp_outbox_flush(outbox), 100);
    }
    assert_int_equal(send_calls, 500);
    assert_silent(client);

    send_error = 0;
    queue("back", 4, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_received(client, "back", 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes_are_kept_over_ipv4),
        TEST(test_sizes_are_kept_over_ipv6),
        TEST(test_boundaries_are_kept_within_a_batch),
        TEST(test_receive_says_empty_and_batches_what_waits),
        TEST(test_truncated_datagram_is_not_passed_on),
        TEST(test_refusal_is_told_once_by_receive),
        TEST(test_send_counts_a_refusal_and_sends_all_the_same),
        TEST(test_send_reports_what_cannot_be_sent),
        TEST(test_receive_reports_a_bad_descriptor),
        TEST(test_local_address_is_kept_on_ipv4_wildcard),
        TEST(test_local_address_is_kept_on_ipv6_wildcard),
        TEST(test_local_address_is_kept_on_dual_wildcard),
        TEST(test_foreign_source_address_is_refused),
        TEST(test_order_is_kept_across_peers_and_sockets),
        TEST(test_outbox_full_of_datagrams_flushes_by_itself),
        TEST(test_outbox_full_of_bytes_flushes_by_itself),
        TEST(test_reserved_room_may_be_left_unused),
        TEST(test_refused_datagrams_are_skipped_and_counted),
        TEST(test_flush_ends_when_the_kernel_takes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
