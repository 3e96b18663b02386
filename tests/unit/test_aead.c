/*
 * aead: whatever context was used before and for whom, each record is sealed and opened with the
 * key that is asked for.
 */
#include "dtls/aead.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CROWD 300
#define TEXT 40
#define BODY (8 + TEXT + 16)

static const uint16_t SUITES[] = {0x00a8, 0x00a9, 0xc0a4, 0xc0a8, 0xc0a9, 0xccab};
#define SUITE_COUNT (sizeof SUITES / sizeof SUITES[0])

struct end {
    const struct suite *suite;
    uint8_t key[32], iv[12];
    uint64_t number;
};

struct record {
    struct aead_header header;
    uint8_t body[BODY];
    size_t len;
};

static struct aead_contexts *contexts, *others; /* of the two ends of the wire */

static struct aead_side side_of(const struct end *e)
{
    return (struct aead_side){e->suite, e->key, e->iv, e};
}

static void end_init(struct end *e, uint16_t suite, uint64_t key, uint64_t iv)
{
    memset(e, 0, sizeof *e);
    e->suite = suite_find(suite);
    assert_non_null(e->suite);
    put_u64(e->key + e->suite->key_len - 8, key);
    put_u16(e->iv, (uint16_t)iv);
}

/* The next record of `e`, whose text tells its number. */
static void seal(struct aead_contexts *c, struct end *e, struct record *r)
{
    struct aead_side side = side_of(e);

    memset(r, 0, sizeof *r);
    put_u64(r->header.number, UINT64_C(1) << 48 | ++e->number);
    r->header.type = 23;
    r->header.version = 0xfefd;
    r->len = e->suite->explicit_len + TEXT + e->suite->tag_len;
    if (e->suite->explicit_len > 0)
        memcpy(r->body, r->header.number, 8);
    put_u64(r->body + e->suite->explicit_len, e->number);
    assert_true(aead_seal(c, &side, &r->header, r->body, r->len));
}

static bool opens(struct aead_contexts *c, const struct end *e, const struct record *r)
{
    struct aead_side side = side_of(e);
    uint8_t body[BODY], number[8];

    memcpy(body, r->body, sizeof body);
    put_u64(number, e->number);
    return aead_open(c, &side, &r->header, body, r->len) &&
           memcmp(body + e->suite->explicit_len, number, sizeof number) == 0;
}

static void both_ways(struct end *e)
{
    struct record r;

    seal(contexts, e, &r);
    assert_true(opens(others, e, &r));
    seal(others, e, &r);
    assert_true(opens(contexts, e, &r));
}

/* As when an association's memory is freed and taken again. */
static void test_another_key_at_the_same_place_is_noticed(void **state)
{
    struct end e, old;
    struct record r;

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        for (unsigned turn = 0; turn < 6; turn++) {
            end_init(&e, SUITES[i], turn, 1);
            for (int times = 0; times < 3; times++)
                both_ways(&e);
            old = e;
            seal(contexts, &old, &r);
            e.number = old.number;
            put_u64(e.key, 77);
            assert_false(opens(contexts, &e, &r));
            e = old;
            e.iv[0] ^= 1;
            assert_false(opens(contexts, &e, &r));
            e = old;
            assert_true(opens(contexts, &e, &r));
        }
    }
}

static void test_a_crowd_in_any_order_keeps_its_keys_apart(void **state)
{
    static struct end crowd[CROWD];

    (void)state;
    for (size_t i = 0; i < CROWD; i++)
        end_init(&crowd[i], SUITES[i % SUITE_COUNT], i, 0);
    srandom(1);
    for (size_t i = 0; i < 20 * CROWD; i++) {
        struct end *e = &crowd[(size_t)random() % (i % 7 == 0 ? CROWD : 20)];
        for (long times = random() % 4; times >= 0; times--)
            both_ways(e);
    }
}

static void test_another_suite_at_the_same_place_works(void **state)
{
    struct end e;

    (void)state;
    for (size_t i = 0; i < 40; i++) {
        end_init(&e, SUITES[i % SUITE_COUNT], i, 0);
        for (size_t times = 0; times <= i % 3; times++)
            both_ways(&e);
    }
}

static void test_the_same_keys_under_another_suite_are_others(void **state)
{
    struct end e;
    struct record r;

    (void)state;
    end_init(&e, 0xc0a4, 1, 1); /* CCM */
    for (int times = 0; times < 4; times++)
        both_ways(&e);
    seal(contexts, &e, &r);
    e.suite = suite_find(0x00a8); /* GCM */
    assert_false(opens(contexts, &e, &r));
    both_ways(&e);
}

static void test_a_forgery_leaves_zeros_and_the_next_record_opens(void **state)
{
    static const uint8_t zeros[BODY];
    struct end e;
    struct record r, forged;

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        end_init(&e, SUITES[i], 5, 5);
        struct aead_side side = side_of(&e);
        seal(contexts, &e, &r);
        forged = r;
        forged.body[r.len - 1] ^= 1;
        assert_false(aead_open(others, &side, &forged.header, forged.body, forged.len));
        assert_memory_equal(forged.body, zeros, r.len);
        assert_true(opens(others, &e, &r));
        both_ways(&e);
    }
}

static int open_both(void **state)
{
    (void)state;
    contexts = aead_new();
    others = aead_new();
    return contexts && others ? 0 : -1;
}

static int close_both(void **state)
{
    (void)state;
    aead_free(contexts);
    aead_free(others);
    return 0;
}

int main(void)
{
#define BOTH(test) cmocka_unit_test_setup_teardown(test, open_both, close_both)
    const struct CMUnitTest tests[] = {
        BOTH(test_another_key_at_the_same_place_is_noticed),
        BOTH(test_a_crowd_in_any_order_keeps_its_keys_apart),
        BOTH(test_another_suite_at_the_same_place_works),
        BOTH(test_the_same_keys_under_another_suite_are_others),
        BOTH(test_a_forgery_leaves_zeros_and_the_next_record_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
