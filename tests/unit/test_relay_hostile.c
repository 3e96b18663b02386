/*
 * test_relay_hostile: what strangers, forgers and clients that break the rules get from the relay:
 * no state, no more bytes than they sent, nothing past the keys.
 */
#include "relay_world.h"

#include <sys/time.h>

#define ONE 40001
#define TWO 40002

static const char *const usual[] = {NULL};
static uint64_t virtual_us = UINT64_C(1000000000);

/* libssl's clients take their time from here. */
int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    (void)tz;
    tv->tv_sec = (time_t)(virtual_us / 1000000);
    tv->tv_usec = (suseconds_t)(virtual_us % 1000000);
    return 0;
}

/* A plaintext record. Returns its length. */
static size_t plain_record(uint8_t *out, uint8_t type, uint16_t epoch, uint64_t seq,
                           const void *body, size_t len)
{
    wire_put_record_header(out, type, WIRE_DTLS12, (uint64_t)epoch << 48 | seq, len);
    if (len > 0)
        memcpy(out + WIRE_RECORD_HEADER, body, len);
    return WIRE_RECORD_HEADER + len;
}

static void send_plain(uint16_t port, uint8_t type, uint16_t epoch, uint64_t seq, const void *body,
                       size_t len)
{
    uint8_t record[512];

    world_from(port, 0, record, plain_record(record, type, epoch, seq, body, len));
}

/* As if its timer had run out. */
static void ask_libssl_to_repeat(struct dtls_client *c)
{
    struct timeval left = {0};

    virtual_us += 3 * UINT64_C(1000000);
    assert_int_equal(DTLSv1_get_timeout(c->ssl, &left), 1);
    assert_int_equal(DTLSv1_handle_timeout(c->ssl), 1);
}

/* A stranger's datagram: at most one answer, not longer, nothing remembered. */
static void assert_stateless(uint16_t port, const void *data, size_t len, unsigned answers)
{
    world_from(port, 0, data, len);
    assert_int_equal(world->sent_count, answers);
    const struct sent *s = world_take();
    if (s != NULL) {
        assert_int_equal(s->peer.port, port);
        assert_true(s->len <= len);
        assert_int_equal(s->data[WIRE_RECORD_HEADER], WIRE_HELLO_VERIFY);
    }
    assert_int_equal(world->stats.handshakes, 0);
}

/* ---- strangers ---- */

static void test_a_stranger_gets_no_more_than_he_sent(void **state)
{
    struct client_datagram first, ten = {.len = 0};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = client_new(&(struct client_options){0});
    client_step(c);
    first = *client_take(c);
    assert_stateless(ONE, first.data, first.len, 1);
    for (int i = 0; i < 10; i++) {
        memcpy(ten.data + ten.len, first.data, first.len);
        ten.len += first.len;
    }
    assert_stateless(ONE, ten.data, ten.len, 1);
    assert_fate(HELLO_ANSWERED, 2);
    assert_fate(DROP_HELLO_COPY, 9);
    for (size_t len = 0; len < first.len; len++)
        assert_stateless(ONE, first.data, len, 0);
    client_free(c);
    world_end();
}

/* The shortest hello that is one: no session id, no cookie, one suite, no extensions. */
static void test_the_shortest_hello_does_not_amplify(void **state)
{
    uint8_t body[WIRE_MESSAGE_HEADER + 42] = {0}, record[128];
    uint8_t *suites = body + WIRE_MESSAGE_HEADER + 2 + WIRE_RANDOM + 1 + 1;

    (void)state;
    world_begin(usual, 1);
    wire_put_message_header(body, WIRE_CLIENT_HELLO, 0, 42);
    put_u16(body + WIRE_MESSAGE_HEADER, WIRE_DTLS12);
    put_u16(suites, 2);
    put_u16(suites + 2, 0x00a8);
    suites[4] = 1; /* compression: null */
    size_t n = plain_record(record, WIRE_HANDSHAKE, 0, 0, body, sizeof body);
    assert_stateless(ONE, record, n, 1);
    world_end();
}

static void test_a_wrong_cookie_is_no_cookie(void **state)
{
    struct client_datagram hello[2], bad;

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, hello);
    world_forget_sent();
    assert_int_equal(world->stats.handshakes, 1);
    world_from(TWO, 0, hello[1].data, hello[1].len); /* from another address */
    const struct sent *s = world_take();
    assert_int_equal(s->data[WIRE_RECORD_HEADER], WIRE_HELLO_VERIFY);
    assert_true(s->len <= hello[1].len);
    bad = hello[1]; /* another random */
    bad.data[WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 2 + 5] ^= 1;
    world_from(ONE, 0, bad.data, bad.len);
    s = world_take();
    assert_int_equal(s->data[WIRE_RECORD_HEADER], WIRE_HELLO_VERIFY);
    assert_int_equal(world->stats.handshakes_started, 1);
    client_free(c);
    world_end();
}

static void test_cookies_live_for_one_turn_of_the_secrets(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = client_new(&(struct client_options){0});
    client_step(c);
    world_to_relay(c, ONE);
    world_to_client(c, ONE);
    const struct client_datagram second = *client_take(c);
    for (int turn = 0; turn < 2; turn++) {
        cookie_secrets_rotate(&world->cookies);
        relay_set_cookies(world->relay, &world->cookies);
    }
    assert_stateless(ONE, second.data, second.len, 1);
    client_restart(c);
    client_step(c);
    world_to_relay(c, ONE);
    world_to_client(c, ONE);
    cookie_secrets_rotate(&world->cookies);
    relay_set_cookies(world->relay, &world->cookies);
    world_talk(c, ONE);
    assert_true(c->is_open);
    client_free(c);
    world_end();
}

static void test_a_strangers_records_lead_nowhere(void **state)
{
    static const uint8_t alert[2] = {2, 40};

    (void)state;
    world_begin(usual, 1);
    send_plain(ONE, WIRE_DATA, 0, 0, "data", 4);
    send_plain(ONE, WIRE_DATA, 1, 0, "data that looks sealed and long", 31);
    send_plain(ONE, WIRE_CCS, 0, 0, "\1", 1);
    send_plain(ONE, WIRE_ALERT, 0, 0, alert, 2);
    send_plain(ONE, 99, 0, 0, "?", 1);
    assert_fate(DROP_STRANGER, 5);
    world_from(ONE, 0, "not DTLS at all", 15);
    world_from(ONE, 0, "", 0);
    assert_fate(DROP_JUNK, 2);
    assert_null(world_take());
    assert_int_equal(world->flow_count, 0);
    world_end();
}

/* 65,000 bytes of the smallest records there are: each is counted, none costs more than that. */
static void test_a_datagram_of_many_records(void **state)
{
    static uint8_t data[5000 * WIRE_RECORD_HEADER + 3];

    (void)state;
    world_begin(usual, 1);
    for (size_t i = 0; i < 5000; i++)
        plain_record(data + i * WIRE_RECORD_HEADER, WIRE_HANDSHAKE, 0, i, NULL, 0);
    world_from(ONE, 0, data, sizeof data);
    assert_fate(DROP_STRANGER, 5000);
    assert_fate(DROP_JUNK, 1); /* the tail */
    assert_int_equal(world->stats.client_records, 5001);
    world_end();
}

/* RFC 6347 4.1.2.7: what is not understood is passed over, also in front of a hello. */
static void test_an_odd_record_in_front_does_not_hide_a_hello(void **state)
{
    struct client_datagram d;

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = client_new(&(struct client_options){0});
    client_step(c);
    const struct client_datagram *hello = client_take(c);
    d.len = plain_record(d.data, 99, 0, 0, "?", 1);
    memcpy(d.data + d.len, hello->data, hello->len);
    d.len += hello->len;
    assert_stateless(ONE, d.data, d.len, 1);
    assert_fate(HELLO_ANSWERED, 1);
    client_free(c);
    world_end();
}

/* ---- hellos from the address of a session ---- */

static void test_late_copies_of_the_hellos_change_nothing(void **state)
{
    struct client_datagram hello[2];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, hello);
    world_talk(c, ONE);
    assert_true(c->is_open);
    const struct flow *f = world_say(c, ONE, "x");
    for (int i = 0; i < 2; i++)
        world_from(ONE, 0, hello[i].data, hello[i].len);
    assert_fate(DROP_HELLO_COPY, 2);
    assert_null(world_take());
    assert_int_equal(world->stats.handshakes_started, 1);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    client_free(c);
    world_end();
}

static void test_a_repeated_hello_is_answered_by_its_handshake(void **state)
{
    struct client_datagram hello[2];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, hello);
    world_forget_sent();
    for (int i = 0; i < 20; i++) /* at once: it need not be lost yet */
        world_from(ONE, 0, hello[1].data, hello[1].len);
    assert_null(world_take());
    world->now += 200;
    world_from(ONE, 0, hello[1].data, hello[1].len);
    assert_int_equal(world->stats.handshakes_started, 1);
    world_talk(c, ONE);
    assert_true(c->is_open);
    client_free(c);
    world_end();
}

static void test_a_hello_without_cookie_in_mid_session_is_answered_statelessly(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = client_new(&(struct client_options){0});
    const struct flow *f = world_say(c, ONE, "x");
    client_step(other);
    const struct client_datagram *d = client_take(other);
    assert_stateless(ONE, d->data, d->len, 1);
    assert_int_equal(world->stats.sessions, 1);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    client_free(c);
    client_free(other);
    world_end();
}

static void test_a_handshake_that_fails_leaves_the_session_alone(void **state)
{
    static const struct client_options wrong = {.key = "0123456789abcdef"};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *forger = client_new(&wrong);
    const struct flow *f = world_say(c, ONE, "x");
    world_talk(forger, ONE);
    assert_false(forger->is_open);
    assert_int_equal(world->stats.handshakes, 1);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    world->now += 60000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.handshakes, 0);
    assert_int_equal(log_count("detail=\"no Finished opened: wrong key\""), 1);
    world_forget_sent();
    assert_ptr_equal(world_say(c, ONE, "z"), f);
    client_free(c);
    client_free(forger);
    world_end();
}

/* ---- forged and misused records in a session ---- */

static void test_plaintext_hurts_no_session(void **state)
{
    static const uint8_t fatal[2] = {2, 40}, bye[2] = {1, 0};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    send_plain(ONE, WIRE_ALERT, 0, 9, fatal, 2);
    send_plain(ONE, WIRE_ALERT, 0, WIRE_SEQ_MAX, bye, 2);
    send_plain(ONE, WIRE_DATA, 0, 10, "data", 4);
    send_plain(ONE, WIRE_CCS, 0, 11, "\1", 1);
    send_plain(ONE, WIRE_DATA, 2, 0, "data that looks sealed and long", 31);
    send_plain(ONE, WIRE_DATA, 65535, 0, "data that looks sealed and long", 31);
    assert_fate(DROP_EPOCH, 6);
    send_plain(ONE, WIRE_CCS, 1, WIRE_SEQ_MAX, "\1", 1);
    assert_fate(DROP_TYPE, 1);
    send_plain(ONE, WIRE_CID, 1, WIRE_SEQ_MAX, "?", 1);
    assert_fate(DROP_JUNK, 1); /* too short for a connection id */
    send_plain(ONE, WIRE_CID, 1, WIRE_SEQ_MAX, "nobody\0\2??", 10);
    assert_fate(DROP_STRANGER, 1);
    send_plain(ONE, WIRE_DATA, 1, WIRE_SEQ_MAX, "data that looks sealed and long", 31);
    assert_fate(DROP_FORGED, 1);
    assert_null(world_take());
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    client_free(c);
    world_end();
}

static void test_plaintext_hurts_no_handshake(void **state)
{
    static const uint8_t fatal[2] = {2, 40};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, NULL);
    send_plain(ONE, WIRE_ALERT, 0, WIRE_SEQ_MAX, fatal, 2);
    send_plain(ONE, WIRE_DATA, 0, WIRE_SEQ_MAX, "data", 4);
    send_plain(ONE, WIRE_DATA, 1, 0, "data that looks sealed and long", 31);
    send_plain(ONE, WIRE_CCS, 0, WIRE_SEQ_MAX, "\1", 1);
    send_plain(ONE, 99, 0, 3, "?", 1);
    world_talk(c, ONE);
    assert_true(c->is_open);
    assert_int_equal(world->flow_count, 0);
    world_say(c, ONE, "x");
    client_free(c);
    world_end();
}

static void test_replays_are_dropped(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    assert_true(client_say(c, "once", 4));
    const struct client_datagram *d = client_take(c);
    for (int i = 0; i < 3; i++)
        world_from(ONE, 0, d->data, d->len);
    assert_fate(DROP_REPLAY, 2);
    assert_int_equal(f->count, 2);
    world_forge(f, WIRE_DATA, 1000, "far ahead", 9);
    world_forge(f, WIRE_DATA, 1000 - 64, "too old", 7);
    assert_fate(DROP_REPLAY, 3);
    assert_int_equal(f->count, 3);
    client_free(c);
    world_end();
}

static void test_a_goodbye_is_answered_once(void **state)
{
    static const uint8_t bye[2] = {1, 0};
    uint8_t datagram[256];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    size_t n = world_seal(f, WIRE_ALERT, 50, bye, 2, datagram); /* and data behind it, at once */
    n += world_seal(f, WIRE_DATA, 51, "after", 5, datagram + n);
    world_from(ONE, 0, datagram, n);
    world_from(ONE, 0, datagram, n);
    assert_int_equal(world->sent_count, 1);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    assert_int_equal(f->count, 1);
    assert_false(f->is_open);
    assert_fate(CONTROL, 1);
    assert_fate(DROP_STRANGER, 3);
    assert_int_equal(log_count("reason=\"closed by client\""), 1);
    client_free(c);
    world_end();
}

static void test_a_fatal_alert_ends_the_session_in_silence(void **state)
{
    static const uint8_t warning[2] = {1, 90}, fatal[2] = {2, 20};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    world_forge(f, WIRE_ALERT, 50, warning, 2);
    world_forge(f, WIRE_ALERT, 51, fatal, 1);
    assert_fate(CONTROL, 1);
    assert_fate(DROP_ORDER, 1);
    assert_int_equal(world->stats.sessions, 1);
    world_forge(f, WIRE_ALERT, 52, fatal, 2);
    assert_int_equal(world->stats.sessions, 0);
    assert_null(world_take());
    assert_int_equal(log_count("reason=\"fatal alert from client\""), 1);
    assert_true(client_say(c, "x", 1));
    world_to_relay(c, ONE);
    assert_fate(DROP_STRANGER, 1);
    client_free(c);
    world_end();
}

static void test_renegotiation_is_refused_a_few_times(void **state)
{
    static const uint8_t hello[WIRE_MESSAGE_HEADER] = {WIRE_CLIENT_HELLO};
    const struct sent *answer;

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    for (uint64_t seq = 100; seq < 150; seq++)
        world_forge(f, WIRE_HANDSHAKE, seq, hello, sizeof hello);
    assert_in_range(world->sent_count, 1, 10);
    assert_fate(CONTROL, 50);
    while ((answer = world_take()) != NULL)
        assert_int_equal(answer->data[0], WIRE_ALERT);
    world->now += 1000;
    world_forge(f, WIRE_HANDSHAKE, 150, hello, sizeof hello);
    assert_int_equal(world->sent_count, 1);
    world_forge(f, WIRE_HANDSHAKE, 151, NULL, 0);
    assert_int_equal(world->sent_count, 1);
    assert_int_equal(world->stats.handshakes_started, 1);
    world_forge(f, WIRE_DATA, 152, "y", 1);
    assert_int_equal(f->count, 2);
    client_free(c);
    world_end();
}

/* What is remembered of it does not go with the data. */
static void test_renegotiation_between_data_is_refused_a_few_times(void **state)
{
    static const uint8_t hello[WIRE_MESSAGE_HEADER] = {WIRE_CLIENT_HELLO};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    const struct flow *f = world_say(c, ONE, "x");
    for (uint64_t seq = 100; seq < 200; seq += 2) {
        world_forge(f, WIRE_HANDSHAKE, seq, hello, sizeof hello);
        world_forge(f, WIRE_DATA, seq + 1, "y", 1);
    }
    assert_in_range(world->sent_count, 1, 10);
    assert_int_equal(f->count, 51);
    client_free(c);
    world_end();
}

static void test_a_lost_last_flight_comes_again_until_data_came(void **state)
{
    static const uint8_t finished[WIRE_MESSAGE_HEADER + 12] = {WIRE_FINISHED};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, NULL);
    world_to_client(c, ONE);
    world_to_relay(c, ONE);
    assert_int_equal(world->stats.sessions, 1);
    struct sent last = *world_take();
    assert_null(world_take());
    world_to_client(c, ONE); /* nothing: it is lost */
    assert_false(c->is_open);
    uint64_t records = world->stats.client_records;
    ask_libssl_to_repeat(c);
    world_to_relay(c, ONE);
    assert_true(world->stats.client_records > records);
    const struct sent *again = world_take();
    assert_non_null(again);
    assert_memory_not_equal(again->data, last.data, WIRE_RECORD_HEADER); /* a new number */
    client_give(c, again->data, again->len);
    assert_true(c->is_open);
    const struct flow *f = world_say(c, ONE, "x");
    world_forge(f, WIRE_HANDSHAKE, 60, finished, sizeof finished);
    assert_null(world_take());
    client_free(c);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stranger_gets_no_more_than_he_sent),
        cmocka_unit_test(test_the_shortest_hello_does_not_amplify),
        cmocka_unit_test(test_a_wrong_cookie_is_no_cookie),
        cmocka_unit_test(test_cookies_live_for_one_turn_of_the_secrets),
        cmocka_unit_test(test_a_strangers_records_lead_nowhere),
        cmocka_unit_test(test_a_datagram_of_many_records),
        cmocka_unit_test(test_an_odd_record_in_front_does_not_hide_a_hello),
        cmocka_unit_test(test_late_copies_of_the_hellos_change_nothing),
        cmocka_unit_test(test_a_repeated_hello_is_answered_by_its_handshake),
        cmocka_unit_test(test_a_hello_without_cookie_in_mid_session_is_answered_statelessly),
        cmocka_unit_test(test_a_handshake_that_fails_leaves_the_session_alone),
        cmocka_unit_test(test_plaintext_hurts_no_session),
        cmocka_unit_test(test_plaintext_hurts_no_handshake),
        cmocka_unit_test(test_replays_are_dropped),
        cmocka_unit_test(test_a_goodbye_is_answered_once),
        cmocka_unit_test(test_a_fatal_alert_ends_the_session_in_silence),
        cmocka_unit_test(test_renegotiation_is_refused_a_few_times),
        cmocka_unit_test(test_renegotiation_between_data_is_refused_a_few_times),
        cmocka_unit_test(test_a_lost_last_flight_comes_again_until_data_came),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
