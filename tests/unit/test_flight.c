/*
 * test_flight: numbers, repeats and datagrams of records on their way out.
 */
#include "base/bytes.h"
#include "dtls/flight.h"
#include "dtls/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct flight_timing TIMING = {.first = 100, .cap = 350, .total = 2000};
static struct flight f;

static int setup(void **state)
{
    (void)state;
    flight_init(&f, 5);
    return 0;
}

/* A record whose body is `len` bytes of `fill`; its number is nonsense unless it is sealed. */
static void add(uint16_t epoch, uint64_t seq, uint8_t fill, size_t len)
{
    uint8_t record[FLIGHT_MAX + 64];

    wire_put_record_header(record, WIRE_HANDSHAKE, WIRE_DTLS12, (uint64_t)epoch << 48 | seq, len);
    memset(record + WIRE_RECORD_HEADER, fill, len);
    flight_add(&f, record, WIRE_RECORD_HEADER + len);
}

/* Takes one datagram and checks that it holds records of these numbers, ended by -1. */
static void assert_datagram(size_t mtu, const int64_t *seqs)
{
    uint8_t *out = malloc(mtu > 0 ? mtu : 1); /* of this size for the sanitizer */
    struct reader r = reader_of(out, flight_take(&f, mtu, out));
    struct wire_record rec;

    for (; *seqs >= 0; seqs++) {
        assert_true(wire_next_record(&r, &rec));
        assert_int_equal(rec.seq, *seqs);
    }
    assert_int_equal(r.left, 0);
    free(out);
}

#define SEQS(...) ((const int64_t[]){__VA_ARGS__, -1})
#define NOTHING ((const int64_t[]){-1})

static void test_plaintext_is_numbered_sealed_is_not(void **state)
{
    (void)state;
    add(0, 999, 'a', 10);
    add(0, 999, 'b', 10);
    add(1, 777, 'c', 10);
    add(0, 999, 'd', 10);
    flight_send(&f, &TIMING, 0);
    assert_datagram(1400, SEQS(5, 6, 777, 7));
    flight_resend(&f, 10);
    assert_datagram(1400, SEQS(8, 9, 777, 10));
    assert_int_equal(f.next_seq, 11);
}

static void test_next_flight_goes_on_counting(void **state)
{
    (void)state;
    add(0, 0, 'a', 10);
    flight_send(&f, &TIMING, 0);
    flight_clear(&f);
    assert_datagram(1400, NOTHING);
    add(0, 0, 'b', 10);
    flight_send(&f, &TIMING, 0);
    assert_datagram(1400, SEQS(6));
}

static void test_datagrams_hold_whole_records(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 4; i++)
        add(0, 0, i, 87); /* 100 bytes each */
    flight_send(&f, &TIMING, 0);
    assert_datagram(299, SEQS(5, 6));
    assert_datagram(300, SEQS(7, 8));
    assert_datagram(300, NOTHING);
    flight_resend(&f, 1);
    assert_datagram(400, SEQS(9, 10, 11, 12));
    assert_datagram(400, NOTHING);
}

static void test_repeat_while_half_is_taken(void **state)
{
    (void)state;
    add(0, 0, 'a', 87);
    add(0, 0, 'b', 87);
    flight_send(&f, &TIMING, 0);
    assert_datagram(100, SEQS(5));
    flight_on_timer(&f, &TIMING, 100);
    assert_datagram(100, SEQS(7));
    assert_datagram(100, SEQS(8));
    assert_datagram(100, NOTHING);
}

static void test_full(void **state)
{
    (void)state;
    add(0, 0, 'a', FLIGHT_MAX - 2 * WIRE_RECORD_HEADER - 1);
    assert_false(f.is_overflown);
    add(0, 0, 'b', 1);
    assert_false(f.is_overflown);
    assert_int_equal(f.len, FLIGHT_MAX);
    add(0, 0, 'c', 0);
    assert_true(f.is_overflown);
    assert_int_equal(f.len, FLIGHT_MAX);
}

static void test_timer(void **state)
{
    static const uint64_t DUE[] = {1100, 1300, 1650, 2000, 2350, 2700};

    (void)state;
    add(0, 0, 'a', 10);
    assert_int_equal(f.repeat_at, UINT64_MAX);
    flight_send(&f, &TIMING, 1000);
    assert_datagram(1400, SEQS(5));
    for (size_t i = 0; i < sizeof DUE / sizeof DUE[0]; i++) {
        assert_int_equal(f.repeat_at, DUE[i]);
        flight_on_timer(&f, &TIMING, DUE[i] - 1);
        assert_datagram(1400, NOTHING);
        flight_on_timer(&f, &TIMING, DUE[i]);
        assert_datagram(1400, SEQS(6 + (int64_t)i));
    }
    /* The total is over: 1000 + 2000 lie before. */
    flight_on_timer(&f, &TIMING, 3050);
    assert_datagram(1400, NOTHING);
    assert_int_equal(f.repeat_at, UINT64_MAX);
}

static void test_late_timer_counts_from_now(void **state)
{
    (void)state;
    add(0, 0, 'a', 10);
    flight_send(&f, &TIMING, 1000);
    flight_on_timer(&f, &TIMING, 1500);
    assert_int_equal(f.repeat_at, 1700);
}

static void test_cap_below_the_first(void **state)
{
    static const struct flight_timing timing = {.first = 100, .cap = 50, .total = 1000};

    (void)state;
    add(0, 0, 'a', 10);
    flight_send(&f, &timing, 0);
    flight_on_timer(&f, &timing, 100);
    assert_int_equal(f.repeat_at, 150);
}

static void test_resend_leaves_the_timer(void **state)
{
    (void)state;
    add(0, 0, 'a', 10);
    flight_send(&f, &TIMING, 1000);
    flight_resend(&f, 1099);
    assert_int_equal(f.repeat_at, 1100);
    assert_int_equal(f.sent_at, 1099);
}

static void test_a_cleared_flight_is_not_repeated(void **state)
{
    (void)state;
    add(0, 0, 'a', 10);
    flight_send(&f, &TIMING, 1000);
    assert_datagram(1400, SEQS(5));
    flight_clear(&f);
    assert_int_equal(f.repeat_at, UINT64_MAX);
    flight_on_timer(&f, &TIMING, 1100);
    assert_datagram(1400, NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plaintext_is_numbered_sealed_is_not, setup),
        cmocka_unit_test_setup(test_next_flight_goes_on_counting, setup),
        cmocka_unit_test_setup(test_datagrams_hold_whole_records, setup),
        cmocka_unit_test_setup(test_repeat_while_half_is_taken, setup),
        cmocka_unit_test_setup(test_full, setup),
        cmocka_unit_test_setup(test_timer, setup),
        cmocka_unit_test_setup(test_late_timer_counts_from_now, setup),
        cmocka_unit_test_setup(test_cap_below_the_first, setup),
        cmocka_unit_test_setup(test_resend_leaves_the_timer, setup),
        cmocka_unit_test_setup(test_a_cleared_flight_is_not_repeated, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
