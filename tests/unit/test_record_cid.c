/*
 * test_record_cid: records with connection ids (RFC 9146), held against the AEADs called by the
 * book: additional data, inner types, padding, the ids themselves, damage; beside sessions without.
 */
#include "dtls/record.h"

#include "by_the_book.h"
#include "mirror.h"

#define RECORD_MAX (WIRE_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX + 512)

static const struct association_cid CIDS = {
    .own = {3, 1, 4, 1, 5, 9, 2, 6}, .peer_len = 5, .peer = {0xca, 0xfe, 0, 25, 0xff}};

static struct record_crypt *crypt;
static uint8_t sealed[RECORD_MAX], expected[RECORD_MAX];
static uint8_t plain[WIRE_PLAINTEXT_MAX + 1], inner[WIRE_PLAINTEXT_MAX + 512];

/* What is inside: `len` bytes, the type, zeros. Returns how much. */
static size_t put_inner(uint8_t type, size_t len, size_t padding)
{
    for (size_t i = 0; i < len; i++)
        inner[i] = (uint8_t)(i * 7 + 1);
    inner[len] = type;
    memset(inner + len + 1, 0, padding);
    return len + 1 + padding;
}

static void association_make(union association_room *a, uint16_t id,
                             const struct association_cid *cid)
{
    memset(a, 0, sizeof *a);
    a->association.suite = suite_find(id);
    assert_non_null(a->association.suite);
    bytes_random(&a->association.keys, sizeof a->association.keys);
    if (cid != NULL)
        association_set_cid(&a->association, cid);
}

struct end {
    const uint8_t *key, *iv, *cid;
    uint8_t cid_len;
};

static struct end client_end(const struct association *a)
{
    return (struct end){keys_client_key(&a->keys), keys_client_iv(&a->keys, a->suite), CIDS.own,
                        WIRE_OWN_CID};
}

static struct end server_end(const struct association *a, const struct association_cid *cid)
{
    return (struct end){keys_server_key(&a->keys, a->suite), keys_server_iv(&a->keys, a->suite),
                        cid->peer, cid->peer_len};
}

/* A whole record of one end: RFC 9146 4 and 5.3, RFC 5288, 6655, 7905. Returns its length. */
static size_t seal_by_the_book(const struct association *a, const struct end *end, uint64_t seq,
                               size_t len, uint8_t *out)
{
    struct writer w = writer_of(out, RECORD_MAX);
    uint8_t number[8];
    struct book book = {.suite = a->suite,
                        .key = end->key,
                        .iv = end->iv,
                        .number = number,
                        .aad_len = 21u + end->cid_len + 2};

    put_u64(number, UINT64_C(1) << 48 | seq);
    memset(book.aad, 0xff, 8);
    book.aad[8] = 25;
    book.aad[9] = end->cid_len;
    memcpy(book.aad + 10, "\x19\xfe\xfd", 3);
    memcpy(book.aad + 13, number, 8);
    memcpy(book.aad + 21, end->cid, end->cid_len);
    put_u16(book.aad + 21 + end->cid_len, (uint16_t)len);
    write_bytes(&w, "\x19\xfe\xfd", 3);
    write_bytes(&w, number, 8);
    write_bytes(&w, end->cid, end->cid_len);
    write_u16(&w, (uint16_t)(a->suite->explicit_len + len + a->suite->tag_len));
    write_bytes(&w, number, a->suite->explicit_len);
    assert_false(w.bad);
    book_encrypt(&book, inner, len, w.at);
    return (size_t)(w.at - out) + len + a->suite->tag_len;
}

/* A client's record with `len` bytes of `inner` is opened. */
static enum record_verdict open_inner(struct association *a, uint64_t seq, size_t len,
                                      struct wire_record *rec, size_t *got)
{
    const struct end end = client_end(a);

    *rec = parse(sealed, seal_by_the_book(a, &end, seq, len, sealed));
    return record_open(crypt, a, rec, plain, got);
}

static void test_sealing_follows_the_rfc_for_every_id(void **state)
{
    static const uint8_t LENGTHS[] = {1, 2, 8, 254, 255};
    static const size_t SIZES[] = {0, 1, 15, 16, 17, 1200, WIRE_PLAINTEXT_MAX};

    (void)state;
    for (size_t i = 0; i < ID_COUNT * sizeof LENGTHS; i++) {
        union association_room a;
        struct association_cid cid = CIDS;

        cid.peer_len = LENGTHS[i / ID_COUNT];
        bytes_random(cid.peer, cid.peer_len);
        association_make(&a, IDS[i % ID_COUNT], &cid);
        const struct end end = server_end(&a.association, &cid);
        for (size_t k = 0; k < sizeof SIZES / sizeof SIZES[0]; k++) {
            size_t inner_len = put_inner(WIRE_DATA, SIZES[k], 0);
            size_t n = seal_by_the_book(&a.association, &end, 0x123456789abc, inner_len, expected);

            a.association.write_seq = 0x123456789abc;
            assert_int_equal(record_sealed_size(&a.association, SIZES[k]), n);
            assert_int_equal(record_seal(crypt, &a.association, WIRE_DATA, inner, SIZES[k], sealed),
                             n);
            assert_memory_equal(sealed, expected, n);
        }
    }
}

static void test_a_peer_with_an_empty_id_gets_plain_records(void **state)
{
    const struct association_cid cid = {.own = {1}};

    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        union association_room a;
        struct association without;

        association_make(&a, IDS[i], &cid);
        without = a.association;
        without.has_cid = false;
        size_t n = record_seal(crypt, &without, WIRE_DATA, (const uint8_t *)"data", 4, expected);
        assert_int_equal(record_sealed_size(&a.association, 4), n);
        assert_int_equal(
            record_seal(crypt, &a.association, WIRE_DATA, (const uint8_t *)"data", 4, sealed), n);
        assert_memory_equal(sealed, expected, n);
        assert_int_equal(sealed[0], WIRE_DATA);
    }
}

static void test_what_clients_seal_opens_without_its_padding(void **state)
{
    static const uint8_t TYPES[] = {WIRE_CCS, WIRE_ALERT, WIRE_HANDSHAKE, WIRE_DATA, 27, 255};
    static const size_t SIZES[] = {0, 1, 700, WIRE_PLAINTEXT_MAX};
    static const size_t PADDINGS[] = {0, 1, 15, 255};
    uint64_t seq = 0;

    (void)state;
    for (size_t i = 0; i < ID_COUNT * sizeof TYPES; i++) {
        uint8_t type = TYPES[i / ID_COUNT];
        union association_room a;

        association_make(&a, IDS[i % ID_COUNT], &CIDS);
        for (size_t k = 0; k < 16; k++) {
            size_t len = put_inner(type, SIZES[k / 4], PADDINGS[k % 4]), got;
            struct wire_record rec;

            assert_int_equal(open_inner(&a.association, ++seq, len, &rec, &got), RECORD_OK);
            assert_int_equal(rec.type, type);
            assert_int_equal(got, SIZES[k / 4]);
            assert_memory_equal(plain, inner, got);
            rec.type = WIRE_CID;
            assert_int_equal(record_open(crypt, &a.association, &rec, plain, &got), RECORD_REPLAY);
        }
    }
}

static void test_inner_plaintexts_that_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        union association_room a;
        struct wire_record rec;
        size_t got;

        association_make(&a, IDS[i], &CIDS);
        memset(inner, 0, 40);
        assert_int_equal(open_inner(&a.association, 1, 40, &rec, &got), RECORD_INNER);
        assert_int_equal(open_inner(&a.association, 2, 1, &rec, &got), RECORD_INNER);
        put_inner(WIRE_CID, 10, 0);
        assert_int_equal(open_inner(&a.association, 3, 11, &rec, &got), RECORD_INNER);
        put_inner(WIRE_DATA, WIRE_PLAINTEXT_MAX + 1, 0);
        assert_int_equal(open_inner(&a.association, 4, WIRE_PLAINTEXT_MAX + 2, &rec, &got),
                         RECORD_INNER);
        assert_int_equal(open_inner(&a.association, 5, 0, &rec, &got), RECORD_SIZE);
        /* They were authentic, the last one apart. */
        assert_int_equal(a.association.window.top, 4);
        assert_int_equal(a.association.forged, 0);
    }
}

static void test_only_our_id_in_the_right_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        union association_room a;
        struct wire_record rec;
        size_t got, len = put_inner(WIRE_DATA, 30, 0);

        association_make(&a, IDS[i], &CIDS);
        for (size_t at = 0; at < WIRE_OWN_CID; at++) {
            struct end end = client_end(&a.association);
            rec = parse(sealed, seal_by_the_book(&a.association, &end, at, len, sealed));
            sealed[11 + at] ^= 1;
            assert_int_equal(record_open(crypt, &a.association, &rec, plain, &got), RECORD_FORM);
        }
        struct association plainly = a.association;
        plainly.has_cid = false;
        plainly.keys = mirror_keys(&a.association.keys, a.association.suite);
        rec = parse(sealed, record_seal(crypt, &plainly, WIRE_DATA, inner, 30, sealed));
        assert_int_equal(record_open(crypt, &a.association, &rec, plain, &got), RECORD_FORM);
        assert_int_equal(a.association.forged, 0);
        plainly = a.association;
        plainly.has_cid = false;
        assert_int_equal(open_inner(&a.association, 9, len, &rec, &got), RECORD_OK);
        rec.type = WIRE_CID;
        assert_int_equal(record_open(crypt, &plainly, &rec, plain, &got), RECORD_FORM);
    }
}

/* Ours has 8 bytes, and the additional data say so: one sealed for a longer or shorter one is none
 * of ours, whatever the header's bytes are taken for. */
static void test_damage_anywhere_and_another_ends_id(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        union association_room a;
        size_t got, n, len = put_inner(WIRE_DATA, 20, 3);
        uint64_t forged = 0;

        association_make(&a, IDS[i], &CIDS);
        const struct end end = client_end(&a.association);
        n = seal_by_the_book(&a.association, &end, 77, len, expected);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            size_t at = bit / 8;
            memcpy(sealed, expected, n);
            sealed[at] ^= (uint8_t)(1 << bit % 8);
            struct reader r = reader_of(sealed, n);
            struct wire_record rec;
            if (!wire_next_record(&r, &rec))
                continue;
            memset(plain, 0x5a, 32);
            enum record_verdict verdict = record_open(crypt, &a.association, &rec, plain, &got);
            assert_int_not_equal(verdict, RECORD_OK);
            assert_int_not_equal(verdict, RECORD_INNER);
            forged += verdict == RECORD_FORGED;
            assert_memory_not_equal(plain, inner, 20);
        }
        assert_int_equal(a.association.forged, forged);
        assert_true(forged > 8 * (len + a.association.suite->tag_len) - 1);
        struct wire_record rec = parse(expected, n);
        assert_int_equal(record_open(crypt, &a.association, &rec, plain, &got), RECORD_OK);
    }
}

/* They share a worker's contexts, which know two modes. */
static void test_sessions_with_and_without_ids_take_turns(void **state)
{
    enum { MANY = 24, TURNS = 40 };
    static union association_room a[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        association_make(&a[i], IDS[i % ID_COUNT], i / ID_COUNT % 2 ? &CIDS : NULL);
    for (size_t turn = 0; turn < TURNS * MANY; turn++) {
        struct association *one = &a[turn / (1 + turn % 3) % MANY].association;
        struct wire_record rec;
        size_t got, len = put_inner(WIRE_DATA, 50, 0);

        if (one->has_cid) {
            assert_int_equal(open_inner(one, turn + 1, len, &rec, &got), RECORD_OK);
            const struct end end = server_end(one, &CIDS);
            size_t n = seal_by_the_book(one, &end, one->write_seq, len, expected);
            assert_int_equal(record_seal(crypt, one, WIRE_DATA, inner, 50, sealed), n);
            assert_memory_equal(sealed, expected, n);
        } else {
            struct association client = *one;
            client.keys = mirror_keys(&one->keys, one->suite);
            client.write_seq = turn + 1;
            rec = parse(sealed, record_seal(crypt, &client, WIRE_DATA, inner, 50, sealed));
            assert_int_equal(record_open(crypt, one, &rec, plain, &got), RECORD_OK);
        }
        assert_int_equal(got, 50);
        assert_memory_equal(plain, inner, 50);
    }
}

static void test_ids_are_kept_behind_the_keys_that_are_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < ID_COUNT; i++) {
        union association_room a, copy;
        struct association_cid cid = CIDS;

        association_make(&a, IDS[i], NULL);
        assert_null(association_cid(&a.association));
        assert_int_equal(association_length(&a.association), association_size(a.association.suite));
        cid.peer_len = 255;
        memset(cid.peer, 0xab, 255);
        struct record_keys keys = a.association.keys;
        association_set_cid(&a.association, &cid);
        assert_memory_equal(&keys, &a.association.keys, keys_length(a.association.suite));
        assert_true(association_length(&a.association) <= sizeof a);
        memset(&copy, 0, sizeof copy);
        memcpy(&copy, &a, association_length(&a.association));
        assert_memory_equal(association_cid(&copy.association), &cid, sizeof cid);
    }
}

static int set_up(void **state)
{
    (void)state;
    crypt = record_crypt_new();
    return crypt == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    record_crypt_free(crypt);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sealing_follows_the_rfc_for_every_id),
        cmocka_unit_test(test_a_peer_with_an_empty_id_gets_plain_records),
        cmocka_unit_test(test_what_clients_seal_opens_without_its_padding),
        cmocka_unit_test(test_inner_plaintexts_that_are_none),
        cmocka_unit_test(test_only_our_id_in_the_right_form),
        cmocka_unit_test(test_damage_anywhere_and_another_ends_id),
        cmocka_unit_test(test_sessions_with_and_without_ids_take_turns),
        cmocka_unit_test(test_ids_are_kept_behind_the_keys_that_are_used),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
