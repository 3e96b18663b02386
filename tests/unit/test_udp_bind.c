/*
 * test_udp_bind: who may hold an address, how a group of sockets shares it, what a socket is given.
 * Over loopback, on ports the kernel picks.
 */
#include "base/udp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int server; /* opened for each test, exclusively, over IPv4 */
static struct addr bound;

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

static int set_up(void **state)
{
    (void)state;
    server = listen_at("127.0.0.1:0", false, &bound);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(server);
    return 0;
}

static void assert_address_in_use(const struct addr *wanted, bool dual)
{
    struct addr at;

    assert_int_equal(udp_listen(wanted, false, dual, &at), -1);
    assert_int_equal(errno, EADDRINUSE);
}

static void test_exclusive_bind_fails_beside_our_own_group(void **state)
{
    struct addr joined, wildcard = parse("0.0.0.0:0"), other = parse("127.0.0.2:0");

    (void)state;
    assert_address_in_use(&bound, false);
    int second = udp_listen(&bound, true, false, &joined);
    assert_true(second >= 0);
    assert_true(addr_equal(&bound, &joined));
    assert_address_in_use(&bound, false);

    wildcard.port = other.port = bound.port;
    assert_address_in_use(&wildcard, false);
    int beside = udp_listen(&other, false, false, &joined);
    assert_true(beside >= 0);
    close(beside);

    close(server);
    assert_address_in_use(&bound, false);
    close(second);
    server = udp_listen(&bound, false, false, &joined);
    assert_true(server >= 0);
}

static void test_exclusive_dual_bind_fails_beside_ipv4(void **state)
{
    struct addr at, six = parse("[::]:0");

    (void)state;
    close(listen_at("[::1]:0", false, &at)); /* skips without IPv6 */
    six.port = bound.port;
    assert_address_in_use(&six, true);
}

static void exclusive_fails_beside_foreign(int option)
{
    struct addr at = parse("127.0.0.1:0");
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(&at, AF_INET, &name);
    int foreign = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

    assert_true(foreign >= 0);
    if (option != 0)
        assert_int_equal(setsockopt(foreign, SOL_SOCKET, option, &on, sizeof(on)), 0);
    assert_int_equal(bind(foreign, (struct sockaddr *)&name, len), 0);
    len = sizeof(name);
    assert_int_equal(getsockname(foreign, (struct sockaddr *)&name, &len), 0);
    assert_true(addr_from_sockaddr(&at, (struct sockaddr *)&name));
    assert_address_in_use(&at, false);
    close(foreign);
}

static void test_exclusive_bind_fails_beside_a_foreign_socket(void **state)
{
    (void)state;
    exclusive_fails_beside_foreign(0);
    exclusive_fails_beside_foreign(SO_REUSEPORT);
    exclusive_fails_beside_foreign(SO_REUSEADDR);
}

/* Another process may have the port over IPv4. */
static void test_ipv6_wildcard_without_dual_leaves_ipv4_alone(void **state)
{
    struct addr at, four = parse("0.0.0.0:0");
    int fd = -1;

    (void)state;
    for (int tries = 0; fd < 0 && tries < 100; tries++) {
        int six = listen_at("[::]:0", false, &at);
        four.port = at.port;
        fd = udp_listen(&four, false, false, &at);
        close(six);
    }
    assert_true(fd >= 0);
    close(fd);
}

static size_t drain(int fd)
{
    size_t total = 0;
    char byte;

    while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
        total++;
    return total;
}

static void group_shares_traffic(const char *listen, bool dual, const char *to)
{
    struct addr at, joined, from, target = parse(to);
    int first = listen_at(listen, dual, &at);
    int second = udp_listen(&at, true, dual, &joined);

    target.port = at.port;
    assert_true(second >= 0);
    for (size_t i = 0; i < 128; i++) {
        int fd = connect_to(&target, &from);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        close(fd);
    }
    size_t first_got = drain(first), second_got = drain(second);
    assert_int_equal(first_got + second_got, 128);
    assert_true(first_got >= 20 && second_got >= 20); /* fair coins miss this once in 2^51 */
    close(first);
    close(second);
}

static void test_group_shares_the_traffic(void **state)
{
    (void)state;
    group_shares_traffic("127.0.0.1:0", false, "127.0.0.1:0");
    group_shares_traffic("0.0.0.0:0", false, "127.0.0.1:0");
}

static void test_group_shares_the_traffic_on_dual_wildcard(void **state)
{
    (void)state;
    group_shares_traffic("[::]:0", true, "127.0.0.1:0");
    group_shares_traffic("[::]:0", true, "[::1]:0");
}

static void test_connected_sockets_never_share_a_port(void **state)
{
    struct addr from[100];
    int fd[100];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        int reuse = -1;
        socklen_t len = sizeof(reuse);
        fd[i] = connect_to(&bound, &from[i]);
        assert_int_equal(getsockopt(fd[i], SOL_SOCKET, SO_REUSEADDR, &reuse, &len), 0);
        assert_int_equal(reuse, 0);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(from[i].port, from[k].port);
    }
    for (size_t i = 0; i < 100; i++)
        close(fd[i]);
}

static void test_connected_sockets_leave_from_where_they_are_told(void **state)
{
    struct addr from = parse("127.0.0.7:0"), foreign = parse("203.0.113.1:0"), local;
    int fd = udp_connect_from(&from, &bound, &local);

    (void)state;
    assert_true(fd >= 0);
    assert_true(local.port != 0);
    from.port = local.port;
    assert_true(addr_equal(&local, &from));
    close(fd);
    assert_int_equal(udp_connect_from(&foreign, &bound, &local), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static int connect_as(const char *text, const struct addr *to, struct addr *local)
{
    struct addr as = parse(text);
    int fd = udp_connect_as(&as, to, local);

    if (fd < 0 && errno == EPERM)
        skip();
    return fd;
}

static void test_connected_sockets_may_have_a_foreign_address(void **state)
{
    struct addr local, wanted = parse("203.0.113.1:4001");
    int one = connect_as("203.0.113.1:4001", &bound, &local);

    (void)state;
    assert_true(one >= 0 && udp_may_connect_as(AF_INET));
    assert_true(addr_equal(&local, &wanted));
    /* The port is taken now, the address is not. */
    int two = connect_as("203.0.113.1:4001", &bound, &local), three;
    assert_true(two >= 0 && local.port != 0 && local.port != 4001);
    three = connect_as("203.0.113.1:0", &bound, &local);
    assert_true(three >= 0 && local.port != 0);
    local.port = wanted.port;
    assert_true(addr_equal(&local, &wanted));
    close(one);
    close(two);
    close(three);
    assert_int_equal(connect_as("[2001:db8::1]:4001", &bound, &local), -1);
    assert_int_equal(errno, EAFNOSUPPORT);
}

static void test_addresses_are_told_from_foreign_ones(void **state)
{
    struct addr ours = parse("127.1.2.3:0"), foreign = parse("203.0.113.1:0");

    (void)state;
    assert_true(udp_is_local(&ours));
    assert_false(udp_is_local(&foreign));
}

/* Its port is its own on every address, and nobody can join it. */
static void test_shared_socket_has_a_port_of_its_own(void **state)
{
    struct addr one, two, all = parse("0.0.0.0:0"), here = parse("127.0.0.1:0"), at;
    int a = udp_share(AF_INET, true, &one), b = udp_share(AF_INET, false, &two);

    (void)state;
    assert_true(a >= 0 && b >= 0);
    assert_true(one.port != 0 && two.port != 0 && one.port != two.port);
    here.port = two.port;
    assert_int_equal(udp_listen(&here, true, false, &at), -1);
    all.port = two.port;
    assert_true(addr_equal(&two, &all));
    close(a);
    close(b);
}

static void test_buffers_are_told_in_the_unit_asked(void **state)
{
    (void)state;
    assert_int_equal(udp_set_buffers(server, 65536), 65536);
    assert_int_equal(udp_set_buffers(server, 100000), 100000);
    assert_true(udp_set_buffers(server, SIZE_MAX) >= 65536);
    assert_true(udp_set_buffers(server, 0) < 65536);
    assert_int_equal(udp_set_buffers(-1, 65536), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#define GROUP 4

/* Which socket of the group has got what `fd` sends. Loopback delivers at once. */
static int receiver_of(const int group[GROUP], int fd, const uint8_t *data, size_t len)
{
    uint8_t got[32];
    int found = -1;

    assert_int_equal(send(fd, data, len, 0), len);
    for (int i = 0; i < GROUP; i++)
        if (recv(group[i], got, sizeof(got), 0) >= 0) {
            assert_int_equal(found, -1);
            found = i;
        }
    assert_in_range(found, 0, GROUP - 1);
    return found;
}

static void test_datagrams_go_to_the_socket_that_they_name(void **state)
{
    const struct udp_steering to = {.first = 25, .at = 11, .count = GROUP};
    int group[GROUP] = {server}, before[64], fd[64];
    unsigned others[3] = {0};
    struct addr at;

    (void)state;
    assert_false(udp_steer(server, &to)); /* alone it shares nothing */
    for (int i = 1; i < GROUP; i++)
        assert_true((group[i] = udp_listen(&bound, true, false, &at)) >= 0);
    for (int i = 0; i < 64; i++) {
        fd[i] = connect_to(&bound, &at);
        before[i] = receiver_of(group, fd[i], (const uint8_t *)"any", 3);
    }
    assert_true(udp_steer(group[1], &to));
    for (int i = 0; i < 64; i++) {
        uint8_t data[12] = {25, [11] = (uint8_t)(i % GROUP)};
        assert_int_equal(receiver_of(group, fd[i], data, 12), i % GROUP);
        assert_int_equal(receiver_of(group, fd[i], data, 11), before[i]);
        assert_int_equal(receiver_of(group, fd[i], data, 0), before[i]);
        data[11] = GROUP;
        assert_int_equal(receiver_of(group, fd[i], data, 12), before[i]);
        data[11] = 255;
        assert_int_equal(receiver_of(group, fd[i], data, 12), before[i]);
        data[0] = 23;
        data[11] = (uint8_t)(i % GROUP);
        assert_int_equal(receiver_of(group, fd[i], data, 12), before[i]);
        others[before[i] > 0] += 1;
        close(fd[i]);
    }
    assert_true(others[0] > 0 && others[1] > 0); /* the hash is no single socket */
    for (int i = 1; i < GROUP; i++)
        close(group[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exclusive_bind_fails_beside_our_own_group),
        TEST(test_exclusive_dual_bind_fails_beside_ipv4),
        TEST(test_exclusive_bind_fails_beside_a_foreign_socket),
        TEST(test_ipv6_wildcard_without_dual_leaves_ipv4_alone),
        TEST(test_group_shares_the_traffic),
        TEST(test_group_shares_the_traffic_on_dual_wildcard),
        TEST(test_connected_sockets_never_share_a_port),
        TEST(test_connected_sockets_leave_from_where_they_are_told),
        TEST(test_connected_sockets_may_have_a_foreign_address),
        TEST(test_addresses_are_told_from_foreign_ones),
        TEST(test_shared_socket_has_a_port_of_its_own),
        TEST(test_buffers_are_told_in_the_unit_asked),
        TEST(test_datagrams_go_to_the_socket_that_they_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
