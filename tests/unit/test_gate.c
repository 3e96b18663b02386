/*
 * test_gate: admission by prefix and address.
 */
#include "proxy/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEATS 8

struct world {
    struct gate *gate;
    struct gate_seat seat[SEATS];
};

static struct addr peer(const char *text)
{
    struct addr a;
    assert_true(addr_parse(&a, text));
    return a;
}

static struct gate_rules no_rules(void)
{
    return (struct gate_rules){.prefix_v4 = 24, .prefix_v6 = 56};
}

static int set_up(void **state)
{
    const struct gate_rules rules = no_rules();
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->gate = gate_new(&rules);
    assert_non_null(w->gate);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    const struct gate_rules rules = no_rules();
    struct world *w = *state;
    for (size_t i = 0; i < SEATS; i++)
        gate_leave(w->gate, &w->seat[i]);
    gate_set_rules(w->gate, &rules); /* forgets the open ones */
    gate_free(w->gate);
    free(w);
    return 0;
}

static enum gate_verdict admit(struct world *w, size_t i, const char *who, uint64_t now)
{
    struct addr a = peer(who);
    enum gate_verdict verdict = gate_admit(w->gate, &a, false, now);
    if (verdict == GATE_WELCOME)
        assert_true(gate_sit(w->gate, &w->seat[i], &a));
    return verdict;
}

/* A handshake becomes a session. */
static void open_one(struct world *w, size_t i, const char *who)
{
    struct addr a = peer(who);
    gate_leave(w->gate, &w->seat[i]);
    gate_enter(w->gate, &a);
}

static void test_without_rules_everybody_is_welcome(void **state)
{
    struct world *w = *state;
    struct addr a = peer("192.0.2.1:1");

    for (size_t i = 0; i < SEATS; i++)
        assert_int_equal(admit(w, i, "192.0.2.1:1", 1000), GATE_WELCOME);
    assert_null(gate_oldest(w->gate, &a));
}

static void test_oldest_of_a_full_prefix_gives_way(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();
    struct addr same = peer("192.0.2.200:1"), other = peer("192.0.3.1:1");

    rules.pending_per_prefix = 2;
    gate_set_rules(w->gate, &rules);
    admit(w, 0, "192.0.2.1:1", 1000);
    assert_null(gate_oldest(w->gate, &same));
    admit(w, 1, "192.0.2.99:7", 1000);
    assert_ptr_equal(gate_oldest(w->gate, &same), &w->seat[0]);
    assert_null(gate_oldest(w->gate, &other));
    /* One that has become a session no longer counts, nor can it be asked to go. */
    open_one(w, 0, "192.0.2.1:1");
    assert_null(gate_oldest(w->gate, &same));
    admit(w, 2, "192.0.2.5:7", 1000);
    assert_ptr_equal(gate_oldest(w->gate, &same), &w->seat[1]);
    gate_leave(w->gate, &w->seat[1]);
    assert_null(gate_oldest(w->gate, &same));
}

static void test_prefix_of_ipv6(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();
    struct addr same = peer("[2001:db8:1:ff::1]:9"), other = peer("[2001:db8:1:100::1]:9");

    rules.pending_per_prefix = 1;
    gate_set_rules(w->gate, &rules);
    admit(w, 0, "[2001:db8:1:1::1]:1", 1000);
    assert_ptr_equal(gate_oldest(w->gate, &same), &w->seat[0]);
    assert_null(gate_oldest(w->gate, &other));
}

static void test_sessions_never_give_way(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();
    struct addr a = peer("192.0.2.3:1");

    rules.sessions_per_prefix = 2;
    gate_set_rules(w->gate, &rules);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(admit(w, i, "192.0.2.1:1", 1000), GATE_WELCOME);
        open_one(w, i, "192.0.2.1:1");
    }
    assert_int_equal(admit(w, 2, "192.0.2.3:1", 1000), GATE_FULL);
    assert_null(w->seat[2].place);
    assert_false(gate_may_open(w->gate, &a, false));
    assert_true(gate_may_open(w->gate, &a, true));
    assert_int_equal(admit(w, 2, "192.0.3.3:1", 1000), GATE_WELCOME);
    /* Whoever has a session may renew it. */
    assert_int_equal(gate_admit(w->gate, &a, true, 1000), GATE_WELCOME);
    assert_true(gate_sit(w->gate, &w->seat[3], &a));
    gate_exit(w->gate, &a);
    assert_true(gate_may_open(w->gate, &a, false));
    assert_int_equal(admit(w, 4, "192.0.2.3:1", 1000), GATE_WELCOME);
}

static void test_rate_of_a_prefix_and_of_all(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();

    rules.rate_per_prefix = 2;
    rules.rate = 3;
    gate_set_rules(w->gate, &rules);
    assert_int_equal(admit(w, 0, "192.0.2.1:1", 1000), GATE_WELCOME);
    assert_int_equal(admit(w, 1, "192.0.2.2:1", 1000), GATE_WELCOME);
    assert_int_equal(admit(w, 2, "192.0.2.3:1", 1000), GATE_RATE);
    assert_null(w->seat[2].place);
    assert_int_equal(admit(w, 2, "192.0.3.1:1", 1000), GATE_WELCOME);
    assert_int_equal(admit(w, 3, "192.0.4.1:1", 1000), GATE_RATE);
    assert_int_equal(admit(w, 3, "192.0.2.3:1", 2000), GATE_WELCOME);
}

static void test_one_alert_per_second_and_address(void **state)
{
    struct world *w = *state;
    struct addr a = peer("192.0.2.1:1"), other_port = peer("192.0.2.1:2"), b = peer("192.0.2.2:1");

    assert_true(gate_may_alert(w->gate, &a, 1000));
    assert_false(gate_may_alert(w->gate, &a, 1500));
    assert_false(gate_may_alert(w->gate, &other_port, 1999));
    assert_true(gate_may_alert(w->gate, &b, 1500));
    assert_true(gate_may_alert(w->gate, &a, 2000));
}

static void test_a_storm_of_failures_is_backed_off(void **state)
{
    struct world *w = *state;
    struct addr a = peer("192.0.2.1:1");

    for (int i = 0; i < 30; i++)
        gate_note_failure(w->gate, &a, 1000);
    assert_int_equal(admit(w, 0, "192.0.2.1:5", 1000), GATE_WELCOME);
    gate_note_failure(w->gate, &a, 1000);
    assert_int_equal(admit(w, 1, "192.0.2.1:5", 1999), GATE_STORM);
    assert_int_equal(admit(w, 1, "192.0.2.2:5", 1999), GATE_WELCOME);
    assert_int_equal(admit(w, 2, "192.0.2.1:5", 2000), GATE_WELCOME);
}

static void test_memory_stays_bounded(void **state)
{
    struct world *w = *state;
    char text[32];

    /* Far more addresses than are remembered; the sanitizers and valgrind see what is left. */
    for (unsigned i = 0; i < 30000; i++) {
        snprintf(text, sizeof text, "10.%u.%u.1:1", i / 250, i % 250);
        struct addr a = peer(text);
        assert_true(gate_may_alert(w->gate, &a, 1000));
    }
    /* The oldest are forgotten, the newest are not. */
    struct addr oldest = peer("10.0.0.1:1"), newest = peer(text);
    assert_false(gate_may_alert(w->gate, &newest, 1000));
    assert_true(gate_may_alert(w->gate, &oldest, 1000));
}

static void test_a_seat_keeps_its_prefix_when_the_rules_change(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();

    admit(w, 0, "192.0.2.1:1", 1000);
    rules.prefix_v4 = 16;
    rules.pending_per_prefix = 1;
    gate_set_rules(w->gate, &rules);
    gate_leave(w->gate, &w->seat[0]);
    gate_leave(w->gate, &w->seat[0]);
    assert_null(w->seat[0].place);
}

static void test_sessions_are_counted_anew_when_the_rules_change(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();
    struct addr first = peer("192.0.2.1:1"), near = peer("192.0.3.1:1");

    rules.sessions_per_prefix = 1;
    gate_set_rules(w->gate, &rules);
    gate_enter(w->gate, &first);
    assert_false(gate_may_open(w->gate, &first, false));
    assert_true(gate_may_open(w->gate, &near, false));
    rules.prefix_v4 = 16;
    gate_set_rules(w->gate, &rules);
    assert_true(gate_may_open(w->gate, &near, false));
    gate_enter(w->gate, &first);
    assert_false(gate_may_open(w->gate, &near, false));
    gate_exit(w->gate, &first);
    assert_true(gate_may_open(w->gate, &near, false));
}

/* A session that went uncounted takes nobody's place when it goes. */
static void test_without_a_cap_open_sessions_leave_no_trace(void **state)
{
    struct world *w = *state;
    struct gate_rules rules = no_rules();
    struct addr a = peer("192.0.2.1:1");

    gate_enter(w->gate, &a);
    rules.sessions_per_prefix = 1;
    gate_set_rules(w->gate, &rules);
    gate_exit(w->gate, &a);
    gate_enter(w->gate, &a);
    assert_false(gate_may_open(w->gate, &a, false));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_rules_everybody_is_welcome),
        TEST(test_oldest_of_a_full_prefix_gives_way),
        TEST(test_prefix_of_ipv6),
        TEST(test_sessions_never_give_way),
        TEST(test_rate_of_a_prefix_and_of_all),
        TEST(test_one_alert_per_second_and_address),
        TEST(test_a_storm_of_failures_is_backed_off),
        TEST(test_memory_stays_bounded),
        TEST(test_a_seat_keeps_its_prefix_when_the_rules_change),
        TEST(test_sessions_are_counted_anew_when_the_rules_change),
        TEST(test_without_a_cap_open_sessions_leave_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
