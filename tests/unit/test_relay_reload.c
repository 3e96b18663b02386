/*
 * test_relay_reload: what a reload does to sessions and to handshakes under way.
 */
#include "relay_world.h"

#define ONE 40001
#define TWO 40002
#define THREE 40003

#define KEY_OF_ME "me:00112233445566778899aabbccddeeff\n"
#define OTHER_KEY "me:ffeeddccbbaa99887766554433221100\n"
#define YOU "you:00112233445566778899aabbccddeeff\n"

static const char *const usual[] = {NULL};

static void reload(const char *keys, const char *const settings[])
{
    write_file("keys", keys, 0600);
    struct relay_setup next = world_setup(settings);
    relay_apply(world->relay, &next, world->now);
    assert_null(next.conf);
    write_file("keys", KEY_OF_ME, 0600);
}

static void test_an_unchanged_key_keeps_the_session(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    reload(YOU KEY_OF_ME, usual);
    reload(KEY_OF_ME YOU, usual); /* the first set of keys is long gone */
    assert_null(world_take());
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    assert_true(world_back(f, "z", 1));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    client_free(c);
    world_end();
    write_file("keys", KEY_OF_ME, 0600);
}

/* Sessions that were there before there was a cap, or another one, count under the new one. */
static void test_a_cap_of_a_prefix_counts_those_who_are_there(void **state)
{
    static const char *const one[] = {"daemon.max-sessions-per-prefix=1", NULL};
    static const char *const two[] = {"daemon.max-sessions-per-prefix=2", "daemon.prefix-v4=16",
                                      NULL};
    static const struct client_options options = {0};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = client_new(&options);
    reload(KEY_OF_ME, one);
    world_talk(other, TWO);
    assert_fate(DROP_CAP, 1);
    reload(KEY_OF_ME, two);
    client_free(other);
    other = world_open(TWO, NULL);
    struct dtls_client *third = client_new(&options);
    world_talk(third, THREE);
    assert_fate(DROP_CAP, 2);
    client_free(third);
    reload(KEY_OF_ME, one); /* ends nobody */
    assert_int_equal(world->stats.sessions, 2);
    SSL_shutdown(other->ssl);
    world_to_relay(other, TWO);
    world_forget_sent();
    client_free(other);
    other = client_new(&options);
    world_talk(other, TWO);
    assert_fate(DROP_CAP, 3);
    client_free(other);
    client_free(c);
    world_end();
}

static void assert_ended_by(const char *keys, const char *reason)
{
    static const struct client_options you = {.identity = "you"};

    write_file("keys", KEY_OF_ME YOU, 0600);
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, &you);
    const struct flow *f = world_say(c, ONE, "x");
    reload(keys, usual);
    assert_false(f->is_open);
    const struct sent *s = world_take();
    assert_int_equal(s->peer.port, ONE);
    client_give(c, s->data, s->len);
    assert_true(c->is_closed);
    assert_null(world_take());
    assert_int_equal(log_count(reason), 1);
    assert_int_equal(log_count("identity=me reason="), 1);
    world_say(other, TWO, "not mine");
    client_free(c);
    client_free(other);
    world_end();
}

static void test_a_removed_identity_ends_its_session(void **state)
{
    (void)state;
    assert_ended_by(YOU, "reason=\"identity removed\"");
}

static void test_a_changed_key_ends_its_session(void **state)
{
    (void)state;
    assert_ended_by(OTHER_KEY YOU, "reason=\"key changed\"");
}

/* ---- handshakes under way ---- */

static void test_a_handshake_survives_a_reload(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, NULL);
    reload(KEY_OF_ME YOU, usual);
    reload(KEY_OF_ME, usual);
    world_talk(c, ONE);
    assert_true(c->is_open);
    world_say(c, ONE, "x");
    reload(KEY_OF_ME, usual); /* it is rebased like any other */
    world_say(c, ONE, "y");
    client_free(c);
    world_end();
}

/* Begun with a key that is none any more when the Finished comes. */
static void assert_never_opens(const char *keys, const char *reason)
{
    write_file("keys", KEY_OF_ME YOU, 0600);
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, NULL);
    reload(keys, usual);
    world_talk(c, ONE);
    assert_true(c->is_closed); /* it is told so, for it holds keys */
    assert_int_equal(world->stats.sessions, 0);
    assert_int_equal(world->stats.handshakes, 0);
    assert_int_equal(world->stats.handshakes_completed, 0);
    assert_int_equal(log_count(reason), 1);
    assert_int_equal(log_count("session open"), 0);
    client_free(c);
    world_end();
}

static void test_a_handshake_with_a_removed_identity_never_opens(void **state)
{
    (void)state;
    assert_never_opens(YOU, "identity=me reason=\"identity removed\"");
}

static void test_a_handshake_with_a_changed_key_never_opens(void **state)
{
    (void)state;
    assert_never_opens(OTHER_KEY, "identity=me reason=\"key changed\"");
}

/* Neither that of the same address nor, at the cap, that of another. */
static void test_a_handshake_that_never_opens_takes_nobodys_place(void **state)
{
    static const char *const one_session[] = {"daemon.max-sessions=1", NULL};
    static const struct client_options you = {.identity = "you"};

    (void)state;
    write_file("keys", KEY_OF_ME YOU, 0600);
    world_begin(one_session, 1);
    struct dtls_client *c = world_open(ONE, &you);
    struct dtls_client *same = world_half_open(ONE, NULL);
    world_to_client(same, ONE);
    struct dtls_client *far = world_half_open(TWO, NULL);
    world_to_client(far, TWO);
    reload(YOU, one_session);
    world_talk(same, ONE);
    world_talk(far, TWO);
    assert_true(same->is_closed && far->is_closed);
    world_say(c, ONE, "still mine");
    assert_int_equal(log_count("session end"), 0);
    client_free(c);
    client_free(same);
    client_free(far);
    world_end();
}

/* The candidate was judged by the old keys, so the handshake goes by them to its end. */
static void test_keys_stay_alive_as_long_as_a_handshake_needs_them(void **state)
{
    static const struct client_options wrong = {.key = "0123456789abcdef"};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = client_new(&wrong);
    world_talk(c, ONE);
    assert_int_equal(world->stats.handshakes, 1);
    for (int i = 0; i < 3; i++)
        reload(YOU, usual);
    world->now += 60000;
    relay_tick(world->relay, world->now);
    assert_int_equal(log_count("identity=me reason=\"handshake timed out\""), 1);
    client_free(c);
    world_end();
}

/* ---- what else is reloaded ---- */

/* What was on its way from the old one still arrives, until the client's next datagram. */
static void test_the_new_backend_gets_all_flows(void **state)
{
    static const char *const settings[] = {"service.a.backend=127.0.0.1:7777", NULL};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    const struct flow *f = world_say(one, ONE, "x");
    reload(KEY_OF_ME, settings);
    assert_true(world_back(f, "late", 4));
    world_to_client(one, ONE);
    assert_int_equal(one->answers, 1);
    const struct flow *next = world_say(one, ONE, "y");
    assert_ptr_not_equal(next, f);
    assert_false(f->is_open);
    assert_int_equal(f->count, 1);
    assert_int_equal(next->backend.port, 7777);
    assert_ptr_equal(world_say(one, ONE, "z"), next);
    assert_int_equal(world_say(two, TWO, "x")->backend.port, 7777);
    assert_int_equal(world->stats.flows_moved, 1);
    client_free(one);
    client_free(two);
    world_end();
}

static void test_a_shorter_timeout_counts_at_once(void **state)
{
    static const char *const settings[] = {"service.a.idle-timeout=10s", NULL};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world->now += 10000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.sessions, 1);
    reload(KEY_OF_ME, settings);
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.sessions, 0);
    client_free(c);
    world_end();
}

static void test_a_lower_cap_ends_nobody_before_there_is_need(void **state)
{
    static const char *const settings[] = {"daemon.max-sessions=1", NULL};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    reload(KEY_OF_ME, settings);
    assert_int_equal(world->stats.sessions, 2);
    world_say(one, ONE, "x");
    world_say(two, TWO, "x");
    struct dtls_client *three = client_new(&(struct client_options){0});
    client_step(three);
    for (int i = 0; i < 2; i++) {
        world_to_relay(three, 40003);
        world_to_client(three, 40003);
    }
    world_to_relay(three, 40003);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(world->stats.sessions_evicted, 2);
    client_free(one);
    client_free(two);
    client_free(three);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unchanged_key_keeps_the_session),
        cmocka_unit_test(test_a_cap_of_a_prefix_counts_those_who_are_there),
        cmocka_unit_test(test_a_removed_identity_ends_its_session),
        cmocka_unit_test(test_a_changed_key_ends_its_session),
        cmocka_unit_test(test_a_handshake_survives_a_reload),
        cmocka_unit_test(test_a_handshake_with_a_removed_identity_never_opens),
        cmocka_unit_test(test_a_handshake_with_a_changed_key_never_opens),
        cmocka_unit_test(test_a_handshake_that_never_opens_takes_nobodys_place),
        cmocka_unit_test(test_keys_stay_alive_as_long_as_a_handshake_needs_them),
        cmocka_unit_test(test_the_new_backend_gets_all_flows),
        cmocka_unit_test(test_a_shorter_timeout_counts_at_once),
        cmocka_unit_test(test_a_lower_cap_ends_nobody_before_there_is_need),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
