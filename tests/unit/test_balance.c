/* balance: who gets what by weight, who moves and who stays, and what makes a backend up or down.
 */
#include "proxy/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RETRY 10000
#define NOW 1000000
#define KEYS 20000

struct world {
    struct balance b;
    struct conf_service conf;
};

static void use(struct world *w, const char *text)
{
    char why[400];

    if (!backends_parse(&w->conf.backend, text, why, sizeof(why)))
        fail_msg("%s", why);
    assert_true(balance_set(&w->b, &w->conf, NOW));
}

static int set_up(void **state)
{
    static struct world w;

    w = (struct world){.conf = {.backend_retry = RETRY}};
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    balance_clear(&w->b);
    backends_clear(&w->conf.backend);
    return 0;
}

static struct addr addr_of(const char *text)
{
    struct addr a = {0};

    assert_true(addr_parse(&a, text));
    return a;
}

static unsigned pick(struct world *w, unsigned key, uint64_t now)
{
    bool is_up;

    return balance_pick(&w->b, balance_key(&key, sizeof(key)), BALANCE_NOBODY, now, &is_up);
}

/* The port tells them apart. */
static unsigned port_of(struct world *w, unsigned key, uint64_t now)
{
    return balance_address(&w->b, pick(w, key, now))->port;
}

static unsigned slot_of(struct world *w, const char *text)
{
    const struct addr a = addr_of(text);

    for (unsigned i = 0; i < w->b.count; i++)
        if (addr_equal(balance_address(&w->b, w->b.listed[i]), &a))
            return w->b.listed[i];
    fail_msg("%s", text);
    return 0;
}

static void count_all(struct world *w, uint64_t now, unsigned count[16])
{
    memset(count, 0, 16 * sizeof(*count));
    for (unsigned key = 0; key < KEYS; key++)
        count[port_of(w, key, now)]++;
}

static void assert_about(unsigned got, double expected)
{
    if (got < 0.93 * expected || got > 1.07 * expected)
        fail_msg("%u, not about %.0f", got, expected);
}

static void test_keys_are_spread_by_weight(void **state)
{
    struct world *w = *state;
    unsigned count[16];

    use(w, "127.0.0.1:1, 127.0.0.1:2 weight=2, 127.0.0.1:3 weight=7");
    count_all(w, NOW, count);
    assert_about(count[1], KEYS * 0.1);
    assert_about(count[2], KEYS * 0.2);
    assert_about(count[3], KEYS * 0.7);
}

/* The same in each worker, and after a restart: so nobody may change what a key leads to. */
static void test_a_key_always_leads_to_the_same(void **state)
{
    static const unsigned expected[] = {2, 2, 3, 1, 3, 2, 3, 3, 1, 1, 1, 2};
    struct world *w = *state;

    use(w, "127.0.0.1:1, 127.0.0.1:2, [::1]:3");
    for (unsigned key = 0; key < sizeof(expected) / sizeof(*expected); key++)
        assert_int_equal(port_of(w, key, NOW), expected[key]);
}

static void test_only_what_a_lost_one_had_moves(void **state)
{
    struct world *w = *state;
    static unsigned before[KEYS];
    unsigned moved = 0;

    use(w, "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4 weight=3");
    for (unsigned key = 0; key < KEYS; key++)
        before[key] = port_of(w, key, NOW);
    assert_true(balance_refused(&w->b, slot_of(w, "127.0.0.1:2"), 1, NOW));
    for (unsigned key = 0; key < KEYS; key++) {
        unsigned now = port_of(w, key, NOW);
        assert_int_not_equal(now, 2);
        if (before[key] != 2)
            assert_int_equal(now, before[key]);
        moved += before[key] == 2;
    }
    assert_about(moved, KEYS / 6.0);
    for (unsigned key = 0; key < KEYS; key++) /* and back again */
        assert_int_equal(port_of(w, key, NOW + RETRY), before[key]);
}

static void test_only_what_a_new_one_gets_moves(void **state)
{
    struct world *w = *state;
    static unsigned before[KEYS];
    unsigned moved = 0;

    use(w, "127.0.0.1:1, 127.0.0.1:2");
    for (unsigned key = 0; key < KEYS; key++)
        before[key] = port_of(w, key, NOW);
    use(w, "127.0.0.1:3 weight=2, 127.0.0.1:2, 127.0.0.1:1");
    for (unsigned key = 0; key < KEYS; key++) {
        unsigned now = port_of(w, key, NOW);
        assert_true(now == before[key] || now == 3);
        moved += now == 3;
    }
    assert_about(moved, KEYS / 2.0);
}

static void test_the_port_of_a_client_does_not_count(void **state)
{
    struct addr a = addr_of("192.0.2.1:1"), b = addr_of("192.0.2.1:2"), c = addr_of("192.0.2.2:1");

    (void)state;
    assert_int_equal(balance_key_of(&a), balance_key_of(&b));
    assert_int_not_equal(balance_key_of(&a), balance_key_of(&c));
}

static void test_turns_go_by_weight_and_are_spread(void **state)
{
    static const unsigned expected[] = {1, 1, 2, 1, 3, 1, 1};
    struct world *w = *state;
    unsigned count[16] = {0};

    w->conf.balance = CONF_BALANCE_ROUND_ROBIN;
    use(w, "127.0.0.1:1 weight=5, 127.0.0.1:2, 127.0.0.1:3");
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(port_of(w, 0, NOW), expected[i]);
    for (unsigned i = 0; i < 700; i++)
        count[port_of(w, 0, NOW)]++;
    assert_true(count[1] == 500 && count[2] == 100 && count[3] == 100);
    (void)balance_refused(&w->b, slot_of(w, "127.0.0.1:1"), 1, NOW);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(port_of(w, 0, NOW), i % 2 == 0 ? 2 : 3);
}

static void test_backups_wait_until_nobody_else_is_up(void **state)
{
    struct world *w = *state;
    unsigned count[16];

    use(w, "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3 backup weight=100, 127.0.0.1:4 backup");
    count_all(w, NOW, count);
    assert_int_equal(count[3] + count[4], 0);
    (void)balance_refused(&w->b, slot_of(w, "127.0.0.1:1"), 1, NOW);
    count_all(w, NOW, count);
    assert_int_equal(count[2], KEYS);
    (void)balance_refused(&w->b, slot_of(w, "127.0.0.1:2"), 1, NOW + 1);
    count_all(w, NOW + 1, count);
    assert_int_equal(count[3] + count[4], KEYS);
    assert_true(count[3] > 0 && count[4] > 0);
    count_all(w, NOW + RETRY, count);
    assert_int_equal(count[1], KEYS);
}

static void test_when_all_are_down_it_is_the_usual_one(void **state)
{
    struct world *w = *state;
    static unsigned before[KEYS];
    bool is_up = true;

    use(w, "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3 backup");
    for (unsigned key = 0; key < KEYS; key++)
        before[key] = port_of(w, key, NOW);
    for (unsigned i = 0; i < 3; i++)
        (void)balance_refused(&w->b, w->b.listed[i], 1, NOW);
    for (unsigned key = 0; key < KEYS; key++)
        assert_int_equal(port_of(w, key, NOW), before[key]);
    assert_int_not_equal(balance_pick(&w->b, 0, BALANCE_NOBODY, NOW, &is_up), BALANCE_NOBODY);
    assert_false(is_up);
    (void)balance_pick(&w->b, 0, BALANCE_NOBODY, NOW + RETRY, &is_up);
    assert_true(is_up);
}

static void test_one_can_be_left_out(void **state)
{
    struct world *w = *state;
    bool is_up;

    use(w, "127.0.0.1:1, 127.0.0.1:2");
    for (unsigned key = 0; key < 100; key++) {
        unsigned usual = pick(w, key, NOW);
        uint64_t hash = balance_key(&key, sizeof(key));
        assert_int_not_equal(balance_pick(&w->b, hash, usual, NOW, &is_up), usual);
        assert_true(is_up);
    }
    use(w, "127.0.0.1:1");
    assert_int_equal(balance_pick(&w->b, 1, w->b.listed[0], NOW, &is_up), w->b.listed[0]);
    assert_false(is_up);
}

static void test_a_refusal_is_news_once(void **state)
{
    struct world *w = *state;
    unsigned one;

    use(w, "127.0.0.1:1, 127.0.0.1:2");
    one = slot_of(w, "127.0.0.1:1");
    assert_true(balance_is_good(&w->b, one, NOW));
    assert_false(balance_answered(&w->b, one, NOW)); /* it was never down */
    assert_true(balance_refused(&w->b, one, 1, NOW));
    assert_false(balance_is_good(&w->b, one, NOW));
    assert_false(balance_refused(&w->b, one, 5, NOW + 5000));
    assert_false(balance_is_good(&w->b, one, NOW + RETRY)); /* it counts from the last one */
    assert_true(balance_is_good(&w->b, one, NOW + 5000 + RETRY));
    assert_false(balance_refused(&w->b, one, 1, NOW + 5000 + RETRY)); /* still the same trouble */
    assert_true(balance_is_failing(&w->b, one));
    assert_true(balance_answered(&w->b, one, NOW));
    assert_false(balance_is_failing(&w->b, one));
    assert_true(balance_is_good(&w->b, one, NOW + 5000 + RETRY));
    assert_false(balance_answered(&w->b, one, NOW));
    assert_true(balance_refused(&w->b, one, 1, NOW + 20000));
    assert_true(balance_refused(&w->b, one, 1, NOW + 20000 + 2 * RETRY)); /* quiet in between */
}

static void test_drained_is_nobodys_choice_but_keeps_its_own(void **state)
{
    struct world *w = *state;
    const struct addr two = addr_of("127.0.0.1:2");
    unsigned count[16];

    use(w, "127.0.0.1:1, 127.0.0.1:2");
    assert_true(balance_tell(&w->b, &two, BALANCE_DRAIN, NOW));
    count_all(w, NOW, count);
    assert_int_equal(count[1], KEYS);
    assert_true(balance_is_good(&w->b, slot_of(w, "127.0.0.1:2"), NOW));
    use(w, "127.0.0.1:2, 127.0.0.1:1"); /* a reload is no reason */
    count_all(w, NOW, count);
    assert_int_equal(count[1], KEYS);
    assert_true(balance_tell(&w->b, &two, BALANCE_UNDRAIN, NOW));
    count_all(w, NOW, count);
    assert_about(count[2], KEYS / 2.0);
    use(w, "127.0.0.1:2 drain, 127.0.0.1:1");
    count_all(w, NOW, count);
    assert_int_equal(count[1], KEYS);
    assert_true(
        balance_tell(&w->b, &two, BALANCE_UNDRAIN, NOW)); /* an order wins over the settings */
    count_all(w, NOW, count);
    assert_about(count[2], KEYS / 2.0);
    use(w, "127.0.0.1:2 drain, 127.0.0.1:1 drain");
    count_all(w, NOW, count);
    assert_about(count[2], KEYS / 2.0); /* better than nobody */
}

static void test_a_silent_one_is_down_until_it_answers(void **state)
{
    struct world *w = *state;
    const struct addr one = addr_of("127.0.0.1:1"), other = addr_of("127.0.0.1:3");
    char probe[] = "udp:00";
    unsigned slot;

    w->conf.probe = probe;
    use(w, "127.0.0.1:1, 127.0.0.1:2");
    slot = slot_of(w, "127.0.0.1:1");
    assert_true(balance_tell(&w->b, &one, BALANCE_SILENT, NOW));
    assert_false(balance_is_good(&w->b, slot, NOW + 100 * RETRY));
    use(w, "127.0.0.1:1, 127.0.0.1:2");
    assert_false(balance_is_good(&w->b, slot, NOW));
    (void)balance_refused(&w->b, slot, 1, NOW);
    assert_true(balance_tell(&w->b, &one, BALANCE_ANSWER, NOW));
    assert_true(balance_is_good(&w->b, slot, NOW)); /* which speaks for it behind a refusal, too */
    assert_true(balance_tell(&w->b, &one, BALANCE_SILENT, NOW));
    w->conf.probe = NULL;
    use(w, "127.0.0.1:1, 127.0.0.1:2");
    assert_true(balance_is_good(&w->b, slot, NOW)); /* nobody asks any more */
    assert_false(balance_tell(&w->b, &other, BALANCE_SILENT, NOW));
}

static void test_one_that_leaves_is_known_for_its_flows(void **state)
{
    struct world *w = *state;
    const struct addr one = addr_of("127.0.0.1:1");
    unsigned slot;

    use(w, "127.0.0.1:1, 127.0.0.1:2");
    slot = slot_of(w, "127.0.0.1:1");
    balance_enter(&w->b, slot);
    use(w, "127.0.0.1:2");
    assert_true(balance_is_gone(&w->b, slot));
    assert_false(balance_is_good(&w->b, slot, NOW));
    assert_true(addr_equal(balance_address(&w->b, slot), &one));
    assert_false(balance_tell(&w->b, &one, BALANCE_DRAIN, NOW));
    assert_false(balance_refused(&w->b, slot, 1, NOW)); /* nobody's news */
    use(w, "127.0.0.1:2, 127.0.0.1:3");
    assert_int_not_equal(slot_of(w, "127.0.0.1:3"), slot);
    use(w, "127.0.0.1:1, 127.0.0.1:2");
    assert_int_equal(slot_of(w, "127.0.0.1:1"), slot);
    assert_true(balance_is_good(&w->b, slot, NOW));
    balance_leave(&w->b, slot);
    use(w, "127.0.0.1:2");
    use(w, "127.0.0.1:2, 127.0.0.1:9");
    assert_true(w->b.listed[1] < 3); /* free slots are used again */
}

static void test_no_room_for_more_until_flows_close(void **state)
{
    struct world *w = *state;
    char text[2048], why[400];

    for (int round = 0; round < 3; round++) {
        text[0] = '\0';
        for (int i = 0; i < BACKENDS_MAX; i++)
            snprintf(text + strlen(text), 40, "%s127.0.%d.%d:1", i > 0 ? "," : "", round, i);
        assert_true(backends_parse(&w->conf.backend, text, why, sizeof(why)));
        assert_int_equal(balance_set(&w->b, &w->conf, NOW), round < 2);
        for (unsigned i = 0; round < 2 && i < BACKENDS_MAX; i++)
            balance_enter(&w->b, w->b.listed[i]);
    }
    for (unsigned i = 0; i < BALANCE_SLOTS; i++)
        if (balance_is_gone(&w->b, i))
            balance_leave(&w->b, i);
    assert_true(balance_set(&w->b, &w->conf, NOW));
    assert_int_equal(w->b.count, BACKENDS_MAX);
}

static void test_an_empty_list_is_nobody(void **state)
{
    struct world *w = *state;
    bool is_up = true;

    assert_int_equal(balance_pick(&w->b, 1, BALANCE_NOBODY, NOW, &is_up), BALANCE_NOBODY);
    assert_false(is_up);
}

static void test_a_name_keeps_its_sessions_wherever_it_goes(void **state)
{
    struct world *w = *state;
    const struct addr to = addr_of("127.0.0.9:2"), other = addr_of("127.0.0.1:1");
    struct addr list[BACKENDS_MAX], from;
    static unsigned before[KEYS];

    use(w, "127.0.0.1:1, localhost:2, 127.0.0.1:3");
    from = *balance_address(&w->b, w->b.listed[1]);
    for (unsigned key = 0; key < KEYS; key++)
        before[key] = port_of(w, key, NOW);
    assert_true(balance_tell(&w->b, &from, BALANCE_DRAIN, NOW));
    assert_true(balance_tell(&w->b, &from, BALANCE_SILENT, NOW));
    balance_enter(&w->b, w->b.listed[1]);
    unsigned old = w->b.listed[1];
    assert_true(balance_move(&w->b, &from, &to, NOW));
    assert_true(balance_is_gone(&w->b, old));
    assert_int_equal(balance_addresses(&w->b, list), 3);
    assert_true(addr_equal(&list[1], &to));
    assert_true(balance_is_good(&w->b, w->b.listed[1], NOW)); /* silence was the old address's */
    assert_int_not_equal(port_of(w, 0, NOW), 2);              /* the order holds on */
    assert_true(balance_tell(&w->b, &to, BALANCE_UNDRAIN, NOW));
    for (unsigned key = 0; key < KEYS; key++)
        assert_int_equal(port_of(w, key, NOW), before[key]);
    assert_true(balance_move(&w->b, &from, &other, NOW)); /* not there any more: nothing happens */
    assert_true(balance_move(&w->b, &to, &other, NOW));   /* taken: it stays where it is */
    assert_int_equal(balance_addresses(&w->b, list), 3);
    assert_true(addr_equal(&list[1], &to));
    balance_leave(&w->b, old);
}

static void test_others_can_look(void **state)
{
    struct world *w = *state;
    const struct addr one = addr_of("127.0.0.1:1");
    struct balance_view v;
    unsigned slot;

    use(w, "127.0.0.1:1 weight=3, 127.0.0.1:2 backup");
    slot = slot_of(w, "127.0.0.1:1");
    balance_enter(&w->b, slot);
    balance_enter(&w->b, slot);
    balance_leave(&w->b, slot);
    (void)balance_refused(&w->b, slot, 7, NOW);
    assert_true(balance_look(&w->b, slot, NOW, &v));
    assert_true(addr_equal(&v.addr, &one));
    assert_true(v.weight == 3 && !v.is_backup && !v.is_drained && !v.is_up);
    assert_true(v.flows == 1 && v.opened == 2 && v.refused == 7);
    assert_true(balance_look(&w->b, slot, NOW + RETRY, &v) && v.is_up);
    assert_true(balance_tell(&w->b, &one, BALANCE_DRAIN, NOW));
    assert_true(balance_look(&w->b, slot, NOW, &v) && v.is_drained);
    assert_true(balance_look(&w->b, slot_of(w, "127.0.0.1:2"), NOW, &v) && v.is_backup);
    use(w, "127.0.0.1:2");
    assert_true(balance_look(&w->b, slot, NOW, &v) && v.state == BALANCE_GONE && v.flows == 1);
    assert_false(balance_look(&w->b, BALANCE_SLOTS - 1, NOW, &v));
    balance_leave(&w->b, slot);
    assert_false(balance_look(&w->b, slot, NOW, &v));
}

static void check_state(const struct world *w, uint64_t now, enum balance_state state,
                        uint64_t since)
{
    struct balance_view v;

    assert_true(balance_look(&w->b, 0, now, &v));
    assert_int_equal(v.state, state);
    assert_int_equal(v.since, since);
}

static void test_a_state_and_since_when(void **state)
{
    struct world *w = *state;
    const struct addr one = addr_of("127.0.0.1:1");
    const uint64_t later = NOW + 100 * RETRY;

    use(w, "127.0.0.1:1");
    balance_enter(&w->b, 0);
    check_state(w, later, BALANCE_UP, NOW);
    (void)balance_refused(&w->b, 0, 1, NOW + 5);
    (void)balance_refused(&w->b, 0, 1, NOW + 7);
    check_state(w, NOW + 6 + RETRY, BALANCE_DOWN, NOW + 5);
    check_state(w, NOW + 7 + RETRY, BALANCE_TRIED, NOW + 7 + RETRY);
    check_state(w, later, BALANCE_UP, NOW + 7 + 2 * RETRY); /* nothing was heard against it */
    (void)balance_refused(&w->b, 0, 1, later);
    assert_true(balance_answered(&w->b, 0, later + 1));
    check_state(w, later + 2, BALANCE_UP, later + 1);
    assert_true(balance_tell(&w->b, &one, BALANCE_SILENT, later + 3));
    check_state(w, 2 * later, BALANCE_DOWN, later + 3);
    assert_true(balance_tell(&w->b, &one, BALANCE_DRAIN, later + 4));
    check_state(w, 2 * later, BALANCE_DRAINING, later + 4);
    assert_true(balance_tell(&w->b, &one, BALANCE_UNDRAIN, later + 5));
    assert_true(balance_tell(&w->b, &one, BALANCE_ANSWER, later + 6));
    use(w, "127.0.0.1:1 weight=7"); /* which is no news */
    check_state(w, 2 * later, BALANCE_UP, later + 6);
    use(w, "127.0.0.1:2");
    check_state(w, 2 * later, BALANCE_GONE, NOW);
    balance_leave(&w->b, 0);
}

static void test_what_passes_is_counted(void **state)
{
    struct world *w = *state;
    struct balance_view v;

    use(w, "127.0.0.1:1");
    balance_count_sent(&w->b, 0, 100);
    balance_count_sent(&w->b, 0, 0);
    balance_count_received(&w->b, 0, 7);
    assert_true(balance_look(&w->b, 0, NOW, &v));
    assert_true(v.sent == 2 && v.sent_bytes == 100 && v.received == 1 && v.received_bytes == 7);
    use(w, "127.0.0.1:2");
    use(w, "127.0.0.1:3"); /* in the place of the first one */
    assert_true(balance_look(&w->b, 0, NOW, &v));
    assert_true(v.addr.port == 3 && v.sent == 0 && v.received_bytes == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys_are_spread_by_weight),
        TEST(test_a_key_always_leads_to_the_same),
        TEST(test_only_what_a_lost_one_had_moves),
        TEST(test_only_what_a_new_one_gets_moves),
        TEST(test_the_port_of_a_client_does_not_count),
        TEST(test_turns_go_by_weight_and_are_spread),
        TEST(test_backups_wait_until_nobody_else_is_up),
        TEST(test_when_all_are_down_it_is_the_usual_one),
        TEST(test_one_can_be_left_out),
        TEST(test_a_refusal_is_news_once),
        TEST(test_drained_is_nobodys_choice_but_keeps_its_own),
        TEST(test_a_silent_one_is_down_until_it_answers),
        TEST(test_one_that_leaves_is_known_for_its_flows),
        TEST(test_no_room_for_more_until_flows_close),
        TEST(test_an_empty_list_is_nobody),
        TEST(test_a_name_keeps_its_sessions_wherever_it_goes),
        TEST(test_others_can_look),
        TEST(test_a_state_and_since_when),
        TEST(test_what_passes_is_counted),
    };

    return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
