/*
 * test_relay_policy: what [identity PATTERN] sections do to sessions: when they open, at a reload,
 * and as time goes by.
 */
#include "relay_helper.h"

#include "proxy/session_tail.h"

#define ONE 40001
#define TWO 40002
#define THREE 40003

#define KEY_OF_ME "me:00112233445566778899aabbccddeeff\n"
#define YOU "you:00112233445566778899aabbccddeeff\n"

/* 2026-11-22T13:30:40Z and what comes 60 seconds later. */
#define WALL UINT64_C(1795354240000)
#define SOON "2026-11-22T13:31:40Z"
#define PAST "2026-11-22T13:30:39Z"

static const struct client_options you = {.identity = "you"};
static const char *const known[] = {"me", "you", NULL};

/* Does all that is due. Returns what relay_tick() does. */
static uint64_t tick(void)
{
    uint64_t next;

    do
        next = relay_tick(world->relay, world->now);
    while (next <= world->now);
    return next;
}

static void begin(const char *const settings[])
{
    write_file("keys", helper_knows_all ? "" : KEY_OF_ME YOU, 0600);
    world_begin(helper_settings(settings), 1);
    relay_set_wall(world->relay, WALL, world->now);
    tick();
}

static void reload(const char *const settings[])
{
    struct relay_setup next = world_setup(helper_settings(settings));

    relay_apply(world->relay, &next, world->now);
}

#define WITH(...) ((const char *const[]){__VA_ARGS__, NULL})
#define TWO_BACKENDS "service.a.backend=127.0.0.1:5001, 127.0.0.1:5002"
#define SHARED "service.a.backend-source=127.64.0.0/10"
#define NO_SECTION ((const char *const[]){NULL})

/* A handshake that comes to its end and leads to nothing. */
static void assert_never_opens(uint16_t port, const struct client_options *options,
                               const char *reason)
{
    static const struct client_options usual = {0};
    struct dtls_client *c = client_new(options != NULL ? options : &usual);
    uint64_t failed = world->stats.handshakes_failed;
    unsigned told = log_count(reason);

    world_talk(c, port);
    assert_true(c->is_closed);
    assert_int_equal(world->stats.handshakes_failed, failed + 1);
    assert_int_equal(log_count(reason), told + 1);
    client_free(c);
}

/* The client of that port has been told goodbye. */
static void assert_goodbye(struct dtls_client *c, uint16_t port)
{
    world_to_client(c, port);
    assert_true(c->is_closed);
}

/* ---- backend ---- */

static void test_a_policy_has_its_own_backend(void **state)
{
    (void)state;
    begin(WITH("identity.me.backend=127.0.0.1:7777"));
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    assert_int_equal(world_say(c, ONE, "x")->backend.port, 7777);
    assert_int_equal(world_say(other, TWO, "x")->backend.port, 5683);
    assert_int_equal(log_count("identity=me suite="), 1);
    assert_int_equal(log_count("session open: id=1 "), 1);
    assert_int_equal(log_count("backend=127.0.0.1:7777"), 2); /* there, and where its flow opens */
    client_free(c);
    client_free(other);
    world_end();
}

static void test_an_open_flow_stays_with_its_backend(void **state)
{
    (void)state;
    begin(NO_SECTION);
    struct dtls_client *c = world_open(ONE, NULL), *late = world_open(TWO, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    reload(WITH("identity.me.backend=127.0.0.1:7777"));
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    assert_int_equal(world_say(late, TWO, "y")->backend.port, 7777);
    client_free(c);
    client_free(late);
    world_end();
}

static void refuse(const struct flow *f)
{
    relay_refused(world->relay, f->owner, 1, world->now);
}

static struct balance_view view_of(unsigned slot)
{
    struct balance_view view = {0};

    assert_true(balance_look(relay_balance(world->relay, 0), slot, world->now, &view));
    return view;
}

/* It is of no list, so it has no other to go to, however often it refuses. */
static void test_a_session_stays_with_the_backend_of_its_policy(void **state)
{
    (void)state;
    begin(WITH(TWO_BACKENDS, "identity.me.backend=127.0.0.1:7777"));
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    assert_int_equal(log_count("service=a backend-port=50000 backend=127.0.0.1:7777\n"), 1);
    refuse(f);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    assert_int_equal(log_count("backend down"), 0);
    assert_true(world_back(f, "back", 4));
    assert_int_equal(view_of(0).flows + view_of(1).flows + view_of(0).refused, 0);
    reload(WITH(TWO_BACKENDS));
    assert_ptr_equal(world_say(c, ONE, "z"), f);
    refuse(f);
    assert_int_equal(log_count("backend refuses: id=1 service=a backend=127.0.0.1:7777"), 2);
    assert_int_equal(world->stats.flows_moved, 0);
    world_forget_sent();
    client_free(c);
    world_end();
}

/* There it counts, and its sessions go nowhere else when it is down. */
static void test_a_policy_may_name_one_of_the_list(void **state)
{
    (void)state;
    begin(WITH(TWO_BACKENDS, "identity.me.backend=127.0.0.1:5002"));
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    assert_int_equal(f->backend.port, 5002);
    assert_int_equal(view_of(1).flows, 1);
    refuse(f);
    assert_false(view_of(1).is_up);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    reload(WITH("service.a.backend=127.0.0.1:5001", "identity.me.backend=127.0.0.1:5002"));
    assert_ptr_equal(world_say(c, ONE, "z"), f);
    world_forget_sent();
    client_free(c);
    world_end();
}

/* What it had has left the list: it goes where its policy says now, with its address. */
static void test_a_flow_on_a_shared_socket_turns_to_its_policy(void **state)
{
    (void)state;
    begin(WITH(TWO_BACKENDS, SHARED, "identity.me.backend=127.0.0.1:5002"));
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    reload(WITH("service.a.backend=127.0.0.1:5001", SHARED, "identity.me.backend=127.0.0.1:7777"));
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    assert_int_equal(f->backend.port, 7777);
    assert_int_equal(world->stats.flows_moved, 1);
    client_free(c);
    world_end();
}

/* ---- allow-from ---- */

static void test_an_identity_comes_from_where_it_may(void **state)
{
    (void)state;
    begin(WITH("identity.me.allow-from=10.0.0.0/8"));
    assert_never_opens(ONE, NULL, "reason=\"address not allowed for the identity\"");
    struct dtls_client *c = world_open(TWO, &you);
    reload(WITH("identity.me.allow-from=10.0.0.0/8, 127.0.0.0/8"));
    struct dtls_client *again = world_open(THREE, NULL);
    world_say(c, TWO, "x");
    world_say(again, THREE, "x");
    client_free(c);
    client_free(again);
    world_end();
}

static void test_a_refused_client_takes_nobodys_place(void **state)
{
    (void)state;
    begin(WITH("identity.me.allow-from=10.0.0.0/8", "daemon.max-sessions=1"));
    struct dtls_client *c = world_open(ONE, &you);
    assert_never_opens(ONE, NULL, "reason=\"address not allowed for the identity\"");
    assert_never_opens(TWO, NULL, "reason=\"address not allowed for the identity\"");
    world_say(c, ONE, "as ever");
    client_free(c);
    world_end();
}

static void test_a_reload_ends_who_comes_from_elsewhere(void **state)
{
    (void)state;
    begin(NO_SECTION);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    reload(WITH("identity.me.allow-from=10.0.0.0/8"));
    assert_goodbye(c, ONE);
    assert_int_equal(log_count("reason=\"address not allowed for the identity\""), 1);
    world_say(other, TWO, "x");
    client_free(c);
    client_free(other);
    world_end();
}

/* ---- max-sessions ---- */

static void test_a_policy_has_its_own_cap(void **state)
{
    (void)state;
    begin(WITH("identity.me.max-sessions=1"));
    struct dtls_client *first = world_open(ONE, NULL), *second = world_open(TWO, &you);
    struct dtls_client *third = client_new(&(struct client_options){0});
    client_step(third);
    while (third->count > 0 || world->sent_count > 0) {
        const struct sent *s;
        world_to_relay(third, THREE);
        while ((s = world_take()) != NULL)
            client_give(s->peer.port == THREE ? third : first, s->data, s->len);
    }
    assert_true(third->is_open);
    assert_true(first->is_closed);
    assert_int_equal(log_count("reason=\"identity in use elsewhere\""), 1);
    client_free(first);
    client_free(second);
    client_free(third);
    world_end();
}

static void test_a_reload_ends_the_longest_idle_beyond_a_cap(void **state)
{
    struct dtls_client *c[3];

    (void)state;
    begin(NO_SECTION);
    for (uint16_t i = 0; i < 3; i++)
        c[i] = world_open((uint16_t)(ONE + i), NULL);
    for (unsigned i = 0; i < 3; i++) {
        static const uint16_t order[] = {1, 0, 2};
        world->now += 10;
        world_say(c[order[i]], (uint16_t)(ONE + order[i]), "x");
    }
    reload(WITH("identity.m*.max-sessions=2"));
    assert_goodbye(c[1], ONE + 1);
    assert_int_equal(log_count("reason=\"identity in use elsewhere\""), 1);
    world_say(c[0], ONE, "x");
    world_say(c[2], ONE + 2, "x");
    reload(WITH("identity.m*.max-sessions=1"));
    assert_goodbye(c[0], ONE);
    world_say(c[2], ONE + 2, "x");
    for (int i = 0; i < 3; i++)
        client_free(c[i]);
    world_end();
}

/* ---- rates ---- */

static void say_many(struct dtls_client *c, uint16_t port, unsigned n, size_t len)
{
    static char text[1000];

    for (unsigned i = 0; i < n; i++) {
        assert_true(client_say(c, text, len));
        world_to_relay(c, port);
    }
}

static void test_datagrams_over_the_rate_are_dropped_and_counted(void **state)
{
    (void)state;
    begin(WITH("identity.me.rate-datagrams=5"));
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    say_many(c, ONE, 8, 1);
    assert_fate(DROP_POLICY_RATE, 3);
    assert_fate(FORWARDED, 5);
    assert_int_equal(world->flows[0].count, 5);
    say_many(other, TWO, 8, 1);
    assert_fate(DROP_POLICY_RATE, 3);
    world->now += 400;
    say_many(c, ONE, 3, 1);
    assert_fate(DROP_POLICY_RATE, 4);
    client_free(c);
    client_free(other);
    world_end();
    assert_null(world);
}

static void test_all_sessions_of_an_identity_share_its_rate(void **state)
{
    (void)state;
    begin(WITH("identity.me.rate-bytes=1000"));
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    say_many(c, ONE, 1, 600);
    say_many(other, TWO, 2, 400);
    assert_fate(FORWARDED, 2);
    assert_fate(DROP_POLICY_RATE, 1);
    client_free(c);
    client_free(other);
    world_end();
}

/* libssl keeps the records of the one, we those of the other. */
static void test_old_devices_have_rates_too(void **state)
{
    const struct client_options old = {.ciphers = "PSK-AES128-CBC-SHA256"};

    (void)state;
    begin(WITH("service.a.min-version=1.0", "identity.*.rate-datagrams=1"));
    struct dtls_client *c = world_open(ONE, &old);
    say_many(c, ONE, 3, 10);
    assert_fate(FORWARDED, 1);
    assert_fate(DROP_POLICY_RATE, 2);
    client_free(c);
    world_end();
}

static void test_a_reload_brings_and_takes_a_rate(void **state)
{
    (void)state;
    begin(NO_SECTION);
    struct dtls_client *c = world_open(ONE, NULL);
    say_many(c, ONE, 3, 10);
    reload(WITH("identity.me.rate-datagrams=1"));
    say_many(c, ONE, 3, 10);
    assert_fate(DROP_POLICY_RATE, 2);
    reload(NO_SECTION);
    say_many(c, ONE, 3, 10);
    assert_fate(DROP_POLICY_RATE, 2);
    assert_fate(FORWARDED, 7);
    client_free(c);
    world_end();
}

/* What is dropped for its rate shows that the client is there all the same. */
static void test_a_client_over_its_rate_is_not_idle(void **state)
{
    (void)state;
    begin(WITH("identity.me.rate-datagrams=1", "service.a.idle-timeout=5s"));
    struct dtls_client *c = world_open(ONE, NULL), *quiet = world_open(TWO, &you);
    say_many(c, ONE, 1, 1);
    world->now += 100;
    say_many(quiet, TWO, 1, 1);
    world->now += 200;
    say_many(c, ONE, 1, 1);
    assert_fate(DROP_POLICY_RATE, 1);
    world->now += 4800;
    tick();
    assert_int_equal(world->stats.sessions, 1);
    assert_goodbye(quiet, TWO);
    say_many(c, ONE, 1, 1);
    assert_fate(FORWARDED, 3);
    client_free(c);
    client_free(quiet);
    world_end();
}

/* ---- not-after ---- */

static void test_an_expired_identity_is_like_an_unknown_one(void **state)
{
    (void)state;
    begin(WITH("identity.me.not-after=" PAST));
    for (int i = 0; i < 2; i++) {
        const struct client_options of[] = {{0}, {.identity = "nobody"}};
        struct dtls_client *c = client_new(&of[i]);
        world_talk(c, (uint16_t)(ONE + i));
        assert_false(c->is_open || c->is_dead || c->is_closed);
        assert_int_equal(log_count("handshake in doubt"), i + 1);
        client_free(c);
    }
    struct dtls_client *other = world_open(THREE, &you);
    client_free(other);
    world_end();
}

static void test_the_last_second_counts(void **state)
{
    (void)state;
    begin(WITH("identity.me.not-after=2026-11-22T13:30:40Z", "service.a.unknown-identity=alert"));
    world->now += 999;
    struct dtls_client *c = world_open(ONE, NULL);
    world->now += 1;
    struct dtls_client *late = client_new(&(struct client_options){0});
    world_talk(late, TWO);
    assert_true(late->is_dead); /* unknown_psk_identity */
    client_free(c);
    client_free(late);
    world_end();
}

static void test_running_sessions_end_when_time_is_over(void **state)
{
    (void)state;
    begin(WITH("identity.me.not-after=" SOON));
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    uint64_t end = world->now + 61000;
    assert_int_equal(tick(), world->now + 60000);
    world->now += 60000;
    assert_int_equal(tick(), end);
    assert_int_equal(world->stats.sessions, 2);
    world->now = end;
    tick();
    assert_goodbye(c, ONE);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(log_count("identity=me reason=\"identity expired\""), 1);
    world_say(other, TWO, "x");
    assert_true(tick() > world->now + 60000); /* nothing more to walk for */
    client_free(c);
    client_free(other);
    world_end();
}

/* Two ends in one minute are one walk more, not before that minute is over. */
static void test_a_walk_is_made_once_a_minute(void **state)
{
    (void)state;
    begin(WITH("identity.me.not-after=" SOON, "identity.you.not-after=2026-11-22T13:31:45Z"));
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    uint64_t start = world->now;
    world->now = start + 61000;
    tick();
    assert_int_equal(world->stats.sessions, 1);
    assert_goodbye(c, ONE);
    world->now = start + 70000;
    assert_int_equal(tick(), start + 121000);
    assert_int_equal(world->stats.sessions, 1);
    world->now = start + 121000;
    tick();
    assert_int_equal(world->stats.sessions, 0);
    assert_goodbye(other, TWO);
    client_free(c);
    client_free(other);
    world_end();
}

static void test_the_wall_clock_may_jump(void **state)
{
    (void)state;
    begin(WITH("identity.me.not-after=2031-12-31"));
    struct dtls_client *c = world_open(ONE, NULL);
    world->now += 1000;
    relay_set_wall(world->relay, WALL + UINT64_C(10) * 366 * 86400 * 1000, world->now);
    tick();
    assert_goodbye(c, ONE);
    client_free(c);
    world_end();
}

static void test_nobody_waits_for_an_end_that_is_none(void **state)
{
    (void)state;
    begin(WITH("service.a.idle-timeout=30d", "identity.me.max-sessions=1"));
    struct dtls_client *c = world_open(ONE, NULL);
    world->now += SESSION_TAIL_MS; /* nor for the end of what a Finished is answered with */
    assert_true(tick() > world->now + 86400000);
    client_free(c);
    world_end();
}

static void test_a_reload_ends_whose_time_is_over(void **state)
{
    (void)state;
    begin(NO_SECTION);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    reload(WITH("identity.me.not-after=" PAST));
    assert_goodbye(c, ONE);
    assert_int_equal(log_count("identity=me reason=\"identity expired\""), 1);
    world_say(other, TWO, "x");
    client_free(c);
    client_free(other);
    world_end();
}

/* Its keys were good when the client used them; a helper is asked for them just then. */
static void test_an_end_during_the_handshake(void **state)
{
    struct dtls_client *c;

    (void)state;
    begin(NO_SECTION);
    c = world_half_open(ONE, NULL);
    reload(WITH("identity.me.not-after=" PAST));
    world_talk(c, ONE);
    assert_int_equal(c->is_closed, !helper_knows_all);
    assert_int_equal(log_count("handshake in doubt"), helper_knows_all);
    assert_int_equal(log_count("handshake failed"), !helper_knows_all);
    assert_int_equal(log_count("identity=me reason=\"identity expired\""), !helper_knows_all);
    client_free(c);
    world_end();
}

/* ---- ciphers ---- */

static void test_a_policy_takes_its_suites_only(void **state)
{
    const struct client_options ccm = {.ciphers = "PSK-AES128-CCM8"};
    const struct client_options near = {.ciphers = "PSK-AES128-CCM"};

    (void)state;
    begin(WITH("identity.me.ciphers=PSK-AES128-CCM8:PSK-AES256-GCM-SHA384"));
    assert_never_opens(ONE, NULL, "reason=\"suite not allowed for the identity\"");
    assert_never_opens(ONE, &near, "reason=\"suite not allowed for the identity\"");
    struct dtls_client *c = world_open(TWO, &ccm);
    world_say(c, TWO, "x");
    reload(WITH("identity.me.ciphers=PSK-AES128-CCM"));
    assert_goodbye(c, TWO);
    client_free(c);
    c = world_open(THREE, &near);
    client_free(c);
    world_end();
}

static void test_suites_of_old_devices(void **state)
{
    const struct client_options cbc = {.ciphers = "PSK-AES128-CBC-SHA256"};

    (void)state;
    begin(WITH("service.a.min-version=1.0", "identity.me.ciphers=PSK-AES128-CBC-SHA256"));
    struct dtls_client *c = world_open(ONE, &cbc);
    assert_never_opens(TWO, NULL, "reason=\"suite not allowed for the identity\"");
    client_free(c);
    world_end();
}

static int given_setup(void **state)
{
    (void)state;
    helper_begin(known);
    helper_knows_all = true;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_policy_has_its_own_backend),
        cmocka_unit_test(test_an_open_flow_stays_with_its_backend),
        cmocka_unit_test(test_a_session_stays_with_the_backend_of_its_policy),
        cmocka_unit_test(test_a_policy_may_name_one_of_the_list),
        cmocka_unit_test(test_a_flow_on_a_shared_socket_turns_to_its_policy),
        cmocka_unit_test(test_an_identity_comes_from_where_it_may),
        cmocka_unit_test(test_a_refused_client_takes_nobodys_place),
        cmocka_unit_test(test_a_reload_ends_who_comes_from_elsewhere),
        cmocka_unit_test(test_a_policy_has_its_own_cap),
        cmocka_unit_test(test_a_reload_ends_the_longest_idle_beyond_a_cap),
        cmocka_unit_test(test_datagrams_over_the_rate_are_dropped_and_counted),
        cmocka_unit_test(test_all_sessions_of_an_identity_share_its_rate),
        cmocka_unit_test(test_old_devices_have_rates_too),
        cmocka_unit_test(test_a_reload_brings_and_takes_a_rate),
        cmocka_unit_test(test_a_client_over_its_rate_is_not_idle),
        cmocka_unit_test(test_an_expired_identity_is_like_an_unknown_one),
        cmocka_unit_test(test_the_last_second_counts),
        cmocka_unit_test(test_running_sessions_end_when_time_is_over),
        cmocka_unit_test(test_a_walk_is_made_once_a_minute),
        cmocka_unit_test(test_the_wall_clock_may_jump),
        cmocka_unit_test(test_nobody_waits_for_an_end_that_is_none),
        cmocka_unit_test(test_a_reload_ends_whose_time_is_over),
        cmocka_unit_test(test_an_end_during_the_handshake),
        cmocka_unit_test(test_a_policy_takes_its_suites_only),
        cmocka_unit_test(test_suites_of_old_devices),
    };

    return cmocka_run_group_tests_name("keys of a file", tests, conf_text_setup, NULL) +
           cmocka_run_group_tests_name("keys of a helper", tests, given_setup, conf_text_teardown);
}
