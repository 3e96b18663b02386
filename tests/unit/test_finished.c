/*
 * finished: a client's Finished, whole or in pieces, and what is none. That its bytes and the
 * server's are right the clients of test_handshake tell.
 */
#include "dtls/finished.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SEQ 3

static const uint8_t VERIFY[KEYS_VERIFY] = "abcdefghijkl";

/* Bytes `from` to `to` of a message of `length` bytes. Returns the fragment's size. */
static size_t fragment(uint8_t *out, uint32_t length, uint32_t from, uint32_t to)
{
    struct writer w = writer_of(out, 64);

    write_u8(&w, WIRE_FINISHED);
    write_u24(&w, length);
    write_u16(&w, SEQ);
    write_u24(&w, from);
    write_u24(&w, to - from);
    if (to > from)
        write_bytes(&w, VERIFY + from, to - from);
    assert_false(w.bad);
    return 64 - w.left;
}

static void test_whole(void **state)
{
    struct finished_message m = {0};
    uint8_t plain[64];

    (void)state;
    size_t len = fragment(plain, KEYS_VERIFY, 0, KEYS_VERIFY);
    assert_int_equal(len, FINISHED_SIZE);
    assert_int_equal(finished_take(&m, SEQ, plain, len), FINISHED_WHOLE);
    assert_memory_equal(m.verify, VERIFY, KEYS_VERIFY);
}

static void test_pieces_in_any_order_and_twice(void **state)
{
    uint8_t plain[64];

    (void)state;
    for (uint32_t cut = 0; cut <= KEYS_VERIFY; cut++) {
        struct finished_message m = {0};
        enum finished_verdict halfway =
            cut == 0 ? FINISHED_WHOLE : FINISHED_PARTLY; /* the tail is all of it */
        for (int times = 0; times < 2; times++)
            assert_int_equal(finished_take(&m, SEQ, plain, fragment(plain, 12, cut, KEYS_VERIFY)),
                             halfway);
        assert_int_equal(finished_take(&m, SEQ, plain, fragment(plain, 12, 0, cut)),
                         FINISHED_WHOLE);
        assert_memory_equal(m.verify, VERIFY, KEYS_VERIFY);
    }
}

static void test_no_byte_may_be_missing(void **state)
{
    uint8_t plain[64];

    (void)state;
    for (uint32_t gap = 0; gap < KEYS_VERIFY; gap++) {
        struct finished_message m = {0};
        for (uint32_t i = 0; i < KEYS_VERIFY; i++) {
            if (i != gap)
                assert_int_equal(finished_take(&m, SEQ, plain, fragment(plain, 12, i, i + 1)),
                                 FINISHED_PARTLY);
        }
    }
}

static void test_what_is_no_finished(void **state)
{
    uint8_t plain[64] = {0};
    size_t len = fragment(plain, KEYS_VERIFY, 0, KEYS_VERIFY);

    (void)state;
    for (size_t at = 0; at < WIRE_MESSAGE_HEADER; at++) {
        struct finished_message m = {0};
        plain[at] ^= 1;
        assert_int_not_equal(finished_take(&m, SEQ, plain, len), FINISHED_WHOLE);
        plain[at] ^= 1;
    }
    for (size_t n = 1; n < len; n++) {
        struct finished_message m = {0};
        assert_int_equal(finished_take(&m, SEQ, plain, n), FINISHED_WRONG);
    }
    struct finished_message m = {0};
    assert_int_equal(finished_take(&m, SEQ, plain, len + 1), FINISHED_WRONG);
    assert_int_equal(finished_take(&m, SEQ + 1, plain, len), FINISHED_WRONG);
    assert_int_equal(finished_take(&m, SEQ, plain, fragment(plain, 13, 0, 12)), FINISHED_WRONG);
    assert_int_equal(finished_take(&m, SEQ, plain, fragment(plain, 11, 0, 11)), FINISHED_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_pieces_in_any_order_and_twice),
        cmocka_unit_test(test_no_byte_may_be_missing),
        cmocka_unit_test(test_what_is_no_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
