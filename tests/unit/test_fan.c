/* fan: on a real loop and loopback sockets: whose datagram it is, and that nobody else's passes. */
#include "loop_rig.h"

#include "proxy/fan.h"

#include "base/udp.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_MAX 64

struct world {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct udp_outbox *outbox;
    struct addr backend, other;
    int backend_fd, other_fd;
    bool is_other_known; /* as a backend */
    struct fan *fan;
    size_t count;
    struct source *to[GOT_MAX];
    uint8_t first[GOT_MAX];
};

static bool is_backend(void *arg, const struct addr *peer)
{
    const struct world *w = arg;

    return addr_equal(peer, &w->backend) || (w->is_other_known && addr_equal(peer, &w->other));
}

static void on_datagrams(void *arg, struct fan *f)
{
    struct world *w = arg;
    const struct udp_datagram *d;
    struct source *to;

    while ((d = fan_next(f, &to)) != NULL) {
        assert_true(w->count < GOT_MAX && d->len == 1);
        w->to[w->count] = to;
        w->first[w->count++] = d->data[0];
    }
}

static int open_at(const char *text, struct addr *bound)
{
    struct addr at;
    int fd;

    assert_true(addr_parse(&at, text));
    fd = udp_listen(&at, false, false, bound);
    assert_true(fd >= 0);
    return fd;
}

static int set_up(void **state)
{
    static struct world w;
    struct fan_params params = {.workers = 1, .buffer = 65536, .joins = true};

    w = (struct world){.base = event_base_new(),
                       .inbox = udp_inbox_new(false),
                       .outbox = udp_outbox_new(true, NULL, NULL)};
    w.backend_fd = open_at("127.0.0.1:0", &w.backend);
    w.other_fd = open_at("127.0.0.1:0", &w.other);
    params.is_backend = is_backend;
    params.on_datagrams = on_datagrams;
    params.arg = &w;
    assert_true(prefix_parse(&params.prefix, "127.64.0.0/29"));
    w.fan = fan_new(w.base, w.inbox, &params);
    assert_non_null(w.fan);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    fan_free(w->fan);
    close(w->backend_fd);
    close(w->other_fd);
    udp_outbox_free(w->outbox);
    udp_inbox_free(w->inbox);
    event_base_free(w->base);
    return 0;
}

static struct source *take(struct world *w, struct source *source)
{
    assert_true(sources_take_next(fan_sources(w->fan), source));
    return source;
}

static void give_back(struct world *w, struct source *source)
{
    sources_give_back(fan_sources(w->fan), source);
}

/* A byte to one of the fan's addresses. */
static void say(const struct world *w, int fd, const char *host, char what)
{
    struct addr to = {.family = AF_INET};
    struct sockaddr_storage name;
    char text[ADDR_TEXT_MAX] = "";

    strcat(strcpy(text, host), ":0");
    assert_true(addr_parse(&to, text));
    to.port = fan_port(w->fan);
    socklen_t len = addr_to_sockaddr(&to, AF_INET, &name);
    assert_int_equal(sendto(fd, &what, 1, 0, (struct sockaddr *)&name, len), 1);
}

static void send_from(struct world *w, const struct source *from, const char *text)
{
    size_t len = strlen(text);

    memcpy(udp_outbox_reserve(w->outbox, len), text, len);
    fan_commit(w->fan, w->outbox, len, from, &w->backend);
}

/* Receives one at the backend, and says whence. */
static void assert_comes(int fd, const char *text, const char *from, uint16_t port)
{
    struct sockaddr_storage name;
    socklen_t name_len = sizeof(name);
    char got[16], shown[ADDR_TEXT_MAX];
    struct addr peer;
    ssize_t n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&name, &name_len);

    assert_int_equal(n, (int)strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_true(addr_from_sockaddr(&peer, (struct sockaddr *)&name));
    assert_int_equal(peer.port, port);
    peer.port = 0;
    assert_string_equal(addr_format(&peer, shown), from);
}

static void test_each_sends_from_its_own_address(void **state)
{
    struct world *w = *state;
    struct source a, b;

    take(w, &a);
    take(w, &b);
    send_from(w, &a, "a");
    send_from(w, &b, "b");
    send_from(w, &a, "a2");
    assert_int_equal(udp_outbox_flush(w->outbox), 0);
    assert_comes(w->backend_fd, "a", "127.64.0.1:0", fan_port(w->fan));
    assert_comes(w->backend_fd, "b", "127.64.0.2:0", fan_port(w->fan));
    assert_comes(w->backend_fd, "a2", "127.64.0.1:0", fan_port(w->fan));
    give_back(w, &a);
    give_back(w, &b);
}

static void test_what_the_backend_sends_finds_its_way(void **state)
{
    struct world *w = *state;
    struct source a, b;

    take(w, &a);
    take(w, &b);
    say(w, w->backend_fd, "127.64.0.2", 'b');
    say(w, w->backend_fd, "127.64.0.1", 'a');
    say(w, w->backend_fd, "127.64.0.1", 'A');
    loop_await(w->base, &w->count, 3);
    assert_ptr_equal(w->to[0], &b);
    assert_ptr_equal(w->to[1], &a);
    assert_ptr_equal(w->to[2], &a);
    assert_memory_equal(w->first, "baA", 3);
    give_back(w, &a);
    give_back(w, &b);
}

static void test_strangers_find_nobody(void **state)
{
    struct world *w = *state;
    struct source a;

    take(w, &a);
    say(w, w->other_fd, "127.64.0.1", '1');   /* not the backend's port */
    say(w, w->backend_fd, "127.64.0.2", '2'); /* nobody's */
    say(w, w->backend_fd, "127.64.0.0", '3'); /* never anybody's */
    say(w, w->backend_fd, "127.0.0.1", '4');  /* outside */
    loop_await(w->base, &w->count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_null(w->to[i]);
    give_back(w, &a);
    say(w, w->backend_fd, "127.64.0.1", '5'); /* not any more */
    loop_await(w->base, &w->count, 5);
    assert_null(w->to[4]);
}

static void test_each_datagram_goes_where_it_is_sent_and_all_backends_may_answer(void **state)
{
    struct world *w = *state;
    struct source a;

    take(w, &a);
    send_from(w, &a, "x");
    memcpy(udp_outbox_reserve(w->outbox, 1), "y", 1);
    fan_commit(w->fan, w->outbox, 1, &a, &w->other);
    assert_int_equal(udp_outbox_flush(w->outbox), 0);
    assert_comes(w->backend_fd, "x", "127.64.0.1:0", fan_port(w->fan));
    assert_comes(w->other_fd, "y", "127.64.0.1:0", fan_port(w->fan));
    say(w, w->other_fd, "127.64.0.1", '1');
    loop_await(w->base, &w->count, 1);
    assert_null(w->to[0]);
    w->is_other_known = true;
    say(w, w->backend_fd, "127.64.0.1", 'b');
    say(w, w->other_fd, "127.64.0.1", 'o');
    loop_await(w->base, &w->count, 3);
    assert_ptr_equal(w->to[1], &a);
    assert_ptr_equal(w->to[2], &a);
    give_back(w, &a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_sends_from_its_own_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_the_backend_sends_finds_its_way, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_strangers_find_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_each_datagram_goes_where_it_is_sent_and_all_backends_may_answer, set_up,
            tear_down),
    };

    return cmocka_run_group_tests_name("fan", tests, NULL, NULL);
}
