/*
 * test_record: sealing and opening against records of a real libssl session and against the AEADs
 * called in another way; sizes, the replay window, sequence numbers, damage.
 */
#include "dtls/record.h"

#include "by_the_book.h"
#include "mirror.h"
#include "record_vectors.h"

#include <openssl/err.h>

#define RECORD_MAX (WIRE_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX)

static struct record_crypt *crypt;
static uint8_t sealed[RECORD_MAX + 1];
static uint8_t plain[WIRE_PLAINTEXT_MAX + 1], text[WIRE_PLAINTEXT_MAX + 1];

static size_t unhex(uint8_t *out, size_t size, const char *hex)
{
    int n = hex_decode(out, size, hex, strlen(hex));

    assert_true(n > 0);
    return (size_t)n;
}

static struct association association_of(uint16_t id)
{
    struct association a = {.suite = suite_find(id)};

    assert_non_null(a.suite);
    bytes_random(&a.keys, sizeof a.keys);
    return a;
}

/* The client's end of an association: what it seals, the server opens. */
static struct association mirror(const struct association *a)
{
    struct association client = *a;

    client.keys = mirror_keys(&a->keys, a->suite);
    return client;
}

/* Seals `len` bytes of `text` as the client with number `seq`. */
static struct wire_record from_client(const struct association *a, uint64_t seq, size_t len)
{
    struct association client = mirror(a);
    size_t n;

    client.write_seq = seq;
    n = record_seal(crypt, &client, WIRE_DATA, text, len, sealed);
    assert_true(n > 0);
    return parse(sealed, n);
}

static enum record_verdict open_seq(struct association *a, uint64_t seq)
{
    struct wire_record rec = from_client(a, seq, 20);
    size_t len;

    return record_open(crypt, a, &rec, plain, &len);
}

static void keys_of_session(const struct session *s, struct association *a)
{
    uint8_t master[KEYS_MASTER], client[WIRE_RANDOM], server[WIRE_RANDOM];
    struct keys_randoms randoms = {client, server};
    struct keys_kdf *kdf = keys_kdf_new();

    assert_non_null(kdf);
    unhex(master, sizeof master, s->master);
    unhex(client, sizeof client, s->client_random);
    unhex(server, sizeof server, s->server_random);
    memset(a, 0, sizeof *a);
    a->suite = suite_find(s->suite);
    assert_true(keys_expand(kdf, a->suite, master, &randoms, &a->keys));
    keys_kdf_free(kdf);
}

static void test_records_of_libssl_clients_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SESSIONS / sizeof SESSIONS[0]; i++) {
        struct association a;
        uint8_t record[128];
        struct wire_record rec;
        size_t len;

        keys_of_session(&SESSIONS[i], &a);
        rec = parse(record, unhex(record, sizeof record, SESSIONS[i].from_client));
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_OK);
        assert_int_equal(len, 10);
        assert_memory_equal(plain, "a question", 10);
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_REPLAY);
    }
}

static void test_sealing_gives_the_bytes_of_libssl_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SESSIONS / sizeof SESSIONS[0]; i++) {
        struct association a;
        uint8_t record[128];
        size_t n = unhex(record, sizeof record, SESSIONS[i].from_server), len;
        struct wire_record rec = parse(record, n);

        keys_of_session(&SESSIONS[i], &a);
        assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_OK);
        assert_memory_equal(plain, "the answer to it", 16);
        if (suite_is_gcm(a.suite)) /* libssl's nonces count from a random start */
            continue;
        a.write_seq = 1;
        assert_int_equal(
            record_seal(crypt, &a, WIRE_DATA, (const uint8_t *)"the answer to it", 16, sealed), n);
        assert_memory_equal(sealed, record, n);
        assert_int_equal(a.write_seq, 2);
    }
}

static void check_by_the_book(struct association *a, size_t len)
{
    static uint8_t expected[RECORD_MAX];
    const uint8_t number[8] = {0, 1, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc};
    size_t explicit_len = a->suite->explicit_len, body = explicit_len + len + a->suite->tag_len;
    struct book book = {.suite = a->suite,
                        .key = keys_server_key(&a->keys, a->suite),
                        .iv = keys_server_iv(&a->keys, a->suite),
                        .number = number,
                        .aad_len = 13};

    memcpy(book.aad, number, 8);
    book.aad[8] = WIRE_DATA;
    put_u16(book.aad + 9, 0xfefd);
    put_u16(book.aad + 11, (uint16_t)len);
    expected[0] = WIRE_DATA;
    put_u16(expected + 1, 0xfefd);
    memcpy(expected + 3, number, 8);
    put_u16(expected + 11, (uint16_t)body);
    memcpy(expected + 13, number, explicit_len);
    book_encrypt(&book, text, len, expected + 13 + explicit_len);

    a->write_seq = 0x123456789abc;
    assert_int_equal(record_seal(crypt, a, WIRE_DATA, text, len, sealed), 13 + body);
    assert_memory_equal(sealed, expected, 13 + body);
}

static void test_sealing_follows_the_rfcs_at_every_size(void **state)
{
    static const size_t SIZES[] = {0, 1, 15, 16, 17, 255, 1200, 16383, 16384};

    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);

        for (size_t j = 0; j < sizeof SIZES / sizeof SIZES[0]; j++)
            check_by_the_book(&a, SIZES[j]);
    }
}

static void test_sizes_from_empty_to_the_limit_come_back(void **state)
{
    static const size_t SIZES[] = {0, 1, 2, 64, 1199, 16383, 16384};

    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);

        for (size_t j = 0; j < sizeof SIZES / sizeof SIZES[0]; j++) {
            struct wire_record rec = from_client(&a, j, SIZES[j]);
            size_t len = 99;

            assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_OK);
            assert_int_equal(len, SIZES[j]);
            assert_memory_equal(plain, text, len);
        }
    }
}

static void test_an_empty_record_seals_from_null(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        size_t len = 99, n = record_seal(crypt, &a, WIRE_DATA, NULL, 0, sealed);
        struct wire_record rec = parse(sealed, n);

        assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_OK);
        assert_int_equal(len, 0);
    }
}

static void test_one_byte_over_the_limit_is_neither_sealed_nor_opened(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        size_t extra = (size_t)a.suite->explicit_len + a.suite->tag_len, len;
        struct wire_record rec = {
            .type = WIRE_DATA, .version = WIRE_DTLS12, .epoch = 1, .body = sealed};

        assert_int_equal(record_seal(crypt, &a, WIRE_DATA, text, WIRE_PLAINTEXT_MAX + 1, sealed),
                         0);
        assert_int_equal(a.write_seq, 0);
        rec.len = WIRE_PLAINTEXT_MAX + 1 + extra;
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_SIZE);
        rec.len = extra - 1;
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_SIZE);
        rec.len = 0;
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_SIZE);
        assert_int_equal(a.forged, 0);
        rec.len = extra;
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_FORGED);
        assert_int_equal(a.forged, 1);
    }
}

static void test_other_epochs_are_told_apart(void **state)
{
    static const uint16_t EPOCHS[] = {0, 2, 65535};

    (void)state;
    for (size_t i = 0; i < sizeof EPOCHS / sizeof EPOCHS[0]; i++) {
        struct association a = association_of(0x00a8);
        struct wire_record rec = from_client(&a, 5, 20);
        size_t len;

        rec.epoch = EPOCHS[i];
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_EPOCH);
        assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_EPOCH);
        assert_int_equal(a.forged, 0);
    }
}

/* Opens `sealed` with byte `at` changed by `bits`; nothing may come of it. */
static void check_damage(struct association *a, size_t n, size_t text_len, size_t at, uint8_t bits)
{
    const struct record_window window = a->window;
    uint64_t forged = a->forged;
    struct reader r = reader_of(sealed, n);
    struct wire_record rec;
    size_t len = 0;

    sealed[at] ^= bits;
    memset(plain, 0xaa, sizeof plain);
    if (wire_next_record(&r, &rec)) {
        enum record_verdict verdict = record_open(crypt, a, &rec, plain, &len);

        assert_int_not_equal(verdict, RECORD_OK);
        assert_int_equal(a->forged - forged, verdict == RECORD_FORGED);
        for (size_t i = 0; verdict == RECORD_FORGED && at != 12 && i < text_len; i++)
            assert_int_equal(plain[i], 0);
        for (size_t i = text_len; at != 12 && i < sizeof plain; i++)
            assert_int_equal(plain[i], 0xaa);
        assert_int_equal(ERR_peek_error(), 0);
    }
    assert_memory_equal(&a->window, &window, sizeof window);
    sealed[at] ^= bits;
}

static void test_a_change_of_any_byte_is_noticed_and_leaves_no_plaintext(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        struct wire_record rec = from_client(&a, 77, 40);
        size_t n = WIRE_RECORD_HEADER + rec.len, len;

        for (size_t at = 0; at < n; at++)
            for (int bit = 0; bit < 8; bit++)
                check_damage(&a, n, 40, at, (uint8_t)(1 << bit));
        assert_true(a.forged > 8 * rec.len);
        rec = parse(sealed, n);
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_OK);
    }
}

static void test_a_cut_or_grown_record_is_forged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        struct wire_record rec = from_client(&a, 0, 40);
        size_t whole = rec.len, extra = (size_t)a.suite->explicit_len + a.suite->tag_len, len;

        for (rec.len = extra; rec.len < whole; rec.len++)
            assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_FORGED);
        rec.len = whole + 1;
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_FORGED);
    }
}

static void test_own_records_open_with_the_write_key_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        size_t n = record_seal(crypt, &a, WIRE_HANDSHAKE, text, 24, sealed), len;
        struct wire_record rec = parse(sealed, n);

        for (int twice = 0; twice < 2; twice++)
            assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_OK);
        assert_int_equal(len, 24);
        assert_memory_equal(plain, text, 24);
        assert_int_equal(a.window.map, 0);
        assert_int_equal(record_open(crypt, &a, &rec, plain, &len), RECORD_FORGED);
        sealed[n - 1] ^= 1;
        memset(plain, 0xaa, 24);
        assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_FORGED);
        assert_int_equal(plain[0], 0);
    }
}

static void test_sequence_numbers_end_at_2_to_the_48th(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        struct association a = association_of(IDS[i]);
        struct wire_record rec;
        size_t n, len;

        a.write_seq = WIRE_SEQ_MAX;
        n = record_seal(crypt, &a, WIRE_DATA, text, 10, sealed);
        assert_true(n > 0);
        rec = parse(sealed, n);
        assert_int_equal(rec.epoch, 1);
        assert_true(rec.seq == WIRE_SEQ_MAX);
        assert_int_equal(mirror_open(crypt, &a, &rec, plain, &len), RECORD_OK);
        for (int again = 0; again < 3; again++)
            assert_int_equal(record_seal(crypt, &a, WIRE_DATA, text, 10, sealed), 0);
        assert_true(a.write_seq == WIRE_SEQ_MAX + 1);
    }
}

static void test_gcm_nonces_are_epoch_and_number(void **state)
{
    struct association a = association_of(0x00a9);

    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        size_t n = record_seal(crypt, &a, WIRE_DATA, text, 10, sealed);
        struct wire_record rec = parse(sealed, n);
        uint8_t nonce[8];

        put_u64(nonce, UINT64_C(1) << 48 | i);
        assert_memory_equal(rec.body, nonce, sizeof nonce);
        assert_int_equal(rec.seq, i);
    }
}

static void test_window_takes_64_numbers_back_and_each_once(void **state)
{
    struct association a = association_of(0xc0a8);

    (void)state;
    assert_int_equal(open_seq(&a, 1000), RECORD_OK);
    assert_int_equal(open_seq(&a, 1000), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 1000 - 63), RECORD_OK);
    assert_int_equal(open_seq(&a, 1000 - 63), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 1000 - 64), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 1000 - 65), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 999), RECORD_OK);
    assert_int_equal(open_seq(&a, 999), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 0), RECORD_REPLAY);
    assert_int_equal(a.forged, 0);
    assert_int_equal(open_seq(&a, 1001), RECORD_OK);
    assert_int_equal(open_seq(&a, 1000), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 998), RECORD_OK);
}

static void test_window_has_no_hole_at_its_ends(void **state)
{
    struct association a = association_of(0xc0a8);

    (void)state;
    assert_int_equal(open_seq(&a, 0), RECORD_OK);
    assert_int_equal(open_seq(&a, 0), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 63), RECORD_OK);
    assert_int_equal(open_seq(&a, 0), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 1), RECORD_OK);
    assert_int_equal(open_seq(&a, 127), RECORD_OK);
    assert_int_equal(open_seq(&a, 63), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 64), RECORD_OK);
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX), RECORD_OK);
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX - 63), RECORD_OK);
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX - 64), RECORD_REPLAY);
    assert_int_equal(open_seq(&a, 128), RECORD_REPLAY);
}

static void test_window_starts_anywhere(void **state)
{
    struct association a = association_of(0xc0a8);

    (void)state;
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX), RECORD_OK);
    assert_int_equal(open_seq(&a, WIRE_SEQ_MAX - 1), RECORD_OK);
    a = association_of(0xc0a8);
    assert_int_equal(open_seq(&a, 3), RECORD_OK);
    assert_int_equal(open_seq(&a, 0), RECORD_OK);
    assert_int_equal(open_seq(&a, 0), RECORD_REPLAY);
}

/* The window against a plain list of what has come. */
static void test_window_agrees_with_a_list(void **state)
{
    bool seen[4096] = {false};
    struct record_window w = {0};
    uint64_t top = 0;
    bool any = false;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint16_t noise;
        uint64_t seq;
        bool allowed;

        bytes_random(&noise, sizeof noise);
        seq = top + noise % 80;
        seq = seq > 70 ? seq - 70 : 0;
        if (seq >= 4096)
            break;
        allowed = !any || seq > top || (top - seq < 64 && !seen[seq]);
        assert_int_equal(record_window_allows(&w, seq), allowed);
        record_window_mark(&w, seq); /* old ones, too: changes nothing */
        seen[seq] = true;
        if (!any || seq > top)
            top = seq;
        any = true;
    }
    assert_true(top > 1000);
}

static int open_crypt(void **state)
{
    (void)state;
    bytes_random(text, sizeof text);
    crypt = record_crypt_new();
    return crypt ? 0 : -1;
}

static int close_crypt(void **state)
{
    (void)state;
    record_crypt_free(crypt);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_of_libssl_clients_open),
        cmocka_unit_test(test_sealing_gives_the_bytes_of_libssl_servers),
        cmocka_unit_test(test_sealing_follows_the_rfcs_at_every_size),
        cmocka_unit_test(test_sizes_from_empty_to_the_limit_come_back),
        cmocka_unit_test(test_an_empty_record_seals_from_null),
        cmocka_unit_test(test_one_byte_over_the_limit_is_neither_sealed_nor_opened),
        cmocka_unit_test(test_other_epochs_are_told_apart),
        cmocka_unit_test(test_a_change_of_any_byte_is_noticed_and_leaves_no_plaintext),
        cmocka_unit_test(test_a_cut_or_grown_record_is_forged),
        cmocka_unit_test(test_own_records_open_with_the_write_key_only),
        cmocka_unit_test(test_sequence_numbers_end_at_2_to_the_48th),
        cmocka_unit_test(test_gcm_nonces_are_epoch_and_number),
        cmocka_unit_test(test_window_takes_64_numbers_back_and_each_once),
        cmocka_unit_test(test_window_has_no_hole_at_its_ends),
        cmocka_unit_test(test_window_starts_anywhere),
        cmocka_unit_test(test_window_agrees_with_a_list),
    };

    return cmocka_run_group_tests(tests, open_crypt, close_crypt);
}
