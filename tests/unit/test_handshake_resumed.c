/*
 * test_handshake_resumed: sessions that go on by a ticket, with libssl's client; and all for which
 * they may not.
 */
#include "handshake_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SUITE "ECDHE-PSK-CHACHA20-POLY1305"
#define WALL UINT64_C(1700000000000)
#define LIFETIME UINT64_C(3600000)
#define LATER 1000 /* ms: when a client comes back */

static const char *const WITH_EXCHANGE[] = {
    SUITE,
    "DHE-PSK-AES128-GCM-SHA256",
    "DHE-PSK-AES256-GCM-SHA384",
    "DHE-PSK-CHACHA20-POLY1305",
    "DHE-PSK-AES128-CCM",
    "DHE-PSK-AES256-CCM8",
};
#define WITH_EXCHANGE_COUNT (sizeof WITH_EXCHANGE / sizeof WITH_EXCHANGE[0])

static struct ticket_keys ticket_keys;
static bool is_suite_fine;

static bool may(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall)
{
    assert_null(arg);
    assert_true(psk != NULL && suite != NULL && wall >= WALL);
    return is_suite_fine;
}

static struct resumption resumption;

static int set_up(void **state)
{
    (void)state;
    ticket_keys_init(&ticket_keys);
    is_suite_fine = true;
    resumption = (struct resumption){&ticket_keys, "coap", LIFETIME, may, NULL, NULL};
    return 0;
}

static struct rig_options having(SSL_SESSION *session)
{
    return (struct rig_options){.suites = SUITE,
                                .resumption = &resumption,
                                .session = session,
                                .wall0 = WALL + (session ? LATER : 0)};
}

/* A whole handshake. Returns the client's session, and whether it has a ticket of ours. */
static SSL_SESSION *first_with(const struct rig_options *options, bool *has_ticket)
{
    struct rig *rig = rig_answered(options);
    struct handshake_result result;

    assert_true(rig_finish(rig, RIG_NOW + 10));
    assert_false(handshake_tickets(rig->h)->is_resumed);
    *has_ticket = handshake_tickets(rig->h)->is_issued;
    SSL_SESSION *session = SSL_get1_session(rig->client);
    assert_int_equal(SSL_SESSION_has_ticket(session), *has_ticket);
    handshake_finish(rig->h, &result);
    assert_int_equal(result.farewell.ticket != NULL, *has_ticket || result.farewell.ticket_len > 0);
    handshake_farewell_clear(&result.farewell);
    rig_free(rig);
    return session;
}

static SSL_SESSION *first(const char *suites)
{
    struct rig_options options = having(NULL);
    bool has_ticket;

    options.suites = suites;
    SSL_SESSION *session = first_with(&options, &has_ticket);
    assert_true(has_ticket);
    assert_true(SSL_SESSION_get_ticket_lifetime_hint(session) == LIFETIME / 1000);
    return session;
}

/* What the client sends arrives, and the other way about: both have the same keys and numbers. */
static void assert_talks(struct rig *rig, struct handshake_result *result)
{
    static uint8_t plain[WIRE_PLAINTEXT_MAX], record[2048];
    size_t len;

    rig_clear(&rig->to_server);
    assert_int_equal(SSL_write(rig->client, "there", 5), 5);
    struct wire_record rec = rig_view(&rig->to_server.one[0]);
    assert_int_equal(record_open(rig->params.crypt, &result->association, &rec, plain, &len),
                     RECORD_OK);
    assert_int_equal(len, 5);
    size_t n = record_seal(rig->params.crypt, &result->association, WIRE_DATA,
                           (const uint8_t *)"back", 4, record);
    rig_clear(&rig->to_client);
    rig_put(&rig->to_client, record, n);
    assert_int_equal(SSL_read(rig->client, plain, sizeof plain), 4);
}

static void assert_resumed(struct rig *rig)
{
    struct handshake_result result;

    assert_true(SSL_session_reused(rig->client) == 1);
    assert_true(handshake_tickets(rig->h)->is_resumed);
    assert_false(handshake_tickets(rig->h)->is_issued);
    handshake_finish(rig->h, &result);
    assert_true(result.own_records && result.extended_master_secret);
    assert_ptr_equal(result.psk, psk_find(rig->keys, (const uint8_t *)"known", 5));
    assert_int_equal(result.farewell.finished[0], 0);
    assert_null(result.farewell.ticket);
    assert_true(result.association.window.map & 1); /* has seen the Finished */
    assert_talks(rig, &result);
    rig_free(rig);
}

static void resume(const struct rig_options *options)
{
    struct rig *rig = rig_new(options);

    assert_int_equal(rig_take(rig), 1);
    assert_int_equal(rig_client_step(rig), 1);
    rig_exchange(rig, RIG_NOW + 10);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_resumed(rig);
}

static void test_every_suite_with_an_exchange(void **state)
{
    (void)state;
    for (size_t i = 0; i < WITH_EXCHANGE_COUNT; i++) {
        SSL_SESSION *session = first(WITH_EXCHANGE[i]);
        struct rig_options options = having(session);
        options.suites = WITH_EXCHANGE[i];
        for (int again = 0; again < 3; again++)
            resume(&options);
        SSL_SESSION_free(session);
    }
}

static void test_a_fragment_length_is_settled_again(void **state)
{
    struct rig_options options = having(NULL);
    bool has_ticket;

    (void)state;
    options.fragment_code = TLSEXT_max_fragment_length_512;
    options.session = first_with(&options, &has_ticket);
    options.wall0 += LATER;
    assert_true(has_ticket);
    resume(&options);
    SSL_SESSION_free(options.session);
}

static void test_plain_psk_and_others_get_no_ticket(void **state)
{
    struct rig_options options = having(NULL);
    bool has_ticket;

    (void)state;
    options.suites = "PSK-AES128-GCM-SHA256";
    SSL_SESSION_free(first_with(&options, &has_ticket));
    assert_false(has_ticket);
    options = having(NULL);
    options.no_extended_master = true;
    SSL_SESSION_free(first_with(&options, &has_ticket));
    assert_false(has_ticket);
    options = having(NULL);
    options.resumption = NULL;
    SSL_SESSION_free(first_with(&options, &has_ticket));
    assert_false(has_ticket);
}

/* The keys of the second handshake, where the hello is fed by hand. */
static struct rig *begin_with(struct psk_set *keys, const struct rig_options *options)
{
    struct rig *rig = rig_new(options);

    handshake_free(rig->h);
    psk_free(rig->keys);
    rig->params.keys = rig->keys = keys;
    rig_begin(rig);
    return rig;
}

/* RFC 5077 3.3: what was promised and is not to be had is a ticket of 0 bytes. */
static void test_a_ticket_without_room_is_an_empty_one(void **state)
{
    struct rig_options options = having(NULL);
    char line[256], name[151];

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(line, sizeof line, "%s:" RIG_KEY, name);
    options.identity = name;
    for (int i = 0; i < 2; i++) {
        options.mtu = i == 0 ? 256 : 1400;
        struct rig *rig = begin_with(keys_of(line), &options);
        rig_take(rig);
        rig_client_step(rig);
        assert_true(rig_finish(rig, RIG_NOW + 10));
        assert_int_equal(handshake_tickets(rig->h)->is_issued, i);
        assert_int_equal(SSL_SESSION_has_ticket(SSL_get0_session(rig->client)), i);
        rig_free(rig);
    }
}

/* Nobody takes a hello in pieces, so a client on such a link could not come back at all. */
static void test_no_ticket_makes_a_hello_too_long(void **state)
{
    unsigned count = 0;

    (void)state;
    for (size_t mtu = 256; mtu <= 600; mtu += 4) {
        struct rig_options options = having(NULL);
        bool has_ticket;
        options.mtu = mtu;
        options.session = first_with(&options, &has_ticket);
        options.wall0 += LATER;
        count += has_ticket;
        if (has_ticket) {
            struct rig *rig = rig_new(&options);
            assert_in_range(rig->hello.len, 1, mtu);
            rig_free(rig);
        }
        SSL_SESSION_free(options.session);
    }
    assert_in_range(count, 40, 80);
}

/* ---- who may not ---- */

static void assert_full(const struct rig_options *options)
{
    struct rig *rig = rig_answered(options);

    assert_true(handshake_tickets(rig->h)->is_refused);
    assert_false(handshake_tickets(rig->h)->is_resumed);
    assert_true(rig_finish(rig, RIG_NOW + 10));
    assert_int_equal(SSL_session_reused(rig->client), 0);
    assert_true(handshake_tickets(rig->h)->is_issued); /* the next time it will do */
    rig_free(rig);
}

/* RFC 6066 4: what was negotiated is so for resumptions, too. */
static void test_another_fragment_length_is_another_session(void **state)
{
    static const uint8_t CODES[][2] = {
        {TLSEXT_max_fragment_length_512, 0},
        {0, TLSEXT_max_fragment_length_512},
        {TLSEXT_max_fragment_length_512, TLSEXT_max_fragment_length_1024}};

    (void)state;
    for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++) {
        struct rig_options options = having(NULL);
        bool has_ticket;
        options.fragment_code = CODES[i][0];
        options.session = first_with(&options, &has_ticket);
        options.wall0 += LATER;
        options.fragment_code = CODES[i][1];
        assert_full(&options);
        SSL_SESSION_free(options.session);
    }
}

static void test_it_is_over_with_its_lifetime(void **state)
{
    SSL_SESSION *session = first(SUITE);
    struct rig_options options = having(session);

    (void)state;
    options.wall0 = WALL + LIFETIME; /* born 10 ms behind RIG_NOW */
    resume(&options);
    options.wall0 = WALL + LIFETIME + 10;
    assert_full(&options);
    options.wall0 = WALL; /* the clock was set back */
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void test_the_suite_must_be_allowed_still(void **state)
{
    SSL_SESSION *session = first("DHE-PSK-CHACHA20-POLY1305");
    struct rig_options options = having(session);

    (void)state;
    options.client_suites = SUITE ":DHE-PSK-CHACHA20-POLY1305";
    assert_full(&options);
    options.suites = SUITE ":DHE-PSK-CHACHA20-POLY1305";
    resume(&options); /* allowed, though another one would come first */
    is_suite_fine = false;
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void test_another_service_gives_nothing_for_it(void **state)
{
    SSL_SESSION *session = first(SUITE);
    struct rig_options options = having(session);

    (void)state;
    resumption.service = "other";
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void test_foreign_and_old_keys(void **state)
{
    SSL_SESSION *session = first(SUITE);
    struct rig_options options = having(session);

    (void)state;
    ticket_keys_rotate(&ticket_keys);
    resume(&options);
    ticket_keys_rotate(&ticket_keys);
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void assert_refused(struct psk_set *keys, const struct rig_options *options)
{
    struct rig *rig = begin_with(keys, options);

    assert_true(handshake_tickets(rig->h)->is_refused);
    assert_false(handshake_tickets(rig->h)->is_resumed);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    rig_free(rig);
}

static void test_identities_that_are_gone_or_changed(void **state)
{
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct psk_set *ended = keys_of("known:" RIG_KEY);

    (void)state;
    assert_refused(keys_of("other:" RIG_KEY), &options);
    assert_refused(keys_of("known:" RIG_KEY "00"), &options);
    assert_refused(keys_of("known:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &options);
    assert_true(psk_set_end(ended, 0, WALL + LATER + RIG_NOW));
    assert_refused(ended, &options);
    ended = keys_of("known:" RIG_KEY);
    assert_true(psk_set_end(ended, 0, WALL + LATER + RIG_NOW + 1));
    struct rig *rig = begin_with(ended, &options);
    assert_true(handshake_tickets(rig->h)->is_resumed);
    rig_free(rig);
    SSL_SESSION_free(session);
}

/* RFC 7627 5.3 */
static void test_no_extended_master_secret_is_the_end(void **state)
{
    SSL_SESSION *session = first(SUITE);
    struct rig_options options = having(session);

    (void)state;
    options.no_extended_master = true;
    struct rig *rig = rig_new(&options);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    assert_int_equal(rig_take(rig), 1);
    const struct wire_record alert = rig_view(&rig->to_client.one[0]);
    assert_int_equal(alert.type, WIRE_ALERT);
    assert_int_equal(alert.body[1], WIRE_HANDSHAKE_FAILURE);
    rig_free(rig);
    SSL_SESSION_free(session);
}

/* ---- flights ---- */

/* Record numbers of epoch 1 that are on their way to the client, as bits. */
static unsigned sealed_numbers(const struct rig *rig)
{
    unsigned bits = 0;

    for (size_t i = 0; i < rig->to_client.count; i++) {
        struct wire_record rec = rig_view(&rig->to_client.one[i]);
        if (rec.epoch == 1)
            bits |= 1u << rec.seq;
    }
    return bits;
}

static void test_our_flight_is_repeated_with_new_numbers(void **state)
{
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);

    (void)state;
    rig_take(rig);
    assert_int_equal(sealed_numbers(rig), 1);
    rig_clear(&rig->to_client); /* lost */
    handshake_on_timer(rig->h, RIG_NOW + 999);
    assert_int_equal(rig_take(rig), 0);
    handshake_on_timer(rig->h, RIG_NOW + 1000);
    assert_int_equal(rig_take(rig), 1);
    assert_int_equal(sealed_numbers(rig), 2);
    rig_clear(&rig->to_client); /* lost, too; the client repeats its hello */
    assert_int_equal(rig_feed(rig, &rig->hello, RIG_NOW + 2000), FATE_DROP_HELLO_COPY);
    assert_int_equal(rig_take(rig), 1);
    assert_int_equal(sealed_numbers(rig), 4);
    assert_int_equal(rig_client_step(rig), 1);
    rig_exchange(rig, RIG_NOW + 2010);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_int_equal(rig->to_client.count, rig->to_client.taken);
    assert_resumed(rig);
    SSL_SESSION_free(session);
}

/* A client that is done repeats its flight when it sees ours again. */
static void test_the_client_flight_may_get_lost(void **state)
{
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);
    char nothing[16];

    (void)state;
    rig_take(rig);
    assert_int_equal(rig_client_step(rig), 1);
    rig_clear(&rig->to_server);
    handshake_on_timer(rig->h, RIG_NOW + 1000);
    assert_int_equal(rig_take(rig), 1);
    assert_int_equal(SSL_read(rig->client, nothing, sizeof nothing), -1);
    assert_true(rig->to_server.count >= 2);
    rig_exchange(rig, RIG_NOW + 1010);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_resumed(rig);
    SSL_SESSION_free(session);
}

static void test_it_gives_up_in_the_end(void **state)
{
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);
    size_t len;

    (void)state;
    assert_memory_equal(handshake_identity(rig->h, &len), "known", 5);
    assert_int_equal(len, 5);
    handshake_on_timer(rig->h, RIG_NOW + 30000);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_EXPIRED);
    assert_string_equal(handshake_why(rig->h), "no Finished came");
    rig_free(rig);
    SSL_SESSION_free(session);
}

/* The message with the ticket is in the hash of what the Finished covers. */
static void test_a_farewell_has_the_ticket(void **state)
{
    const struct rig_options options = having(NULL);
    struct rig *rig = rig_answered(&options);
    struct handshake_result result;
    uint8_t out[HANDSHAKE_FAREWELL_MAX];

    (void)state;
    rig_exchange(rig, RIG_NOW + 10);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    handshake_finish(rig->h, &result);
    rig_clear(&rig->to_client); /* lost */
    uint64_t seq = result.farewell.ccs_seq;
    size_t n =
        handshake_repeat_farewell(&result.farewell, rig->params.crypt, &result.association, out);
    assert_true(n > TICKET_NAME && n <= rig->params.mtu);
    assert_int_equal(result.farewell.ccs_seq, seq + 2);
    rig_put(&rig->to_client, out, n);
    assert_int_equal(rig_view(&rig->to_client.one[0]).seq, seq);
    assert_int_equal(rig_view(&rig->to_client.one[1]).seq, seq + 1);
    assert_int_equal(rig_client_step(rig), 1);
    assert_int_equal(SSL_SESSION_has_ticket(SSL_get0_session(rig->client)), 1);
    assert_talks(rig, &result);
    handshake_farewell_clear(&result.farewell);
    rig_free(rig);
}

/* ---- strangers ---- */

static void test_forgeries_change_nothing(void **state)
{
    static const uint8_t junk[60] = {1, 2, 3};
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);

    (void)state;
    rig_take(rig);
    assert_int_equal(rig_client_step(rig), 1);
    struct rig_record forged = rig_plain(WIRE_HANDSHAKE, UINT64_C(1) << 48, junk, sizeof junk);
    assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_DROP_FORGED);
    forged = rig_plain(WIRE_DATA, UINT64_C(1) << 48 | 7, junk, sizeof junk);
    assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_DROP_EARLY);
    forged = rig_message(WIRE_CLIENT_KEY_EXCHANGE, 2, "\0\5known\1x", 9);
    assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_DROP_REPEAT);
    forged = rig_plain(WIRE_ALERT, 3, "\2\50", 2);
    assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_DROP_TYPE);
    rig_exchange(rig, RIG_NOW + 10);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_resumed(rig);
    SSL_SESSION_free(session);
}

/* A Finished that overtakes its ChangeCipherSpec waits for it. */
static void test_the_client_flight_the_wrong_way_round(void **state)
{
    SSL_SESSION *session = first(SUITE);
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);

    (void)state;
    rig_take(rig);
    assert_int_equal(rig_client_step(rig), 1);
    for (size_t i = rig->to_server.count; i-- > 0;)
        assert_int_equal(rig_feed(rig, &rig->to_server.one[i], RIG_NOW), FATE_HANDSHAKE);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_resumed(rig);
    SSL_SESSION_free(session);
}

/* Connection ids are those of the new hello (RFC 9146 3). */
static void test_connection_ids_are_settled_afresh(void **state)
{
    static const uint8_t cid[] = {3, 'n', 'e', 'w'};
    SSL_SESSION *session = first(SUITE);
    struct rig_options options = having(session);
    uint8_t datagram[2048];
    struct wire_record rec;
    unsigned sealed = 0;

    (void)state;
    options.cid = cid;
    options.cid_len = sizeof cid;
    struct rig *rig = rig_new(&options);
    assert_true(handshake_tickets(rig->h)->is_resumed);
    const struct association_cid *settled = handshake_cid(rig->h);
    assert_non_null(settled);
    assert_int_equal(settled->peer_len, 3);
    for (int again = 0; again < 3; again++) {
        struct reader r = reader_of(datagram, handshake_take(rig->h, datagram));
        while (wire_next_record_to(&r, 3, &rec)) {
            assert_int_equal(rec.type == WIRE_CID, rec.epoch == 1);
            sealed += rec.type == WIRE_CID && memcmp(rec.cid, "new", 3) == 0;
        }
        assert_false(r.bad);
        handshake_on_timer(rig->h, RIG_NOW + 1000 + 5000 * (uint64_t)again);
    }
    assert_int_equal(sealed, 3);
    rig_free(rig);
    SSL_SESSION_free(session);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_every_suite_with_an_exchange),
        TEST(test_a_fragment_length_is_settled_again),
        TEST(test_plain_psk_and_others_get_no_ticket),
        TEST(test_a_ticket_without_room_is_an_empty_one),
        TEST(test_no_ticket_makes_a_hello_too_long),
        TEST(test_another_fragment_length_is_another_session),
        TEST(test_it_is_over_with_its_lifetime),
        TEST(test_the_suite_must_be_allowed_still),
        TEST(test_another_service_gives_nothing_for_it),
        TEST(test_foreign_and_old_keys),
        TEST(test_identities_that_are_gone_or_changed),
        TEST(test_no_extended_master_secret_is_the_end),
        TEST(test_our_flight_is_repeated_with_new_numbers),
        TEST(test_the_client_flight_may_get_lost),
        TEST(test_it_gives_up_in_the_end),
        TEST(test_a_farewell_has_the_ticket),
        TEST(test_forgeries_change_nothing),
        TEST(test_the_client_flight_the_wrong_way_round),
        TEST(test_connection_ids_are_settled_afresh),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
