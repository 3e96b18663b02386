/*
 * test_relay: a session's life in the relay: data both ways, the same address again, the end.
 */
#include "relay_world.h"

#define ONE 40001
#define TWO 40002
#define THREE 40003

static const char *const usual[] = {NULL};

static void test_data_goes_both_ways(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(world->flow_count, 0);
    struct flow *f = world_say(c, ONE, "ping");
    assert_int_equal(f->len, 4);
    assert_memory_equal(f->data, "ping", 4);
    assert_true(world_back(f, "pong!", 5));
    world_to_client(c, ONE);
    assert_int_equal(c->plain_len, 5);
    assert_memory_equal(c->plain, "pong!", 5);
    assert_back(SEALED, 1);
    client_free(c);
    world_end();
}

static void test_borders_of_datagrams_are_kept(void **state)
{
    static const size_t sizes[] = {1, 2, 1399, 1400, 1500, 16383, 16384};
    static uint8_t text[16384];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(text, (int)i, sizeof text);
        assert_true(client_say(c, text, sizes[i]));
        world_to_relay(c, ONE);
        assert_int_equal(f->count, i + 2);
        assert_int_equal(f->len, sizes[i]);
        assert_memory_equal(f->data, text, sizes[i]);
        assert_true(world_back(f, text, sizes[i]));
        world_to_client(c, ONE);
        assert_int_equal(c->answers, i + 1);
        assert_int_equal(c->plain_len, sizes[i]);
    }
    client_free(c);
    world_end();
}

static void test_empty_datagrams_pass(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    world_forge(f, WIRE_DATA, 100, NULL, 0);
    assert_int_equal(f->count, 2);
    assert_int_equal(f->len, 0);
    assert_true(world_back(f, "", 0));
    assert_back(SEALED, 1);
    world_to_client(c, ONE);
    assert_false(c->is_dead);
    client_free(c);
    world_end();
}

static void test_each_session_has_a_flow_of_its_own(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    struct flow *f = world_say(one, ONE, "of one"), *g = world_say(two, TWO, "of two");
    assert_ptr_not_equal(f, g);
    assert_int_equal(f->count, 1);
    assert_true(world_back(g, "for two", 7));
    const struct sent *s = world_take();
    assert_int_equal(s->peer.port, TWO);
    client_give(two, s->data, s->len);
    assert_memory_equal(two->plain, "for two", 7);
    client_free(one);
    client_free(two);
    world_end();
}

static void test_replies_that_do_not_fit_are_dropped_and_counted(void **state)
{
    static uint8_t text[16385];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    assert_true(world_back(f, text, sizeof text));
    assert_back(DROP_TOO_BIG, 1);
    assert_null(world_take());
    assert_true(world_back(f, "y", 1));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    relay_end_all(world->relay, world->now);
    assert_int_equal(log_count("out-datagrams=1 out-bytes=1 drops=1"), 1);
    client_free(c);
    world_end();
}

static void test_the_fragment_limit_of_a_client_is_kept(void **state)
{
    static const struct client_options small = {.max_fragment = TLSEXT_max_fragment_length_512};
    static uint8_t text[513];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, &small);
    struct flow *f = world_say(c, ONE, "x");
    assert_true(world_back(f, text, 513));
    assert_back(DROP_TOO_BIG, 1);
    assert_true(world_back(f, text, 512));
    world_to_client(c, ONE);
    assert_int_equal(c->plain_len, 512);
    client_free(c);
    world_end();
}

static void test_what_the_kernel_does_not_take_is_counted_apart(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world_say(c, ONE, "abc");
    world->is_backend_full = true;
    assert_true(client_say(c, "lost", 4));
    world_to_relay(c, ONE);
    relay_flush(world->relay);
    relay_flush(world->relay);
    assert_fate(FORWARDED, 2);
    assert_fate(DROP_BACKEND, 0);
    assert_int_equal(world->stats.backend_send_failed, 1);
    assert_int_equal(world->stats.client_send_failed, 0);
    relay_end_all(world->relay, world->now);
    assert_int_equal(log_count("in-datagrams=2 in-bytes=7 out-datagrams=0 out-bytes=0 drops=0"), 1);
    client_free(c);
    world_end();
}

static void test_a_refusal_at_the_end_is_in_the_log(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world_say(c, ONE, "abc");
    world->is_refused_late = true;
    relay_end_all(world->relay, world->now);
    assert_int_equal(world->stats.backend_refused, 1);
    assert_int_equal(log_count_both("info session end: ", "drops=0 refused=1"), 1);
    client_free(c);
    world_end();
}

/* ---- the same address again ---- */

static void test_a_session_works_until_the_new_finished(void **state)
{
    const struct client_datagram *d;

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *old = world_open(ONE, NULL);
    const struct flow *f = world_say(old, ONE, "x");
    struct dtls_client *c = world_half_open(ONE, NULL);
    assert_ptr_equal(world_say(old, ONE, "during the hello"), f);
    world_to_client(c, ONE);
    assert_ptr_equal(world_say(old, ONE, "before the Finished"), f);
    world_back(f, "answer", 6);
    const struct sent *s = world_take();
    client_give(old, s->data, s->len);
    assert_int_equal(old->answers, 1);
    assert_int_equal(world->stats.sessions, 1);
    while ((d = client_take(c)) != NULL)
        world_from(ONE, 0, d->data, d->len);
    assert_int_equal(world->stats.sessions, 1);
    assert_false(f->is_open);
    assert_int_equal(log_count("reason=\"replaced by a new handshake\""), 1);
    world_to_client(c, ONE); /* no goodbye for the old one among it */
    assert_true(c->is_open && !c->is_dead);
    const struct flow *g = world_say(c, ONE, "new");
    assert_int_not_equal(g->port, f->port);
    client_free(old);
    client_free(c);
    world_end();
}

static void test_the_old_keys_are_worth_nothing_after_a_reconnect(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *old = world_open(ONE, NULL), *c = world_open(ONE, NULL);
    assert_true(client_say(old, "late", 4));
    world_to_relay(old, ONE);
    assert_fate(DROP_FORGED, 1);
    assert_fate(FORWARDED, 0);
    world_say(c, ONE, "x");
    client_free(old);
    client_free(c);
    world_end();
}

static void test_a_newer_hello_replaces_a_handshake(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *gone = world_half_open(ONE, NULL);
    world_forget_sent();
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(world->stats.handshakes, 0);
    assert_int_equal(world->stats.handshakes_failed, 1);
    assert_int_equal(log_count("reason=\"handshake replaced by a newer one\""), 1);
    world_say(c, ONE, "x");
    client_free(gone);
    client_free(c);
    world_end();
}

/* ---- the end ---- */

static void test_used_up_numbers_end_a_session(void **state)
{
    char reason[64];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    f->owner->association.write_seq = WIRE_SEQ_MAX;
    assert_false(world_back(f, "the last", 8));
    assert_back(SEALED, 1);
    assert_non_null(world_take());
    assert_null(world_take()); /* not even a goodbye: it would need a number */
    assert_int_equal(world->stats.sessions, 0);
    snprintf(reason, sizeof reason, "reason=\"%s\"", session_end_text(SESSION_END_EXHAUSTED));
    assert_int_equal(log_count(reason), 1);
    client_free(c);
    world_end();
}

static void test_draining_gives_up_handshakes_and_refuses_hellos(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct dtls_client *half = world_half_open(TWO, NULL);
    world_forget_sent();
    relay_drain(world->relay, world->now);
    assert_int_equal(world->stats.handshakes, 0);
    struct dtls_client *late = client_new(&(struct client_options){0});
    client_step(late);
    world_to_relay(late, THREE);
    assert_fate(DROP_DRAINING, 1);
    assert_null(world_take());
    world_say(c, ONE, "goes on");
    client_free(c);
    client_free(half);
    client_free(late);
    world_end();
}

static void test_goodbye_goes_where_there_are_keys_and_nowhere_else(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct dtls_client *half = world_half_open(TWO, NULL);
    world_forget_sent();
    relay_end_all(world->relay, world->now);
    const struct sent *s = world_take();
    assert_non_null(s);
    assert_int_equal(s->peer.port, ONE);
    client_give(c, s->data, s->len);
    assert_true(c->is_closed);
    assert_null(world_take());
    assert_int_equal(log_count("reason=shutdown"), 2);
    client_free(c);
    client_free(half);
    world_end();
}

static void test_old_devices_get_a_goodbye_of_libssl(void **state)
{
    static const char *const settings[] = {"service.a.min-version=1.0",
                                           "service.a.ciphers=PSK-AES128-CBC-SHA@SECLEVEL=0", NULL};
    static const struct client_options device = {.ciphers = "PSK-AES128-CBC-SHA:@SECLEVEL=0",
                                                 .is_old = true};

    (void)state;
    world_begin(settings, 1);
    struct dtls_client *c = world_open(ONE, &device);
    struct flow *f = world_say(c, ONE, "x");
    assert_true(world_back(f, "", 0));
    assert_back(DROP_EMPTY, 1);
    assert_true(world_back(f, "y", 1));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    assert_int_equal(log_count("version=1.0"), 1);
    relay_end_all(world->relay, world->now);
    world_to_client(c, ONE);
    assert_true(c->is_closed);
    client_free(c);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_goes_both_ways),
        cmocka_unit_test(test_borders_of_datagrams_are_kept),
        cmocka_unit_test(test_empty_datagrams_pass),
        cmocka_unit_test(test_each_session_has_a_flow_of_its_own),
        cmocka_unit_test(test_replies_that_do_not_fit_are_dropped_and_counted),
        cmocka_unit_test(test_the_fragment_limit_of_a_client_is_kept),
        cmocka_unit_test(test_what_the_kernel_does_not_take_is_counted_apart),
        cmocka_unit_test(test_a_refusal_at_the_end_is_in_the_log),
        cmocka_unit_test(test_a_session_works_until_the_new_finished),
        cmocka_unit_test(test_the_old_keys_are_worth_nothing_after_a_reconnect),
        cmocka_unit_test(test_a_newer_hello_replaces_a_handshake),
        cmocka_unit_test(test_used_up_numbers_end_a_session),
        cmocka_unit_test(test_draining_gives_up_handshakes_and_refuses_hellos),
        cmocka_unit_test(test_goodbye_goes_where_there_are_keys_and_nowhere_else),
        cmocka_unit_test(test_old_devices_get_a_goodbye_of_libssl),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
