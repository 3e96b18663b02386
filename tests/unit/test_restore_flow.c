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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_has_the_address_of_one_that_comes_later),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
