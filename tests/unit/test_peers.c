/* peers: who is found by which route, in which order the idle ones give way, and the caps. */
#include "proxy/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SERVICES 2
#define OPEN_MAX 4
#define PENDING_MAX 2

static struct addr address(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static struct session_route route(const char *peer)
{
    return (struct session_route){.peer = address(peer), .local = address("192.0.2.1:5684")};
}

static struct session session(const char *peer, enum session_state state)
{
    return (struct session){.peer = address(peer), .state = state};
}

/* Once it stands where it stays, for the node points to itself. */
static void add(struct peers *p, struct session *s)
{
    struct session_route there = route("192.0.2.7:1");

    there.peer = s->peer;
    assert_true(peers_set_route(p, s, &there));
    list_init(&s->idle);
    peers_add(p, s);
}

/* The stand-in for upstream.c's. */
struct flow {
    struct list order;
    struct session *owner;
    bool is_shared;
};

#include "flow_order.h"

static void give_flow(struct flow *f, struct session *s)
{
    f->owner = s;
    list_init(&f->order);
    s->flow = f;
}

static int set_up(void **state)
{
    static struct peers p;

    assert_true(peers_init(&p, SERVICES, OPEN_MAX, PENDING_MAX));
    *state = &p;
    return 0;
}

static void remove_one(struct session *s, void *arg)
{
    peers_remove(arg, s);
    peers_forget_route(arg, s);
}

static int tear_down(void **state)
{
    peers_each(*state, remove_one, *state);
    peers_clear(*state);
    return 0;
}

static void test_finds_by_route(void **state)
{
    static struct session a, b;
    struct session_route there;

    a = session("198.51.100.1:1000", SESSION_OPEN);
    b = session("198.51.100.1:1001", SESSION_LEGACY);
    add(*state, &a);
    add(*state, &b);
    there = route("198.51.100.1:1000");
    assert_ptr_equal(peers_find_open(*state, &there), &a);
    there = route("198.51.100.1:1001");
    assert_ptr_equal(peers_find_open(*state, &there), &b);
    there = route("198.51.100.2:1000");
    assert_null(peers_find_open(*state, &there));
}

static void test_each_part_of_the_route_counts(void **state)
{
    static struct session a;
    struct session_route other;

    a = session("[fe80::1%1]:1000", SESSION_OPEN);
    add(*state, &a);
    other = peers_route(*state, &a);
    assert_ptr_equal(peers_find_open(*state, &other), &a);
    other.peer.port++;
    assert_null(peers_find_open(*state, &other));
    other = peers_route(*state, &a);
    other.peer.scope++;
    assert_null(peers_find_open(*state, &other));
    other = peers_route(*state, &a);
    other.peer.ip[15]++;
    assert_null(peers_find_open(*state, &other));
    other = peers_route(*state, &a);
    other.local.port++;
    assert_null(peers_find_open(*state, &other));
    other = peers_route(*state, &a);
    other.local.ip[3]++;
    assert_null(peers_find_open(*state, &other));
    other = peers_route(*state, &a);
    other.listener++;
    assert_null(peers_find_open(*state, &other));
}

/* Whatever address its peer has written to, a session's route is told as it was. */
static void test_routes_are_told_as_they_were(void **state)
{
    static struct session s[3];
    struct peers *p = *state;

    for (unsigned i = 0; i < 3; i++) {
        struct session_route there = route("198.51.100.1:1000");
        there.local.ip[3] = (uint8_t)(1 + i / 2);
        there.listener = i;
        s[i] = session("198.51.100.1:1000", SESSION_OPEN);
        assert_true(peers_set_route(p, &s[i], &there));
        list_init(&s[i].idle);
        peers_add(p, &s[i]);
        struct session_route told = peers_route(p, &s[i]);
        assert_true(addr_equal(&told.local, &there.local));
        assert_true(addr_equal(&told.peer, &there.peer));
        assert_int_equal(told.listener, i);
        assert_ptr_equal(peers_find_open(p, &there), &s[i]);
    }
    assert_int_equal(p->locals.table.count, 2);
}

static void test_families_are_apart(void **state)
{
    static struct session a;
    struct session_route six;

    a = session("192.0.2.7:1000", SESSION_OPEN);
    add(*state, &a);
    six = peers_route(*state, &a);
    six.peer.family = AF_INET6;
    assert_null(peers_find_open(*state, &six));
}

static void test_a_peer_may_have_one_of_each(void **state)
{
    static struct session open, pending;
    struct session_route there = route("192.0.2.7:1000");

    open = session("192.0.2.7:1000", SESSION_OPEN);
    pending = session("192.0.2.7:1000", SESSION_HANDSHAKE);
    add(*state, &open);
    assert_null(peers_find_pending(*state, &there));
    add(*state, &pending);
    assert_ptr_equal(peers_find_open(*state, &there), &open);
    assert_ptr_equal(peers_find_pending(*state, &there), &pending);
    assert_ptr_equal(peers_find(*state, &there).pending, &pending);
    assert_ptr_equal(peers_find(*state, &there).open, peers_find_open(*state, &there));
}

static void test_removed_is_not_found(void **state)
{
    static struct session a;
    struct session_route there;

    a = session("192.0.2.7:1000", SESSION_OPEN);
    add(*state, &a);
    there = peers_route(*state, &a);
    peers_remove(*state, &a);
    assert_null(peers_find_open(*state, &there));
    peers_remove(*state, &a); /* harmless */
    peers_add(*state, &a);
    assert_ptr_equal(peers_find_open(*state, &there), &a);
}

static void test_removes_one_whose_state_has_changed(void **state)
{
    static struct session old, fresh;
    struct session_route there = route("192.0.2.7:1000");

    old = session("192.0.2.7:1000", SESSION_OPEN);
    fresh = session("192.0.2.7:1000", SESSION_HANDSHAKE);
    add(*state, &old);
    add(*state, &fresh);
    fresh.state = SESSION_OPEN;
    peers_remove(*state, &fresh);
    assert_null(peers_find_pending(*state, &there));
    assert_ptr_equal(peers_find_open(*state, &there), &old);
    remove_one(&old, *state);
    peers_add(*state, &fresh);
    assert_ptr_equal(peers_find_open(*state, &there), &fresh);
}

static void test_no_victim_below_the_caps(void **state)
{
    static struct session open[OPEN_MAX - 1], pending[PENDING_MAX - 1];

    for (size_t i = 0; i < OPEN_MAX - 1; i++) {
        open[i] = session("192.0.2.7:1000", SESSION_OPEN);
        open[i].peer.port = (uint16_t)(1000 + i);
        add(*state, &open[i]);
    }
    for (size_t i = 0; i < PENDING_MAX - 1; i++) {
        pending[i] = session("192.0.2.7:2000", SESSION_HANDSHAKE);
        pending[i].peer.port = (uint16_t)(2000 + i);
        add(*state, &pending[i]);
    }
    assert_null(peers_open_victim(*state));
    assert_null(peers_pending_victim(*state));
}

static void test_the_longest_idle_of_all_services_gives_way(void **state)
{
    static struct session s[OPEN_MAX];

    for (size_t i = 0; i < OPEN_MAX; i++) {
        s[i] = session("192.0.2.7:1000", SESSION_OPEN);
        s[i].peer.port = (uint16_t)(1000 + i);
        s[i].service = i % SERVICES;
        s[i].used = 100 - i % SERVICES * 50 + i; /* 100, 51, 102, 53 */
        add(*state, &s[i]);
    }
    assert_ptr_equal(peers_open_victim(*state), &s[1]);
    s[1].used = 200;
    peers_touch(*state, &s[1]);
    assert_ptr_equal(peers_open_victim(*state), &s[3]);
    s[3].used = 201;
    peers_touch(*state, &s[3]);
    assert_ptr_equal(peers_open_victim(*state), &s[0]);
}

static void test_the_oldest_handshake_gives_way_busy_or_not(void **state)
{
    static struct session s[PENDING_MAX];

    for (size_t i = 0; i < PENDING_MAX; i++) {
        s[i] = session("192.0.2.7:1000", SESSION_HANDSHAKE);
        s[i].peer.port = (uint16_t)(1000 + i);
        add(*state, &s[i]);
    }
    peers_touch(*state, &s[0]);
    assert_ptr_equal(peers_pending_victim(*state), &s[0]);
    remove_one(&s[0], *state);
    assert_null(peers_pending_victim(*state));
}

static void test_touch_keeps_the_order_of_flows(void **state)
{
    static struct session a, b;
    static struct flow of_a, of_b;
    struct peers *p = *state;

    a = session("192.0.2.7:1000", SESSION_OPEN);
    b = session("192.0.2.7:1001", SESSION_OPEN);
    add(p, &a);
    add(p, &b);
    peers_touch(p, &a);
    assert_true(list_is_empty(&p->flows[0]));
    give_flow(&of_a, &a);
    give_flow(&of_b, &b);
    peers_touch(p, &a);
    peers_touch(p, &b);
    assert_ptr_equal(upstream_idlest(&p->flows[0]), &a);
    peers_touch(p, &a);
    assert_ptr_equal(upstream_idlest(&p->flows[0]), &b);
}

static void test_the_flow_that_is_longest_idle_of_all_services_is_told(void **state)
{
    static struct session s[SERVICES];
    static struct flow flows[SERVICES];

    for (size_t i = 0; i < SERVICES; i++) {
        s[i] = session("192.0.2.7:1000", SESSION_OPEN);
        s[i].peer.port = (uint16_t)(1000 + i);
        s[i].service = (unsigned)i;
        s[i].used = 50 - i;
        add(*state, &s[i]);
        peers_touch(*state, &s[i]);
    }
    assert_null(peers_flow_victim(*state));
    give_flow(&flows[0], &s[0]);
    peers_touch(*state, &s[0]);
    assert_ptr_equal(peers_flow_victim(*state), &s[0]);
    give_flow(&flows[1], &s[1]);
    peers_touch(*state, &s[1]);
    assert_ptr_equal(peers_flow_victim(*state), &s[1]);
    s[1].used = 60;
    peers_touch(*state, &s[1]);
    assert_ptr_equal(peers_flow_victim(*state), &s[0]);
}

static void count_one(struct session *s, void *arg)
{
    size_t *count = arg;

    s->drops++;
    (*count)++;
}

static void test_each_sees_all_once(void **state)
{
    static struct session open, pending;
    size_t count = 0;

    open = session("192.0.2.7:1000", SESSION_OPEN);
    pending = session("192.0.2.7:1000", SESSION_HANDSHAKE);
    add(*state, &open);
    add(*state, &pending);
    peers_each(*state, count_one, &count);
    assert_int_equal(count, 2);
    assert_int_equal(open.drops, 1);
    assert_int_equal(pending.drops, 1);
}

static void test_each_may_remove_what_it_is_given(void **state)
{
    static struct session many[3000];
    struct peers *p = *state;

    for (size_t i = 0; i < 3000; i++) {
        many[i] = session("192.0.2.7:1000", i % 3 ? SESSION_OPEN : SESSION_HANDSHAKE);
        many[i].peer.port = (uint16_t)i;
        add(p, &many[i]);
    }
    for (size_t i = 0; i < 3000; i++) {
        struct session_route there = peers_route(p, &many[i]);
        struct session *open = peers_find_open(p, &there);
        assert_ptr_equal(open ? open : peers_find_pending(p, &there), &many[i]);
    }
    peers_each(p, remove_one, p);
    assert_int_equal(p->open.count, 0);
    assert_int_equal(p->pending.count, 0);
    assert_true(list_is_empty(&p->handshakes));
    assert_true(list_is_empty(&p->idle[0]));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_finds_by_route),
        TEST(test_each_part_of_the_route_counts),
        TEST(test_routes_are_told_as_they_were),
        TEST(test_families_are_apart),
        TEST(test_a_peer_may_have_one_of_each),
        TEST(test_removed_is_not_found),
        TEST(test_removes_one_whose_state_has_changed),
        TEST(test_no_victim_below_the_caps),
        TEST(test_the_longest_idle_of_all_services_gives_way),
        TEST(test_the_oldest_handshake_gives_way_busy_or_not),
        TEST(test_touch_keeps_the_order_of_flows),
        TEST(test_the_flow_that_is_longest_idle_of_all_services_is_told),
        TEST(test_each_sees_all_once),
        TEST(test_each_may_remove_what_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
