/*
 * test_relay_helper: sessions whose keys a helper knows: how they open, what a reload and other
 * answers mean for them, and their caps over several workers.
 */
#include "relay_helper.h"

#define ONE 40001
#define TWO 40002
#define THREE 40003

#define WITH(...) ((const char *const[]){__VA_ARGS__, NULL})
#define OTHER_KEY "0123456789abcdef"
#define WALL UINT64_C(1795354240000) /* 2026-11-22T13:30:40Z */

static const struct client_options you = {.identity = "you"};
static const char *const known[] = {"me", "you", NULL};
static const char *const nobody[] = {NULL};

static struct relay_identity told; /* what the other workers were asked */
static unsigned told_count;

static void on_elsewhere(void *arg, const struct relay_identity *who)
{
    (void)arg;
    told = *who;
    told_count++;
}

static int setup(void **state)
{
    (void)state;
    write_file("keys", "", 0600);
    helper_begin(known);
    world_elsewhere = (struct relay_elsewhere){on_elsewhere, NULL, NULL};
    told_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (world != NULL)
        world_end();
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
    return 0;
}

static void begin(const char *const settings[])
{
    world_begin(settings, 2);
    relay_set_wall(world->relay, WALL, world->now);
}

static void reload(const char *const settings[])
{
    struct relay_setup next = world_setup(settings);

    relay_apply(world->relay, &next, world->now);
}

/* A relay that has asked for the key of a client that has said all it has to say. */
static struct dtls_client *open_slowly(uint16_t port, const struct client_options *options)
{
    struct dtls_client *c = client_new(options);

    helper.is_slow = true;
    world_talk(c, port);
    assert_false(c->is_open);
    assert_int_equal(helper.waiting, 1);
    return c;
}

static void test_a_handshake_waits_and_nobody_else_does(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING));
    struct dtls_client *other = world_open(ONE, NULL), *c = open_slowly(TWO, &you);
    world_say(other, ONE, "meanwhile");
    helper_answer_all();
    world_to_client(c, TWO);
    assert_true(c->is_open);
    world_say(c, TWO, "at last");
    assert_int_equal(log_count("identity=you suite="), 1);
    client_free(c);
    client_free(other);
}

static void test_what_does_not_open_is_told_when_the_answer_comes(void **state)
{
    const struct client_options liar = {.key = OTHER_KEY};

    (void)state;
    begin(WITH(HELPER_SETTING));
    struct dtls_client *c = open_slowly(ONE, &liar);
    assert_int_equal(log_count("handshake in doubt"), 0);
    helper_answer_all();
    assert_int_equal(log_count("handshake in doubt"), 1);
    assert_int_equal(world->sent_count, 0);
    client_free(c);
}

static void test_a_client_that_is_gone_when_the_answer_comes(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING, "service.a.handshake-timeout=1s"));
    struct dtls_client *c = open_slowly(ONE, &you);
    world->now += 1000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.handshakes, 0);
    assert_int_equal(log_count("unknown identity, and nobody could be asked"), 1);
    helper_answer_all();
    assert_int_equal(world->stats.keys_found, 1);
    world_forget_sent();
    client_free(c);
}

/* The file has it, though its time is over there. */
static void test_what_the_file_has_is_never_asked_for(void **state)
{
    (void)state;
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
    begin(WITH(HELPER_SETTING, "identity.me.not-after=2020-12-31"));
    struct dtls_client *c = client_new(&(struct client_options){0});
    world_talk(c, ONE);
    assert_false(c->is_open);
    assert_int_equal(helper.asked, 0);
    client_free(c);
}

/* ---- reloads ---- */

static void test_a_reload_asks_and_the_same_key_stays(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING));
    struct dtls_client *c = world_open(ONE, NULL);
    reload(WITH(HELPER_SETTING));
    relay_tick(world->relay, world->now);
    assert_int_equal(helper.asked, 2);
    world_say(c, ONE, "before the answer");
    world_say(c, ONE, "and behind it");
    assert_int_equal(world->stats.sessions, 1);
    client_free(c);
}

static void assert_ends_by(const char *reason)
{
    begin(WITH(HELPER_SETTING));
    struct dtls_client *c = world_open(ONE, NULL);
    reload(WITH(HELPER_SETTING));
    relay_tick(world->relay, world->now);
    if (strcmp(reason, "key changed") == 0)
        helper.key = OTHER_KEY;
    else
        helper.knows = nobody;
    helper_answer_all();
    relay_tick(world->relay, world->now);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    assert_int_equal(world->stats.sessions, 0);
    assert_int_equal(log_count(reason), 1);
    client_free(c);
}

static void test_another_key_ends_it(void **state)
{
    (void)state;
    assert_ends_by("key changed");
}

static void test_no_key_ends_it(void **state)
{
    (void)state;
    assert_ends_by("identity removed");
}

/* It is revoked, and not looked for yet: the next reload does not wait for that. */
static void test_a_reload_ends_what_is_revoked(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING));
    struct dtls_client *c = world_open(ONE, NULL);
    reload(WITH(HELPER_SETTING));
    relay_tick(world->relay, world->now);
    helper.key = OTHER_KEY;
    helper_answer_all();
    reload(WITH(HELPER_SETTING, "identity.me.max-sessions=1"));
    assert_int_equal(world->stats.sessions, 0);
    assert_int_equal(log_count("key changed"), 1);
    world_forget_sent();
    client_free(c);
}

static void test_without_the_setting_it_ends(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING));
    struct dtls_client *c = world_open(ONE, NULL), *late = open_slowly(TWO, &you);
    write_file("keys", "him:00112233445566778899aabbccddeeff\n", 0600);
    reload(WITH("service.a.psk-helper="));
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    assert_int_equal(log_count("identity=me reason=\"identity removed\""), 1);
    assert_int_equal(helper.resets, 1);
    assert_int_equal(helper.waiting, 0);
    assert_false(late->is_open);
    world_forget_sent();
    client_free(c);
    client_free(late);
}

/* Into the file and out of it again. */
static void test_an_identity_may_move(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING, "identity.*.max-sessions=1"));
    struct dtls_client *c = world_open(ONE, NULL);
    for (int i = 0; i < 2; i++) {
        write_file("keys", i == 0 ? "me:00112233445566778899aabbccddeeff\n" : "", 0600);
        reload(WITH(HELPER_SETTING, "identity.*.max-sessions=1"));
        relay_tick(world->relay, world->now);
        helper_answer_all();
        relay_tick(world->relay, world->now);
        world_say(c, ONE, "as ever");
    }
    assert_int_equal(world->stats.sessions, 1);
    client_free(c);
}

/* ---- caps ---- */

static void test_others_are_told_how_many_there_may_be(void **state)
{
    (void)state;
    begin(WITH(HELPER_SETTING, "service.a.max-sessions-per-identity=2"));
    struct dtls_client *c = world_open(ONE, NULL), *again = world_open(TWO, NULL);
    assert_int_equal(told_count, 2);
    assert_int_equal(told.len, 2);
    assert_memory_equal(told.identity, "me", 2);
    assert_true(told.is_given);
    assert_int_equal(told.room, 0);
    client_free(c);
    client_free(again);
}

static void test_others_end_what_is_beyond(void **state)
{
    struct relay_identity who = {.len = 2, .identity = "me", .is_given = true, .room = 4};
    struct dtls_client *c[3];

    (void)state;
    begin(WITH(HELPER_SETTING, "service.a.max-sessions-per-identity=4"));
    for (uint16_t i = 0; i < 3; i++) {
        c[i] = world_open((uint16_t)(ONE + i), NULL);
        world->now += 10;
    }
    who.asked = world->now;
    assert_false(relay_end_one(world->relay, &who, world->now));
    assert_int_equal(who.room, 1);
    assert_int_equal(world->stats.sessions, 3);
    assert_false(relay_end_one(world->relay, &who, world->now));
    assert_int_equal(who.room, 0);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(log_count("reason=\"identity in use elsewhere\""), 2);
    world_forget_sent();
    world_say(c[2], THREE, "used last");
    for (int i = 0; i < 3; i++)
        client_free(c[i]);
}

/* One that was long on its way meets sessions that have asked for themselves meanwhile. */
static void test_a_late_request_ends_none_that_came_after_it(void **state)
{
    struct relay_identity who = {.len = 2, .identity = "me", .is_given = true, .room = 1};

    (void)state;
    begin(WITH(HELPER_SETTING, "service.a.max-sessions-per-identity=2"));
    struct dtls_client *c = world_open(ONE, NULL);
    who.asked = world->now;
    world->now += 10;
    struct dtls_client *later = world_open(TWO, NULL);
    assert_false(relay_end_one(world->relay, &who, world->now));
    assert_int_equal(who.room, 0);
    assert_int_equal(world->stats.sessions, 2);
    assert_false(relay_end_one(world->relay, &who, world->now));
    assert_int_equal(world->stats.sessions, 1);
    world_forget_sent();
    world_say(later, TWO, "still there");
    client_free(c);
    client_free(later);
}

static void test_one_of_the_file_ends_one(void **state)
{
    struct relay_identity who = {.len = 2, .identity = "me"};

    (void)state;
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
    begin(WITH("service.a.max-sessions-per-identity=4"));
    struct dtls_client *c = world_open(ONE, NULL), *again = world_open(TWO, NULL);
    assert_int_equal(told_count, 0);
    assert_true(relay_end_one(world->relay, &who, world->now));
    assert_int_equal(world->stats.sessions, 1);
    assert_true(relay_end_one(world->relay, &who, world->now));
    assert_false(relay_end_one(world->relay, &who, world->now));
    world_forget_sent();
    client_free(c);
    client_free(again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_handshake_waits_and_nobody_else_does),
        TEST(test_what_does_not_open_is_told_when_the_answer_comes),
        TEST(test_a_client_that_is_gone_when_the_answer_comes),
        TEST(test_what_the_file_has_is_never_asked_for),
        TEST(test_a_reload_asks_and_the_same_key_stays),
        TEST(test_another_key_ends_it),
        TEST(test_no_key_ends_it),
        TEST(test_a_reload_ends_what_is_revoked),
        TEST(test_without_the_setting_it_ends),
        TEST(test_an_identity_may_move),
        TEST(test_others_are_told_how_many_there_may_be),
        TEST(test_others_end_what_is_beyond),
        TEST(test_a_late_request_ends_none_that_came_after_it),
        TEST(test_one_of_the_file_ends_one),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
