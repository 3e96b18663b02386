/*
 * test_handshake_by_id: sessions that go on by their id, with libssl's client that knows nothing of
 * tickets; and all for which they may not.
 */
#include "handshake_rig.h"

#include "dtls/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SUITE "ECDHE-PSK-CHACHA20-POLY1305"
#define WALL UINT64_C(1700000000000)
#define LIFETIME UINT64_C(3600000)
#define LATER 1000 /* ms: when a client comes back */
#define PLACES 4

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
static struct cache *cache;
static struct resumption resumption;
static bool is_suite_fine;

static bool may(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall)
{
    assert_null(arg);
    assert_true(psk != NULL && suite != NULL && wall >= WALL);
    return is_suite_fine;
}

static int set_up(void **state)
{
    (void)state;
    ticket_keys_init(&ticket_keys);
    cache = cache_new(PLACES);
    assert_non_null(cache);
    is_suite_fine = true;
    resumption = (struct resumption){&ticket_keys, "coap", LIFETIME, may, NULL, cache};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cache_free(cache);
    return 0;
}

static struct rig_options having(SSL_SESSION *session)
{
    return (struct rig_options){.suites = SUITE,
                                .resumption = &resumption,
                                .session = session,
                                .no_ticket = true,
                                .wall0 = WALL + (session ? LATER : 0)};
}

static unsigned id_length(const SSL_SESSION *session)
{
    unsigned len;

    SSL_SESSION_get_id(session, &len);
    return len;
}

/* A whole handshake. Returns the client's session. */
static SSL_SESSION *first_with(const struct rig_options *options)
{
    struct rig *rig = rig_answered(options);
    struct handshake_result result;

    assert_true(rig_finish(rig, RIG_NOW + 10));
    const struct handshake_tickets *tickets = handshake_tickets(rig->h);
    SSL_SESSION *session = SSL_get1_session(rig->client);
    assert_false(tickets->is_resumed);
    assert_true(!tickets->is_id_issued || id_length(session) == CACHE_ID);
    assert_false(tickets->is_issued && tickets->is_id_issued);
    handshake_finish(rig->h, &result);
    handshake_farewell_clear(&result.farewell);
    engine_free(result.engine);
    rig_free(rig);
    return session;
}

static SSL_SESSION *first(void)
{
    const struct rig_options options = having(NULL);
    SSL_SESSION *session = first_with(&options);

    assert_int_equal(id_length(session), CACHE_ID);
    assert_int_equal(SSL_SESSION_has_ticket(session), 0);
    return session;
}

/* What the client sends arrives, and the other way about. */
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

static void resume(const struct rig_options *options)
{
    struct rig *rig = rig_new(options);
    struct handshake_result result;

    assert_int_equal(rig_take(rig), 1);
    assert_int_equal(rig->to_client.count, 3); /* ServerHello, ChangeCipherSpec, Finished */
    assert_int_equal(rig_client_step(rig), 1);
    rig_exchange(rig, RIG_NOW + 10);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    assert_true(SSL_session_reused(rig->client) == 1);
    const struct handshake_tickets *tickets = handshake_tickets(rig->h);
    assert_true(tickets->is_resumed && !tickets->is_id_issued && !tickets->is_id_refused);
    handshake_finish(rig->h, &result);
    assert_true(result.own_records && result.extended_master_secret);
    assert_ptr_equal(result.psk, psk_find(rig->keys, (const uint8_t *)"known", 5));
    assert_talks(rig, &result);
    rig_free(rig);
}

/* A full handshake, which gives the client another id. */
static void assert_full(const struct rig_options *options)
{
    struct rig *rig = rig_answered(options);

    assert_true(handshake_tickets(rig->h)->is_id_refused);
    assert_false(handshake_tickets(rig->h)->is_resumed || handshake_tickets(rig->h)->is_refused);
    assert_true(rig_finish(rig, RIG_NOW + 10));
    assert_int_equal(SSL_session_reused(rig->client), 0);
    assert_true(handshake_tickets(rig->h)->is_id_issued);
    rig_free(rig);
}

/* ---- who may ---- */

static void test_every_suite_with_an_exchange(void **state)
{
    (void)state;
    for (size_t i = 0; i < WITH_EXCHANGE_COUNT; i++) {
        struct rig_options options = having(NULL);
        options.suites = WITH_EXCHANGE[i];
        options.session = first_with(&options);
        options.wall0 += LATER;
        for (int again = 0; again < 3; again++)
            resume(&options);
        SSL_SESSION_free(options.session);
    }
}

static void test_ids_are_fresh_each_time(void **state)
{
    SSL_SESSION *one = first(), *two = first();
    unsigned len;

    (void)state;
    assert_memory_not_equal(SSL_SESSION_get_id(one, &len), SSL_SESSION_get_id(two, &len), CACHE_ID);
    SSL_SESSION_free(one);
    SSL_SESSION_free(two);
}

static void assert_no_id(const struct rig_options *options)
{
    SSL_SESSION *session = first_with(options);

    /* libssl's client makes one up where it has a ticket. */
    assert_int_equal(id_length(session) > 0, SSL_SESSION_has_ticket(session));
    SSL_SESSION_free(session);
}

static void test_where_none_is_due(void **state)
{
    struct rig_options options = having(NULL);

    (void)state;
    options.suites = "PSK-AES128-GCM-SHA256";
    assert_no_id(&options);
    options.old_devices = true;
    options.suites = "ECDHE-PSK-AES128-CBC-SHA256"; /* libssl keeps those */
    assert_no_id(&options);
    options = having(NULL);
    options.no_extended_master = true;
    assert_no_id(&options);
    options = having(NULL);
    options.no_ticket = false; /* it gets a ticket, which needs no place */
    assert_no_id(&options);
    options = having(NULL);
    options.old_devices = options.dtls10 = true;
    options.suites = "DHE-PSK-AES128-CBC-SHA";
    assert_no_id(&options);
    options = having(NULL);
    resumption.cache = NULL;
    assert_no_id(&options);
    options.resumption = NULL;
    assert_no_id(&options);
}

/* ---- who may not ---- */

static void test_it_is_over_with_its_lifetime(void **state)
{
    SSL_SESSION *session = first();
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

/* RFC 6066 4: what was negotiated is so for resumptions, too. */
static void test_another_fragment_length_is_another_session(void **state)
{
    struct rig_options options = having(NULL);

    (void)state;
    options.fragment_code = TLSEXT_max_fragment_length_512;
    options.session = first_with(&options);
    options.wall0 += LATER;
    resume(&options);
    options.fragment_code = 0;
    assert_full(&options);
    SSL_SESSION_free(options.session);
}

static void test_who_has_given_way_is_not_known(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);

    (void)state;
    for (int i = 1; i < PLACES; i++)
        SSL_SESSION_free(first());
    resume(&options);
    struct rig_options fresh = having(NULL);
    struct rig *rig = rig_answered(&fresh);
    assert_true(rig_finish(rig, RIG_NOW + 10));
    assert_true(handshake_tickets(rig->h)->id_gave_way);
    rig_free(rig);
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void test_the_suite_must_be_offered_and_allowed(void **state)
{
    struct rig_options options = having(NULL);

    (void)state;
    options.suites = "DHE-PSK-CHACHA20-POLY1305";
    options.session = first_with(&options);
    options.wall0 += LATER;
    options.client_suites = SUITE ":DHE-PSK-CHACHA20-POLY1305";
    options.suites = SUITE;
    assert_full(&options);
    options.suites = SUITE ":DHE-PSK-CHACHA20-POLY1305";
    resume(&options); /* allowed, though another one would come first */
    is_suite_fine = false;
    assert_full(&options);
    SSL_SESSION_free(options.session);
}

static void test_another_service_knows_nothing_of_it(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);

    (void)state;
    resumption.service = "other";
    assert_full(&options);
    SSL_SESSION_free(session);
}

static void assert_refused(struct psk_set *keys, const struct rig_options *options)
{
    struct rig *rig = rig_new(options);

    handshake_free(rig->h);
    psk_free(rig->keys);
    rig->params.keys = rig->keys = keys;
    rig_begin(rig);
    assert_true(handshake_tickets(rig->h)->is_id_refused);
    assert_false(handshake_tickets(rig->h)->is_resumed);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    rig_free(rig);
}

static void test_identities_that_are_gone_or_changed(void **state)
{
    SSL_SESSION *session = first();
    const struct rig_options options = having(session);
    struct psk_set *ended = keys_of("known:" RIG_KEY);

    (void)state;
    assert_refused(keys_of("other:" RIG_KEY), &options);
    assert_refused(keys_of("known:" RIG_KEY "00"), &options);
    assert_refused(keys_of("known:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), &options);
    assert_true(psk_set_end(ended, 0, WALL + LATER + RIG_NOW));
    assert_refused(ended, &options);
    resume(&options);
    SSL_SESSION_free(session);
}

/* RFC 7627 5.3 */
static void test_no_extended_master_secret_is_the_end(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);

    (void)state;
    options.no_extended_master = true;
    struct rig *rig = rig_new(&options);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
    assert_true(handshake_tickets(rig->h)->is_id_refused);
    assert_int_equal(rig_take(rig), 1);
    const struct wire_record alert = rig_view(&rig->to_client.one[0]);
    assert_int_equal(alert.type, WIRE_ALERT);
    assert_int_equal(alert.body[1], WIRE_HANDSHAKE_FAILURE);
    rig_free(rig);
    options.no_extended_master = false;
    resume(&options);
    SSL_SESSION_free(session);
}

/* Whoever asks for a ticket and has none may come back by the id that it has. */
static void test_an_empty_ticket_is_none(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);

    (void)state;
    options.no_ticket = false;
    resume(&options);
    SSL_SESSION_free(session);
}

/* A ticket is judged, and nothing else, whatever stands beside it. */
static void test_a_ticket_wins(void **state)
{
    struct rig_options options = having(NULL);
    SSL_SESSION *by_id = first();
    unsigned len;

    (void)state;
    options.no_ticket = false;
    options.session = first_with(&options);
    assert_int_equal(SSL_SESSION_has_ticket(options.session), 1);
    const uint8_t *id = SSL_SESSION_get_id(by_id, &len);
    assert_int_equal(SSL_SESSION_set1_id(options.session, id, len), 1);
    options.wall0 += LATER;
    resume(&options); /* with the ticket's master secret, not the id's */
    ticket_keys_init(&ticket_keys);
    struct rig *rig = rig_answered(&options);
    assert_true(handshake_tickets(rig->h)->is_refused);
    assert_false(handshake_tickets(rig->h)->is_id_refused || handshake_tickets(rig->h)->is_resumed);
    assert_true(rig_finish(rig, RIG_NOW + 10));
    assert_true(handshake_tickets(rig->h)->is_issued);
    assert_int_equal(SSL_session_reused(rig->client), 0);
    rig_free(rig);
    SSL_SESSION_free(options.session);
    SSL_SESSION_free(by_id);
}

/* A hello that only has an id of some length. */
static void test_ids_of_another_length(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);
    unsigned len;

    (void)state;
    const uint8_t *id = SSL_SESSION_get_id(session, &len);
    for (unsigned shorter = 1; shorter < CACHE_ID; shorter += 5) {
        SSL_SESSION *other = SSL_SESSION_dup(session);
        assert_int_equal(SSL_SESSION_set1_id(other, id, shorter), 1);
        options.session = other;
        assert_refused(rig_keys(), &options);
        SSL_SESSION_free(other);
    }
    SSL_SESSION_free(session);
}

/* One that is short, and would be right with what follows it in the hello: the cookie's length. */
static void test_an_id_ends_where_it_ends(void **state)
{
    SSL_SESSION *session = first();
    struct rig_options options = having(session);
    uint8_t longer[CACHE_ID];
    const struct cache_name name = {"coap", longer};
    struct ticket t;
    unsigned len;

    (void)state;
    memcpy(longer, SSL_SESSION_get_id(session, &len), CACHE_ID);
    assert_true(cache_find(cache, &name, &t));
    longer[CACHE_ID - 1] = COOKIE_SIZE;
    cache_put(cache, &name, &t, LIFETIME);
    assert_int_equal(SSL_SESSION_set1_id(session, longer, CACHE_ID), 1);
    resume(&options);
    assert_int_equal(SSL_SESSION_set1_id(session, longer, CACHE_ID - 1), 1);
    assert_refused(rig_keys(), &options);
    SSL_SESSION_free(session);
}

/* The least mtu that the settings have. */
static void test_there_is_room_for_an_id(void **state)
{
    static const uint8_t cid[] = {3, 'n', 'e', 'w'};
    struct rig_options options = having(NULL);

    (void)state;
    options.mtu = 256;
    options.fragment_code = TLSEXT_max_fragment_length_1024;
    options.cid = cid;
    options.cid_len = sizeof cid;
    struct rig *rig = rig_new(&options);
    rig_take(rig);
    const struct wire_message hello = rig_message_of(&rig->to_client.one[0]);
    assert_int_equal(hello.body[2 + WIRE_RANDOM], CACHE_ID);
    rig_free(rig);
}

/* Anybody can send one; only the owner of the keys can spoil what is remembered. */
static void test_a_forged_finished_costs_nothing(void **state)
{
    SSL_SESSION *session = first();
    const struct rig_options options = having(session);
    struct rig *rig = rig_new(&options);

    (void)state;
    rig_take(rig);
    assert_int_equal(rig_client_step(rig), 1);
    assert_int_equal(rig->to_server.count, 2);
    struct rig_record *finished = &rig->to_server.one[1];
    assert_int_equal(rig_feed(rig, &rig->to_server.one[0], RIG_NOW), FATE_HANDSHAKE);
    finished->data[finished->len - 1] ^= 1;
    assert_int_equal(rig_feed(rig, finished, RIG_NOW), FATE_DROP_FORGED);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    rig_free(rig);
    resume(&options);
    SSL_SESSION_free(session);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_every_suite_with_an_exchange),
        TEST(test_ids_are_fresh_each_time),
        TEST(test_where_none_is_due),
        TEST(test_it_is_over_with_its_lifetime),
        TEST(test_another_fragment_length_is_another_session),
        TEST(test_who_has_given_way_is_not_known),
        TEST(test_the_suite_must_be_offered_and_allowed),
        TEST(test_another_service_knows_nothing_of_it),
        TEST(test_identities_that_are_gone_or_changed),
        TEST(test_no_extended_master_secret_is_the_end),
        TEST(test_an_empty_ticket_is_none),
        TEST(test_a_ticket_wins),
        TEST(test_ids_of_another_length),
        TEST(test_an_id_ends_where_it_ends),
        TEST(test_there_is_room_for_an_id),
        TEST(test_a_forged_finished_costs_nothing),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
