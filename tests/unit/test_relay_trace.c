/*
 * test_relay_trace: what a trace holds, how much of it, and for how long. Looks inside of the
 * relay.
 */
#include "relay_world.h"

#include "dtls/keylog.h"
#include "proxy/inquiry.h"
#include "proxy/life.h"

#define PORT 20000
#define ROOM 1024

static struct inquiry inquiry;

static size_t fetch(uint64_t id, const char *identity)
{
    inquiry.kind = INQUIRY_TRACE;
    inquiry.trace = id;
    inquiry.limit = INQUIRY_ROWS;
    inquiry.filter.identity_len = strlen(identity);
    memcpy(inquiry.filter.identity, identity, strlen(identity));
    relay_inquire(world->relay, &inquiry, world->now);
    return inquiry.is_refused ? SIZE_MAX : inquiry.count;
}

static void begin(void)
{
    memset(&inquiry, 0, sizeof inquiry);
    world_begin(NULL, 1);
    world->relay->traces.wall0 = 5000000000;
    assert_int_equal(fetch(1, "me"), 0);
}

static void test_a_record_stands_before_what_it_leads_to(void **state)
{
    static const uint8_t expected[] = {TRACE_HELLO, TRACE_IN,   TRACE_IN, TRACE_IN,  TRACE_OUT,
                                       TRACE_OUT,   TRACE_OPEN, TRACE_IN, TRACE_OUT, TRACE_BACKEND};
    struct dtls_client *c;

    (void)state;
    begin();
    c = world_open(PORT, NULL);
    world_back(world_say(c, PORT, "hello"), "world", 5);
    assert_int_equal(fetch(1, "me"), sizeof expected);
    for (size_t i = 0; i < sizeof expected; i++)
        assert_int_equal(inquiry.event[i].what, expected[i]);
    assert_int_equal(inquiry.event[1].message, WIRE_CLIENT_KEY_EXCHANGE);
    assert_int_equal(inquiry.event[7].fate, FATE_FORWARDED);
    assert_true(inquiry.event[7].wall == 5000000000 + world->now);
    assert_int_equal(fetch(1, "me"), 0);
    client_free(c);
    world_end();
}

/* The id stands in front of the length, and is as long as the client likes. */
static void test_records_to_a_client_with_an_id_are_told(void **state)
{
    static const uint8_t lengths[] = {0, 1, WIRE_OWN_CID, WIRE_OWN_CID + 1, WIRE_CID_MAX};
    static struct {
        struct session session;
        uint8_t behind[sizeof(struct association_cid)];
    } piece;
    static uint8_t out[4 + RECORD_OVERHEAD_MAX];
    struct dtls_client *c;

    (void)state;
    begin();
    c = world_open(PORT, NULL);
    const struct session *own = world_say(c, PORT, "hello")->owner;
    assert_true(fetch(1, "me") > 0);
    for (size_t i = 0; i < sizeof lengths; i++) {
        const struct association_cid cid = {.peer_len = lengths[i]};
        struct association *a = &piece.session.association;
        memcpy(&piece.session, own,
               offsetof(struct session, association) + association_size(own->association.suite));
        association_set_cid(a, &cid);
        a->write_seq = 100 + i;
        size_t n = record_seal(world->relay->crypt, a, WIRE_DATA, (const uint8_t *)"four", 4, out);
        trace_out(&world->relay->traces, &piece.session, out, n, world->now);
        assert_int_equal(fetch(1, "me"), 1);
        assert_int_equal(inquiry.event[0].what, TRACE_OUT);
        assert_int_equal(inquiry.event[0].type, lengths[i] > 0 ? WIRE_CID : WIRE_DATA);
        assert_int_equal(inquiry.event[0].number, 100 + i);
        assert_int_equal(inquiry.event[0].bytes, 8 + 4 + (lengths[i] > 0) + 16);
    }
    client_free(c);
    world_end();
}

static void test_a_name_is_matched_whole(void **state)
{
    (void)state;
    begin();
    assert_int_equal(fetch(2, "m"), 0);
    assert_int_equal(fetch(3, "mee"), 0);
    client_free(world_open(PORT, NULL));
    assert_int_equal(fetch(2, "m"), 0);
    assert_int_equal(fetch(3, "mee"), 0);
    assert_true(fetch(1, "me") > 0);
    world_end();
}

static void test_what_there_is_no_room_for_is_counted(void **state)
{
    uint64_t told = 0, left_out = 0;
    struct dtls_client *c;

    (void)state;
    begin();
    c = world_open(PORT, NULL);
    for (int i = 0; i < ROOM; i++) {
        world_back(world_say(c, PORT, "hello"), "world", 5);
        world_forget_sent();
    }
    do {
        fetch(1, "me");
        for (size_t i = 0; i < inquiry.count; i++) {
            bool is_gap = inquiry.event[i].what == TRACE_LEFT_OUT;
            left_out += is_gap ? inquiry.event[i].number : 0;
            told += !is_gap;
        }
    } while (inquiry.cursor != 0);
    assert_int_equal(told, ROOM);
    assert_int_equal(told + left_out, 7 + 3 * ROOM);
    assert_int_equal(fetch(1, "me"), 0);
    world_say(c, PORT, "again");
    assert_int_equal(fetch(1, "me"), 1);
    client_free(c);
    world_end();
}

static void test_one_that_nobody_fetches_ends(void **state)
{
    (void)state;
    begin();
    world->now += 5000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->relay->traces.count, 1);
    world->now += 1;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->relay->traces.count, 0);
    world_end();
}

static void test_a_fifth_is_refused(void **state)
{
    (void)state;
    begin();
    for (uint64_t id = 2; id <= TRACES_MAX; id++)
        assert_int_equal(fetch(id, "me"), 0);
    assert_true(fetch(TRACES_MAX + 1, "me") == SIZE_MAX);
    world->now += 3000;
    assert_int_equal(fetch(1, "me"), 0);
    world->now += 3000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->relay->traces.count, 1);
    assert_int_equal(fetch(TRACES_MAX + 1, "me"), 0);
    world_end();
}

static size_t lines_of_keys(void)
{
    char line[512];
    size_t n = 0;
    FILE *f = fopen("keys.log", "r");

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        assert_int_equal(strlen(line), 14 + 64 + 1 + 96 + 1);
        assert_memory_equal(line, "CLIENT_RANDOM ", 14);
        n++;
    }
    fclose(f);
    return n;
}

static void test_keys_are_written_only_where_that_was_asked_for(void **state)
{
    char why[256];

    (void)state;
    begin();
    unlink("keys.log");
    assert_true(keylog_open("keys.log", why, sizeof why));
    client_free(world_open(PORT, NULL));
    assert_int_equal(lines_of_keys(), 0);
    inquiry.wants_keys = true;
    fetch(2, "you");
    client_free(world_open(PORT + 1, NULL));
    assert_int_equal(lines_of_keys(), 0);
    fetch(3, "me");
    fetch(4, "me");
    client_free(world_open(PORT + 2, NULL));
    assert_int_equal(lines_of_keys(), 1);
    assert_int_equal(log_count("warning keys written: id=3 "), 1);
    keylog_close();
    client_free(world_open(PORT + 3, NULL));
    assert_int_equal(log_count("warning keys not written: id=4 "), 1);
    unlink("keys.log");
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_stands_before_what_it_leads_to),
        cmocka_unit_test(test_records_to_a_client_with_an_id_are_told),
        cmocka_unit_test(test_a_name_is_matched_whole),
        cmocka_unit_test(test_what_there_is_no_room_for_is_counted),
        cmocka_unit_test(test_one_that_nobody_fetches_ends),
        cmocka_unit_test(test_a_fifth_is_refused),
        cmocka_unit_test(test_keys_are_written_only_where_that_was_asked_for),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
