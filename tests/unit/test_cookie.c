/*
 * test_cookie: what a cookie binds, how long it lives, and the answer's bytes.
 */
#include "dtls/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COOKIE_AT (COOKIE_ANSWER_SIZE - COOKIE_SIZE)

static const uint8_t random_bytes[WIRE_RANDOM] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
static const uint8_t session_id[] = {0xaa, 0xbb};
static const uint8_t suites[] = {0x00, 0xa8, 0x00, 0xae};
static const uint8_t compression[] = {0};

static const struct cookie_secrets fixed = {
    .key = {{{0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d,
              0x0e, 0x0f}},
            {{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d,
              0x1e, 0x1f}}},
};
static const struct addr peer = {.ip = {192, 0, 2, 1}, .port = 40000, .family = AF_INET};
static const struct addr local = {
    .ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .scope = 3, .port = 5684, .family = AF_INET6};

static struct wire_hello first_hello(void)
{
    return (struct wire_hello){
        .record_seq = 0x0102030405,
        .version = WIRE_DTLS12,
        .random = random_bytes,
        .session_id = session_id,
        .session_id_len = sizeof session_id,
        .suites = suites,
        .suites_len = sizeof suites,
        .compression = compression,
        .compression_len = sizeof compression,
    };
}

/* The hello that a client sends after cookie_answer() under `s`; the cookie is left in `answer`. */
static struct wire_hello second_hello(const struct cookie_secrets *s,
                                      uint8_t answer[COOKIE_ANSWER_SIZE])
{
    struct wire_hello h = first_hello();

    assert_int_equal(cookie_answer(s, &h, &peer, &local, answer), COOKIE_ANSWER_SIZE);
    h.record_seq++;
    h.message_seq = 1;
    h.cookie = answer + COOKIE_AT;
    h.cookie_len = COOKIE_SIZE;
    return h;
}

static bool passes(const struct cookie_secrets *s, const struct wire_hello *h)
{
    return cookie_check(s, h, &peer, &local);
}

/* The MACs come from `openssl mac -macopt size:16 siphash` over the fields written out by hand. */
static void test_known_answers(void **state)
{
    static const uint8_t even[] = {0x00, 0x09, 0xac, 0x19, 0x44, 0x12, 0x4a, 0x20, 0x02,
                                   0x6f, 0x2c, 0xb1, 0x5f, 0x24, 0x3e, 0xdb, 0xc6};
    static const uint8_t odd[] = {0x03, 0xca, 0x6d, 0xfd, 0x41, 0x9d, 0x11, 0xe7, 0xeb,
                                  0xa9, 0x54, 0xb4, 0x9d, 0xc4, 0xee, 0xd0, 0xa3};
    struct cookie_secrets s = fixed;
    uint8_t answer[COOKIE_ANSWER_SIZE];

    (void)state;
    second_hello(&s, answer);
    assert_memory_equal(answer + COOKIE_AT, even, COOKIE_SIZE);
    s.generation = 3;
    second_hello(&s, answer);
    assert_memory_equal(answer + COOKIE_AT, odd, COOKIE_SIZE);
}

static void test_answer_is_a_hello_verify_request(void **state)
{
    static const uint8_t expected[COOKIE_AT] = {
        22,   0xfe, 0xff, 0,  0, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0,  32, /* record */
        3,    0,    0,    20, 0, 0, 0,    0,    0,    0,    0,    20,     /* message */
        0xfe, 0xff, 17};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_record rec;
    struct reader r;

    (void)state;
    second_hello(&fixed, answer);
    assert_memory_equal(answer, expected, sizeof expected);
    r = reader_of(answer, sizeof answer);
    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(r.left, 0);
}

static void test_cookie_comes_back_valid(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    assert_true(passes(&fixed, &h));
    assert_true(passes(&fixed, &h)); /* nothing is kept, so it is so again */
}

static void test_other_message_seqs_count_as_without_cookie(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    for (unsigned seq = 0; seq <= UINT16_MAX; seq++) {
        h.message_seq = (uint16_t)seq;
        assert_int_equal(passes(&fixed, &h), seq == 1);
    }
}

static void test_cookie_of_another_length_is_refused(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE], longer[WIRE_COOKIE_MAX] = {0};
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    memcpy(longer, h.cookie, COOKIE_SIZE);
    h.cookie = longer;
    for (unsigned len = 0; len <= WIRE_COOKIE_MAX; len++) {
        h.cookie_len = (uint8_t)len;
        assert_int_equal(passes(&fixed, &h), len == COOKIE_SIZE);
    }
}

static void test_every_bit_of_the_cookie_counts(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    for (unsigned bit = 0; bit < 8 * COOKIE_SIZE; bit++) {
        answer[COOKIE_AT + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(passes(&fixed, &h));
        answer[COOKIE_AT + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(passes(&fixed, &h));
}

static void test_no_other_generation_is_taken(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    for (unsigned generation = 0; generation < 256; generation++) {
        answer[COOKIE_AT] = (uint8_t)generation;
        assert_int_equal(passes(&fixed, &h), generation == fixed.generation);
    }
}

static void test_cookie_binds_the_peer(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);
    struct addr other = peer;

    (void)state;
    other.ip[3] ^= 1;
    assert_false(cookie_check(&fixed, &h, &other, &local));
    other = peer;
    other.port++;
    assert_false(cookie_check(&fixed, &h, &other, &local));
    other = peer;
    other.family = AF_INET6;
    assert_false(cookie_check(&fixed, &h, &other, &local));
}

static void test_cookie_binds_the_local_address(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);
    struct addr other = local;

    (void)state;
    other.ip[15] ^= 2;
    assert_false(cookie_check(&fixed, &h, &peer, &other));
    other = local;
    other.port++;
    assert_false(cookie_check(&fixed, &h, &peer, &other));
    other = local;
    other.scope++;
    assert_false(cookie_check(&fixed, &h, &peer, &other));
    other = local;
    other.family = AF_INET;
    assert_false(cookie_check(&fixed, &h, &peer, &other));
    assert_false(cookie_check(&fixed, &h, &local, &peer));
}

static void test_cookie_binds_version_and_random(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE], other[WIRE_RANDOM];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    h.version = WIRE_DTLS10;
    assert_false(passes(&fixed, &h));
    h.version = WIRE_DTLS12;
    h.random = other;
    for (size_t i = 0; i < WIRE_RANDOM; i++) {
        memcpy(other, random_bytes, sizeof other);
        other[i] ^= 0x80;
        assert_false(passes(&fixed, &h));
    }
}

static void test_cookie_binds_the_session_id(void **state)
{
    static const uint8_t other[] = {0xaa, 0xba};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    h.session_id = other;
    assert_false(passes(&fixed, &h));
    h.session_id = session_id;
    h.session_id_len = 1;
    assert_false(passes(&fixed, &h));
    h.session_id_len = 0;
    assert_false(passes(&fixed, &h));
}

static void test_cookie_binds_the_suites(void **state)
{
    static const uint8_t other[] = {0x00, 0xa8, 0x00, 0xa9, 0x00, 0xae};
    static const uint8_t turned[] = {0x00, 0xae, 0x00, 0xa8};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    h.suites_len = 2;
    assert_false(passes(&fixed, &h));
    h.suites_len = sizeof suites;
    h.suites = turned;
    assert_false(passes(&fixed, &h));
    h.suites = other;
    h.suites_len = sizeof other;
    assert_false(passes(&fixed, &h));
}

static void test_cookie_binds_the_compression(void **state)
{
    static const uint8_t other[] = {0, 1};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    h.compression = other;
    h.compression_len = sizeof other;
    assert_false(passes(&fixed, &h));
}

/* Moving a byte from one field to its neighbour must not leave the MAC's input as it was. */
static void test_fields_do_not_run_into_each_other(void **state)
{
    uint8_t joined[] = {0x00, 0xa8, 0x00, 0xae, 0x01, 0x00};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = second_hello(&fixed, answer);

    (void)state;
    h.suites = joined;
    h.suites_len = sizeof joined;
    h.compression_len = 0;
    assert_false(passes(&fixed, &h));
}

static void test_the_longest_hello_fits(void **state)
{
    static const uint8_t many[WIRE_PLAINTEXT_MAX];
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello h = first_hello();

    (void)state;
    h.session_id_len = 0;
    h.suites = many;
    h.suites_len = WIRE_PLAINTEXT_MAX - WIRE_MESSAGE_HEADER - 2 - WIRE_RANDOM - 1 - 1 - 2 - 2;
    cookie_answer(&fixed, &h, &peer, &local, answer);
    h.message_seq = 1;
    h.cookie = answer + COOKIE_AT;
    h.cookie_len = COOKIE_SIZE;
    assert_true(passes(&fixed, &h));
    h.suites_len -= 2;
    assert_false(passes(&fixed, &h));
}

static void test_secret_lives_through_one_rotation(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct cookie_secrets s;

    (void)state;
    cookie_secrets_init(&s);
    for (unsigned turn = 0; turn < 600; turn++) { /* the generation wraps at 256 */
        struct wire_hello h = second_hello(&s, answer);

        assert_true(passes(&s, &h));
        cookie_secrets_rotate(&s);
        assert_true(passes(&s, &h));
        cookie_secrets_rotate(&s);
        assert_false(passes(&s, &h));
    }
}

static void test_older_secret_is_not_used_for_new_cookies(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct cookie_secrets s;
    struct wire_hello h;

    (void)state;
    cookie_secrets_init(&s);
    cookie_secrets_rotate(&s);
    h = second_hello(&s, answer);
    cookie_secrets_rotate(&s);
    assert_true(passes(&s, &h));
}

static void test_a_copy_of_the_secrets_checks_as_well(void **state)
{
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct cookie_secrets s, copy;
    struct wire_hello h;

    (void)state;
    cookie_secrets_init(&s);
    copy = s;
    h = second_hello(&s, answer);
    assert_true(passes(&copy, &h));
}

static void test_secrets_are_fresh_and_wiped(void **state)
{
    static const struct cookie_secrets zero;
    struct cookie_secrets a, b;

    (void)state;
    cookie_secrets_init(&a);
    cookie_secrets_init(&b);
    assert_memory_not_equal(&a.key[0], &b.key[0], sizeof a.key[0]);
    assert_memory_not_equal(&a.key[0], &a.key[1], sizeof a.key[0]);
    cookie_secrets_wipe(&a);
    assert_memory_equal(&a, &zero, sizeof a);
    cookie_secrets_wipe(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_answer_is_a_hello_verify_request),
        cmocka_unit_test(test_cookie_comes_back_valid),
        cmocka_unit_test(test_other_message_seqs_count_as_without_cookie),
        cmocka_unit_test(test_cookie_of_another_length_is_refused),
        cmocka_unit_test(test_every_bit_of_the_cookie_counts),
        cmocka_unit_test(test_no_other_generation_is_taken),
        cmocka_unit_test(test_cookie_binds_the_peer),
        cmocka_unit_test(test_cookie_binds_the_local_address),
        cmocka_unit_test(test_cookie_binds_version_and_random),
        cmocka_unit_test(test_cookie_binds_the_session_id),
        cmocka_unit_test(test_cookie_binds_the_suites),
        cmocka_unit_test(test_cookie_binds_the_compression),
        cmocka_unit_test(test_fields_do_not_run_into_each_other),
        cmocka_unit_test(test_the_longest_hello_fits),
        cmocka_unit_test(test_secret_lives_through_one_rotation),
        cmocka_unit_test(test_older_secret_is_not_used_for_new_cookies),
        cmocka_unit_test(test_a_copy_of_the_secrets_checks_as_well),
        cmocka_unit_test(test_secrets_are_fresh_and_wiped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
