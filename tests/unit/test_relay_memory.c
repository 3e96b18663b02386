/*
 * test_relay_memory: what sessions weigh, that they give it back, and what happens when there is
 * none left. Looks inside of the relay.
 */
#include "relay_world.h"

#include "base/pages.h"
#include "proxy/life.h"

#define MANY 2000
#define PORT 20000

/* The stand-in for pages.c's. */
static size_t blocks;
static bool is_short;

void *pages_new(void)
{
    void *block = is_short ? NULL : aligned_alloc(PAGES_BLOCK, PAGES_BLOCK);

    if (block == NULL)
        return NULL;
    blocks++;
    return memset(block, 0, PAGES_BLOCK);
}

void pages_free(void *block)
{
    blocks -= block != NULL;
    free(block);
}

static const char *const usual[] = {"daemon.max-sessions=10000", NULL};

static void open_many(unsigned count, const struct client_options *options)
{
    for (unsigned i = 0; i < count; i++)
        client_free(world_open((uint16_t)(PORT + i), options));
    assert_int_equal(world->relay->peers.open.count, count);
}

/* The slabs' blocks may have one that is not full, and each has a head. */
static size_t weight(const struct slab *s)
{
    return (s->blocks - 1) * PAGES_BLOCK / s->used;
}

static void test_a_sleeping_session_has_248_bytes(void **state)
{
    static const struct client_options gcm = {.ciphers = "PSK-AES128-GCM-SHA256"};
    const struct relay *r;

    (void)state;
    world_begin(usual, 1);
    open_many(MANY, &gcm);
    r = world->relay;
    const struct slab *sessions = &r->memory.sessions[0][0];
    assert_int_equal(sessions->used, MANY);
    assert_int_equal(sessions->size, 232);
    assert_in_range(weight(sessions) + r->peers.open.size * sizeof(void *) / MANY, 200, 248);
    /* And there is nothing besides: */
    assert_int_equal(r->memory.pending.used, 0);
    assert_int_equal(r->memory.tails.used, MANY); /* until they have sent data */
    assert_int_equal(r->identities.entries.used, 0);
    assert_int_equal(r->peers.locals.entries.used, 1);
    assert_int_equal(r->timers.count, 0);
    world->is_deaf = true;
    world_end();
    assert_int_equal(blocks, 0);
}

/* Beside them lies what the access log wants to know, where there is one, and nowhere else. */
static void test_an_access_log_costs_144_bytes(void **state)
{
    static const char *const logged[] = {"daemon.max-sessions=10000",
                                         "daemon.access-log=/nonexistent/log", NULL};
    const struct session_memory *m;

    (void)state;
    world_begin(logged, 1);
    m = &world->relay->memory;
    open_many(MANY, NULL);
    assert_int_equal(m->tallied[0][0].used + m->tallied[1][0].used + m->tallied[2][0].used, MANY);
    assert_int_equal(m->sessions[0][0].used + m->sessions[1][0].used + m->sessions[2][0].used, 0);
    assert_int_equal(m->tallied[0][0].size, 232 + 144);
    world->is_deaf = true;
    world_end();
    assert_int_equal(blocks, 0);
}

static void test_data_gives_the_last_flight_back(void **state)
{
    struct dtls_client *c;

    (void)state;
    world_begin(usual, 1);
    c = world_open(PORT, NULL);
    assert_int_equal(world->relay->memory.tails.used, 1);
    world_say(c, PORT, "hello");
    assert_int_equal(world->relay->memory.tails.used, 0);
    client_free(c);
    world_end();
}

static void test_the_last_flight_is_kept_for_four_minutes(void **state)
{
    const struct slab *tails;
    uint64_t next;

    (void)state;
    world_begin(usual, 1);
    open_many(MANY, NULL);
    tails = &world->relay->memory.tails;
    next = relay_tick(world->relay, world->now + SESSION_TAIL_MS - 1);
    assert_true(next == world->now + SESSION_TAIL_MS);
    assert_int_equal(tails->used, MANY);
    next = relay_tick(world->relay, world->now + SESSION_TAIL_MS);
    assert_true(next == world->now + SESSION_TAIL_MS); /* at once again: a turn must not last */
    assert_int_equal(tails->used, MANY - 256);
    for (unsigned turns = 0; turns < MANY / 256; turns++)
        next = relay_tick(world->relay, world->now + SESSION_TAIL_MS);
    assert_int_equal(tails->used, 0);
    assert_true(next > world->now + SESSION_TAIL_MS);
    world->is_deaf = true;
    world_end();
}

static void test_each_suite_gets_the_room_its_keys_need(void **state)
{
    static const struct {
        const char *name;
        unsigned at;
        size_t size;
    } suites[] = {
        {"PSK-AES128-CCM8", 0, 232},
        {"PSK-AES256-GCM-SHA384", 1, 264},
        {"PSK-CHACHA20-POLY1305", 2, 280},
    };

    (void)state;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        char ciphers[64];
        struct client_options options = {.ciphers = suites[i].name};
        snprintf(ciphers, sizeof ciphers, "service.a.ciphers=%s", suites[i].name);
        const char *const overrides[] = {ciphers, NULL};
        world_begin(overrides, 1);
        struct dtls_client *c = world_open(PORT, &options);
        world_back(world_say(c, PORT, "hello"), "world", 5);
        world_to_client(c, PORT);
        assert_int_equal(c->plain_len, 5);
        const struct slab *s = &world->relay->memory.sessions[suites[i].at][0];
        assert_int_equal(s->used, 1);
        assert_int_equal(s->size, suites[i].size);
        client_free(c);
        world_end();
    }
}

static void test_what_a_crowd_has_had_goes_back(void **state)
{
    size_t before;

    (void)state;
    world_begin(usual, 1);
    open_many(1, NULL);
    before = blocks;
    relay_end_all(world->relay, world->now);
    world_forget_sent();
    world->relay->is_draining = false;
    open_many(MANY, NULL);
    assert_true(blocks > before + 5);
    world->now += 1000000000;
    world->is_deaf = true;
    relay_tick(world->relay, world->now); /* all are idle for too long */
    assert_int_equal(world->relay->peers.open.count, 0);
    assert_in_range(blocks, 1, before);
    assert_int_equal(world->relay->peers.open.size, 1024);
    world_end();
    assert_int_equal(blocks, 0);
}

static void test_without_memory_a_hello_is_dropped(void **state)
{
    static const struct client_options options = {0};
    struct dtls_client *c = client_new(&options);

    (void)state;
    world_begin(usual, 1);
    is_short = true;
    world_talk(c, PORT);
    is_short = false;
    assert_fate(DROP_MEMORY, 1);
    assert_false(c->is_open);
    assert_int_equal(world->stats.handshakes_started, 0);
    assert_int_equal(world->relay->peers.locals.table.count, 0);
    client_free(c);
    /* The next one is served. */
    client_free(world_open(PORT, NULL));
    world_end();
    assert_int_equal(blocks, 0);
}

/* Without room for a tail a repeated Finished goes unanswered, and all else is as ever. */
static void test_without_memory_for_its_tail_a_session_opens(void **state)
{
    struct dtls_client *c;

    (void)state;
    world_begin(usual, 1);
    c = world_half_open(PORT, NULL);
    is_short = true;
    world_to_client(c, PORT);
    world_to_relay(c, PORT);
    is_short = false;
    assert_int_equal(world->stats.handshakes_completed, 1);
    assert_int_equal(world->relay->memory.tails.used, 0);
    world_to_client(c, PORT);
    world_say(c, PORT, "hello");
    client_free(c);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sleeping_session_has_248_bytes),
        cmocka_unit_test(test_an_access_log_costs_144_bytes),
        cmocka_unit_test(test_data_gives_the_last_flight_back),
        cmocka_unit_test(test_the_last_flight_is_kept_for_four_minutes),
        cmocka_unit_test(test_each_suite_gets_the_room_its_keys_need),
        cmocka_unit_test(test_what_a_crowd_has_had_goes_back),
        cmocka_unit_test(test_without_memory_a_hello_is_dropped),
        cmocka_unit_test(test_without_memory_for_its_tail_a_session_opens),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
