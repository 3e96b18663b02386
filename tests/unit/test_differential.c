/*
 * test_differential: our record layer beside libssl's, on the same keys and the same records in the
 * same order: same verdict, same plaintext. Each suite of the default list, both directions.
 * DTLSGATE_DIFF_RECORDS: records per suite and direction. DTLSGATE_DIFF_SEED: the order of events.
 */
#include "default_suites.h"
#include "mirror.h"
#include "ssl_pair.h"

#include <openssl/err.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DEFAULT_RECORDS 100000
#define RECORD_MAX (WIRE_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX)
#define HISTORY 160 /* of sealed records: more than two windows */
#define GROWTH 40   /* of a record that was made longer */

static const char *const SUITES[] = {DEFAULT_SUITES};
#define SUITE_COUNT (sizeof SUITES / sizeof SUITES[0])

struct sent {
    size_t len;
    size_t plain_len;
    size_t plain_at; /* in `noise` */
    uint8_t data[RECORD_MAX];
};

/* One direction: who seals, and the two who open. */
struct scene {
    void (*seal)(struct sent *s);
    SSL *reader;
    struct pair_queue *queue;
    struct association opener;
    unsigned long taken, refused;
};

static uint64_t seed, random_state;
static unsigned long records = DEFAULT_RECORDS;
static struct keys_kdf *kdf;
static struct record_crypt *crypt;
static struct ssl_pair *pair;
static struct association association; /* what dtlsgate would hold for `pair` */
static struct scene scene;
static struct sent history[HISTORY];
static uint64_t sent_count;
static uint8_t noise[2 * WIRE_PLAINTEXT_MAX];

/* splitmix64 */
static uint64_t random_next(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t random_below(size_t n)
{
    return (size_t)(random_next() % n);
}

/* Mostly small, as traffic is, yet each size from `least` up to the largest comes. */
static size_t random_size(size_t least)
{
    switch (random_below(32)) {
    case 0:
        return least;
    case 1:
        return WIRE_PLAINTEXT_MAX - random_below(3);
    case 2:
        return least + random_below(WIRE_PLAINTEXT_MAX + 1 - least);
    case 3:
    case 4:
    case 5:
    case 6:
        return least + random_below(1500);
    default:
        return least + random_below(256);
    }
}

/* One of the newest: in reach of the window mostly, at times behind it. */
static const struct sent *any_sent(void)
{
    size_t back = random_below(4) ? random_below(70) : random_below(HISTORY);

    return &history[(sent_count - 1 - (back < sent_count ? back : 0)) % HISTORY];
}

/* libssl's word on a datagram: the plaintext's length, or -1. */
static int libssl_open(const uint8_t *data, size_t len, uint8_t *plain)
{
    int n, error;

    pair_push(scene.queue, data, len);
    n = SSL_read(scene.reader, plain, WIRE_PLAINTEXT_MAX);
    if (n > 0)
        return n;
    error = SSL_get_error(scene.reader, n);
    if (n == 0 && error == SSL_ERROR_SYSCALL)
        return 0; /* its way to tell of an empty record */
    if (error != SSL_ERROR_WANT_READ)
        fail_msg("%s: seed %" PRIu64 ", record %" PRIu64 ": libssl gave up, error %d: %s",
                 scene.opener.suite->name, seed, sent_count, error,
                 ERR_error_string(ERR_peek_error(), NULL));
    return -1;
}

static int our_open(const uint8_t *data, size_t len, uint8_t *plain)
{
    struct reader r = reader_of(data, len);
    struct wire_record rec;
    size_t n;

    if (!wire_next_record(&r, &rec) ||
        record_open(crypt, &scene.opener, &rec, plain, &n) != RECORD_OK)
        return -1;
    return (int)n;
}

enum mutation {
    FLIP_BODY,
    FLIP_TAG,
    FLIP_FRONT, /* the explicit nonce, where there is one */
    OTHER_TYPE,
    OTHER_VERSION,
    OTHER_EPOCH,
    OTHER_SEQ,
    SHORTER, /* with a length field to match */
    LONGER,
    CUT, /* with the length field left as it was */
    MUTATIONS
};

/* A record with a body of another length and a length field to match. */
static size_t resize(uint8_t *data, size_t len, bool longer)
{
    size_t by = 1 + random_below(GROWTH);

    if (longer) {
        memcpy(data + len, noise, by);
        len += by;
    } else {
        len = by < len - WIRE_RECORD_HEADER ? len - by : WIRE_RECORD_HEADER;
    }
    put_u16(data + 11, (uint16_t)(len - WIRE_RECORD_HEADER));
    return len;
}

static size_t mutate(uint8_t *data, size_t len, enum mutation how)
{
    uint8_t bit = (uint8_t)(1 << random_below(8));
    size_t body = len - WIRE_RECORD_HEADER;

    switch (how) {
    case FLIP_BODY:
        data[WIRE_RECORD_HEADER + random_below(body)] ^= bit;
        return len;
    case FLIP_TAG:
        data[len - 1 - random_below(association.suite->tag_len)] ^= bit;
        return len;
    case FLIP_FRONT:
        data[WIRE_RECORD_HEADER + random_below(8)] ^= bit;
        return len;
    case OTHER_TYPE:
        data[0] ^= bit;
        return len;
    case OTHER_VERSION:
        data[1 + random_below(2)] ^= bit;
        return len;
    case OTHER_EPOCH:
        data[3 + random_below(2)] ^= bit;
        return len;
    case OTHER_SEQ:
        data[5 + random_below(6)] ^= bit;
        return len;
    case SHORTER:
    case LONGER:
        return resize(data, len, how == LONGER);
    default:
        return 1 + random_below(len - 1);
    }
}

/* Hands one datagram to libssl and to us. True when both took it. */
static bool both_open(const uint8_t *data, size_t len, const struct sent *original)
{
    static uint8_t ours[WIRE_PLAINTEXT_MAX], theirs[WIRE_PLAINTEXT_MAX];
    int our_len = our_open(data, len, ours);
    int their_len = libssl_open(data, len, theirs);

    if (our_len != their_len || (our_len > 0 && memcmp(ours, theirs, (size_t)our_len) != 0)) {
        char hex[2 * 64 + 1];

        hex_encode(hex, data, len < 64 ? len : 64);
        fail_msg("%s: seed %" PRIu64 ", record %" PRIu64 ": ours %d, libssl's %d, %zu bytes: %s",
                 scene.opener.suite->name, seed, sent_count, our_len, their_len, len, hex);
    }
    if (our_len < 0) {
        scene.refused++;
        return false;
    }
    assert_int_equal(our_len, original->plain_len);
    assert_memory_equal(ours, noise + original->plain_at, original->plain_len);
    scene.taken++;
    return true;
}

static void deliver_damaged(void)
{
    static uint8_t copy[RECORD_MAX + GROWTH];
    const struct sent *s = any_sent();

    memcpy(copy, s->data, s->len);
    assert_false(both_open(copy, mutate(copy, s->len, random_below(MUTATIONS)), s));
}

/* Seals `count` records; most arrive at once, some late, twice, damaged, or never. */
static void run(unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        struct sent *s = &history[sent_count++ % HISTORY];
        bool arrives = random_below(8) > 0;

        s->plain_at = random_below(WIRE_PLAINTEXT_MAX);
        scene.seal(s);
        if (random_below(3) == 0)
            deliver_damaged();
        if (arrives && !both_open(s->data, s->len, s))
            fail_msg("%s: seed %" PRIu64 ", record %" PRIu64 ": both refuse a new record",
                     scene.opener.suite->name, seed, sent_count);
        if (random_below(3) == 0) {
            const struct sent *late = any_sent();

            (void)both_open(late->data, late->len, late);
        }
    }
}

/* libssl has no way to send an empty record. */
static void seal_by_libssl(struct sent *s)
{
    const struct pair_datagram *d;

    s->plain_len = random_size(1);
    assert_int_equal(SSL_write(pair->client, noise + s->plain_at, (int)s->plain_len), s->plain_len);
    d = pair_pop(&pair->to_server);
    assert_non_null(d);
    assert_true(d->len <= sizeof s->data);
    memcpy(s->data, d->data, d->len);
    s->len = d->len;
}

/* With gaps in the numbers, as losses make them. */
static void seal_by_us(struct sent *s)
{
    if (random_below(64) == 0)
        association.write_seq += random_below(random_below(64) ? 100 : UINT32_MAX);
    s->plain_len = random_size(0);
    s->len =
        record_seal(crypt, &association, WIRE_DATA, noise + s->plain_at, s->plain_len, s->data);
    assert_true(s->len > 0);
}

static void start(const char *suite)
{
    struct pair_psk psk = {.len = 32};

    bytes_random(psk.key, psk.len);
    pair = pair_new(suite, &psk, true);
    assert_non_null(pair);
    assert_true(pair_association(pair, kdf, &association));
    assert_string_equal(association.suite->name, suite);
    assert_int_equal(association.write_seq, 1);
    memset(&scene, 0, sizeof scene);
    scene.opener = association;
    record_window_mark(&scene.opener.window, 0); /* the Finished */
    sent_count = 0;
}

static void finish(unsigned long count)
{
    print_message("%s: %lu sealed; both took %lu, both refused %lu\n", association.suite->name,
                  count, scene.taken, scene.refused);
    assert_true(scene.taken >= count * 3 / 4);
    assert_true(scene.refused >= count / 4);
    pair_free(pair);
    pair = NULL;
}

/* As start(), but libssl's client is the one that reads: our opener gets the server's keys. */
static void start_to_client(const char *suite)
{
    start(suite);
    scene.reader = pair->client;
    scene.queue = &pair->to_client;
    scene.seal = seal_by_us;
    scene.opener.keys = mirror_keys(&association.keys, association.suite);
}

static void test_both_judge_alike_what_libssl_seals(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        start(SUITES[i]);
        scene.reader = pair->server;
        scene.queue = &pair->to_server;
        scene.seal = seal_by_libssl;
        run(records);
        finish(records);
    }
}

static void test_both_judge_alike_what_we_seal(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        start_to_client(SUITES[i]);
        run(records);
        finish(records);
    }
}

static void test_both_take_the_last_sequence_numbers(void **state)
{
    uint8_t record[RECORD_OVERHEAD_MAX + 1];

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        start_to_client(SUITES[i]);
        association.write_seq = WIRE_SEQ_MAX - 99;
        for (int n = 0; n < 100; n++) {
            struct sent *s = &history[sent_count++ % HISTORY];

            s->plain_len = 1;
            s->len = record_seal(crypt, &association, WIRE_DATA, noise, 1, s->data);
            s->plain_at = 0;
            assert_true(both_open(s->data, s->len, s));
            assert_false(both_open(s->data, s->len, s));
        }
        assert_int_equal(record_seal(crypt, &association, WIRE_DATA, noise, 1, record), 0);
        for (size_t back = 0; back < 100; back++)
            assert_false(both_open(history[back].data, history[back].len, &history[back]));
        pair_free(pair);
    }
}

static int open_all(void **state)
{
    const char *count = getenv("DTLSGATE_DIFF_RECORDS"), *start_at = getenv("DTLSGATE_DIFF_SEED");

    (void)state;
    bytes_random(&seed, sizeof seed);
    if (start_at)
        seed = strtoull(start_at, NULL, 10);
    if (count)
        records = strtoul(count, NULL, 10);
    random_state = seed;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)random_next();
    print_message("seed %" PRIu64 "\n", seed);
    kdf = keys_kdf_new();
    crypt = record_crypt_new();
    return kdf && crypt ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    keys_kdf_free(kdf);
    record_crypt_free(crypt);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_judge_alike_what_libssl_seals),
        cmocka_unit_test(test_both_judge_alike_what_we_seal),
        cmocka_unit_test(test_both_take_the_last_sequence_numbers),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
