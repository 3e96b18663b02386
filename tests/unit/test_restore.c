/*
 * test_restore: sessions that were kept, and the next process, with the same settings or others.
 */
#include "restore_rig.h"

static void assert_stays_away(const struct keep_entry *e, const char *why)
{
    char line[128];

    assert_string_equal(take_up(e), why);
    snprintf(line, sizeof line, "reason=\"%s\"", why);
    assert_int_equal(
        log_count_both("session not restored: id=1 peer=127.0.0.1:40001 identity=me", line), 1);
    assert_int_equal(world->stats.sessions, 0);
    assert_int_equal(world->stats.sessions_restored, 0);
}

/* A record of the client's that libssl knows nothing of. */
static size_t seal_as_client(const struct keep_entry *e, uint8_t type, uint64_t number,
                             const void *plain, size_t len, uint8_t *out)
{
    struct record_crypt *crypt = record_crypt_new();
    struct association a = e->image.association;

    a.keys = mirror_keys(&a.keys, a.suite);
    a.write_seq = number;
    size_t n = record_seal(crypt, &a, type, plain, len, out);
    record_crypt_free(crypt);
    return n;
}

static void test_a_client_goes_on(void **state)
{
    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "before");
    uint8_t copy[256];
    struct keep_entry first;
    assert_int_equal(keep_left(&shared, &first, 1), 1);
    size_t len = seal_as_client(&first, WIRE_DATA, 2, "again", 5, copy);
    world_from(ONE, 0, copy, len); /* a record that will be replayed */
    assert_int_equal(f->count, 2);
    struct keep_entry e = crash(usual);
    assert_null(take_up(&e));
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(world->stats.sessions_restored, 1);
    assert_int_equal(log_count("session restored: id=1 service=a peer=127.0.0.1:40001"), 1);
    world_from(ONE, 0, copy, len);
    assert_int_equal(world->stats.from_client[FATE_DROP_REPLAY], 1);
    assert_true(client_say(c, "lost", 4)); /* its number 2 was taken by the other */
    world_to_relay(c, ONE);
    f = world_say(c, ONE, "behind");
    assert_int_equal(f->len, 6);
    assert_true(world_back(f, "answer", 6));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    client_free(c);
    keep_end();
}

/* Below the lease's edge all counts as used, seen or not. */
static void test_numbers_go_on_behind_what_was_told(void **state)
{
    struct keep_entry e;
    uint8_t late[256], edge[256];
    const struct sent *answer;

    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    size_t late_len = seal_as_client(&e, WIRE_DATA, 19, "late", 4, late);
    size_t edge_len = seal_as_client(&e, WIRE_DATA, 20, "edge", 4, edge);
    world_from(ONE, 0, edge, edge_len); /* 1 to 19 are on their way still */
    e = crash(usual);
    assert_int_equal(e.lease.read_end, 20);
    assert_null(take_up(&e));
    world_from(ONE, 0, late, late_len);
    assert_int_equal(world->stats.from_client[FATE_DROP_REPLAY], 1);
    world_from(ONE, 0, late, seal_as_client(&e, WIRE_DATA, 21, "new", 3, late));
    assert_int_equal(world->stats.from_client[FATE_FORWARDED], 1);
    assert_true(world_back(&world->flows[0], "answer", 6));
    answer = world_take();
    assert_non_null(answer);
    struct reader r = reader_of(answer->data + 5, 6);
    assert_true(read_u48(&r) == e.lease.write_end);
    client_free(c);
    keep_end();
}

static void test_it_is_kept_again(void **state)
{
    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    for (int i = 0; i < 3; i++) {
        struct keep_entry e = crash(usual);
        assert_null(take_up(&e));
        world_say(c, ONE, "here I am");
    }
    client_free(c);
    keep_end();
}

static void test_a_stop_is_no_goodbye(void **state)
{
    struct keep_entry e;

    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    world_say(c, ONE, "before");
    relay_leave_all(world->relay, world->now);
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(log_count("reason=\"kept for the next start\""), 1);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    keep_end();
    keep_begin(usual);
    assert_null(take_up(&e));
    world_say(c, ONE, "behind");
    relay_end_all(world->relay, world->now);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    assert_int_equal(keep_left(&shared, &e, 1), 0);
    client_free(c);
    keep_end();
}

/* Our Finished was lost; the client repeats its own, which the next process answers. */
static void test_a_finished_that_was_lost_is_repeated(void **state)
{
    /* What is in it has been looked at before. */
    static const uint8_t finished[24] = {WIRE_FINISHED, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 12};

    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_half_open(ONE, NULL);
    world_to_client(c, ONE);
    client_step(c);
    world_to_relay(c, ONE);
    world_forget_sent();
    struct keep_entry e = crash(usual);
    assert_null(take_up(&e));
    uint8_t out[128];
    world_from(ONE, 0, out, seal_as_client(&e, WIRE_HANDSHAKE, 1, finished, 24, out));
    world_to_client(c, ONE);
    assert_true(c->is_open);
    assert_true(client_say(c, "x", 1)); /* has the number of what was sent in its place */
    world_to_relay(c, ONE);
    world_say(c, ONE, "at last");
    client_free(c);
    keep_end();
}

static void with_keys(const char *keys, const char *why)
{
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    write_file("keys", keys, 0600);
    struct keep_entry e = crash(usual);
    assert_stays_away(&e, why);
    write_file("keys", "me:" KEY, 0600);
    client_free(c);
    keep_end();
}

static void test_an_identity_that_is_gone_stays_away(void **state)
{
    (void)state;
    with_keys("you:" KEY, "identity removed");
}

static void test_a_key_that_is_another_stays_away(void **state)
{
    (void)state;
    with_keys("me:ff112233445566778899aabbccddeeff\n", "key changed");
}

static void with_settings(const char *const overrides[], const char *why)
{
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    struct keep_entry e = crash(overrides);
    assert_stays_away(&e, why);
    client_free(c);
    keep_end();
}

static void test_what_the_settings_forbid_stays_away(void **state)
{
    static const char *const denied[] = {"service.a.deny=127.0.0.0/8", NULL};
    static const char *const others[] = {"service.a.allow=192.0.2.0/24", NULL};

    (void)state;
    with_settings(denied, "address not allowed");
    with_settings(others, "address not allowed");
}

static void test_a_service_that_is_gone_takes_its_sessions_along(void **state)
{
    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    struct keep_entry e = crash(usual);
    const struct restore order = {
        .entry = &e, .service = -1, .now = world->now, .wall = WALL + 5000};
    assert_string_equal(relay_restore(world->relay, &order), "nobody listens there any more");
    client_free(c);
    keep_end();
}

static void test_one_that_was_idle_for_too_long_stays_away(void **state)
{
    static const char *const hour[] = {"service.a.idle-timeout=1h", NULL};

    (void)state;
    keep_begin(hour);
    struct dtls_client *c = world_open(ONE, NULL);
    struct keep_entry e = crash(hour);
    world->now = 10000000;
    assert_string_equal(take_up_at(&e, WALL + 3600 * 1000 + 20000), "idle timeout");
    assert_null(take_up_at(&e, WALL + 3600 * 1000 - 60000));
    world->now += 100000; /* it goes on being idle */
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.sessions, 0);
    client_free(c);
    keep_end();
}

static void test_a_clock_that_was_set_back_ends_nothing(void **state)
{
    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    struct keep_entry e = crash(usual);
    assert_null(take_up_at(&e, WALL / 2));
    world_say(c, ONE, "x");
    client_free(c);
    keep_end();
}

static void test_the_cap_holds(void **state)
{
    static const char *const few[] = {"daemon.max-sessions=1", NULL};
    struct keep_entry e[2];

    (void)state;
    keep_begin(usual);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    assert_int_equal(keep_left(&shared, e, 2), 2);
    keep_end();
    keep_begin(few);
    assert_null(take_up(&e[0]));
    assert_string_equal(take_up(&e[1]), "evicted to make room");
    assert_int_equal(world->sent_count, 0);
    client_free(one);
    client_free(two);
    keep_end();
}

static void test_of_two_of_one_peer_the_one_used_last_stays(void **state)
{
    (void)state;
    keep_begin(usual);
    struct dtls_client *c = world_open(ONE, NULL);
    struct keep_entry e = crash(usual), older = e;
    older.image.id = 99;
    assert_null(take_up(&e));
    assert_string_equal(take_up(&older), "replaced by a new handshake");
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(world->sent_count, 0);
    world_say(c, ONE, "x");
    client_free(c);
    keep_end();
}

/* Nothing may be sent before the file counts in which it is told. */
static void test_an_identity_has_no_more_than_it_may(void **state)
{
    static const char *const one[] = {"service.a.max-sessions-per-identity=1", NULL};
    struct keep_entry e[2];

    (void)state;
    keep_begin(usual);
    struct dtls_client *a = world_open(ONE, NULL), *b = world_open(TWO, NULL);
    assert_int_equal(keep_left(&shared, e, 2), 2);
    keep_end();
    keep_begin(one);
    assert_null(take_up(&e[0]));
    assert_string_equal(take_up(&e[1]), "identity in use elsewhere");
    assert_int_equal(world->sent_count, 0);
    assert_int_equal(world->stats.sessions, 1);
    client_free(a);
    client_free(b);
    keep_end();
}

static void test_the_longest_idle_is_the_first_to_go(void **state)
{
    static const char *const hour[] = {"service.a.idle-timeout=1h", NULL};
    struct keep_entry e[2];

    (void)state;
    keep_begin(hour);
    struct dtls_client *a = world_open(ONE, NULL), *b = world_open(TWO, NULL);
    assert_int_equal(keep_left(&shared, e, 2), 2);
    keep_end();
    keep_begin(hour);
    world->now = 10000000;
    e[1].lease.used -= 600;
    assert_null(take_up(&e[0]));
    assert_null(take_up(&e[1]));
    world->now += 3100000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(log_count_both("session end: ", "peer=127.0.0.1:40002"), 1);
    world_forget_sent();
    client_free(a);
    client_free(b);
    keep_end();
}

static void test_ids_go_on_behind_those_that_were(void **state)
{
    (void)state;
    keep_begin(usual);
    world->stats.sessions = 0;
    keep_end();
    where = keep_folder();
    shared = (struct keep_shared){.keys = keep_keys("one"), .highest_id = 1000};
    unsigned number;
    assert_true(mapped_create(&shared.file, where.fd, "file", 8));
    mapped_unmap(mapped_add(&shared.file, &number));
    world_begin(usual, 4);
    assert_true(relay_keep(world->relay, &shared));
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(log_count("session open: id=1001 "), 1); /* of worker 0: 1, 5, 9, ... */
    client_free(c);
    keep_end();
}

static void test_it_has_its_address_again(void **state)
{
    (void)state;
    keep_begin(with_sources);
    struct dtls_client *other = world_open(TWO, NULL), *c = world_open(ONE, NULL);
    client_free(other);
    struct keep_entry e[2];
    assert_int_equal(keep_left(&shared, e, 2), 2);
    uint32_t source = e[1].image.flow.source;
    assert_true(e[1].image.flow.is_open && source == 1);
    keep_end();
    keep_begin(with_sources);
    assert_null(take_up(&e[1]));
    assert_int_equal(world_say(c, ONE, "x")->source, source);
    client_free(c);
    keep_end();
}

static void test_one_that_libssl_keeps_is_not_kept(void **state)
{
    static const char *const old[] = {"service.a.min-version=1.0", NULL};
    static const struct client_options options = {.ciphers = "PSK-AES128-CBC-SHA"};
    struct keep_entry e;

    (void)state;
    keep_begin(old);
    struct dtls_client *c = world_open(ONE, &options);
    assert_int_equal(keep_left(&shared, &e, 1), 0);
    relay_leave_all(world->relay, world->now);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    client_free(c);
    keep_end();
}

/* What one with connection ids leaves; ours are of this worker. */
static struct keep_entry crash_with_ids(const char *const overrides[])
{
    struct keep_entry e;

    keep_begin(overrides);
    client_free(world_open(ONE, NULL));
    e = crash(overrides);
    e.image.has_cid = true;
    e.image.cid = (struct association_cid){.own = {0, 1, 2, 3}, .peer_len = 3, .peer = "abc"};
    return e;
}

static void test_ids_are_kept(void **state)
{
    struct keep_entry e = crash_with_ids(usual), again;

    (void)state;
    e.image.moves.count = 7;
    assert_null(take_up(&e));
    assert_non_null(peers_find_cid(&world->relay->peers, e.image.cid.own));
    assert_int_equal(keep_left(&shared, &again, 1), 1);
    assert_true(again.image.has_cid);
    assert_memory_equal(&again.image.cid, &e.image.cid, sizeof e.image.cid);
    assert_int_equal(again.image.moves.count, 7);
    keep_end();
}

static void test_an_id_of_another_worker_stays_away(void **state)
{
    struct keep_entry e = crash_with_ids(usual);

    (void)state;
    e.image.cid.own[0] = 1;
    assert_stays_away(&e, "its connection id is of a worker that is not there any more");
    keep_end();
}

/* A proof is never kept: the next start begins at the last address that was proven. */
static void test_an_unproven_address_is_not_kept(void **state)
{
    struct keep_entry e = crash_with_ids(usual), again;
    const struct addr thief = {.ip = {127, 0, 0, 1}, .port = TWO, .family = AF_INET};
    const struct addr home = e.image.peer;

    (void)state;
    e.image.moves = (struct session_image_moves){.count = 1,
                                                 .is_unproven = true,
                                                 .budget = 100,
                                                 .has_proof = true,
                                                 .home_peer = home,
                                                 .home_local = e.image.local,
                                                 .left = 500};
    e.image.peer = thief;
    assert_null(take_up(&e));
    assert_int_equal(keep_left(&shared, &again, 1), 1);
    assert_true(addr_equal(&again.image.peer, &home));
    assert_false(again.image.moves.has_proof || again.image.moves.is_unproven);
    assert_int_equal(again.image.moves.count, 1);
    keep_end();
}

/* What came and was lost before is not known, so nothing counts as lost. */
static void test_a_tally_begins_at_what_was_told(void **state)
{
    static const struct tally counted = {
        .newest = 3, .opened = 2, .late = 1, .handshake_ms = 44, .is_resumed = 1};
    struct keep_entry e = crash_with_ids(usual), again;

    (void)state;
    e.image.has_tally = true;
    e.image.tally = counted;
    e.lease.read_end = 1000;
    assert_null(take_up(&e));
    struct session *s = peers_find_cid(&world->relay->peers, e.image.cid.own);
    assert_int_equal(tally_lost(session_tally(s)), 0);
    assert_int_equal(session_tally(s)->newest, 1000);
    assert_int_equal(session_tally(s)->late, 0);
    assert_int_equal(keep_left(&shared, &again, 1), 1);
    assert_true(again.image.has_tally && again.image.tally.is_resumed);
    assert_int_equal(again.image.tally.handshake_ms, 44);
    keep_end();
}

/* The longest there can be has room. */
static void test_a_long_identity_with_ids_and_a_key_has_room(void **state)
{
    struct keep_entry e = crash_with_ids(usual);

    (void)state;
    e.image.identity_len = PSK_IDENTITY_MAX;
    memset(e.image.identity, 'i', PSK_IDENTITY_MAX);
    e.image.association.suite = suite_find(0xccab); /* its keys are the longest */
    e.image.cid.peer_len = 255;
    e.image.moves.count = 1;
    e.image.key_len = PSK_KEY_MAX;
    e.image.has_tally = true;
    e.image.tally.is_resumed = true;
    e.image.flow = (struct session_image_flow){.port = 1};
    e.image.has_farewell = true;
    e.image.farewell.finished[0] = WIRE_FINISHED;
    assert_int_equal(keep_entry_size(&e), KEEP_SLOT_LARGE);
    keep_end();
}

static void test_a_key_that_a_helper_gave_is_kept(void **state)
{
    static const char *const settings[] = {HELPER_SETTING, NULL};
    static const char *const knows[] = {"given", NULL};
    struct keep_entry e;

    (void)state;
    helper_begin(knows);
    keep_begin(settings);
    client_free(world_open(ONE, &(struct client_options){.identity = "given"}));
    e = crash(settings);
    assert_int_equal(e.image.key_len, 16);
    assert_null(take_up(&e));
    assert_int_equal(world->stats.sessions, 1);
    keep_end();
    world_asker = (struct keyring_asker){0};
    world_behind = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_goes_on),
        cmocka_unit_test(test_numbers_go_on_behind_what_was_told),
        cmocka_unit_test(test_it_is_kept_again),
        cmocka_unit_test(test_a_stop_is_no_goodbye),
        cmocka_unit_test(test_a_finished_that_was_lost_is_repeated),
        cmocka_unit_test(test_an_identity_that_is_gone_stays_away),
        cmocka_unit_test(test_a_key_that_is_another_stays_away),
        cmocka_unit_test(test_what_the_settings_forbid_stays_away),
        cmocka_unit_test(test_a_service_that_is_gone_takes_its_sessions_along),
        cmocka_unit_test(test_one_that_was_idle_for_too_long_stays_away),
        cmocka_unit_test(test_a_clock_that_was_set_back_ends_nothing),
        cmocka_unit_test(test_the_cap_holds),
        cmocka_unit_test(test_of_two_of_one_peer_the_one_used_last_stays),
        cmocka_unit_test(test_an_identity_has_no_more_than_it_may),
        cmocka_unit_test(test_the_longest_idle_is_the_first_to_go),
        cmocka_unit_test(test_ids_go_on_behind_those_that_were),
        cmocka_unit_test(test_it_has_its_address_again),
        cmocka_unit_test(test_one_that_libssl_keeps_is_not_kept),
        cmocka_unit_test(test_ids_are_kept),
        cmocka_unit_test(test_an_id_of_another_worker_stays_away),
        cmocka_unit_test(test_an_unproven_address_is_not_kept),
        cmocka_unit_test(test_a_tally_begins_at_what_was_told),
        cmocka_unit_test(test_a_long_identity_with_ids_and_a_key_has_room),
        cmocka_unit_test(test_a_key_that_a_helper_gave_is_kept),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
