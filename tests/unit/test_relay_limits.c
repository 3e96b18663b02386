/*
 * test_relay_limits: what time, the caps of the settings and a shortage of descriptors do to
 * handshakes, sessions and flows.
 */
#include "relay_world.h"

#define ONE 40001
#define TWO 40002
#define THREE 40003

#define SECONDS(n) ((n)*1000u)

static const char *const usual[] = {NULL};

/* ---- time ---- */

static void test_idle_sessions_end_in_time(void **state)
{
    static const char *const settings[] = {"service.a.idle-timeout=60s", NULL};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world_say(c, ONE, "x");
    uint64_t due = relay_tick(world->relay, world->now);
    assert_int_equal(due, world->now + SECONDS(60));
    world->now = due - 1;
    assert_int_equal(relay_tick(world->relay, world->now), due);
    assert_int_equal(world->stats.sessions, 1);
    world->now = due;
    assert_int_equal(relay_tick(world->relay, world->now), TIMER_NEVER);
    assert_int_equal(world->stats.sessions, 0);
    assert_int_equal(world->stats.flows, 0);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    assert_int_equal(log_count("reason=\"idle timeout\" age-ms=60000"), 1);
    client_free(c);
    world_end();
}

static void test_either_side_keeps_a_session_alive(void **state)
{
    static const char *const settings[] = {"service.a.idle-timeout=60s", NULL};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    world->now += SECONDS(59);
    world_back(f, "y", 1);
    assert_int_equal(relay_tick(world->relay, world->now), world->now + SECONDS(60));
    world->now += SECONDS(59);
    world_say(c, ONE, "z");
    assert_int_equal(relay_tick(world->relay, world->now), world->now + SECONDS(60));
    client_free(c);
    world_end();
}

static void test_forged_records_keep_nothing_alive(void **state)
{
    static const char *const settings[] = {"service.a.idle-timeout=60s", NULL};
    uint8_t record[64];

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    uint64_t due = relay_tick(world->relay, world->now);
    size_t n = world_seal(f, WIRE_DATA, 50, "junk", 4, record);
    record[n - 1] ^= 1;
    world->now += SECONDS(59);
    world_from(ONE, 0, record, n);
    assert_fate(DROP_FORGED, 1);
    assert_int_equal(relay_tick(world->relay, world->now), due);
    client_free(c);
    world_end();
}

static void test_idle_flows_close_and_open_anew(void **state)
{
    static const char *const settings[] = {"service.a.flow-timeout=5s", NULL};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    assert_int_equal(relay_tick(world->relay, world->now), world->now + SECONDS(5));
    world->now += SECONDS(5);
    relay_tick(world->relay, world->now);
    assert_false(f->is_open);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(world->stats.flows, 0);
    const struct flow *g = world_say(c, ONE, "y");
    assert_ptr_not_equal(g, f);
    assert_int_not_equal(g->port, f->port);
    assert_int_equal(log_count("session flow: id=1 service=a backend-port="), 2);
    client_free(c);
    world_end();
}

static void test_flights_are_repeated_until_the_handshake_times_out(void **state)
{
    static const char *const settings[] = {"service.a.retransmit-first=200ms",
                                           "service.a.handshake-timeout=3s", NULL};

    (void)state;
    world_begin(settings, 1);
    uint64_t began = world->now;
    struct dtls_client *c = world_half_open(ONE, NULL);
    world_forget_sent();
    assert_int_equal(relay_tick(world->relay, world->now), began + 200);
    for (unsigned wait = 200; wait <= 800; wait *= 2) {
        world->now += wait;
        relay_tick(world->relay, world->now);
        assert_true(world->sent_count > 0);
        world_forget_sent();
    }
    world->now = began + SECONDS(3);
    assert_int_equal(relay_tick(world->relay, world->now), TIMER_NEVER);
    assert_null(world_take());
    assert_int_equal(world->stats.handshakes, 0);
    assert_int_equal(log_count("reason=\"handshake timed out\""), 1);
    client_free(c);
    world_end();
}

static void test_a_lost_flight_comes_again(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, NULL);
    world_forget_sent();
    world->now += SECONDS(1);
    relay_tick(world->relay, world->now);
    world_to_client(c, ONE);
    world_talk(c, ONE);
    assert_true(c->is_open);
    client_free(c);
    world_end();
}

/* ---- caps ---- */

static void test_the_longest_idle_session_makes_room(void **state)
{
    static const char *const settings[] = {"daemon.max-sessions=2", NULL};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *one = world_open(ONE, NULL);
    world->now += 10;
    struct dtls_client *two = world_open(TWO, NULL);
    world->now += 10;
    world_say(one, ONE, "younger now");
    struct dtls_client *three = client_new(&(struct client_options){0});
    client_step(three);
    while (three->count > 0) { /* the victim's goodbye leaves in between */
        const struct sent *s;
        world_to_relay(three, THREE);
        while ((s = world_take()) != NULL)
            client_give(s->peer.port == TWO ? two : three, s->data, s->len);
    }
    assert_true(three->is_open);
    assert_true(two->is_closed);
    assert_false(one->is_closed);
    assert_int_equal(world->stats.sessions, 2);
    assert_int_equal(world->stats.sessions_evicted, 1);
    assert_int_equal(log_count("reason=\"evicted to make room\""), 1);
    world_say(one, ONE, "still here");
    client_free(one);
    client_free(two);
    client_free(three);
    world_end();
}

static void test_the_oldest_handshake_makes_room(void **state)
{
    static const char *const settings[] = {"daemon.max-handshakes=2", NULL};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *one = world_half_open(ONE, NULL);
    world_forget_sent();
    struct dtls_client *two = world_half_open(TWO, NULL);
    world_to_client(two, TWO);
    struct dtls_client *three = world_half_open(THREE, NULL);
    world_forget_sent();
    assert_int_equal(world->stats.handshakes, 2);
    assert_int_equal(world->stats.handshakes_failed, 1);
    assert_int_equal(log_count("handshake failed: id=1 "), 1);
    assert_int_equal(log_count("reason=\"handshake evicted to make room\""), 1);
    world_talk(two, TWO);
    assert_true(two->is_open);
    client_free(one);
    client_free(two);
    client_free(three);
    world_end();
}

static void test_caps_are_shared_among_workers(void **state)
{
    static const char *const settings[] = {"daemon.max-sessions=3", "daemon.max-handshakes=2",
                                           NULL};

    (void)state;
    world_begin(settings, 2); /* two sessions and one handshake for this one */
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    assert_int_equal(world->stats.sessions_evicted, 0);
    struct dtls_client *three = world_half_open(THREE, NULL);
    world_forget_sent();
    struct dtls_client *four = world_half_open(40004, NULL);
    world_forget_sent();
    assert_int_equal(world->stats.handshakes, 1);
    assert_int_equal(log_count("session open: id=3 "), 1); /* every other number is ours */
    client_free(one);
    client_free(two);
    client_free(three);
    client_free(four);
    world_end();
}

/* ---- flows that cannot be had ---- */

static void test_out_of_descriptors_the_longest_idle_flow_gives_way(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL),
                       *three = world_open(THREE, NULL);
    const struct flow *f = world_say(one, ONE, "x");
    world->now += 10;
    const struct flow *g = world_say(two, TWO, "x");
    world->now += 10;
    world->open_failures = 1;
    world->open_errno = EMFILE;
    world_say(three, THREE, "x");
    assert_false(f->is_open);
    assert_true(g->is_open);
    assert_int_equal(world->stats.sessions, 3);
    assert_int_equal(world->stats.flows_failed, 0);
    world_say(one, ONE, "again");
    client_free(one);
    client_free(two);
    client_free(three);
    world_end();
}

static void test_without_any_flow_the_datagram_is_dropped(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world->open_failures = 1;
    world->open_errno = EMFILE;
    assert_true(client_say(c, "x", 1));
    world_to_relay(c, ONE);
    assert_fate(DROP_BACKEND, 1);
    assert_int_equal(world->stats.flows_failed, 1);
    world_say(c, ONE, "next");
    relay_end_all(world->relay, world->now);
    assert_int_equal(log_count("in-datagrams=1 in-bytes=4 out-datagrams=0 out-bytes=0 drops=1"), 1);
    client_free(c);
    world_end();
}

static void test_no_other_flow_is_closed_where_that_would_not_help(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    const struct flow *f = world_say(one, ONE, "x");
    world->open_failures = 1;
    world->open_errno = ENETUNREACH;
    assert_true(client_say(two, "x", 1));
    world_to_relay(two, TWO);
    assert_fate(DROP_BACKEND, 1);
    assert_true(f->is_open);
    client_free(one);
    client_free(two);
    world_end();
}

/* With more active sessions than descriptors, each datagram may take a flow from another. */
static void test_a_shortage_does_not_flood_the_log(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    world_say(one, ONE, "x");
    for (int i = 0; i < 20; i++) {
        world->open_failures = 1;
        world->open_errno = EMFILE;
        world_say(i % 2 == 0 ? two : one, i % 2 == 0 ? TWO : ONE, "x");
    }
    assert_int_equal(world->stats.flows_opened, 21);
    assert_in_range(log_count("session flow:"), 3, 12);
    client_free(one);
    client_free(two);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_sessions_end_in_time),
        cmocka_unit_test(test_either_side_keeps_a_session_alive),
        cmocka_unit_test(test_forged_records_keep_nothing_alive),
        cmocka_unit_test(test_idle_flows_close_and_open_anew),
        cmocka_unit_test(test_flights_are_repeated_until_the_handshake_times_out),
        cmocka_unit_test(test_a_lost_flight_comes_again),
        cmocka_unit_test(test_the_longest_idle_session_makes_room),
        cmocka_unit_test(test_the_oldest_handshake_makes_room),
        cmocka_unit_test(test_caps_are_shared_among_workers),
        cmocka_unit_test(test_out_of_descriptors_the_longest_idle_flow_gives_way),
        cmocka_unit_test(test_without_any_flow_the_datagram_is_dropped),
        cmocka_unit_test(test_no_other_flow_is_closed_where_that_would_not_help),
        cmocka_unit_test(test_a_shortage_does_not_flood_the_log),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
