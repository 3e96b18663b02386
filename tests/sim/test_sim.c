/*
 * test_sim: clients of libssl through the relay over a bad wire, on virtual time, many seeds.
 * SIM_SEEDS=N runs N seeds a test instead of the short run's.
 */
#include "wire_sim.h"

#include "../unit/default_suites.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIMIT_MS 600000

static const char *const suites[] = {DEFAULT_SUITES};
#define SUITES (sizeof suites / sizeof suites[0])

static unsigned seeds(unsigned few)
{
    const char *text = getenv("SIM_SEEDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : few;
}

static uint64_t sum(const _Atomic uint64_t *list, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += list[i];
    return total;
}

/* What has to hold on whatever wire. */
static void check_books(const struct sim_result *r)
{
    const struct stats *s = &r->stats;

    assert_int_equal(r->crossed, 0);
    assert_int_equal(r->twice, 0);
    assert_int_equal(r->delivered, s->from_client[FATE_FORWARDED]);
    assert_int_equal(s->client_records, sum(s->from_client, FATE_COUNT));
    assert_int_equal(s->backend_datagrams, sum(s->from_backend, BACK_COUNT));
    assert_int_equal(s->handshakes_started, s->handshakes_completed + s->handshakes_failed);
    assert_int_equal(s->handshakes_completed, s->sessions_ended);
    assert_int_equal(s->flows_opened, s->flows_closed);
    assert_int_equal(s->sessions, 0);
    assert_int_equal(s->handshakes, 0);
}

static void run_seeds(struct sim_rules rules, unsigned count, bool all_suites)
{
    uint64_t slowest = 0;

    for (unsigned seed = 1; seed <= count; seed++) {
        if (all_suites)
            rules.client_ciphers = suites[seed % SUITES];
        struct sim_result r = sim_run(&rules, seed, LIMIT_MS);
        if (r.connected != rules.clients * (rules.reconnects + 1))
            print_error("seed %u: %u connected\n", seed, r.connected);
        assert_int_equal(r.connected, rules.clients * (rules.reconnects + 1));
        check_books(&r);
        if (rules.loss == 0)
            assert_int_equal(r.echoed, r.connected * rules.messages);
        if (r.slowest_ms > slowest)
            slowest = r.slowest_ms;
    }
    print_message("%u seeds, slowest handshake %llu ms\n", count, (unsigned long long)slowest);
}

static void test_clean_wire_every_suite(void **state)
{
    (void)state;
    run_seeds((struct sim_rules){.clients = 2, .messages = 8}, 2 * SUITES, true);
}

static void test_lossy_wire_every_suite(void **state)
{
    (void)state;
    run_seeds(
        (struct sim_rules){.loss = 20, .repeat = 20, .reorder = 25, .clients = 3, .messages = 4},
        seeds(2000), true);
}

static void test_clients_come_again_from_the_same_port(void **state)
{
    (void)state;
    run_seeds(
        (struct sim_rules){
            .loss = 10, .repeat = 30, .reorder = 30, .clients = 3, .messages = 3, .reconnects = 2},
        seeds(600), true);
}

static void test_repeated_datagrams_are_delivered_once(void **state)
{
    (void)state;
    run_seeds((struct sim_rules){.repeat = 100, .clients = 4, .messages = 8}, seeds(200), true);
}

static void test_old_devices_stay_with_libssl(void **state)
{
    (void)state;
    run_seeds((struct sim_rules){.loss = 15,
                                 .repeat = 15,
                                 .reorder = 20,
                                 .clients = 2,
                                 .messages = 4,
                                 .old_devices = true,
                                 .dtls10 = true,
                                 .client_ciphers = "PSK-AES128-CBC-SHA:@SECLEVEL=0"},
              seeds(300), false);
}

static void test_cbc_of_dtls12_stays_with_libssl(void **state)
{
    (void)state;
    run_seeds((struct sim_rules){.loss = 15,
                                 .repeat = 15,
                                 .reorder = 20,
                                 .clients = 2,
                                 .messages = 4,
                                 .old_devices = true,
                                 .client_ciphers = "PSK-AES128-CBC-SHA256"},
              seeds(300), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean_wire_every_suite),
        cmocka_unit_test(test_lossy_wire_every_suite),
        cmocka_unit_test(test_clients_come_again_from_the_same_port),
        cmocka_unit_test(test_repeated_datagrams_are_delivered_once),
        cmocka_unit_test(test_old_devices_stay_with_libssl),
        cmocka_unit_test(test_cbc_of_dtls12_stays_with_libssl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
