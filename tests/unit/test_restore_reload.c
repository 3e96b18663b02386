/*
 * test_restore_reload: what is kept of sessions that have seen a reload or an order, and when.
 */
#include "restore_rig.h"

#include "proxy/inquiry.h"

static void reload(const char *keys, const char *const settings[])
{
    write_file("keys", keys, 0600);
    struct relay_setup next = world_setup(settings);

    relay_apply(world->relay, &next, world->now);
    helper_answer_all();
}

/* The file loses an identity whose key the helper has: from now on it is the session's own. */
static void test_a_key_that_becomes_the_helper_s_is_kept(void **state)
{
    static const char *const settings[] = {HELPER_SETTING, NULL};
    static const char *const knows[] = {"me", NULL};
    struct keep_entry e;

    (void)state;
    helper_begin(knows);
    keep_begin(settings);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    assert_int_equal(e.image.key_len, 0);
    world->now += 3000;
    reload("you:" KEY, settings);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    assert_int_equal(e.image.key_len, 16);
    assert_true(e.written == world->relay->expiry.wall0 + world->now);
    e = crash(settings);
    assert_null(take_up(&e));
    assert_non_null(world_say(c, ONE, "x"));
    reload("me:" KEY, settings); /* and back */
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    assert_int_equal(e.image.key_len, 0);
    client_free(c);
    keep_end();
    world_asker = (struct keyring_asker){0};
    world_behind = NULL;
}

static void assert_time_is_told(void)
{
    assert_true(keep_leases(world->relay->keep)->now == world->now);
    world->now += 1000;
}

static void test_each_step_tells_the_time(void **state)
{
    const struct relay_order order = {.what = BALANCE_SILENT, .backend = world_addr(1)};
    struct relay_identity who = {.identity = "me", .len = 2};
    struct inquiry q = {.kind = INQUIRY_LIST, .limit = 1};

    (void)state;
    keep_begin(usual);
    world->now += 1000;
    struct relay_setup next = world_setup(usual);
    relay_apply(world->relay, &next, world->now);
    assert_time_is_told();
    relay_tell(world->relay, &order, world->now);
    assert_time_is_told();
    relay_inquire(world->relay, &q, world->now);
    assert_time_is_told();
    assert_false(relay_end_one(world->relay, &who, world->now));
    assert_time_is_told();
    relay_restored(world->relay, world->now);
    assert_time_is_told();
    relay_end_all(world->relay, world->now);
    assert_time_is_told();
    keep_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_that_becomes_the_helper_s_is_kept),
        cmocka_unit_test(test_each_step_tells_the_time),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
