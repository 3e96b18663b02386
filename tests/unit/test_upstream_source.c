/* upstream: flows whose source the settings choose: addresses in turn, or one for each flow on a
 * socket that all share. On a real loop and loopback sockets. */
#include "loop_rig.h"

#include "proxy/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOT_MAX 16

/* The services. */
enum { LISTED, SHARED };

struct world {
    struct event_base *base;
    struct upstream *upstream;
    struct addr backend, bound[2];
    int backend_fd;
    size_t count;
    void *owner[GOT_MAX];
    uint8_t first[GOT_MAX];
    struct flow *doomed; /* closed within the hook */
};

static void on_datagrams(void *arg, void *owner, struct udp_inbox *in)
{
    (void)arg;
    (void)owner;
    (void)in;
    fail_msg("nobody answers a socket of its own here");
}

static void on_refused(void *arg, void *owner, unsigned n)
{
    (void)arg;
    (void)owner;
    (void)n;
    fail_msg("nobody refuses");
}

static void on_shared(void *arg, void *owner, const struct udp_datagram *d)
{
    struct world *w = arg;

    assert_true(w->count < GOT_MAX && d->len == 1);
    w->owner[w->count] = owner;
    w->first[w->count++] = d->data[0];
    if (w->doomed)
        upstream_close(w->doomed);
    w->doomed = NULL;
}

static void add(struct world *w, const char *source, int taken)
{
    struct prefixes list = {0};
    const char *fault;
    size_t len;

    assert_true(prefixes_parse(&list, source, &fault, &len));
    const struct upstream_service service = {
        .source = &list, .worker = 1, .workers = 2, .buffer = 65536, .taken = taken};
    assert_true(upstream_add(w->upstream, &service));
    prefixes_clear(&list); /* was borrowed for the call only */
}

static struct upstream *new_upstream(struct world *w)
{
    const struct upstream_hooks hooks = {
        .on_datagrams = on_datagrams, .on_shared = on_shared, .on_refused = on_refused, .arg = w};
    struct upstream *u = upstream_new(w->base, udp_probe_offload(), &hooks);

    assert_non_null(u);
    return u;
}

static int set_up(void **state)
{
    static struct world w;
    struct addr any;

    w = (struct world){.base = event_base_new()};
    w.upstream = new_upstream(&w);
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    w.backend_fd = udp_listen(&any, false, false, &w.backend);
    assert_true(w.backend_fd >= 0);
    add(&w, "127.0.0.2, 203.0.113.1, 127.0.0.3", 0);
    add(&w, "127.64.0.0/29", 0);
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

static struct flow *open_flow(struct world *w, unsigned service, uint32_t number, void *owner)
{
    struct flow *f = upstream_open(w->upstream, service, &w->backend, number, owner);

    assert_non_null(f);
    return f;
}

/* The backend sees it come from there. */
static struct addr assert_comes_from(struct world *w, struct flow *f, const char *host)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    char got[8], text[ADDR_TEXT_MAX];
    struct addr peer, shown;

    memcpy(upstream_reserve(w->upstream, 2), "hi", 2);
    upstream_commit(f, 2);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_int_equal(recvfrom(w->backend_fd, got, sizeof(got), 0, (struct sockaddr *)&name, &len),
                     2);
    assert_true(addr_from_sockaddr(&peer, (struct sockaddr *)&name));
    assert_int_equal(peer.port, upstream_port(f));
    shown = peer;
    shown.port = 0;
    assert_string_equal(addr_format(&shown, text), host);
    return peer;
}

static void speak(int fd, const struct addr *to, char what)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, AF_INET, &name);

    assert_int_equal(sendto(fd, &what, 1, 0, (struct sockaddr *)&name, len), 1);
}

static void answer(const struct world *w, const struct addr *to, char what)
{
    speak(w->backend_fd, to, what);
}

static void test_addresses_are_taken_in_turn(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, LISTED, UPSTREAM_ANY, NULL);
    struct flow *b = open_flow(w, LISTED, UPSTREAM_ANY, NULL);
    struct flow *c = open_flow(w, LISTED, UPSTREAM_ANY, NULL);

    assert_comes_from(w, a, "127.0.0.2:0");
    assert_comes_from(w, b, "127.0.0.3:0"); /* the one between is not ours */
    assert_comes_from(w, c, "127.0.0.2:0");
    assert_int_equal(upstream_source(a), 0);
    assert_int_equal(upstream_source(b), 2);
    assert_false(upstream_is_shared(a));
    assert_int_equal(upstream_count(w->upstream), 3);
}

static void test_no_address_will_do(void **state)
{
    struct world *w = *state;

    add(w, "203.0.113.1, 203.0.113.2", 0);
    assert_null(upstream_open(w->upstream, SHARED + 1, &w->backend, UPSTREAM_ANY, NULL));
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(upstream_count(w->upstream), 0);
}

static void test_a_client_lends_its_address(void **state)
{
    struct world *w = *state;
    struct addr as;
    struct flow *f, *g;

    assert_true(addr_parse(&as, "127.0.0.9:0"));
    f = upstream_open_as(w->upstream, LISTED, &w->backend, &as, w);
    if (!f && errno == EPERM)
        skip();
    assert_non_null(f);
    as.port = assert_comes_from(w, f, "127.0.0.9:0").port;
    g = upstream_open_as(w->upstream, LISTED, &w->backend, &as, w);
    assert_non_null(g);
    assert_int_not_equal(assert_comes_from(w, g, "127.0.0.9:0").port, as.port);
    upstream_close(f);
    f = upstream_open_as(w->upstream, LISTED, &w->backend, &as, w);
    assert_int_equal(assert_comes_from(w, f, "127.0.0.9:0").port, as.port);
    assert_int_equal(upstream_count(w->upstream), 2);
}

static void test_shared_flows_find_their_owners(void **state)
{
    struct world *w = *state;
    int one, two, three;
    struct flow *a = open_flow(w, SHARED, UPSTREAM_ANY, &one);
    struct flow *b = open_flow(w, SHARED, UPSTREAM_ANY, &two);
    struct flow *c = open_flow(w, SHARED, 2, &three);
    struct addr at_a = assert_comes_from(w, a, "127.64.0.2:0"); /* the second worker's first */
    struct addr at_b = assert_comes_from(w, b, "127.64.0.4:0");
    struct addr at_c = assert_comes_from(w, c, "127.64.0.3:0");

    assert_true(upstream_is_shared(a));
    assert_int_equal(upstream_source(c), 2);
    assert_int_equal(upstream_port(a), upstream_port(b));
    answer(w, &at_c, 'c');
    answer(w, &at_a, 'a');
    answer(w, &at_b, 'b');
    loop_await(w->base, &w->count, 3);
    assert_memory_equal(w->first, "cab", 3);
    assert_ptr_equal(w->owner[0], &three);
    assert_ptr_equal(w->owner[1], &one);
    assert_ptr_equal(w->owner[2], &two);
}

static void test_a_number_is_one_flows_alone(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, SHARED, 5, NULL);

    assert_null(upstream_open(w->upstream, SHARED, &w->backend, 5, NULL));
    assert_int_equal(errno, EBUSY);
    upstream_close(a);
    upstream_close(open_flow(w, SHARED, 5, NULL));
    assert_int_equal(upstream_count(w->upstream), 0);
}

static void test_a_flow_that_closes_in_the_middle_of_a_batch(void **state)
{
    struct world *w = *state;
    int one, two;
    struct flow *a = open_flow(w, SHARED, UPSTREAM_ANY, &one);
    struct flow *b = open_flow(w, SHARED, UPSTREAM_ANY, &two);
    struct addr at_a = assert_comes_from(w, a, "127.64.0.2:0");
    struct addr at_b = assert_comes_from(w, b, "127.64.0.4:0");

    w->doomed = b;
    answer(w, &at_a, 'a');
    answer(w, &at_b, 'b');
    loop_await(w->base, &w->count, 2);
    assert_ptr_equal(w->owner[0], &one);
    assert_null(w->owner[1]);
}

static void test_a_shared_flow_turns_to_another_backend(void **state)
{
    struct world *w = *state;
    struct flow *a = open_flow(w, SHARED, UPSTREAM_ANY, w);
    struct addr any;
    int old = w->backend_fd;

    upstream_mark(a, 7);
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    w->backend_fd = udp_listen(&any, false, false, &w->backend);
    assert_true(upstream_turn(a, &w->backend));
    struct addr now_to = upstream_backend(a);
    assert_true(addr_equal(&now_to, &w->backend));
    const struct addr at = assert_comes_from(w, a, "127.64.0.2:0");
    assert_int_equal(upstream_mark_of(a), 7);
    speak(old, &at, 'x'); /* no flow goes there any more */
    loop_await(w->base, &w->count, 1);
    assert_null(w->owner[0]);
    assert_comes_from(w, open_flow(w, LISTED, UPSTREAM_ANY, NULL), "127.0.0.2:0");
    close(old);
}

/* Those in the list, and any that a flow goes to, though no flow of its own. */
static void test_all_backends_may_answer_a_shared_flow(void **state)
{
    struct world *w = *state;
    int one;
    struct flow *f = open_flow(w, SHARED, UPSTREAM_ANY, &one);
    struct addr any, other, to;
    int fd;

    assert_true(addr_parse(&any, "127.0.0.1:0"));
    assert_true(addr_parse(&to, "127.64.0.2:0"));
    to.port = upstream_port(f);
    fd = udp_listen(&any, false, false, &other);
    speak(fd, &to, '1');
    loop_await(w->base, &w->count, 1);
    assert_null(w->owner[0]);
    assert_true(upstream_set_backends(w->upstream, SHARED, &other, 1));
    assert_true(upstream_set_backends(w->upstream, LISTED, &other, 1)); /* says nothing there */
    speak(fd, &to, '2');
    answer(w, &to, '3');
    loop_await(w->base, &w->count, 3);
    assert_ptr_equal(w->owner[1], &one);
    assert_ptr_equal(w->owner[2], &one);
    close(fd);
}

static void test_shared_flows_stand_in_no_list(void **state)
{
    struct world *w = *state;
    struct list order;
    int one;

    list_init(&order);
    upstream_touch(open_flow(w, SHARED, UPSTREAM_ANY, NULL), &order);
    assert_null(upstream_idlest(&order));
    upstream_touch(open_flow(w, LISTED, UPSTREAM_ANY, &one), &order);
    assert_ptr_equal(upstream_idlest(&order), &one);
    upstream_free(w->upstream);
    w->upstream = NULL;
    assert_true(list_is_empty(&order));
}

/* What is still open when all ends, of both kinds: the sanitizer would find it. */
static void test_free_closes_what_is_open(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 3; i++) {
        open_flow(w, SHARED, UPSTREAM_ANY, NULL);
        open_flow(w, LISTED, UPSTREAM_ANY, NULL);
    }
    assert_int_equal(upstream_count(w->upstream), 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static uint16_t port_at_backend(struct world *w, struct flow *f)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    uint8_t byte;

    *upstream_reserve(w->upstream, 1) = 'x';
    upstream_commit(f, 1);
    assert_int_equal(upstream_flush(w->upstream), 0);
    assert_int_equal(recvfrom(w->backend_fd, &byte, 1, 0, (struct sockaddr *)&from, &len), 1);
    return ntohs(from.sin_port);
}

static void test_another_process_goes_on_with_a_socket(void **state)
{
    struct world *w = *state;
    struct flow *f = open_flow(w, LISTED, UPSTREAM_ANY, w), *g;
    uint16_t port = upstream_port(f);
    int fd = dup(upstream_socket(f)), lone = socket(AF_INET, SOCK_DGRAM, 0);

    assert_int_equal(upstream_shared_socket(w->upstream, LISTED), -1);
    upstream_close(f);
    assert_null(upstream_take_over(w->upstream, LISTED, lone, 0, w)); /* anybody may speak to it */
    assert_null(upstream_take_over(w->upstream, SHARED, fd, 0, w));
    assert_int_equal(upstream_count(w->upstream), 0);
    g = upstream_take_over(w->upstream, LISTED, fd, 2, w);
    assert_non_null(g);
    assert_int_equal(upstream_port(g), port);
    assert_int_equal(upstream_source(g), 2);
    assert_int_equal(port_at_backend(w, g), port);
    upstream_close(g);
    close(lone);
}

static void test_another_process_goes_on_with_a_shared_socket(void **state)
{
    struct world *w = *state;
    int fd = dup(upstream_shared_socket(w->upstream, SHARED));
    struct flow *f = open_flow(w, SHARED, UPSTREAM_ANY, w);
    uint16_t port = port_at_backend(w, f);

    assert_int_equal(upstream_socket(f), -1);
    upstream_free(w->upstream);
    w->upstream = new_upstream(w);
    add(w, "127.0.0.2", 0);
    add(w, "127.64.0.0/29", fd);
    f = open_flow(w, SHARED, UPSTREAM_ANY, w);
    assert_int_equal(upstream_port(f), port);
    assert_int_equal(port_at_backend(w, f), port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses_are_taken_in_turn),
        TEST(test_no_address_will_do),
        TEST(test_a_client_lends_its_address),
        TEST(test_shared_flows_find_their_owners),
        TEST(test_a_number_is_one_flows_alone),
        TEST(test_a_flow_that_closes_in_the_middle_of_a_batch),
        TEST(test_a_shared_flow_turns_to_another_backend),
        TEST(test_all_backends_may_answer_a_shared_flow),
        TEST(test_shared_flows_stand_in_no_list),
        TEST(test_free_closes_what_is_open),
        TEST(test_another_process_goes_on_with_a_socket),
        TEST(test_another_process_goes_on_with_a_shared_socket),
    };

    return cmocka_run_group_tests_name("upstream_source", tests, NULL, NULL);
}
