/*
 * test_candidate: fragments to messages, bodies to identities, and a bounded number of them.
 */
#include "dtls/candidate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEQ 2

static struct candidates *c;

static int setup(void **state)
{
    (void)state;
    c = calloc(1, sizeof *c);
    return c == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(c);
    return 0;
}

/* ---- assembling ---- */

static const uint8_t *give(const void *body, uint32_t length, uint32_t offset, uint32_t n)
{
    /* A block of just this size, so that a sanitizer sees a read past the fragment. */
    uint8_t *copy = malloc(n > 0 ? n : 1);
    memcpy(copy, (const uint8_t *)body + offset, n);
    const struct wire_message m = {.type = WIRE_CLIENT_KEY_EXCHANGE,
                                   .length = length,
                                   .seq = SEQ,
                                   .offset = offset,
                                   .body = copy,
                                   .fragment_length = n};
    const uint8_t *whole = candidates_assemble(c, &m);
    free(copy);
    return whole;
}

static void assert_whole(const uint8_t *message, const void *body, uint32_t length)
{
    uint8_t header[WIRE_MESSAGE_HEADER];

    assert_non_null(message);
    wire_put_message_header(header, WIRE_CLIENT_KEY_EXCHANGE, SEQ, length);
    assert_memory_equal(message, header, sizeof header);
    assert_memory_equal(message + sizeof header, body, length);
}

static void test_whole_message(void **state)
{
    (void)state;
    assert_whole(give("abcdef", 6, 0, 6), "abcdef", 6);
    /* And nothing is left of it. */
    assert_null(give("abcdef", 6, 1, 5));
}

static void test_each_split_in_two(void **state)
{
    static const char body[] = "0123456789abcdef";

    (void)state;
    for (uint32_t at = 1; at < 16; at++) {
        assert_null(give(body, 16, 0, at));
        assert_whole(give(body, 16, at, 16 - at), body, 16);
        assert_null(give(body, 16, at, 16 - at));
        assert_whole(give(body, 16, 0, at), body, 16);
    }
}

static void test_single_bytes_of_the_longest(void **state)
{
    static uint8_t body[CANDIDATE_BODY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7);
    for (uint32_t i = sizeof body - 1; i > 0; i--)
        assert_null(give(body, sizeof body, i, 1));
    assert_whole(give(body, sizeof body, 0, 1), body, sizeof body);
}

static void test_overlaps_and_repeats(void **state)
{
    (void)state;
    assert_null(give("abcdefgh", 8, 2, 4));
    assert_null(give("abcdefgh", 8, 2, 4));
    assert_null(give("abcdefgh", 8, 0, 4));
    assert_null(give("abcdefgh", 8, 3, 4));
    assert_whole(give("abcdefgh", 8, 5, 3), "abcdefgh", 8);
}

static void test_empty_fragments_say_nothing(void **state)
{
    (void)state;
    assert_null(give("", 0, 0, 0));
    assert_null(give("abcd", 4, 0, 2));
    assert_null(give("abcd", 4, 4, 0));
    assert_null(give("abcdef", 6, 0, 0)); /* of another message, even */
    assert_whole(give("abcd", 4, 2, 2), "abcd", 4);
}

static void test_longer_than_any(void **state)
{
    static uint8_t body[CANDIDATE_BODY_MAX + 1];

    (void)state;
    assert_null(give(body, sizeof body, 0, sizeof body));
    assert_null(give(body, 0xffffff, 0, 1));
}

/* The bytes of an abandoned message must not count for the next one. */
static void test_another_length_begins_anew(void **state)
{
    (void)state;
    assert_null(give("abcdef", 6, 0, 5));
    assert_null(give("ABCDEFG", 7, 5, 2));
    assert_null(give("abcdef", 6, 5, 1));
    assert_whole(give("abcdef", 6, 0, 5), "abcdef", 6);
}

static void test_whole_message_wins_over_pieces(void **state)
{
    (void)state;
    assert_null(give("XXXX", 4, 0, 3));
    assert_whole(give("good", 4, 0, 4), "good", 4);
}

/* ---- bodies ---- */

static struct candidate *add(enum suite_exchange exchange, const void *body, size_t len,
                             bool *is_repeat)
{
    uint8_t *message = malloc(WIRE_MESSAGE_HEADER + len);

    wire_put_message_header(message, WIRE_CLIENT_KEY_EXCHANGE, SEQ, (uint32_t)len);
    memcpy(message + WIRE_MESSAGE_HEADER, body, len);
    struct candidate *k =
        candidates_add(c, message, WIRE_MESSAGE_HEADER + len, exchange, is_repeat);
    free(message);
    return k;
}

static void assert_read(enum suite_exchange exchange, const char *body, size_t len,
                        const char *value)
{
    bool is_repeat = true;
    const struct candidate *k = add(exchange, body, len, &is_repeat);

    assert_non_null(k);
    assert_false(is_repeat);
    assert_int_equal(k->identity_len, 2);
    assert_memory_equal(k->identity, "me", 2);
    assert_in_range((uintptr_t)k->identity, (uintptr_t)k->message,
                    (uintptr_t)k->message + k->len - 2);
    assert_int_equal(k->public_len, strlen(value));
    assert_memory_equal(k->public_value, value, strlen(value));
    assert_null(k->psk);
    assert_false(k->is_derived);
    assert_ptr_equal(candidates_newest(c), k);
}

static void test_bodies(void **state)
{
    (void)state;
    assert_read(EXCHANGE_PSK, "\0\2me", 4, "");
    assert_read(EXCHANGE_ECDHE_PSK, "\0\2me\5point", 10, "point");
    assert_read(EXCHANGE_DHE_PSK, "\0\2me\0\5value", 11, "value");
}

static void assert_refused(enum suite_exchange exchange, const char *body, size_t len)
{
    bool is_repeat = true;

    assert_null(add(exchange, body, len, &is_repeat));
    assert_false(is_repeat);
    assert_null(candidates_newest(c));
}

static void test_malformed_bodies(void **state)
{
    static const struct {
        const char *body;
        size_t len;
    } BAD[] = {
        {"", 0},           {"\0", 1}, {"\0\0", 2}, /* no identity */
        {"\0\3me", 4},                             /* cut */
        {"\0\2me\0", 5},                           /* something behind it, or an empty value */
        {"\0\2me\0\0", 6},                         /* the same with two bytes of length */
        {"\0\2me\2a", 6},                          /* a cut value */
        {"\0\2me\0\1", 6},                         /* another */
        {"\377\377me", 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_refused(EXCHANGE_PSK, BAD[i].body, BAD[i].len);
        assert_refused(EXCHANGE_DHE_PSK, BAD[i].body, BAD[i].len);
        if (BAD[i].len != 6 || BAD[i].body[4] != 0)
            assert_refused(EXCHANGE_ECDHE_PSK, BAD[i].body, BAD[i].len);
    }
    assert_refused(EXCHANGE_ECDHE_PSK, "\0\2me", 4);
    assert_refused(EXCHANGE_DHE_PSK, "\0\2me", 4);
    assert_refused(EXCHANGE_ECDHE_PSK, "\0\2me\1ab", 7);
    assert_refused(EXCHANGE_DHE_PSK, "\0\2me\0\1ab", 8);
}

static void test_identity_of_the_longest_and_beyond(void **state)
{
    uint8_t body[2 + PSK_IDENTITY_MAX + 1];
    bool is_repeat;

    (void)state;
    memset(body, 'i', sizeof body);
    put_u16(body, PSK_IDENTITY_MAX + 1);
    assert_null(add(EXCHANGE_PSK, body, sizeof body, &is_repeat));
    put_u16(body, PSK_IDENTITY_MAX);
    assert_non_null(add(EXCHANGE_PSK, body, sizeof body - 1, &is_repeat));
}

static void test_longer_than_a_place(void **state)
{
    static uint8_t message[WIRE_MESSAGE_HEADER + CANDIDATE_BODY_MAX + 1];
    bool is_repeat;

    (void)state;
    assert_null(candidates_add(c, message, sizeof message, EXCHANGE_PSK, &is_repeat));
    assert_null(candidates_add(c, message, WIRE_MESSAGE_HEADER - 1, EXCHANGE_PSK, &is_repeat));
}

/* ---- places ---- */

static struct candidate *add_named(char name)
{
    const char body[] = {0, 1, name};
    bool is_repeat;

    return add(EXCHANGE_PSK, body, sizeof body, &is_repeat);
}

static void test_repeats_take_no_place(void **state)
{
    bool is_repeat = false;

    (void)state;
    assert_non_null(add_named('a'));
    assert_null(add(EXCHANGE_PSK, "\0\1a", 3, &is_repeat));
    assert_true(is_repeat);
    assert_null(candidates_recent(c, 1));
}

static void test_the_newest_win(void **state)
{
    (void)state;
    for (char name = 'a'; name <= 'z'; name++) {
        assert_non_null(add_named(name));
        for (char age = 0; age < CANDIDATE_COUNT && name - age >= 'a'; age++)
            assert_int_equal(candidates_recent(c, (unsigned)age)->identity[0], name - age);
        assert_int_equal(candidates_newest(c)->identity[0], name);
    }
    /* One that was pushed out may come again. */
    assert_non_null(add_named('a'));
}

static void test_a_place_taken_anew_holds_nothing_old(void **state)
{
    (void)state;
    struct candidate *k = add_named('a');
    k->is_derived = k->is_bad = true;
    memset(&k->association, 0x77, sizeof k->association);
    for (char name = 'b'; name < 'b' + CANDIDATE_COUNT; name++)
        add_named(name);
    const struct association empty = {0};
    assert_null(k->psk);
    assert_false(k->is_derived);
    assert_memory_equal(&k->association, &empty, sizeof empty);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(test_whole_message),
        WITH(test_each_split_in_two),
        WITH(test_single_bytes_of_the_longest),
        WITH(test_overlaps_and_repeats),
        WITH(test_empty_fragments_say_nothing),
        WITH(test_longer_than_any),
        WITH(test_another_length_begins_anew),
        WITH(test_whole_message_wins_over_pieces),
        WITH(test_bodies),
        WITH(test_malformed_bodies),
        WITH(test_identity_of_the_longest_and_beyond),
        WITH(test_longer_than_a_place),
        WITH(test_repeats_take_no_place),
        WITH(test_the_newest_win),
        WITH(test_a_place_taken_anew_holds_nothing_old),
    };
#undef WITH

    return cmocka_run_group_tests(tests, NULL, NULL);
}
