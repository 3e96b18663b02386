/*
 * test_steer: the kernel's program and the rule in C send each datagram to the same socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/steer.h"
#include "base/udp.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 5
#define SENDERS 200

static const struct steer steer = {{0x12345678, 0x9abcdef0}};
static const struct udp_steering by_id = {.first = 25, .at = 11, .count = SOCKETS};

/* Which socket has something to read: exactly one. */
static unsigned find_readable(const int fd[SOCKETS])
{
    struct pollfd p[SOCKETS];
    unsigned found = SOCKETS;
    char byte;

    for (int i = 0; i < SOCKETS; i++)
        p[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    assert_int_equal(poll(p, SOCKETS, 5000), 1);
    for (unsigned i = 0; i < SOCKETS; i++)
        if (p[i].revents & POLLIN)
            found = i;
    assert_int_equal(recv(fd[found], &byte, 1, 0), 1);
    return found;
}

static void open_group(const struct addr *at, bool dual, int fd[SOCKETS], struct addr *bound)
{
    struct addr where = *at;

    for (int i = 0; i < SOCKETS; i++) {
        fd[i] = udp_listen(&where, i > 0, dual, bound);
        assert_true(fd[i] >= 0);
        where = *bound;
    }
    assert_true(steer_attach(&steer, fd[2], &by_id));
}

static unsigned place_of(int out, const int fd[SOCKETS], const uint8_t *data, size_t len)
{
    assert_int_equal(send(out, data, len, 0), (ssize_t)len);
    return find_readable(fd);
}

/* Whose id it has, wherever it comes from; all else goes by that. */
static void ids_go_before_addresses(const struct addr *at)
{
    uint8_t record[12] = {25};
    struct addr bound, from;
    int fd[SOCKETS];

    open_group(at, false, fd, &bound);
    int out = udp_connect(&bound, &from);
    assert_true(out >= 0);
    unsigned by_address = steer_index(&steer, &from, SOCKETS);
    for (uint8_t i = 0; i < SOCKETS; i++) {
        record[11] = i;
        record[0] = 25;
        assert_int_equal(place_of(out, fd, record, sizeof record), i);
        assert_int_equal(place_of(out, fd, record, sizeof record - 1), by_address);
        record[0] = 23;
        assert_int_equal(place_of(out, fd, record, sizeof record), by_address);
    }
    record[0] = 25;
    record[11] = SOCKETS; /* nobody's */
    assert_int_equal(place_of(out, fd, record, sizeof record), by_address);
    close(out);
    for (int i = 0; i < SOCKETS; i++)
        close(fd[i]);
}

static void ids_over_ipv4(void **unused)
{
    (void)unused;
    ids_go_before_addresses(&(struct addr){.ip = {127, 0, 0, 1}, .family = AF_INET});
}

static void ids_over_ipv6(void **unused)
{
    (void)unused;
    ids_go_before_addresses(&(struct addr){.ip = {[15] = 1}, .family = AF_INET6});
}

static void send_from_many(const int fd[SOCKETS], const struct addr *to)
{
    unsigned count[SOCKETS] = {0};
    struct addr from;

    for (int i = 0; i < SENDERS; i++) {
        int out = udp_connect(to, &from);
        assert_true(out >= 0);
        assert_int_equal(send(out, "x", 1, 0), 1);
        unsigned at = find_readable(fd);
        assert_int_equal(at, steer_index(&steer, &from, SOCKETS));
        count[at]++;
        close(out);
    }
    for (int i = 0; i < SOCKETS; i++)
        assert_in_range(count[i], SENDERS / SOCKETS / 3, SENDERS / SOCKETS * 3);
    for (int i = 0; i < SOCKETS; i++)
        close(fd[i]);
}

static void over_ipv4(void **unused)
{
    const struct addr at = {.ip = {127, 0, 0, 1}, .family = AF_INET};
    struct addr bound;
    int fd[SOCKETS];

    (void)unused;
    open_group(&at, false, fd, &bound);
    send_from_many(fd, &bound);
}

static void over_ipv6(void **unused)
{
    const struct addr at = {.ip = {[15] = 1}, .family = AF_INET6};
    struct addr bound;
    int fd[SOCKETS];

    (void)unused;
    open_group(&at, false, fd, &bound);
    send_from_many(fd, &bound);
}

static void over_ipv4_to_sockets_of_both(void **unused)
{
    const struct addr at = {.family = AF_INET6};
    struct addr bound;
    int fd[SOCKETS];

    (void)unused;
    open_group(&at, true, fd, &bound);
    bound = (struct addr){.ip = {127, 0, 0, 1}, .port = bound.port, .family = AF_INET};
    send_from_many(fd, &bound);
}

static void addresses_and_keys_make_a_difference(void **unused)
{
    static const struct steer other = {{1, 2}};
    struct addr a = {.ip = {10}, .port = 5000, .family = AF_INET};
    unsigned same = 0, count[4] = {0};

    (void)unused;
    for (unsigned i = 0; i < 4096; i++) {
        a.ip[3] = (uint8_t)i;
        a.ip[2] = (uint8_t)(i >> 8);
        same += steer_index(&steer, &a, 4) == steer_index(&other, &a, 4);
        count[steer_index(&steer, &a, 4)]++;
    }
    assert_in_range(same, 700, 1400);
    for (int i = 0; i < 4; i++)
        assert_in_range(count[i], 900, 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_ipv4),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(over_ipv4_to_sockets_of_both),
        cmocka_unit_test(ids_over_ipv4),
        cmocka_unit_test(ids_over_ipv6),
        cmocka_unit_test(addresses_and_keys_make_a_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
