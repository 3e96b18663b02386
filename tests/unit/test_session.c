/*
 * test_session: one peer's life without a relay around it: what it leaves in its sink, its states,
 * its counters, and what it says of itself. A libssl client is at the other end.
 */
#include "conf_text.h"
#include "dtls_client.h"

#include "dtls/cookie.h"
#include "proxy/session.h"
#include "proxy/setup.h"

#define SENT_MAX 16

/* The place of the relay: one session, and all that came out of it. */
struct world {
    struct relay_setup setup;
    struct session_service service;
    struct session_memory memory;
    struct session *session;
    uint64_t now;
    enum fate deliver_fate;
    unsigned delivered;
    size_t delivered_len;
    uint8_t room[UINT16_MAX];
    unsigned sent_count;
    struct client_datagram sent[SENT_MAX];
    uint8_t plain[WIRE_PLAINTEXT_MAX];
    struct session_sink sink;
    struct rate short_tag_tries;
    bool is_mute; /* no plaintext alert may leave */
};

static struct world w;

static uint8_t *reserve(void *arg, size_t max)
{
    assert_ptr_equal(arg, &w);
    assert_true(max <= sizeof w.room);
    return w.room;
}

static void commit(void *arg, size_t len)
{
    struct client_datagram *d = &w.sent[w.sent_count++];

    assert_ptr_equal(arg, &w);
    assert_true(w.sent_count <= SENT_MAX && len > 0 && len <= sizeof d->data);
    memcpy(d->data, w.room, len);
    d->len = len;
}

static uint8_t *plain_room(void *arg)
{
    assert_ptr_equal(arg, &w);
    return w.plain;
}

static enum fate deliver(void *arg, size_t len)
{
    assert_ptr_equal(arg, &w);
    assert_true(len <= sizeof w.plain);
    w.delivered++;
    w.delivered_len = len;
    return w.deliver_fate;
}

static bool may_alert(void *arg)
{
    assert_ptr_equal(arg, &w);
    return !w.is_mute;
}

static void use_settings(const char *const overrides[])
{
    struct conf *conf = load_good(MINIMAL, overrides);
    char why[128];

    relay_setup_clear(&w.setup);
    assert_true(relay_setup_make(&w.setup, conf, why, sizeof why));
    conf_unref(conf);
    w.service.snapshot = w.setup.conf;
    w.service.conf = &w.setup.conf->service[0];
    w.service.tls = w.setup.tls[0];
}

static void begin(const char *const overrides[])
{
    memset(&w, 0, sizeof w);
    w.now = 5000;
    w.deliver_fate = FATE_FORWARDED;
    w.sink = (struct session_sink){.reserve = reserve,
                                   .commit = commit,
                                   .plain_room = plain_room,
                                   .deliver = deliver,
                                   .may_alert = may_alert,
                                   .arg = &w};
    w.service.short_tag_tries = &w.short_tag_tries;
    session_prepare(&w.memory);
    w.service.memory = &w.memory;
    w.service.crypt = record_crypt_new();
    w.service.kdf = keys_kdf_new();
    use_settings(overrides);
}

static void end(void)
{
    if (w.session != NULL)
        session_free(w.session);
    session_memory_clear(&w.memory);
    record_crypt_free(w.service.crypt);
    keys_kdf_free(w.service.kdf);
    relay_setup_clear(&w.setup);
}

/* As the relay does after each step. */
static void place(void)
{
    if (w.session->state != SESSION_HANDSHAKE && !w.session->is_placed)
        session_place(w.session, &w.service);
}

/* One datagram of the client, the first of which begins the session. Returns the last fate. */
static enum fate give(const struct client_datagram *d)
{
    struct reader r = reader_of(d->data, d->len);
    struct wire_record rec;
    enum fate fate = FATE_DROP_JUNK;

    while (wire_next_record(&r, &rec)) {
        if (w.session != NULL) {
            place();
            fate = session_from_wire(w.session, &w.service, &rec, w.now, &w.sink);
            continue;
        }
        w.session = session_new(&w.service, &rec, NULL, w.now, &w.sink);
        assert_non_null(w.session);
        fate = FATE_HELLO_ACCEPTED;
    }
    return fate;
}

static enum fate give_all(struct dtls_client *c)
{
    const struct client_datagram *d;
    enum fate fate = FATE_COUNT;

    while ((d = client_take(c)) != NULL)
        fate = give(d);
    return fate;
}

static void take_all(struct dtls_client *c)
{
    for (unsigned i = 0; i < w.sent_count; i++)
        client_give(c, w.sent[i].data, w.sent[i].len);
    w.sent_count = 0;
}

/* A client whose hello with a cookie has begun a session. */
static struct dtls_client *half_open(const struct client_options *options)
{
    static const struct client_options usual = {0};
    static const struct addr peer = {.port = 1, .family = AF_INET};
    struct dtls_client *c = client_new(options != NULL ? options : &usual);
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct cookie_secrets cookies;
    struct wire_hello hello;
    struct wire_record rec;

    client_step(c);
    const struct client_datagram *d = client_take(c);
    struct reader r = reader_of(d->data, d->len);
    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(wire_parse_hello(&rec, &hello), WIRE_HELLO_OK);
    cookie_secrets_init(&cookies);
    client_give(c, answer, cookie_answer(&cookies, &hello, &peer, &peer, answer));
    give_all(c);
    assert_int_equal(w.session->state, SESSION_HANDSHAKE);
    return c;
}

static struct dtls_client *open_one(const struct client_options *options)
{
    struct dtls_client *c = half_open(options);

    take_all(c);
    give_all(c);
    take_all(c);
    assert_true(c->is_open);
    place();
    return c;
}

static enum fate say(struct dtls_client *c, const char *text)
{
    assert_true(client_say(c, text, strlen(text)));
    return give_all(c);
}

static enum back_fate answer_with(const void *plain, size_t len)
{
    return session_from_plain(w.session, &w.service, plain, len, &w.sink);
}

static const char *const usual[] = {NULL};
static const char *const for_old_devices[] = {
    "service.a.min-version=1.0", "service.a.ciphers=PSK-AES128-CBC-SHA@SECLEVEL=0", NULL};
static const struct client_options old_device = {.ciphers = "PSK-AES128-CBC-SHA:@SECLEVEL=0",
                                                 .is_old = true};

/* ---- texts ---- */

static void test_each_end_has_a_text_of_its_own(void **state)
{
    (void)state;
    for (int a = SESSION_END_NOT_YET; a <= SESSION_END_HANDSHAKE_EVICTED; a++)
        for (int b = SESSION_END_NOT_YET; b < a; b++)
            assert_string_not_equal(session_end_text((enum session_end)a),
                                    session_end_text((enum session_end)b));
    assert_string_equal(session_end_text(SESSION_END_HANDSHAKE_EVICTED),
                        "handshake evicted to make room");
}

/* ---- our own associations ---- */

static void test_from_hello_to_open(void **state)
{
    size_t len;

    (void)state;
    begin(usual);
    struct dtls_client *c = half_open(NULL);
    assert_true(w.sent_count > 0);
    assert_int_equal(session_next_timer(w.session), w.now + 300);
    assert_null(session_identity(w.session, &len));
    assert_int_equal(len, 0);
    assert_string_equal(session_suite_name(w.session), "");
    assert_int_equal(w.setup.conf->references, 2);
    take_all(c);
    w.now += 70;
    assert_int_equal(give_all(c), FATE_HANDSHAKE);
    assert_int_equal(w.session->state, SESSION_OPEN);
    assert_int_equal(w.session->ending, SESSION_END_NOT_YET);
    assert_int_equal(w.session->opened - w.session->pending->born, 70);
    assert_int_equal(w.session->used, w.now);
    assert_true(session_next_timer(w.session) == TIMER_NEVER);
    assert_memory_equal(session_identity(w.session, &len), "me", 2);
    assert_int_equal(len, 2);
    assert_string_equal(session_suite_name(w.session), "PSK-AES128-GCM-SHA256");
    assert_string_equal(session_version_name(w.session), "1.2");
    assert_true(w.session->has_ems);
    assert_int_equal(w.setup.conf->references, 1); /* the snapshot is let go */
    assert_null(w.session->pending->handshake);    /* and libssl's 70 KB */
    take_all(c);
    assert_true(c->is_open);
    client_free(c);
    end();
}

static void test_data_lets_go_of_the_last_flight(void **state)
{
    (void)state;
    begin(usual);
    struct dtls_client *c = open_one(NULL);
    assert_non_null(w.session->tail);
    assert_int_equal(say(c, "hello"), FATE_FORWARDED);
    assert_null(w.session->tail);
    assert_int_equal(w.delivered_len, 5);
    client_free(c);
    end();
}

static void test_counters_tell_what_got_through(void **state)
{
    static uint8_t text[WIRE_PLAINTEXT_MAX + 1];

    (void)state;
    begin(usual);
    struct dtls_client *c = open_one(NULL);
    say(c, "hello");
    w.deliver_fate = FATE_DROP_BACKEND;
    assert_int_equal(say(c, "lost"), FATE_DROP_BACKEND);
    assert_int_equal(w.session->in_datagrams, 1);
    assert_int_equal(w.session->in_bytes, 5);
    assert_int_equal(w.session->drops, 1);
    assert_int_equal(answer_with("abc", 3), BACK_SEALED);
    assert_int_equal(answer_with(text, sizeof text), BACK_DROP_TOO_BIG);
    assert_int_equal(w.session->out_datagrams, 1);
    assert_int_equal(w.session->out_bytes, 3);
    assert_int_equal(w.session->drops, 2);
    client_free(c);
    end();
}

static void test_goodbye_needs_keys(void **state)
{
    (void)state;
    begin(usual);
    struct dtls_client *c = half_open(NULL);
    unsigned flight = w.sent_count;
    session_say_goodbye(w.session, &w.service, &w.sink);
    assert_int_equal(w.sent_count, flight);
    take_all(c);
    give_all(c);
    take_all(c);
    session_say_goodbye(w.session, &w.service, &w.sink);
    assert_int_equal(w.sent_count, 1);
    take_all(c);
    assert_true(c->is_closed);
    client_free(c);
    end();
}

static void test_a_goodbye_of_the_client_is_answered(void **state)
{
    (void)state;
    begin(usual);
    struct dtls_client *c = open_one(NULL);
    SSL_shutdown(c->ssl);
    assert_int_equal(give_all(c), FATE_CONTROL);
    assert_int_equal(w.session->ending, SESSION_END_CLOSED);
    assert_int_equal(w.sent_count, 1);
    take_all(c);
    assert_true(c->is_closed);
    client_free(c);
    end();
}

static void test_numbers_are_never_used_twice(void **state)
{
    (void)state;
    begin(usual);
    struct dtls_client *c = open_one(NULL);
    w.session->association.write_seq = WIRE_SEQ_MAX;
    assert_int_equal(answer_with("last", 4), BACK_SEALED);
    assert_int_equal(answer_with("none", 4), BACK_DROP_EXHAUSTED);
    assert_int_equal(w.session->ending, SESSION_END_EXHAUSTED);
    assert_int_equal(w.sent_count, 1);
    session_say_goodbye(w.session, &w.service, &w.sink);
    assert_int_equal(w.sent_count, 1);
    client_free(c);
    end();
}

/* ---- handshakes that come to nothing ---- */

static void test_the_log_can_tell_what_was_missing(void **state)
{
    static const struct client_options wrong = {.key = "0123456789abcdef"},
                                       unknown = {.identity = "them"};
    static const struct client_options *const options[] = {NULL, &wrong, &unknown};
    static const char *const why[] = {"no ClientKeyExchange came", "no Finished opened: wrong key",
                                      "unknown identity"};
    size_t len;

    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(usual);
        struct dtls_client *c = half_open(options[i]);
        if (i > 0) {
            take_all(c);
            give_all(c);
            assert_non_null(session_identity(w.session, &len)); /* a claim */
        }
        w.now = 5000 + 60000;
        session_on_timer(w.session, &w.service, w.now, &w.sink);
        assert_int_equal(w.session->ending, SESSION_END_HANDSHAKE_TIMEOUT);
        assert_string_equal(session_why(w.session), why[i]);
        client_free(c);
        end();
    }
}

static void test_an_unknown_identity_can_be_told(void **state)
{
    static const char *const telling[] = {"service.a.unknown-identity=alert", NULL};
    static const struct client_options unknown = {.identity = "them"};

    (void)state;
    for (int mute = 0; mute < 2; mute++) {
        begin(telling);
        struct dtls_client *c = half_open(&unknown);
        take_all(c);
        w.is_mute = mute == 1;
        give_all(c);
        assert_int_equal(w.session->ending, SESSION_END_HANDSHAKE_FAILED);
        assert_int_equal(w.sent_count, mute == 0 ? 1 : 0);
        take_all(c);
        assert_int_equal(c->is_dead, mute == 0);
        client_free(c);
        end();
    }
}

/* ---- reloads ---- */

static enum session_end rebase_on(const char *keys)
{
    write_file("keys", keys, 0600);
    struct conf *next = load_good(MINIMAL, usual);
    const struct psk *old = w.session->psk;
    struct session_service rebased = w.service;
    rebased.snapshot = next;
    rebased.conf = &next->service[0];
    session_rebase(w.session, &rebased);
    enum session_end why = w.session->ending;
    if (why == SESSION_END_NOT_YET)
        assert_ptr_equal(w.session->psk, psk_find(next->service[0].psk, (const uint8_t *)"me", 2));
    else /* for the log */
        assert_ptr_equal(w.session->psk, old);
    w.session->psk = old;
    w.session->ending = SESSION_END_NOT_YET;
    conf_unref(next);
    return why;
}

static void test_rebasing_looks_the_identity_up_anew(void **state)
{
    (void)state;
    begin(usual);
    struct dtls_client *c = open_one(NULL);
    assert_int_equal(rebase_on("you:00112233445566778899aabbccddeeff\n"
                               "me:00112233445566778899aabbccddeeff\n"),
                     SESSION_END_NOT_YET);
    assert_int_equal(rebase_on("me:ff112233445566778899aabbccddeeff\n"), SESSION_END_KEY_CHANGED);
    assert_int_equal(rebase_on("me:00112233445566778899aabbccddeeff00\n"), SESSION_END_KEY_CHANGED);
    assert_int_equal(rebase_on("you:00112233445566778899aabbccddeeff\n"),
                     SESSION_END_IDENTITY_REMOVED);
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
    client_free(c);
    end();
}

/* ---- associations that libssl keeps ---- */

static void test_an_old_device_is_served(void **state)
{
    (void)state;
    begin(for_old_devices);
    struct dtls_client *c = open_one(&old_device);
    assert_int_equal(w.session->state, SESSION_LEGACY);
    assert_string_equal(session_version_name(w.session), "1.0");
    assert_string_equal(session_suite_name(w.session), "PSK-AES128-CBC-SHA");
    assert_int_equal(say(c, "hello"), FATE_FORWARDED);
    assert_int_equal(w.session->in_datagrams, 1);
    w.deliver_fate = FATE_DROP_BACKEND;
    assert_int_equal(say(c, "lost"), FATE_DROP_BACKEND);
    assert_int_equal(w.session->in_datagrams, 1);
    assert_int_equal(answer_with("world!", 6), BACK_SEALED);
    take_all(c);
    assert_int_equal(c->plain_len, 6);
    assert_int_equal(answer_with("", 0), BACK_DROP_EMPTY);
    client_free(c);
    end();
}

static void test_an_old_devices_goodbye_is_answered_once(void **state)
{
    (void)state;
    begin(for_old_devices);
    struct dtls_client *c = open_one(&old_device);
    SSL_shutdown(c->ssl);
    assert_int_equal(give_all(c), FATE_CONTROL);
    assert_int_equal(w.session->ending, SESSION_END_CLOSED);
    assert_int_equal(w.sent_count, 1);
    take_all(c);
    assert_true(c->is_closed);
    client_free(c);
    end();
}

static void test_junk_hurts_no_old_device(void **state)
{
    struct client_datagram d;

    (void)state;
    begin(for_old_devices);
    struct dtls_client *c = open_one(&old_device);
    assert_true(client_say(c, "hello", 5));
    d = *client_take(c);
    struct client_datagram bad = d;
    bad.data[d.len - 1] ^= 1;
    assert_int_equal(give(&bad), FATE_DROP_FORGED);
    bad = d;
    bad.data[3] = 0; /* epoch */
    bad.data[4] = 0;
    assert_int_equal(give(&bad), FATE_DROP_EPOCH);
    bad = d;
    bad.data[0] = WIRE_CCS;
    assert_int_equal(give(&bad), FATE_DROP_TYPE);
    assert_int_equal(give(&d), FATE_FORWARDED);
    assert_int_equal(give(&d), FATE_DROP_FORGED); /* a replay, but libssl does not say so */
    assert_int_equal(w.delivered, 1);
    assert_int_equal(w.sent_count, 0);
    assert_int_equal(w.session->ending, SESSION_END_NOT_YET);
    client_free(c);
    end();
}

static void test_an_old_devices_fragment_limit_is_kept(void **state)
{
    static const struct client_options small = {.ciphers = "PSK-AES128-CBC-SHA:@SECLEVEL=0",
                                                .max_fragment = TLSEXT_max_fragment_length_512,
                                                .is_old = true};
    static uint8_t text[513];

    (void)state;
    begin(for_old_devices);
    struct dtls_client *c = open_one(&small);
    assert_int_equal(answer_with(text, 513), BACK_DROP_TOO_BIG);
    assert_int_equal(answer_with(text, 512), BACK_SEALED);
    take_all(c);
    assert_int_equal(c->plain_len, 512);
    client_free(c);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_end_has_a_text_of_its_own),
        cmocka_unit_test(test_from_hello_to_open),
        cmocka_unit_test(test_data_lets_go_of_the_last_flight),
        cmocka_unit_test(test_counters_tell_what_got_through),
        cmocka_unit_test(test_goodbye_needs_keys),
        cmocka_unit_test(test_a_goodbye_of_the_client_is_answered),
        cmocka_unit_test(test_numbers_are_never_used_twice),
        cmocka_unit_test(test_the_log_can_tell_what_was_missing),
        cmocka_unit_test(test_an_unknown_identity_can_be_told),
        cmocka_unit_test(test_rebasing_looks_the_identity_up_anew),
        cmocka_unit_test(test_an_old_device_is_served),
        cmocka_unit_test(test_an_old_devices_goodbye_is_answered_once),
        cmocka_unit_test(test_junk_hurts_no_old_device),
        cmocka_unit_test(test_an_old_devices_fragment_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
