/*
 * test_sockets: the public sockets: who may hold an address, which workers share it, and what a
 * failure says.
 */
#include "daemon/sockets.h"

#include "base/udp.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 4
#define ADDRS_MAX 4

/* Settings of two services, of which the second may have no address. */
struct fixture {
    struct addr listen[2][ADDRS_MAX];
    char name[2][8];
    struct conf_service service[2];
    struct conf conf;
    struct sockets sockets;
    struct errors errors;
};

static struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static struct addr with_port(const char *ip, uint16_t port)
{
    char text[ADDR_TEXT_MAX];

    snprintf(text, sizeof(text), "%s:%u", ip, port);
    return address(text);
}

static void add(struct fixture *f, unsigned service, struct addr at)
{
    struct conf_service *s = &f->service[service];

    assert_true(s->listen_count < ADDRS_MAX);
    f->listen[service][s->listen_count++] = at;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return -1;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(f->name[i], sizeof(f->name[i]), "s%u", i);
        f->service[i] = (struct conf_service){.name = f->name[i], .listen = f->listen[i]};
    }
    f->service[1].line = 17;
    f->conf = (struct conf){.service = f->service, .service_count = 2};
    f->conf.daemon.workers = WORKERS;
    f->conf.daemon.socket_buffer = 64 * 1024;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    sockets_close(&f->sockets);
    errors_clear(&f->errors);
    free(f);
    return 0;
}

static bool open_sockets(struct fixture *f)
{
    return sockets_open(&f->sockets, &f->conf, "x.ini", &f->errors);
}

static void assert_open(struct fixture *f)
{
    if (open_sockets(f))
        return;
    errors_print(&f->errors, stderr, "");
    fail();
}

/* A bound socket of somebody else, who is polite enough to allow sharing. */
static int foreign_socket(const char *text, uint16_t *port)
{
    struct addr at = address(text), bound;
    int fd = udp_listen(&at, false, false, &bound);

    assert_true(fd >= 0);
    *port = bound.port;
    return fd;
}

static uint16_t free_port(void)
{
    uint16_t port;
    int fd = foreign_socket("0.0.0.0:0", &port);

    close(fd);
    return port;
}

static bool has_input(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) == 1;
}

static void send_to(struct addr to, int family)
{
    struct addr from = {.family = (uint16_t)family}, bound;
    struct sockaddr_storage name;
    int fd = udp_listen(&from, false, false, &bound);
    socklen_t len = addr_to_sockaddr(&to, family, &name);

    assert_true(fd >= 0);
    assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&name, len), 1);
    close(fd);
}

static void need_ipv6(void)
{
    struct addr at = address("[::1]:0");
    int fd = udp_listen(&at, false, false, &at);

    if (fd < 0)
        skip();
    close(fd);
}

static bool reaches(const struct fixture *f, size_t column, const char *ip, int family)
{
    struct addr to = with_port(ip, sockets_of(&f->sockets, 0)[column].bound.port);

    send_to(to, family);
    for (unsigned w = 0; w < f->sockets.workers; w++)
        if (has_input(sockets_of(&f->sockets, w)[column].fd, 0))
            return true;
    return false;
}

static void test_each_worker_has_a_socket_for_each_address(void **state)
{
    struct fixture *f = *state;

    add(f, 0, address("127.0.0.1:0"));
    add(f, 0, address("127.0.0.2:0"));
    add(f, 1, address("127.0.0.1:0"));
    assert_open(f);
    assert_int_equal(f->sockets.workers, WORKERS);
    assert_int_equal(f->sockets.per_worker, 3);
    for (unsigned w = 0; w < WORKERS; w++) {
        const struct worker_socket *row = sockets_of(&f->sockets, w);
        assert_int_equal(row[0].service, 0);
        assert_int_equal(row[1].service, 0);
        assert_int_equal(row[2].service, 1);
        for (unsigned i = 0; i < 3; i++)
            assert_true(row[i].fd > 2);
    }
}

static void test_port_0_gives_all_workers_the_same_port(void **state)
{
    struct fixture *f = *state;
    const struct worker_socket *first;

    add(f, 0, address("127.0.0.1:0"));
    add(f, 1, address("127.0.0.1:0"));
    assert_open(f);
    first = sockets_of(&f->sockets, 0);
    assert_int_not_equal(first[0].bound.port, 0);
    assert_int_not_equal(first[0].bound.port, first[1].bound.port);
    for (unsigned w = 1; w < WORKERS; w++) {
        assert_true(addr_equal(&sockets_of(&f->sockets, w)[0].bound, &first[0].bound));
        assert_true(addr_equal(&sockets_of(&f->sockets, w)[1].bound, &first[1].bound));
    }
}

static void test_the_workers_share_what_comes(void **state)
{
    struct fixture *f = *state;
    unsigned served = 0;

    add(f, 0, address("127.0.0.1:0"));
    assert_open(f);
    /* That 64 ports all hash to one of four sockets has a chance of 4^-63. */
    for (int i = 0; i < 64; i++)
        send_to(sockets_of(&f->sockets, 0)->bound, AF_INET);
    for (unsigned w = 0; w < WORKERS; w++)
        served += has_input(sockets_of(&f->sockets, w)->fd, 0);
    assert_in_range(served, 2, WORKERS);
}

static void test_an_address_that_is_held_is_an_error_even_when_it_could_be_shared(void **state)
{
    struct fixture *f = *state;
    char expected[256];
    uint16_t port;
    int fd = foreign_socket("127.0.0.1:0", &port);

    add(f, 1, with_port("127.0.0.1", port));
    assert_false(open_sockets(f));
    assert_int_equal(f->errors.count, 1);
    snprintf(expected, sizeof(expected),
             "x.ini:17: service.s1.listen: cannot bind 127.0.0.1:%u: Address already in use; stop "
             "what holds it (ss -ulnp tells), or choose another port",
             port);
    assert_string_equal(f->errors.line[0], expected);
    close(fd);
}

static void test_all_failures_are_told_and_nothing_stays_open(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int fd = foreign_socket("127.0.0.1:0", &port);
    uint16_t other = free_port();

    add(f, 0, with_port("127.0.0.1", port));
    add(f, 0, with_port("127.0.0.1", other));
    add(f, 1, address("192.0.2.1:5684")); /* RFC 5737: nobody's */
    assert_false(open_sockets(f));
    assert_int_equal(f->errors.count, 2);
    assert_non_null(strstr(f->errors.line[0], "command line: service.s0.listen: cannot bind"));
    assert_non_null(
        strstr(f->errors.line[1], "x.ini:17: service.s1.listen: cannot bind 192.0.2.1"));
    assert_null(f->sockets.list);
    close(fd);
    fd = udp_listen(&f->listen[0][1], false, false, &(struct addr){0});
    assert_true(fd >= 0);
    close(fd);
}

static void test_an_overlap_within_the_settings_is_named(void **state)
{
    struct fixture *f = *state;
    uint16_t port = free_port();

    add(f, 0, with_port("0.0.0.0", port));
    add(f, 1, with_port("127.0.0.1", port));
    assert_false(open_sockets(f));
    assert_int_equal(f->errors.count, 1);
    assert_non_null(strstr(f->errors.line[0], "it overlaps 0.0.0.0:"));
    assert_non_null(strstr(f->errors.line[0], "of service s0; keep one of the two"));
}

static void test_the_ipv6_wildcard_takes_ipv4_too(void **state)
{
    struct fixture *f = *state;

    need_ipv6();
    add(f, 0, address("[::]:0"));
    assert_open(f);
    assert_true(reaches(f, 0, "127.0.0.1", AF_INET));
    assert_true(reaches(f, 0, "[::1]", AF_INET6));
}

static void test_the_ipv6_wildcard_leaves_ipv4_to_who_lists_it(void **state)
{
    static const char *const listed[] = {"0.0.0.0", "127.0.0.1"};

    need_ipv6();
    for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++) {
        struct fixture *f = *state;
        uint16_t port = free_port();
        add(f, 0, with_port("[::]", port));
        add(f, 1, with_port(listed[i], port));
        assert_open(f);
        assert_true(reaches(f, 1, "127.0.0.1", AF_INET));
        assert_true(reaches(f, 0, "[::1]", AF_INET6));
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

static void test_other_ipv6_addresses_take_ipv6_only(void **state)
{
    struct fixture *f = *state;
    uint16_t port = free_port();

    need_ipv6();
    add(f, 0, with_port("[::1]", port));
    add(f, 1, with_port("127.0.0.1", port));
    assert_open(f);
}

static void test_the_smallest_buffer_is_remembered(void **state)
{
    struct fixture *f = *state;

    add(f, 0, address("127.0.0.1:0"));
    assert_open(f);
    assert_in_range(f->sockets.buffer, 64 * 1024, SIZE_MAX - 1);
}

/* What a socket was told about joined datagrams. */
static int joins_received(const struct worker_socket *s)
{
    int on = -1;
    socklen_t len = sizeof(on);

    (void)getsockopt(s->fd, IPPROTO_UDP, UDP_GRO, &on, &len);
    return on;
}

static void test_offloading_is_used_where_the_kernel_can(void **state)
{
    struct fixture *f = *state;
    struct udp_offload can = udp_probe_offload();

    add(f, 0, address("127.0.0.1:0"));
    f->conf.daemon.udp_offload = CONF_OFFLOAD_AUTO;
    assert_open(f);
    assert_int_equal(f->sockets.offload.send, can.send);
    assert_int_equal(f->sockets.offload.receive, can.receive);
    for (unsigned w = 0; can.receive && w < WORKERS; w++)
        assert_int_equal(joins_received(sockets_of(&f->sockets, w)), 1);
}

static void test_offloading_can_be_off(void **state)
{
    struct fixture *f = *state;

    add(f, 0, address("127.0.0.1:0"));
    f->conf.daemon.udp_offload = CONF_OFFLOAD_OFF;
    assert_open(f);
    assert_false(f->sockets.offload.send || f->sockets.offload.receive);
    assert_true(joins_received(sockets_of(&f->sockets, 0)) <= 0);
}

static void test_closing_twice_is_harmless(void **state)
{
    struct fixture *f = *state;
    struct addr bound;
    int fd;

    add(f, 0, address("127.0.0.1:0"));
    assert_open(f);
    bound = sockets_of(&f->sockets, 0)->bound;
    sockets_close(&f->sockets);
    sockets_close(&f->sockets);
    fd = udp_listen(&bound, false, false, &bound);
    assert_true(fd >= 0);
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_each_worker_has_a_socket_for_each_address),
        TEST(test_port_0_gives_all_workers_the_same_port),
        TEST(test_the_workers_share_what_comes),
        TEST(test_an_address_that_is_held_is_an_error_even_when_it_could_be_shared),
        TEST(test_all_failures_are_told_and_nothing_stays_open),
        TEST(test_an_overlap_within_the_settings_is_named),
        TEST(test_the_ipv6_wildcard_takes_ipv4_too),
        TEST(test_the_ipv6_wildcard_leaves_ipv4_to_who_lists_it),
        TEST(test_other_ipv6_addresses_take_ipv6_only),
        TEST(test_the_smallest_buffer_is_remembered),
        TEST(test_offloading_is_used_where_the_kernel_can),
        TEST(test_offloading_can_be_off),
        TEST(test_closing_twice_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
