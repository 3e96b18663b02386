/*
 * test_inquiry: sessions are told of and ended slice by slice, each once, whatever happens between.
 */
#include "relay_world.h"

#include "proxy/inquiry.h"

#define FIRST 40001
#define CROWD 150 /* more than two slices */

static const char *const usual[] = {NULL};
static struct inquiry q;

static void begin(enum inquiry_kind kind, size_t limit)
{
    q = (struct inquiry){.kind = kind, .limit = limit};
}

static void ask(void)
{
    relay_inquire(world->relay, &q, world->now);
}

static void open_and_forget(uint16_t port, const struct client_options *options)
{
    client_free(world_open(port, options));
}

static void test_nobody_is_there(void **state)
{
    (void)state;
    world_begin(usual, 1);
    for (int kind = INQUIRY_LIST; kind <= INQUIRY_END; kind++) {
        begin((enum inquiry_kind)kind, INQUIRY_ROWS);
        do
            ask();
        while (q.cursor != 0);
        assert_int_equal(q.count, 0);
    }
    world_end();
}

static void test_a_row_tells_all_of_a_session(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(FIRST, NULL);
    world->now += 3000;
    struct flow *f = world_say(c, FIRST, "four");
    world_back(f, "seven..", 7);
    world->now += 2000;
    begin(INQUIRY_RECENT, 1);
    ask();
    assert_int_equal(q.count, 1);
    const struct inquiry_row *row = &q.row[0];
    assert_int_equal(row->id, 1);
    assert_int_equal(row->service, 0);
    assert_int_equal(row->peer.port, FIRST);
    assert_int_equal(row->local.port, 5684);
    assert_int_equal(row->identity_len, 2);
    assert_memory_equal(row->identity, "me", 2);
    assert_string_equal(row->suite, "PSK-AES128-GCM-SHA256");
    assert_string_equal(row->version, "1.2");
    assert_true(row->has_ems);
    assert_int_equal(row->age, 5000);
    assert_int_equal(row->idle, 2000);
    assert_int_equal(row->in_datagrams, 1);
    assert_int_equal(row->in_bytes, 4);
    assert_int_equal(row->out_datagrams, 1);
    assert_int_equal(row->out_bytes, 7);
    assert_int_equal(row->drops, 0);
    assert_int_equal(row->refused, 0);
    assert_int_equal(row->backend_port, f->port);
    assert_string_equal(row->backend_source, "");
    client_free(c);
    world_end();
}

/* All of them, in as many slices as it takes; their goodbyes are more than the world can hold. */
static size_t end_all(size_t *slices)
{
    size_t ended = 0;

    begin(INQUIRY_END, 0);
    for (*slices = 0; *slices == 0 || q.cursor != 0; ++*slices) {
        ask();
        world_forget_sent();
        assert_true(q.count <= INQUIRY_ROWS);
        ended += q.count;
    }
    return ended;
}

static void test_each_of_many_is_told_once(void **state)
{
    bool seen[CROWD + 1] = {false};
    size_t told = 0, slices = 0;

    (void)state;
    world_begin(usual, 1);
    for (uint16_t i = 0; i < CROWD; i++)
        open_and_forget((uint16_t)(FIRST + i), NULL);
    begin(INQUIRY_LIST, INQUIRY_ROWS);
    do {
        ask();
        assert_true(q.count <= INQUIRY_ROWS);
        for (size_t i = 0; i < q.count; i++) {
            assert_in_range(q.row[i].id, 1, CROWD);
            assert_false(seen[q.row[i].id]);
            seen[q.row[i].id] = true;
            told++;
        }
        slices++;
    } while (q.cursor != 0);
    assert_int_equal(told, CROWD);
    assert_true(slices > CROWD / INQUIRY_ROWS);
    end_all(&slices);
    world_end();
}

static void test_a_limit_is_never_passed(void **state)
{
    size_t told = 0;

    (void)state;
    world_begin(usual, 1);
    for (uint16_t i = 0; i < 20; i++)
        open_and_forget((uint16_t)(FIRST + i), NULL);
    begin(INQUIRY_LIST, 1);
    do {
        ask();
        assert_true(q.count <= 1);
        told += q.count;
    } while (q.cursor != 0);
    assert_true(told >= 18); /* the rare slot that holds two tells of one */
    begin(INQUIRY_RECENT, 7);
    ask();
    assert_int_equal(q.count, 7);
    assert_int_equal(q.cursor, 0);
    world_end();
}

static void test_recent_ones_come_latest_first(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(FIRST, NULL);
    open_and_forget(FIRST + 1, NULL);
    world->now += 1000;
    open_and_forget(FIRST + 2, NULL);
    world->now += 1000;
    world_say(one, FIRST, "x");
    begin(INQUIRY_RECENT, INQUIRY_ROWS);
    ask();
    assert_int_equal(q.count, 3);
    assert_int_equal(q.row[0].id, 1);
    assert_int_equal(q.row[1].id, 3);
    assert_int_equal(q.row[2].id, 2);
    client_free(one);
    world_end();
}

static size_t count_of(const struct inquiry_filter *filter)
{
    size_t told = 0;

    begin(INQUIRY_LIST, INQUIRY_ROWS);
    q.filter = *filter;
    do {
        ask();
        told += q.count;
    } while (q.cursor != 0);
    return told;
}

static struct prefix prefix(const char *text)
{
    struct prefix p;

    assert_true(prefix_parse(&p, text));
    return p;
}

static void test_filters(void **state)
{
    static const struct client_options other = {.identity = "you"};

    (void)state;
    write_file("keys",
               "me:00112233445566778899aabbccddeeff\nyou:00112233445566778899aabbccddeeff\n", 0600);
    world_begin(usual, 1);
    open_and_forget(FIRST, NULL);
    open_and_forget(FIRST + 1, NULL);
    open_and_forget(FIRST + 2, &other);
    client_free(world_half_open(FIRST + 3, NULL)); /* no session yet */
#define COUNT(...) count_of(&(struct inquiry_filter){__VA_ARGS__})
    assert_int_equal(COUNT(.id = 0), 3);
    assert_int_equal(COUNT(.id = 2), 1);
    assert_int_equal(COUNT(.id = 4), 0);
    assert_int_equal(COUNT(.has_service = true), 3);
    assert_int_equal(COUNT(.has_service = true, .service = 1), 0);
    assert_int_equal(COUNT(.has_identity = true, .identity = "me", .identity_len = 2), 2);
    assert_int_equal(COUNT(.has_identity = true, .identity = "you", .identity_len = 3), 1);
    assert_int_equal(COUNT(.has_identity = true, .identity = "yo", .identity_len = 2), 0);
    assert_int_equal(COUNT(.has_peer = true, .peer = prefix("127.0.0.0/8")), 3);
    assert_int_equal(COUNT(.has_peer = true, .peer = prefix("127.0.0.2")), 0);
    assert_int_equal(COUNT(.has_peer = true, .peer = prefix("127.0.0.1"), .port = FIRST), 1);
    assert_int_equal(COUNT(.id = 1, .has_identity = true, .identity = "you", .identity_len = 3), 0);
    world_end();
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
}

static void test_those_asked_for_end_with_goodbye(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(FIRST, NULL);
    struct dtls_client *two = world_open(FIRST + 1, NULL);
    begin(INQUIRY_END, 0);
    q.filter.id = 2;
    do
        ask();
    while (q.cursor != 0);
    world_to_client(two, FIRST + 1);
    assert_true(two->is_closed);
    assert_false(one->is_closed);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(log_count("session end: id=2 "), 1);
    assert_int_equal(log_count("reason=\"ended by operator\""), 1);
    world_say(one, FIRST, "still here");
    client_free(one);
    client_free(two);
    world_end();
}

static void test_a_crowd_is_ended_in_slices(void **state)
{
    size_t slices;

    (void)state;
    world_begin(usual, 1);
    for (uint16_t i = 0; i < CROWD; i++)
        open_and_forget((uint16_t)(FIRST + i), NULL);
    assert_int_equal(end_all(&slices), CROWD);
    assert_true(slices > CROWD / INQUIRY_ROWS);
    assert_int_equal(world->stats.sessions, 0);
    world_end();
}

static void test_a_drain_can_be_taken_back(void **state)
{
    (void)state;
    world_begin(usual, 1);
    relay_drain(world->relay, world->now);
    struct dtls_client *c = client_new(&(struct client_options){0});
    world_talk(c, FIRST);
    assert_false(c->is_open);
    assert_fate(DROP_DRAINING, 1);
    client_free(c);
    relay_undrain(world->relay);
    open_and_forget(FIRST, NULL);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_there),
        cmocka_unit_test(test_a_row_tells_all_of_a_session),
        cmocka_unit_test(test_each_of_many_is_told_once),
        cmocka_unit_test(test_a_limit_is_never_passed),
        cmocka_unit_test(test_recent_ones_come_latest_first),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_those_asked_for_end_with_goodbye),
        cmocka_unit_test(test_a_crowd_is_ended_in_slices),
        cmocka_unit_test(test_a_drain_can_be_taken_back),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
