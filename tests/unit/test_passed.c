/*
 * test_passed: sockets that were passed: which are taken, and what is said of those that cannot be.
 * Each test runs in a child, where the descriptors from 3 on are its own.
 */
#include "daemon/passed.h"
#include "daemon/sockets.h"

#include "base/udp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
/* Nothing is asserted in a child, for that would run the other tests, too. */
#define CHECK(is_so)                                                                               \
    do {                                                                                           \
        if (!(is_so)) {                                                                            \
            fprintf(stderr, "line %d: %s\n", __LINE__, #is_so);                                    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static struct errors errors;

static struct addr address(const char *ip, unsigned port)
{
    char text[ADDR_TEXT_MAX];
    struct addr a;

    snprintf(text, sizeof(text), "%s:%u", ip, port);
    CHECK(addr_parse(&a, text));
    return a;
}

/* A plain socket, as a service manager makes it, at the descriptor that is free next. */
static struct addr bind_next(const char *ip, int type, unsigned port, bool reuse)
{
    struct addr at = address(ip, port);
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(&at, at.family, &name);
    int fd = socket(at.family, type, 0), on = 1;

    CHECK(fd >= 0);
    if (reuse)
        CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0);
    CHECK(bind(fd, (struct sockaddr *)&name, len) == 0);
    len = sizeof(name);
    CHECK(getsockname(fd, (struct sockaddr *)&name, &len) == 0);
    CHECK(addr_from_sockaddr(&at, (struct sockaddr *)&name));
    return at;
}

static void announce(const char *count, const char *names)
{
    char pid[24];

    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
}

static void in_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        close_range(3, ~0U, 0);
        fn();
        errors_clear(&errors);
        passed_close();
        /* A leak checker looks into the process at its end, which takes being who began it. */
        CHECK(seteuid(getuid()) == 0 && prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L) == 0);
        exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void take_two(void)
{
    struct addr a = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    struct addr b = bind_next("127.0.0.1", SOCK_DGRAM, 0, false), at;
    char text[PASSED_TEXT_MAX], expected[PASSED_TEXT_MAX];
    bool dual = true;

    announce("2", "one:tw\"o");
    CHECK(passed_init(&errors));
    CHECK(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL);
    CHECK(getenv("LISTEN_FDNAMES") == NULL);
    CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && (fcntl(4, F_GETFL) & O_NONBLOCK) != 0);
    CHECK(passed_claim(&a, &dual) == 3 && !dual);
    CHECK(passed_claim(&a, &dual) == -1);
    CHECK(passed_left(-1, &at, text) == 4 && addr_equal(&at, &b));
    snprintf(expected, sizeof(expected), "passed socket 4 (tw\\x22o) on 127.0.0.1:%u", b.port);
    CHECK(strcmp(text, expected) == 0);
    CHECK(passed_left(4, &at, text) == -1);
    passed_close();
    CHECK(fcntl(4, F_GETFD) == -1 && fcntl(3, F_GETFD) == FD_CLOEXEC);
}

static void test_sockets_are_taken_by_address(void **state)
{
    (void)state;
    in_child(take_two);
}

static void see_another(void)
{
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    bool dual;

    announce("1", NULL);
    setenv("LISTEN_PID", "1", 1);
    CHECK(passed_init(&errors));
    CHECK(getenv("LISTEN_FDS") == NULL);
    CHECK(passed_claim(&at, &dual) == -1);
    CHECK(fcntl(3, F_GETFD) == 0);
}

static void test_what_is_meant_for_another_process_is_left(void **state)
{
    (void)state;
    in_child(see_another);
}

static void refuse_odd_ones(void)
{
    bind_next("127.0.0.1", SOCK_STREAM, 0, false);
    CHECK(socket(AF_INET, SOCK_DGRAM, 0) == 4);
    CHECK(open("/dev/null", O_RDONLY) == 5);
    announce("4", "web");
    CHECK(!passed_init(&errors));
    CHECK(errors.count == 4);
    CHECK(strncmp(errors.line[0], "passed socket 3 (web): is no bound UDP socket: ", 47) == 0);
    CHECK(strncmp(errors.line[1], "passed socket 4 on 0.0.0.0:0: is no bound", 41) == 0);
    CHECK(strncmp(errors.line[2], "passed socket 5: is no bound UDP socket: Socket", 47) == 0);
    CHECK(strncmp(errors.line[3], "passed socket 6: is no bound UDP socket: Bad file", 49) == 0);
}

static void test_what_is_no_bound_udp_socket_is_told(void **state)
{
    (void)state;
    in_child(refuse_odd_ones);
}

static void refuse_odd_counts(void)
{
    static const char *const counts[] = {"", "-1", "513", "two", "99999999999999999999999"};

    for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        announce(counts[i], NULL);
        CHECK(!passed_init(&errors));
        CHECK(errors.count == i + 1);
        CHECK(strcmp(errors.line[i], "LISTEN_FDS is no number from 0 to 512; unset it") == 0);
    }
}

static void test_a_count_that_cannot_be_is_told(void **state)
{
    (void)state;
    in_child(refuse_odd_counts);
}

/* Settings with one service that listens on one address. */
static bool open_sockets(struct sockets *s, struct addr *at, unsigned workers)
{
    static char name[] = "a";
    static struct conf_service service;
    static struct conf conf;

    service = (struct conf_service){.name = name, .line = 7, .listen = at, .listen_count = 1};
    conf = (struct conf){.service = &service, .service_count = 1};
    conf.daemon.workers = workers;
    conf.daemon.socket_buffer = 64 * 1024;
    return sockets_open(s, &conf, "x.ini", &errors);
}

static void serve_with_one(void)
{
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    struct sockets s;

    announce("1", NULL);
    CHECK(passed_init(&errors));
    CHECK(open_sockets(&s, &at, 3)); /* the others join it, for they are the same user's */
    CHECK(sockets_of(&s, 0)->fd == 3 && addr_equal(&sockets_of(&s, 0)->bound, &at));
    CHECK(sockets_of(&s, 1)->fd > 3 && addr_equal(&sockets_of(&s, 2)->bound, &at));
    sockets_close(&s);
    CHECK(fcntl(3, F_GETFD) == -1);
}

static void serve_with_all(void)
{
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, true);
    struct sockets s;

    bind_next("127.0.0.1", SOCK_DGRAM, at.port, true);
    announce("2", NULL);
    CHECK(passed_init(&errors));
    CHECK(geteuid() != 0 || seteuid(NOBODY) == 0);
    CHECK(open_sockets(&s, &at, 2));
    CHECK(sockets_of(&s, 0)->fd == 3 && sockets_of(&s, 1)->fd == 4);
    sockets_close(&s);
}

static void test_they_take_the_place_of_our_own(void **state)
{
    (void)state;
    in_child(serve_with_one);
    in_child(serve_with_all);
}

static void see_v4_taken_by_v6(void)
{
    struct addr at = bind_next("[::]", SOCK_DGRAM, 0, false);
    bool dual = false;

    announce("1", NULL);
    CHECK(passed_init(&errors));
    CHECK(passed_claim(&at, &dual) == 3 && dual);
}

static void test_a_wildcard_tells_whether_it_takes_ipv4(void **state)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    (void)state;
    if (fd < 0)
        skip();
    close(fd);
    in_child(see_v4_taken_by_v6);
}

static void refuse_stray(void)
{
    struct addr passed = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    char expected[512];
    struct sockets s;

    close(4);
    announce("1", "coap");
    CHECK(passed_init(&errors));
    CHECK(!open_sockets(&s, &at, 1));
    CHECK(errors.count == 1);
    snprintf(expected, sizeof(expected),
             "passed socket 3 (coap) on 127.0.0.1:%u: no worker of any service is left to take it "
             "(a has 127.0.0.1:%u); let the socket unit and the service's listen name the same "
             "address, at most once for each worker",
             passed.port, at.port);
    CHECK(strcmp(errors.line[0], expected) == 0);
}

static void refuse_too_many(void)
{
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, true);
    struct sockets s;

    bind_next("127.0.0.1", SOCK_DGRAM, at.port, true);
    announce("2", NULL);
    CHECK(passed_init(&errors));
    CHECK(!open_sockets(&s, &at, 1));
    CHECK(errors.count == 1 && strncmp(errors.line[0], "passed socket 4 on ", 19) == 0);
}

static void test_one_that_nobody_would_read_is_an_error(void **state)
{
    (void)state;
    in_child(refuse_stray);
    in_child(refuse_too_many);
}

static void fail_to_join(void)
{
    struct addr at = bind_next("127.0.0.1", SOCK_DGRAM, 0, false);
    char expected[512];
    struct sockets s;

    announce("1", NULL);
    CHECK(passed_init(&errors));
    CHECK(seteuid(NOBODY) == 0);
    CHECK(!open_sockets(&s, &at, 2));
    snprintf(
        expected, sizeof(expected),
        "x.ini:7: service.a.listen: 1 of the sockets for 127.0.0.1:%u were passed, and no other"
        " can join them: Address already in use; let the socket unit have ReusePort=yes and "
        "one ListenDatagram=127.0.0.1:%u for each worker, or set daemon.workers = 1",
        at.port, at.port);
    CHECK(strcmp(errors.line[0], expected) == 0);
}

static void test_workers_that_cannot_join_another_users_socket_are_told(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    in_child(fail_to_join);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets_are_taken_by_address),
        cmocka_unit_test(test_what_is_meant_for_another_process_is_left),
        cmocka_unit_test(test_what_is_no_bound_udp_socket_is_told),
        cmocka_unit_test(test_a_count_that_cannot_be_is_told),
        cmocka_unit_test(test_they_take_the_place_of_our_own),
        cmocka_unit_test(test_a_wildcard_tells_whether_it_takes_ipv4),
        cmocka_unit_test(test_one_that_nobody_would_read_is_an_error),
        cmocka_unit_test(test_workers_that_cannot_join_another_users_socket_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
