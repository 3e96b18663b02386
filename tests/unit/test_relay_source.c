/*
 * test_relay_source: sessions whose flows share a socket, each with an address of its own.
 */
#include "relay_world.h"

#define ONE 40001
#define TWO 40002

#define KEY "00112233445566778899aabbccddeeff\n"
#define RANGE "service.a.backend-source=127.64.0.0/10"
#define FOR_GOOD "service.a.source-by=identity"

static const char *const by_session[] = {RANGE, "service.a.flow-timeout=10s", NULL};
static const char *const by_identity[] = {"service.a.backend-source=127.64.0.0/29", FOR_GOOD, NULL};

static struct flow *only_flow(void)
{
    struct flow *found = NULL;

    for (unsigned i = 0; i < world->flow_count; i++) {
        if (!world->flows[i].is_open)
            continue;
        assert_null(found);
        found = &world->flows[i];
    }
    assert_non_null(found);
    return found;
}

static void reload(const char *keys)
{
    write_file("keys", keys, 0600);
    struct relay_setup next = world_setup(by_identity);
    relay_apply(world->relay, &next, world->now);
}

/* With three identities, of which two would like the same address of six. */
static void begin_by_identity(void)
{
    write_file("keys", "me:" KEY "you:" KEY, 0600);
    world_begin(by_identity, 1);
}

static void end_by_identity(void)
{
    world_end();
    write_file("keys", "me:" KEY, 0600);
}

static void test_a_session_is_reached_before_it_speaks(void **state)
{
    (void)state;
    world_begin(by_session, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = only_flow();
    assert_int_equal(world->stats.flows, 1);
    assert_int_equal(log_count("session flow: id=1 service=a backend-port=50000 "
                               "backend-source=127.64.0.1\n"),
                     1);
    assert_true(world_back(f, "push", 4));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    assert_ptr_equal(world_say(c, ONE, "x"), f);
    client_free(c);
    world_end();
}

static void test_it_stays_beyond_the_flow_timeout(void **state)
{
    (void)state;
    world_begin(by_session, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    world->now += 11000;
    relay_tick(world->relay, world->now);
    assert_true(f->is_open);
    assert_true(world_back(f, "push", 4));
    world_to_client(c, ONE);
    assert_int_equal(c->answers, 1);
    client_free(c);
    world_end();
}

/* It costs what is not short, so it gives way to nobody. */
static void test_it_is_no_victim_of_a_shortage(void **state)
{
    (void)state;
    world_begin(by_session, 1);
    struct dtls_client *one = world_open(ONE, NULL);
    struct flow *f = only_flow();
    world_say(one, ONE, "x");
    world->open_failures = 2;
    world->open_errno = EMFILE;
    struct dtls_client *two = world_open(TWO, NULL);
    assert_true(f->is_open);
    assert_int_equal(world->stats.flows_failed, 1);
    world->open_failures = 0;
    world_say(two, TWO, "the next datagram tries again");
    client_free(one);
    client_free(two);
    world_end();
}

static void test_strangers_are_counted(void **state)
{
    const struct udp_datagram d = {.data = (const uint8_t *)"x", .len = 1};

    (void)state;
    world_begin(by_session, 1);
    relay_from_stranger(world->relay, &d);
    assert_back(DROP_STRANGER, 1);
    assert_int_equal(world->stats.backend_bytes, 1);
    world_end();
}

static void test_an_identity_has_its_address_each_time(void **state)
{
    (void)state;
    begin_by_identity();
    struct dtls_client *old = world_open(ONE, NULL);
    uint32_t source = only_flow()->source;
    struct dtls_client *new = client_new(&(struct client_options){0});
    client_step(new);
    for (int i = 0; i < 3; i++) { /* the old one's goodbye goes elsewhere */
        const struct sent *s;
        world_to_relay(new, TWO);
        while ((s = world_take()) != NULL)
            client_give(s->peer.port == TWO ? new : old, s->data, s->len);
    }
    assert_true(new->is_open);
    assert_true(old->is_closed);
    assert_int_equal(only_flow()->source, source);
    assert_int_equal(only_flow()->owner->peer.port, TWO);
    client_free(old);
    client_free(new);
    end_by_identity();
}

/* Each of the two becomes the one that comes first in the file and has its wish. */
static void test_a_reload_moves_what_has_to_move(void **state)
{
    static const struct client_options you = {.identity = "you"}, six = {.identity = "six"};
    uint32_t before[2];

    (void)state;
    write_file("keys", "me:" KEY "you:" KEY "six:" KEY, 0600);
    world_begin(by_identity, 1);
    struct dtls_client *a = world_open(ONE, &you), *b = world_open(TWO, &six);
    for (int i = 0; i < 2; i++)
        before[i] = world->flows[i].source;
    reload("you:" KEY "six:" KEY "me:" KEY);
    assert_true(world->flows[0].is_open && world->flows[1].is_open);
    assert_int_equal(world->flow_count, 2);
    /* Four of the others, to be in the way of some. */
    reload("p:" KEY "q:" KEY "r:" KEY "s:" KEY "six:" KEY "you:" KEY);
    assert_int_equal(world->stats.flows, 2);
    const struct flow *f = world_say(a, ONE, "x"), *g = world_say(b, TWO, "x");
    assert_int_not_equal(f->source, g->source);
    assert_true(f->source != before[0] || g->source != before[1]);
    assert_true(f->owner->peer.port == ONE && g->owner->peer.port == TWO);
    client_free(a);
    client_free(b);
    end_by_identity();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_is_reached_before_it_speaks),
        cmocka_unit_test(test_it_stays_beyond_the_flow_timeout),
        cmocka_unit_test(test_it_is_no_victim_of_a_shortage),
        cmocka_unit_test(test_strangers_are_counted),
        cmocka_unit_test(test_an_identity_has_its_address_each_time),
        cmocka_unit_test(test_a_reload_moves_what_has_to_move),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
