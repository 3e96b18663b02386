/* bytes: the ends of readers and writers, hex, escaping. */
#include "base/bytes.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_reader_reads_big_endian(void **state)
{
    static const uint8_t data[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                   13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
    struct reader r = reader_of(data, sizeof data);

    (void)state;
    assert_int_equal(read_u8(&r), 1);
    assert_int_equal(read_u16(&r), 0x0203);
    assert_int_equal(read_u24(&r), 0x040506);
    assert_int_equal(read_u32(&r), 0x0708090a);
    assert_true(read_u48(&r) == 0x0b0c0d0e0f10);
    assert_true(read_u64(&r) == 0x1112131415161718);
    assert_int_equal(r.left, 0);
    assert_false(r.bad);
}

static void test_reader_turns_bad_at_its_end_and_stays_so(void **state)
{
    static const uint8_t data[] = {1, 2, 3};
    struct reader r = reader_of(data, sizeof data);

    (void)state;
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(read_u8(&r), 0);
    assert_null(read_bytes(&r, 0));
    assert_true(r.bad);
    assert_int_equal(r.left, 0);
}

static void test_reader_borrows_bytes(void **state)
{
    static const uint8_t data[] = {1, 2, 3};
    struct reader r = reader_of(data, sizeof data);

    (void)state;
    assert_ptr_equal(read_bytes(&r, 2), data);
    assert_ptr_equal(read_bytes(&r, 1), data + 2);
    assert_non_null(read_bytes(&r, 0));
    assert_false(r.bad);
    assert_null(read_bytes(&r, SIZE_MAX));
    assert_true(r.bad);
}

static void test_reader_of_nothing(void **state)
{
    struct reader r = reader_of(NULL, 0);

    (void)state;
    assert_non_null(read_bytes(&r, 0));
    assert_false(r.bad);
    assert_int_equal(read_u8(&r), 0);
    assert_true(r.bad);
}

static void test_vectors_are_readers_of_their_own(void **state)
{
    static const uint8_t data[] = {2, 7, 8, 0, 1, 9, 0};
    struct reader r = reader_of(data, sizeof data);
    struct reader v8 = read_vec8(&r), v16 = read_vec16(&r), empty = read_vec8(&r);

    (void)state;
    assert_false(r.bad || v8.bad || v16.bad || empty.bad);
    assert_int_equal(v8.left, 2);
    assert_int_equal(read_u16(&v8), 0x0708);
    assert_int_equal(v16.left, 1);
    assert_int_equal(read_u8(&v16), 9);
    assert_int_equal(empty.left, 0);
    assert_int_equal(read_u8(&v8), 0);
    assert_true(v8.bad);
    assert_false(r.bad);
}

static void test_vector_that_is_cut_is_bad(void **state)
{
    static const uint8_t data[] = {0, 3, 1, 2};
    struct reader r = reader_of(data, sizeof data), v = read_vec16(&r);

    (void)state;
    assert_true(r.bad);
    assert_true(v.bad);
    assert_int_equal(v.left, 0);
    assert_int_equal(read_u8(&v), 0);
    v = read_vec8(&r);
    assert_true(v.bad);
}

static void test_writer_writes_big_endian(void **state)
{
    uint8_t out[27];
    struct writer w = writer_of(out, sizeof out);

    (void)state;
    write_u8(&w, 1);
    write_u16(&w, 0x0203);
    write_u24(&w, 0x040506);
    write_u32(&w, 0x0708090a);
    write_u48(&w, 0x0b0c0d0e0f10);
    write_u64(&w, 0x1112131415161718);
    write_bytes(&w, "\x19\x1a\x1b", 3);
    assert_false(w.bad);
    assert_int_equal(w.left, 0);
    assert_ptr_equal(w.at, out + sizeof out);
    for (size_t i = 0; i < sizeof out; i++)
        assert_int_equal(out[i], i + 1);
}

static void test_writer_never_passes_its_end(void **state)
{
    uint8_t out[4] = {0xaa, 0xaa, 0xaa, 0xaa};
    struct writer w = writer_of(out, 3);

    (void)state;
    write_u16(&w, 0x0102);
    write_u16(&w, 0x0304);
    assert_true(w.bad);
    write_u8(&w, 5);
    write_bytes(&w, "x", 1);
    assert_true(w.bad);
    assert_memory_equal(out, "\x01\x02\xaa\xaa", 4);
}

static void test_writer_of_nothing(void **state)
{
    struct writer w = writer_of(NULL, 0);

    (void)state;
    write_bytes(&w, NULL, 0);
    assert_false(w.bad);
    write_u8(&w, 1);
    assert_true(w.bad);
}

static void test_decimal(void **state)
{
    static const uint64_t numbers[] = {0, 9, 10, 65535, 1234567890, INT64_MAX, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char ours[DECIMAL_MAX], theirs[DECIMAL_MAX + 1];
        size_t len = (size_t)snprintf(theirs, sizeof theirs, "%" PRIu64, numbers[i]);

        assert_int_equal(decimal_encode(ours, numbers[i]), len);
        assert_memory_equal(ours, theirs, len);
    }
}

static void test_put_writes_in_place(void **state)
{
    uint8_t p[8];

    (void)state;
    put_u16(p, 0x0102);
    assert_memory_equal(p, "\x01\x02", 2);
    put_u48(p, 0x010203040506);
    assert_memory_equal(p, "\x01\x02\x03\x04\x05\x06", 6);
    put_u64(p, 0x0102030405060708);
    assert_memory_equal(p, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void test_hex_encode(void **state)
{
    char out[9] = "zzzzzzzz";

    (void)state;
    hex_encode(out, "\x00\x9a\xff\x10", 4);
    assert_string_equal(out, "009aff10");
    hex_encode(out, NULL, 0);
    assert_string_equal(out, "");
}

static void test_hex_decode_takes_both_cases(void **state)
{
    uint8_t out[4];

    (void)state;
    assert_int_equal(hex_decode(out, sizeof out, "009aFfAb", 8), 4);
    assert_memory_equal(out, "\x00\x9a\xff\xab", 4);
    assert_int_equal(hex_decode(out, sizeof out, "10zz", 2), 1);
    assert_int_equal(hex_decode(out, 0, "", 0), 0);
}

static void test_hex_decode_refuses(void **state)
{
    static const char outside[] = "/:@G`g \n";
    uint8_t out[2];
    char text[3] = "00";

    (void)state;
    assert_int_equal(hex_decode(out, sizeof out, "abc", 3), -1);
    assert_int_equal(hex_decode(out, sizeof out, "aabbcc", 6), -1);
    assert_int_equal(hex_decode(out, sizeof out, "0x", 2), -1);
    /* The neighbours of the digits in ASCII, and NUL at the end. */
    for (size_t i = 0; i < sizeof outside; i++) {
        text[1] = outside[i];
        assert_int_equal(hex_decode(out, sizeof out, text, 2), -1);
    }
}

static void test_equal_secret(void **state)
{
    (void)state;
    assert_true(bytes_equal_secret("abcd", "abcd", 4));
    assert_true(bytes_equal_secret("abcd", "abcx", 3));
    assert_true(bytes_equal_secret(NULL, NULL, 0));
    assert_false(bytes_equal_secret("abcd", "xbcd", 4));
    assert_false(bytes_equal_secret("abcd", "abce", 4));
    assert_false(bytes_equal_secret("\x80", "\x00", 1));
}

static void test_wipe(void **state)
{
    char secret[] = "secret";

    (void)state;
    bytes_wipe(secret, 3);
    assert_memory_equal(secret, "\0\0\0ret", 7);
    bytes_wipe(NULL, 0);
}

static void test_random_fills_all_and_differs(void **state)
{
    uint8_t a[600] = {0}, b[600] = {0};
    size_t zeros = 0;

    (void)state;
    bytes_random(a, sizeof a);
    bytes_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    /* Both ends too: sixteen zeros in a row are as good as impossible. */
    assert_memory_not_equal(a, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_not_equal(a + sizeof a - 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    for (size_t i = 0; i < sizeof a; i++)
        zeros += a[i] == 0;
    assert_true(zeros < 100);
    bytes_random(NULL, 0);
}

static void test_escape_leaves_plain_text_alone(void **state)
{
    char out[100];

    (void)state;
    assert_ptr_equal(bytes_escape(out, sizeof out, "a z~!", 5), out);
    assert_string_equal(out, "a z~!");
    assert_string_equal(bytes_escape(out, sizeof out, NULL, 0), "");
}

static void test_escape_hides_what_could_mislead(void **state)
{
    char out[100];

    (void)state;
    assert_string_equal(bytes_escape(out, sizeof out, "\n\"\\\x7f\xc3\x1f\0x", 8),
                        "\\x0a\\x22\\x5c\\x7f\\xc3\\x1f\\x00x");
}

static void test_escape_cuts_with_dots(void **state)
{
    char out[16];

    (void)state;
    assert_string_equal(bytes_escape(out, 6, "abcde", 5), "abcde");
    assert_string_equal(bytes_escape(out, 6, "abcdef", 6), "ab...");
    assert_string_equal(bytes_escape(out, 9, "a\n\n", 3), "a\\x0a...");
    assert_string_equal(bytes_escape(out, 8, "a\n\n", 3), "a...");
    assert_string_equal(bytes_escape(out, 5, "\n", 1), "\\x0a");
    assert_string_equal(bytes_escape(out, 4, "\n", 1), "...");
    assert_string_equal(bytes_escape(out, 2, "ab", 2), ".");
    assert_string_equal(bytes_escape(out, 1, "ab", 2), "");
}

static void test_escape_stays_inside_any_size(void **state)
{
    static const uint8_t data[] = "a\nb\"\xff ccc\\";

    (void)state;
    for (size_t size = 1; size < 40; size++) {
        char *out = malloc(size);

        assert_non_null(out);
        memset(out, 'Z', size);
        bytes_escape(out, size, data, sizeof data - 1);
        assert_non_null(memchr(out, '\0', size));
        free(out);
    }
}

static void test_unescape_is_the_way_back(void **state)
{
    uint8_t all[256], back[256];
    char text[4 * sizeof all + 1];

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    bytes_escape(text, sizeof text, all, sizeof all);
    assert_int_equal(bytes_unescape(back, sizeof back, text, strlen(text)), sizeof all);
    assert_memory_equal(back, all, sizeof all);
    assert_int_equal(bytes_unescape(back, 2, "\\x4Ab", 5), 2);
    assert_memory_equal(back, "Jb", 2);
    assert_int_equal(bytes_unescape(back, 0, "", 0), 0);
}

static void test_unescape_refuses(void **state)
{
    static const char *const wrong[] = {"\\",    "a\\", "\\x",   "\\x4",
                                        "\\x4g", "\\n", "\\X41", "\\\\"};
    uint8_t out[4];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(bytes_unescape(out, sizeof out, wrong[i], strlen(wrong[i])), -1);
    assert_int_equal(bytes_unescape(out, sizeof out, "12345", 5), -1);
    assert_int_equal(bytes_unescape(out, sizeof out, "\\x41", 3), -1); /* cut */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_reads_big_endian),
        cmocka_unit_test(test_reader_turns_bad_at_its_end_and_stays_so),
        cmocka_unit_test(test_reader_borrows_bytes),
        cmocka_unit_test(test_reader_of_nothing),
        cmocka_unit_test(test_vectors_are_readers_of_their_own),
        cmocka_unit_test(test_vector_that_is_cut_is_bad),
        cmocka_unit_test(test_writer_writes_big_endian),
        cmocka_unit_test(test_writer_never_passes_its_end),
        cmocka_unit_test(test_writer_of_nothing),
        cmocka_unit_test(test_decimal),
        cmocka_unit_test(test_put_writes_in_place),
        cmocka_unit_test(test_hex_encode),
        cmocka_unit_test(test_hex_decode_takes_both_cases),
        cmocka_unit_test(test_hex_decode_refuses),
        cmocka_unit_test(test_equal_secret),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_random_fills_all_and_differs),
        cmocka_unit_test(test_escape_leaves_plain_text_alone),
        cmocka_unit_test(test_escape_hides_what_could_mislead),
        cmocka_unit_test(test_escape_cuts_with_dots),
        cmocka_unit_test(test_escape_stays_inside_any_size),
        cmocka_unit_test(test_unescape_is_the_way_back),
        cmocka_unit_test(test_unescape_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
