/*
 * test_relay_backends: sessions among several backends: who gets which, and who moves when.
 */
#include "relay_world.h"

#define ONE 40001
#define TWO 40002

#define A 5001
#define B 5002
#define C 5003
#define TWO_OF_THEM "service.a.backend=127.0.0.1:5001, 127.0.0.1:5002"
#define IN_TURN "service.a.balance=round-robin"

static const char *const in_turn[] = {TWO_OF_THEM, IN_TURN, NULL};
static const char *const by_identity[] = {TWO_OF_THEM, NULL};
static const char *const with_backup[] = {"service.a.backend=127.0.0.1:5001, 127.0.0.1:5003 backup",
                                          "service.a.backend-retry=5s", NULL};
static const char *const shared[] = {TWO_OF_THEM, IN_TURN, "service.a.backend-source=127.64.0.0/10",
                                     NULL};

static void reload(const char *const settings[])
{
    struct relay_setup next = world_setup(settings);

    relay_apply(world->relay, &next, world->now);
}

static void tell(uint16_t port, enum balance_order what)
{
    const struct relay_order order = {.what = what, .backend = world_addr(port)};

    relay_tell(world->relay, &order, world->now);
}

static void refuse(const struct flow *f)
{
    relay_refused(world->relay, f->owner, 1, world->now);
}

static void test_sessions_take_turns(void **state)
{
    struct dtls_client *c[4];

    (void)state;
    world_begin(in_turn, 1);
    for (uint16_t i = 0; i < 4; i++) {
        c[i] = world_open((uint16_t)(ONE + i), NULL);
        assert_int_equal(world_say(c[i], (uint16_t)(ONE + i), "x")->backend.port,
                         i % 2 == 0 ? A : B);
    }
    for (uint16_t i = 0; i < 4; i++) { /* and stay there */
        assert_int_equal(world_say(c[i], (uint16_t)(ONE + i), "y")->count, 2);
        client_free(c[i]);
    }
    assert_int_equal(log_count("session flow: id=1 service=a backend-port=50000 "
                               "backend=127.0.0.1:5001\n"),
                     1);
    world_end();
}

static void test_an_identity_has_one_backend(void **state)
{
    uint16_t port = 0;

    (void)state;
    world_begin(by_identity, 1);
    for (uint16_t i = 0; i < 8; i++) {
        struct dtls_client *c = world_open((uint16_t)(ONE + i), NULL);
        const struct flow *f = world_say(c, (uint16_t)(ONE + i), "x");
        assert_true(port == 0 || port == f->backend.port);
        port = f->backend.port;
        client_free(c);
    }
    world_end();
}

static void test_a_session_leaves_a_backend_that_refuses(void **state)
{
    (void)state;
    world_begin(with_backup, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    struct flow *f = world_say(c, ONE, "lost");
    assert_int_equal(f->backend.port, A);
    refuse(f);
    assert_true(f->is_open); /* nothing closes before it speaks */
    assert_int_equal(log_count("warning backend down: service=a backend=127.0.0.1:5001"), 1);
    struct flow *backup = world_say(c, ONE, "x");
    assert_int_equal(backup->backend.port, C);
    assert_false(f->is_open);
    assert_int_equal(world->stats.flows_moved, 1);
    assert_int_equal(world_say(other, TWO, "x")->backend.port, C);
    world->now += 5000;
    assert_ptr_equal(world_say(c, ONE, "stays"), backup);
    struct dtls_client *third = world_open(ONE + 2, NULL);
    f = world_say(third, ONE + 2, "x");
    assert_int_equal(f->backend.port, A); /* it gets new ones again */
    assert_true(world_back(f, "y", 1));
    assert_int_equal(log_count("info backend up: service=a backend=127.0.0.1:5001"), 1);
    assert_int_equal(world->stats.flows_hopeless, 0);
    world_forget_sent();
    client_free(c);
    client_free(other);
    client_free(third);
    world_end();
}

/* It was refused; that the backend may be tried again by others is no reason for it to stay. */
static void test_a_session_that_speaks_rarely_leaves_as_well(void **state)
{
    (void)state;
    world_begin(with_backup, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    refuse(world_say(c, ONE, "lost"));
    struct flow *f;
    world->now += 60000;
    assert_int_equal(world_say(c, ONE, "y")->backend.port, C);
    struct dtls_client *third = world_open(ONE + 2, NULL);
    f = world_say(third, ONE + 2, "lost");
    assert_int_equal(f->backend.port, A);
    refuse(f);
    assert_true(world_back(f, "back after all", 14));
    world->now += 60000;
    assert_ptr_equal(world_say(third, ONE + 2, "stays"), f);
    world_forget_sent();
    client_free(c);
    client_free(other);
    client_free(third);
    world_end();
}

static void test_when_all_refuse_nobody_moves(void **state)
{
    (void)state;
    world_begin(in_turn, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    struct flow *f = world_say(c, ONE, "x"), *g = world_say(other, TWO, "x");
    refuse(f);
    refuse(g);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(world_say(c, ONE, "y"), f);
    for (int i = 0; i < 5; i++)
        assert_ptr_equal(world_say(other, TWO, "y"), g);
    assert_int_equal(world->stats.flows_moved, 0);
    struct dtls_client *third = world_open(ONE + 2, NULL);
    (void)world_say(third, ONE + 2, "better than nothing");
    assert_int_equal(world->stats.flows_hopeless, 1);
    client_free(c);
    client_free(other);
    client_free(third);
    world_end();
}

static void test_a_session_that_cannot_move_loses_its_datagram_alone(void **state)
{
    (void)state;
    world_begin(with_backup, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    refuse(world_say(c, ONE, "x"));
    world->open_failures = 2;
    world->open_errno = ENOMEM;
    assert_true(client_say(c, "y", 1));
    world_to_relay(c, ONE);
    assert_fate(DROP_BACKEND, 1);
    assert_int_equal(world_say(c, ONE, "z")->backend.port, C);
    client_free(c);
    world_end();
}

static void test_a_drained_one_keeps_what_it_has(void **state)
{
    (void)state;
    world_begin(in_turn, 1);
    struct dtls_client *c = world_open(ONE, NULL), *d[3];
    struct flow *f = world_say(c, ONE, "x");
    tell(A, BALANCE_DRAIN);
    for (uint16_t i = 0; i < 3; i++) {
        d[i] = world_open((uint16_t)(TWO + i), NULL);
        assert_int_equal(world_say(d[i], (uint16_t)(TWO + i), "x")->backend.port, B);
        client_free(d[i]);
    }
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    client_free(c);
    world_end();
}

static void test_a_silent_one_is_left(void **state)
{
    static const char *const probed[] = {TWO_OF_THEM, IN_TURN, "service.a.probe=udp:00", NULL};

    (void)state;
    world_begin(probed, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(world_say(c, ONE, "x")->backend.port, A);
    tell(A, BALANCE_SILENT);
    assert_int_equal(world_say(c, ONE, "y")->backend.port, B);
    tell(A, BALANCE_ANSWER);
    assert_int_equal(world_say(c, ONE, "z")->backend.port, B);
    client_free(c);
    world_end();
}

static void test_a_flow_with_an_address_keeps_it_when_it_turns(void **state)
{
    struct balance_view view;

    (void)state;
    world_begin(shared, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    uint32_t source = f->source;
    assert_int_equal(f->backend.port, A);
    assert_int_equal(world->backend_count[0], 2);
    tell(A, BALANCE_SILENT);
    assert_ptr_equal(world_say(c, ONE, "y"), f);
    assert_int_equal(f->backend.port, B);
    assert_int_equal(f->source, source);
    assert_int_equal(log_count("backend-source=127.64.0.1 backend=127.0.0.1:5002\n"), 1);
    assert_true(balance_look(relay_balance(world->relay, 0), 0, world->now, &view));
    assert_int_equal(view.flows, 0);
    assert_true(balance_look(relay_balance(world->relay, 0), 1, world->now, &view));
    assert_int_equal(view.flows, 1);
    client_free(c);
    world_end();
}

static void test_a_name_that_moves_takes_its_sessions_along(void **state)
{
    static const char *const named[] = {"service.a.backend=localhost:5001",
                                        "service.a.backend-source=", NULL};
    struct relay_order order = {.is_move = true, .to = world_addr(B)};

    (void)state;
    world_begin(named, 1);
    order.backend = world->backends[0][0];
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    relay_tell(world->relay, &order, world->now);
    assert_true(addr_equal(&world->backends[0][0], &order.to));
    assert_true(world_back(f, "late", 4));
    assert_int_equal(world_say(c, ONE, "y")->backend.port, B);
    assert_false(f->is_open);
    world_forget_sent();
    client_free(c);
    world_end();
}

static void test_flows_of_those_long_gone_give_way(void **state)
{
    char text[2048];
    const char *const many[] = {text, IN_TURN, NULL};
    struct dtls_client *c[2 * BACKENDS_MAX];
    unsigned count = 0;

    (void)state;
    world_begin(in_turn, 1);
    for (int round = 0; round < 3; round++) {
        strcpy(text, "service.a.backend=");
        for (int i = 0; i < BACKENDS_MAX; i++)
            sprintf(text + strlen(text), "%s127.0.%d.1:%d", i > 0 ? "," : "", round, 6000 + i);
        reload(many);
        for (int i = 0; round < 2 && i < BACKENDS_MAX - 4 * round; i++, count++) {
            c[count] = world_open((uint16_t)(ONE + count), NULL);
            (void)world_say(c[count], (uint16_t)(ONE + count), "x");
        }
    }
    const struct flow *f = world_say(c[0], ONE, "y");
    assert_int_equal(f->backend.ip[2], 2);
    assert_int_equal(log_count("out of memory"), 0);
    assert_int_equal(world->backend_count[0], BACKENDS_MAX);
    while (count > 0)
        client_free(c[--count]);
    world_end();
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sessions_take_turns),
        TEST(test_an_identity_has_one_backend),
        TEST(test_a_session_leaves_a_backend_that_refuses),
        TEST(test_a_session_that_speaks_rarely_leaves_as_well),
        TEST(test_when_all_refuse_nobody_moves),
        TEST(test_a_session_that_cannot_move_loses_its_datagram_alone),
        TEST(test_a_drained_one_keeps_what_it_has),
        TEST(test_a_silent_one_is_left),
        TEST(test_a_flow_with_an_address_keeps_it_when_it_turns),
        TEST(test_a_name_that_moves_takes_its_sessions_along),
        TEST(test_flows_of_those_long_gone_give_way),
    };

    return cmocka_run_group_tests_name("relay_backends", tests, conf_text_setup,
                                       conf_text_teardown);
}
