/*
 * test_restore_flow: the addresses that sessions which were kept have towards the backends.
 */
#include "restore_rig.h"

static const struct flow *flow_of(uint16_t port)
{
    for (unsigned i = 0; i < world->flow_count; i++)
        if (world->flows[i].is_open && world->flows[i].owner->peer.port == port)
            return &world->flows[i];
    return NULL;
}

/* TWO's comes first, with the number 0; ONE's has 1. */
static void leave_two(struct keep_entry e[2])
{
    keep_begin(with_sources);
    client_free(world_open(TWO, NULL));
    client_free(world_open(ONE, NULL));
    assert_int_equal(keep_left(&shared, e, 2), 2);
    assert_true(e[0].image.flow.source == 0 && e[1].image.flow.source == 1);
    keep_end();
}

/* The first one's address is not to be had, and the next free one is the second one's. */
static void test_nobody_has_the_address_of_one_that_comes_later(void **state)
{
    struct keep_entry e[2];

    (void)state;
    leave_two(e);
    keep_begin(with_sources);
    world->open_failures = 1;
    world->open_errno = EMFILE;
    assert_null(take_up(&e[1]));
    assert_null(flow_of(ONE));
    assert_null(take_up(&e[0]));
    relay_restored(world->relay, world->now);
    assert_int_equal(flow_of(TWO)->source, 0);
    assert_int_equal(flow_of(ONE)->source, 1);
    keep_end();
}

/* The prefix has become smaller. */
static void test_an_address_outside_the_prefix_is_given_up(void **state)
{
    static const char *const fewer[] = {"service.a.backend-source=127.64.0.0/29",
                                        "daemon.max-sessions=4", NULL};
    struct keep_entry e[2];

    (void)state;
    leave_two(e);
    keep_begin(fewer);
    e[0].image.flow.source = 5;
    e[1].image.flow.source = 6; /* the broadcast address, and no host */
    assert_null(take_up(&e[1]));
    assert_null(take_up(&e[0]));
    assert_null(flow_of(ONE));
    assert_int_equal(flow_of(TWO)->source, 5);
    relay_restored(world->relay, world->now);
    assert_int_equal(flow_of(ONE)->source, 1);
    keep_end();
}

/* There was one worker, and now there are two: the other one hands out the odd numbers. */
static void test_an_address_of_another_worker_is_given_up(void **state)
{
    struct keep_entry e[2], again[2];

    (void)state;
    leave_two(e);
    keep_begin(with_sources);
    world->relay->parts.worker_count = 2;
    e[0].image.flow.source = 4;
    e[1].image.flow.source = 7;
    assert_null(take_up(&e[1]));
    assert_null(take_up(&e[0]));
    assert_null(flow_of(ONE));
    assert_int_equal(flow_of(TWO)->source, 4);
    relay_restored(world->relay, world->now);
    assert_int_equal(flow_of(ONE)->source, 1); /* as handed out here */
    assert_int_equal(keep_left(&shared, again, 2), 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(again[i].image.flow.source, again[i].image.peer.port == ONE ? 1 : 4);
    world->relay->parts.worker_count = 1;
    keep_end();
}

/* It is the identity's own, wherever its sessions are. */
static void test_an_address_of_an_identity_is_any_worker_s(void **state)
{
    static const char *const by_identity[] = {RANGE, "service.a.source-by=identity", NULL};
    struct keep_entry e;
    uint32_t own;

    (void)state;
    keep_begin(by_identity);
    client_free(world_open(ONE, NULL));
    own = flow_of(ONE)->source;
    e = crash(by_identity);
    assert_int_equal(e.image.flow.source, own);
    world->relay->parts.worker_count = 2;
    world->relay->parts.worker = 1 - own % 2;
    assert_null(take_up(&e));
    assert_int_equal(flow_of(ONE)->source, own);
    world->relay->parts.worker_count = 1;
    world->relay->parts.worker = 0;
    keep_end();
}

/* It keeps its address, and the next start is to find it there. */
static void test_a_flow_that_was_turned_is_kept(void **state)
{
    static const char *const two[] = {RANGE, "service.a.backend=127.0.0.1:5001, 127.0.0.1:5002",
                                      "service.a.balance=round-robin", NULL};
    const struct relay_order order = {.what = BALANCE_SILENT, .backend = world_addr(5001)};
    struct keep_entry e;

    (void)state;
    keep_begin(two);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    assert_int_equal(e.image.flow.backend.port, 5001);
    relay_tell(world->relay, &order, world->now);
    assert_int_equal(world_say(c, ONE, "x")->backend.port, 5002);
    assert_int_equal(keep_left(&shared, &e, 1), 1);
    assert_int_equal(e.image.flow.backend.port, 5002);
    client_free(c);
    keep_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_has_the_address_of_one_that_comes_later),
        cmocka_unit_test(test_an_address_outside_the_prefix_is_given_up),
        cmocka_unit_test(test_an_address_of_another_worker_is_given_up),
        cmocka_unit_test(test_an_address_of_an_identity_is_any_worker_s),
        cmocka_unit_test(test_a_flow_that_was_turned_is_kept),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
