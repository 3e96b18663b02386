/*
 * test_heir: what the running process may say to the new one at the beginning, and what that makes
 * of it. A socket pair stands for the other process.
 */
#include "base/udp.h"
#include "daemon/handover.h"
#include "daemon/heir.h"
#include "daemon/spawner.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int other = -1; /* its end */
static struct parcel parcel;
static struct errors errors;
static int udp[2];
static struct addr bound[2];

static void say(struct writer w)
{
    assert_true(parcel_wrote(&parcel, &w));
    assert_int_equal(parcel_send(other, &parcel, 0), PARCEL_OK);
}

static void say_hello(uint32_t version, unsigned workers)
{
    const struct handover_hello hello = {.version = version, .workers = workers, .services = 1};
    struct writer w = handover_begin(&parcel, HANDOVER_HELLO);

    handover_write_hello(&w, &hello);
    say(w);
}

/* The socket of a worker for service "a", which the settings have with port 0. */
static void say_listener(unsigned worker, const char *name)
{
    struct handover_socket s = {.worker = worker, .bound = bound[worker]};
    struct writer w = handover_begin(&parcel, HANDOVER_LISTEN);

    s.at = bound[worker];
    s.at.port = 0;
    s.name_len = (uint8_t)strlen(name);
    memcpy(s.name, name, s.name_len);
    handover_write_socket(&w, &s);
    parcel.fd[parcel.fds++] = udp[worker];
    say(w);
}

static void say_things(uint8_t flags)
{
    struct writer w = handover_begin(&parcel, HANDOVER_THINGS);

    write_u8(&w, flags);
    say(w);
}

static int set_up(void **state)
{
    struct addr any;
    int ends[2];
    char number[16];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    other = ends[0];
    snprintf(number, sizeof number, "%d", ends[1]);
    setenv(SPAWNER_VARIABLE, number, 1);
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    for (int i = 0; i < 2; i++)
        udp[i] = udp_listen(i == 0 ? &any : &bound[0], i > 0, false, &bound[i]);
    return udp[0] >= 0 && udp[1] >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    heir_close();
    errors_clear(&errors);
    close(other);
    close(udp[0]);
    close(udp[1]);
    return 0;
}

static void assert_error(const char *words)
{
    assert_true(errors.count > 0);
    if (strstr(errors.line[errors.count - 1], words) == NULL)
        fail_msg("\"%s\" does not tell \"%s\"", errors.line[errors.count - 1], words);
}

static void nobody_is_there(void **state)
{
    (void)state;
    unsetenv(SPAWNER_VARIABLE);
    assert_true(heir_meet(&errors));
    assert_false(heir_is_there());
    assert_int_equal(heir_claim_control(), -1);
    heir_refuse(&errors, "nobody hears it");
}

static void a_variable_that_is_none_of_ours(void **state)
{
    (void)state;
    setenv(SPAWNER_VARIABLE, "0", 1);
    assert_false(heir_meet(&errors));
    assert_error("unset it");
    assert_false(heir_is_there());
    assert_null(getenv(SPAWNER_VARIABLE));
}

static void another_version_is_refused(void **state)
{
    (void)state;
    say_hello(HANDOVER_VERSION + 1, 2);
    assert_false(heir_meet(&errors));
    assert_error("hands over in version 2, and this one takes version 1");
    heir_refuse(&errors, NULL);
    heir_refuse(&errors, "once is enough");
    char text[512];
    ssize_t n = recv(other, text, sizeof text - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(text[0], HANDOVER_UNABLE);
    assert_string_equal(text + 1, errors.line[0]);
    assert_int_equal(recv(other, text, sizeof text, MSG_DONTWAIT), -1);
}

static void what_is_no_hello_is_refused(void **state)
{
    (void)state;
    say_things(0);
    assert_false(heir_meet(&errors));
    assert_error("says something else");
}

static void a_process_that_goes_is_told_of(void **state)
{
    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    shutdown(other, SHUT_RDWR);
    assert_false(heir_meet(&errors));
    assert_error("has stopped speaking");
}

static void a_socket_without_a_descriptor_is_refused(void **state)
{
    struct handover_socket s = {.worker = 0, .at = bound[0], .bound = bound[0]};

    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    struct writer w = handover_begin(&parcel, HANDOVER_LISTEN);
    handover_write_socket(&w, &s);
    say(w);
    assert_false(heir_meet(&errors));
    assert_error("hands over sockets in a way that is not known here");
}

static void what_comes_out_of_turn_is_refused(void **state)
{
    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    say_listener(0, "a");
    say(handover_begin(&parcel, HANDOVER_GO));
    assert_false(heir_meet(&errors));
    assert_error("cannot take over");
}

/* Two workers, one service named "a" at 127.0.0.1:0. */
static struct conf *settings(struct conf_service *service, struct addr *at)
{
    static char name[] = "a";
    static struct conf conf;

    *at = bound[0];
    at->port = 0;
    *service = (struct conf_service){.name = name, .listen = at, .listen_count = 1};
    conf = (struct conf){.service = service, .service_count = 1, .daemon.workers = 2};
    return &conf;
}

static bool claim(struct sockets *s, const struct conf *conf, struct worker_socket list[2])
{
    list[0] = list[1] = (struct worker_socket){.fd = -1};
    *s = (struct sockets){.list = list, .per_worker = 1, .workers = conf->daemon.workers};
    bool is_fine = heir_claim_sockets(s, conf, "x.ini", &errors);
    free(s->shared);
    return is_fine;
}

static void sockets_find_their_workers(void **state)
{
    struct conf_service service;
    struct worker_socket list[2];
    struct sockets s;
    struct addr at;

    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    say_listener(1, "a");
    say_listener(0, "a");
    say_things(HANDOVER_IS_DRAINING);
    assert_true(heir_meet(&errors));
    assert_true(heir_is_there());
    assert_true(claim(&s, settings(&service, &at), list));
    assert_true(s.are_taken);
    for (int i = 0; i < 2; i++) {
        struct addr where;
        assert_true(udp_own_address(list[i].fd, &where));
        assert_true(addr_equal(&where, &bound[0]) && addr_equal(&list[i].bound, &where));
        assert_true((fcntl(list[i].fd, F_GETFD) & FD_CLOEXEC) != 0);
        close(list[i].fd);
    }
}

static void a_difference_is_refused(void **state)
{
    struct conf_service service;
    struct worker_socket list[2];
    struct sockets s;
    struct addr at;
    struct conf *conf = settings(&service, &at);

    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    say_listener(1, "b");
    say_listener(0, "a");
    say_listener(1, "a");
    say_things(0);
    assert_true(heir_meet(&errors));
    conf->daemon.workers = 1;
    assert_false(claim(&s, conf, list));
    assert_error("daemon.workers: is 1, the running process has 2, and an upgrade cannot change");
    conf->daemon.workers = 2;
    assert_false(claim(&s, conf, list));
    assert_error("for service b, which the settings do not have");
    close(list[0].fd);
    close(list[1].fd);
    assert_false(claim(&s, conf, list)); /* they are gone */
    assert_error("service.a.listen: the running process does not listen on 127.0.0.1:0");
}

/* Something else than it says it is. */
static void a_descriptor_that_is_no_such_socket_is_refused(void **state)
{
    struct conf_service service;
    struct worker_socket list[2];
    struct sockets s;
    struct addr at;

    (void)state;
    say_hello(HANDOVER_VERSION, 2);
    say_listener(0, "a");
    int before = udp[1];
    udp[1] = other;
    say_listener(1, "a");
    udp[1] = before;
    say_things(0);
    assert_true(heir_meet(&errors));
    assert_false(claim(&s, settings(&service, &at), list));
    assert_error("does not listen on");
    if (list[0].fd >= 0)
        close(list[0].fd);
}

/* Who cannot be told would go on by itself, so nobody else may. */
static void it_begins_only_when_that_is_heard_or_nobody_is_left(void **state)
{
    int none, kept;

    (void)state;
    say_hello(HANDOVER_VERSION, 1);
    say_things(0);
    assert_true(heir_meet(&errors));
    assert_true(heir_begin());
    assert_true(heir_has_all());
    assert_int_equal(parcel_receive(other, &parcel, 0), PARCEL_OK);
    assert_int_equal(parcel.bytes[0], HANDOVER_RUNNING);
    none = open("/dev/null", O_RDWR | O_CLOEXEC);
    kept = dup(heir_fd());
    assert_true(dup2(none, heir_fd()) >= 0);
    assert_false(heir_begin());
    assert_false(heir_has_all());
    assert_true(dup2(kept, heir_fd()) >= 0);
    close(kept);
    close(none);
    close(other);
    assert_true(heir_begin());
    other = -1;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nobody_is_there),
        TEST(a_variable_that_is_none_of_ours),
        TEST(another_version_is_refused),
        TEST(what_is_no_hello_is_refused),
        TEST(a_process_that_goes_is_told_of),
        TEST(a_socket_without_a_descriptor_is_refused),
        TEST(what_comes_out_of_turn_is_refused),
        TEST(sockets_find_their_workers),
        TEST(a_difference_is_refused),
        TEST(a_descriptor_that_is_no_such_socket_is_refused),
        TEST(it_begins_only_when_that_is_heard_or_nobody_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
