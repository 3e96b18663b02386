/*
 * test_renewal: what becomes of the keys of tickets that an ended process has left.
 */
#include "conf_text.h"

#include "daemon/renewal.h"

#define TURN (UINT64_C(2) * 60 * 60 * 1000)
#define NOW (100 * TURN)

static const char *const wanted[] = {"service.a.resumption=yes", "service.a.ticket-lifetime=2h",
                                     NULL};
static const struct ticket_keys left = {
    .newest = {.name = "one", .key = "1"}, .before = {.name = "two", .key = "2"}, .is_set = true};

static struct renewal taken_up(const char *const settings[], uint64_t age)
{
    struct conf *conf = load_good(MINIMAL, settings);
    struct renewal r;

    renewal_take(&r, &left, age, NOW);
    renewal_catch_up(&r, conf, NOW);
    conf_unref(conf);
    return r;
}

static bool has(const struct renewal *r, const struct ticket_key *key)
{
    return memcmp(&r->keys.newest, key, sizeof *key) == 0 ||
           memcmp(&r->keys.before, key, sizeof *key) == 0;
}

static void test_those_in_their_time_go_on(void **state)
{
    struct renewal r = taken_up(wanted, TURN - 1);

    (void)state;
    assert_memory_equal(&r.keys, &left, sizeof left);
    assert_int_equal(renewal_age(&r, NOW), TURN - 1);
}

static void test_those_that_may_have_sealed_what_is_good_still_open_it(void **state)
{
    static const uint64_t ages[] = {TURN, 2 * TURN, 2 * TURN + RENEWAL_LOOK_MS - 1};

    (void)state;
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        struct renewal r = taken_up(wanted, ages[i]);
        assert_memory_equal(&r.keys.before, &left.newest, sizeof left.newest);
        assert_false(has(&r, &left.before));
        assert_int_equal(renewal_age(&r, NOW), 0);
    }
}

static void test_those_that_are_over_are_gone(void **state)
{
    struct renewal r = taken_up(wanted, 2 * TURN + RENEWAL_LOOK_MS);

    (void)state;
    assert_false(has(&r, &left.newest) || has(&r, &left.before));
    assert_int_equal(renewal_age(&r, NOW), 0);
}

static void test_those_that_nobody_wants_any_more_are_gone(void **state)
{
    struct renewal r = taken_up((const char *const[]){NULL}, 1);

    (void)state;
    assert_false(has(&r, &left.newest) || has(&r, &left.before));
    assert_int_equal(renewal_age(&r, NOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_in_their_time_go_on),
        cmocka_unit_test(test_those_that_may_have_sealed_what_is_good_still_open_it),
        cmocka_unit_test(test_those_that_are_over_are_gone),
        cmocka_unit_test(test_those_that_nobody_wants_any_more_are_gone),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
