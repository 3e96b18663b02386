/*
 * test_handshake_hostile: a stranger who knows addresses, ports and the state of a handshake throws
 * records in between; the genuine client must get through all the same.
 */
#include "handshake_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { KEY_EXCHANGE, CCS, FINISHED };

/* The last is kept by libssl, where a forged ClientKeyExchange cannot be told. */
static const char *const SUITES[] = {"PSK-AES128-GCM-SHA256", "PSK-AES256-CCM8",
                                     "ECDHE-PSK-CHACHA20-POLY1305", "DHE-PSK-AES128-GCM-SHA256",
                                     "PSK-AES128-CBC-SHA256"};
#define OWN_COUNT 4
#define OWN_DHE_FROM 3
#define SUITE_COUNT 5

static struct rig *answered(size_t suite)
{
    return rig_answered(&(struct rig_options){.suites = SUITES[suite], .old_devices = true});
}

/* The genuine records, in a copy that a test may shuffle. */
struct flight5 {
    struct rig_record one[3];
};

static struct flight5 take_flight(struct rig *rig)
{
    struct flight5 f;

    assert_int_equal(rig->to_server.count, 3);
    memcpy(f.one, rig->to_server.one, sizeof f.one);
    rig_clear(&rig->to_server);
    return f;
}

static void put_back(struct rig *rig, const struct flight5 *f)
{
    memcpy(rig->to_server.one, f->one, sizeof f->one);
    rig->to_server.count = 3;
}

/* Whatever came in between: now the genuine flight is fed, and both ends are done. */
static void assert_gets_through(struct rig *rig, const struct flight5 *f, uint64_t now)
{
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
    put_back(rig, f);
    assert_true(rig_finish(rig, now));
    rig_free(rig);
}

/* A ClientKeyExchange like the genuine one, for another identity and with another public value. */
static struct rig_record forged_key_exchange(const struct rig_record *genuine, unsigned n)
{
    struct wire_message m = rig_message_of(genuine);
    uint8_t body[1024];

    memcpy(body, m.body, m.length);
    body[2] = (uint8_t)('A' + n % 32); /* of the identity */
    body[3] = (uint8_t)('a' + n / 32);
    body[m.length - 1] ^= 0x55;
    return rig_message(m.type, m.seq, body, m.length);
}

static struct rig_record junk_finished(uint64_t seq, size_t len)
{
    uint8_t body[600];

    memset(body, 0x5a, sizeof body);
    return rig_plain(WIRE_HANDSHAKE, UINT64_C(1) << 48 | seq, body, len);
}

/* ---- ClientKeyExchange ---- */

static void test_forged_key_exchanges_before_the_real_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        for (unsigned count = 1; count <= 9; count++) {
            struct rig *rig = answered(i);
            struct flight5 f = take_flight(rig);

            for (unsigned n = 0; n < count; n++) {
                struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], n);
                assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_HANDSHAKE);
            }
            assert_gets_through(rig, &f, RIG_NOW + 1);
        }
    }
}

static void test_forged_key_exchanges_behind_the_real_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        for (unsigned count = 1; count <= 3; count++) {
            struct rig *rig = answered(i);
            struct flight5 f = take_flight(rig);

            rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
            for (unsigned n = 0; n < count; n++) {
                struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], n);
                rig_feed(rig, &forged, RIG_NOW);
            }
            rig_feed(rig, &f.one[CCS], RIG_NOW);
            assert_int_equal(rig_feed(rig, &f.one[FINISHED], RIG_NOW), FATE_HANDSHAKE);
            assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
            rig_free(rig);
        }
    }
}

/* So many that the real one is pushed out: the client's repeat heals it. */
static void test_flood_of_key_exchanges_then_a_repeat(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);

        rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
        for (unsigned n = 0; n < 300; n++) {
            struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], n);
            rig_feed(rig, &forged, RIG_NOW);
        }
        rig_feed(rig, &f.one[CCS], RIG_NOW);
        assert_int_equal(rig_feed(rig, &f.one[FINISHED], RIG_NOW), FATE_DROP_FORGED);
        assert_gets_through(rig, &f, RIG_NOW + 1000);
    }
}

/* Each pair makes the server derive keys; the work is bounded, and the client served all the same.
 */
static void test_flood_of_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);

        rig_feed(rig, &f.one[CCS], RIG_NOW);
        for (unsigned n = 0; n < 500; n++) {
            struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], n);
            struct rig_record junk = junk_finished(n, 40);
            rig_feed(rig, &forged, RIG_NOW);
            assert_int_equal(rig_feed(rig, &junk, RIG_NOW), FATE_DROP_FORGED);
        }
        rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
        enum fate fate = rig_feed(rig, &f.one[FINISHED], RIG_NOW);
        if (handshake_state(rig->h) == HANDSHAKE_DONE) {
            rig_free(rig);
            continue;
        }
        /* DHE alone: that much work is done for now. */
        assert_int_equal(fate, FATE_DROP_FORGED);
        assert_true(i >= OWN_DHE_FROM);
        assert_gets_through(rig, &f, RIG_NOW + 1000);
    }
}

static void test_malformed_key_exchanges(void **state)
{
    static const struct {
        const char *body;
        size_t len;
        enum fate psk, other; /* what a plain PSK exchange makes of it, and one with more behind */
    } BODIES[] = {
        {"", 0, FATE_HANDSHAKE, FATE_HANDSHAKE},
        {"\0", 1, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\0", 2, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\1", 2, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\xff\xff"
         "aaaa",
         6, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\2ab\0", 5, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\2ab\0\0", 6, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\2ab\0\0\0", 7, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\2ab\xff\xff", 6, FATE_DROP_ORDER, FATE_DROP_ORDER},
        {"\0\2ab", 4, FATE_HANDSHAKE, FATE_DROP_ORDER},
    };

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        bool is_plain_psk = strncmp(SUITES[i], "PSK", 3) == 0;

        for (size_t k = 0; k < sizeof BODIES / sizeof BODIES[0]; k++) {
            struct rig_record record =
                rig_message(WIRE_CLIENT_KEY_EXCHANGE, 2, BODIES[k].body, BODIES[k].len);
            if (i >= OWN_COUNT && BODIES[k].psk == FATE_HANDSHAKE)
                continue;
            assert_int_equal(rig_feed(rig, &record, RIG_NOW),
                             is_plain_psk ? BODIES[k].psk : BODIES[k].other);
        }
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

/* Values that no honest client sends: libssl must not even see them. */
static void test_bad_public_values(void **state)
{
    static const uint8_t VALUES[] = {0, 1, 2, 4, 0xff};

    (void)state;
    for (size_t i = 2; i < OWN_COUNT; i++) {
        for (size_t k = 0; k < sizeof VALUES; k++) {
            struct rig *rig = answered(i);
            struct flight5 f = take_flight(rig);
            struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);
            size_t value = 2 + 5 + (m.length > 200 ? 2 : 1); /* identity, its length, a length */
            uint8_t body[1024];

            memcpy(body, m.body, value);
            memset(body + value, VALUES[k], m.length - value);
            struct rig_record bad = rig_message(m.type, m.seq, body, m.length);
            rig_feed(rig, &bad, RIG_NOW);
            rig_feed(rig, &f.one[CCS], RIG_NOW);
            for (unsigned n = 0; n < 30; n++) { /* one bad value is tried once */
                struct rig_record junk = junk_finished(n, 40);
                assert_true(rig_feed(rig, &junk, RIG_NOW) != FATE_DROP_SIZE);
            }
            assert_gets_through(rig, &f, RIG_NOW);
        }
    }
}

static void test_wrong_message_numbers(void **state)
{
    static const struct {
        uint16_t seq;
        enum fate fate;
    } SEQS[] = {{0, FATE_DROP_REPEAT},
                {1, FATE_DROP_REPEAT},
                {3, FATE_DROP_ORDER},
                {0x8000, FATE_DROP_ORDER},
                {0xffff, FATE_DROP_ORDER}};

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);

        for (size_t k = 0; k < sizeof SEQS / sizeof SEQS[0]; k++) {
            struct rig_record record = rig_message(m.type, SEQS[k].seq, m.body, m.length);
            assert_int_equal(rig_feed(rig, &record, RIG_NOW), SEQS[k].fate);
        }
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

static void test_other_messages_in_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);

        for (unsigned type = 0; type < 256; type++) {
            if (type == WIRE_CLIENT_KEY_EXCHANGE)
                continue;
            struct rig_record record = rig_message((uint8_t)type, m.seq, m.body, m.length);
            assert_true(fate_is_drop(rig_feed(rig, &record, RIG_NOW)));
        }
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

/* ---- fragments ---- */

static enum fate feed_fragment(struct rig *rig, const struct wire_message *whole, uint32_t offset,
                               uint32_t len)
{
    struct wire_message m = *whole;

    m.offset = offset;
    m.body = whole->body + offset;
    m.fragment_length = len;
    struct rig_record record = rig_fragment(&m);
    return rig_feed(rig, &record, RIG_NOW);
}

static void assert_completes(struct rig *rig, const struct flight5 *f)
{
    rig_feed(rig, &f->one[CCS], RIG_NOW);
    rig_feed(rig, &f->one[FINISHED], RIG_NOW);
    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    rig_free(rig);
}

static void test_key_exchange_in_single_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        for (int backwards = 0; backwards < 2; backwards++) {
            struct rig *rig = answered(i);
            struct flight5 f = take_flight(rig);
            struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);

            for (uint32_t k = 0; k < m.length; k++)
                feed_fragment(rig, &m, backwards ? m.length - 1 - k : k, 1);
            assert_completes(rig, &f);
        }
    }
}

static void test_key_exchange_in_overlapping_fragments(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);

        feed_fragment(rig, &m, 3, m.length - 3);
        feed_fragment(rig, &m, 0, 0);
        feed_fragment(rig, &m, m.length, 0);
        feed_fragment(rig, &m, 2, 4);
        feed_fragment(rig, &m, 2, 4);
        feed_fragment(rig, &m, 0, 3);
        assert_completes(rig, &f);
    }
}

/* A piece of another length makes it begin anew; the client's repeat in one piece gets through. */
static void test_fragments_of_another_length(void **state)
{
    static const uint32_t LENGTHS[] = {0, 1, 6, 8, 600, 601, 16384, 0xffffff};

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct wire_message m = rig_message_of(&f.one[KEY_EXCHANGE]);

        for (size_t k = 0; k < sizeof LENGTHS / sizeof LENGTHS[0]; k++) {
            struct wire_message other = m;
            other.length = LENGTHS[k];
            feed_fragment(rig, &m, 0, 4);
            feed_fragment(rig, &other, 0, LENGTHS[k] > 1 ? 1 : 0);
            feed_fragment(rig, &m, 5, m.length - 5);
            feed_fragment(rig, &other, LENGTHS[k], 0);
        }
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

static void test_more_messages_in_one_record(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], 1);
        struct wire_record hello = rig_view(&rig->hello);
        struct wire_record first = rig_view(&forged), second = rig_view(&f.one[KEY_EXCHANGE]);
        uint8_t body[2000];
        struct writer w = writer_of(body, sizeof body);

        write_bytes(&w, hello.body, hello.len);
        write_bytes(&w, first.body, first.len);
        write_bytes(&w, second.body, second.len);
        write_bytes(&w, "junk", 4);
        struct rig_record all = rig_plain(WIRE_HANDSHAKE, 9, body, sizeof body - w.left);
        assert_int_equal(rig_feed(rig, &all, RIG_NOW), FATE_HANDSHAKE);
        assert_completes(rig, &f);
    }
}

/* ---- ChangeCipherSpec and Finished ---- */

static void test_all_orders(void **state)
{
    static const int ORDERS[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        for (size_t k = 0; k < sizeof ORDERS / sizeof ORDERS[0]; k++) {
            struct rig *rig = answered(i);
            struct flight5 f = take_flight(rig);

            for (int n = 0; n < 3; n++) {
                assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
                assert_int_equal(rig_feed(rig, &f.one[ORDERS[k][n]], RIG_NOW), FATE_HANDSHAKE);
            }
            assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
            rig_take(rig);
            assert_int_equal(rig_client_step(rig), 1);
            rig_free(rig);
        }
    }
}

static void test_forged_ccs(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct rig_record ccs = rig_plain(WIRE_CCS, WIRE_SEQ_MAX, "\1", 1);
        struct rig_record two = rig_plain(WIRE_CCS, 0, "\1\1", 2);
        struct rig_record odd = rig_plain(WIRE_CCS, 0, "\2", 1);
        struct rig_record empty = rig_plain(WIRE_CCS, 0, "", 0);

        assert_int_equal(rig_feed(rig, &two, RIG_NOW), FATE_DROP_ORDER);
        assert_int_equal(rig_feed(rig, &odd, RIG_NOW), FATE_DROP_ORDER);
        assert_int_equal(rig_feed(rig, &empty, RIG_NOW), FATE_DROP_ORDER);
        assert_int_equal(rig_feed(rig, &ccs, RIG_NOW), FATE_HANDSHAKE);
        assert_int_equal(rig_feed(rig, &ccs, RIG_NOW), FATE_DROP_REPEAT);
        rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
        assert_int_equal(rig_feed(rig, &ccs, RIG_NOW), FATE_DROP_REPEAT);
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

/* At each point of the handshake: a thousand records that pretend to be a Finished. */
static void test_flood_of_forged_finished(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);

        for (int point = 0; point < 3; point++) {
            for (unsigned n = 0; n < 1000; n++) {
                uint64_t seq = n % 3 == 0 ? n : WIRE_SEQ_MAX - n;
                struct rig_record junk = junk_finished(seq, n % 600);
                enum fate fate = rig_feed(rig, &junk, RIG_NOW + n);
                if (n % 600 > 499)
                    assert_int_equal(fate, FATE_DROP_SIZE);
                assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
            }
            if (point < 2)
                rig_feed(rig, &f.one[point], RIG_NOW + 2000);
        }
        struct rig_record altered = f.one[FINISHED];
        altered.data[altered.len - 1] ^= 1;
        rig_feed(rig, &altered, RIG_NOW + 3000);
        assert_gets_through(rig, &f, RIG_NOW + 4000);
    }
}

/* The client sends its Finished in two records. Between them a stranger fills all places. */
static void test_split_finished_and_key_exchanges_between(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct association a = rig_client_association(rig);
        struct wire_record finished = rig_view(&f.one[FINISHED]);
        uint8_t plain[WIRE_PLAINTEXT_MAX];
        struct rig_record half[2];
        size_t len;

        assert_int_equal(mirror_open(rig->params.crypt, &a, &finished, plain, &len), RECORD_OK);
        assert_int_equal(len, WIRE_MESSAGE_HEADER + 12);
        uint8_t body[2][WIRE_MESSAGE_HEADER + 6];
        for (size_t k = 0; k < 2; k++) {
            memcpy(body[k], plain, WIRE_MESSAGE_HEADER);
            body[k][8] = (uint8_t)(6 * k); /* offset and length of the fragment */
            body[k][11] = 6;
            memcpy(body[k] + WIRE_MESSAGE_HEADER, plain + WIRE_MESSAGE_HEADER + 6 * k, 6);
            half[k].len = record_seal(rig->params.crypt, &a, WIRE_HANDSHAKE, body[k],
                                      sizeof body[k], half[k].data);
        }
        rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
        rig_feed(rig, &f.one[CCS], RIG_NOW);
        assert_int_equal(rig_feed(rig, &half[0], RIG_NOW), FATE_HANDSHAKE);
        for (unsigned n = 0; n < 8; n++) {
            struct rig_record forged = forged_key_exchange(&f.one[KEY_EXCHANGE], n);
            assert_int_equal(rig_feed(rig, &forged, RIG_NOW), FATE_DROP_REPEAT);
        }
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
        assert_int_equal(rig_feed(rig, &half[1], RIG_NOW), FATE_HANDSHAKE);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
        assert_memory_equal(handshake_identity(rig->h, &len), "known", 5);
        rig_free(rig);
    }
}

/* ---- everything else ---- */

static void test_every_type_and_epoch(void **state)
{
    static const uint64_t EPOCHS[] = {0, 1, 2, 255, 65535};

    (void)state;
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);

        for (int point = 0; point < 3; point++) {
            for (size_t e = 0; e < sizeof EPOCHS / sizeof EPOCHS[0]; e++) {
                for (unsigned type = 0; type < 256; type++) {
                    struct rig_record record =
                        rig_plain((uint8_t)type, EPOCHS[e] << 48 | WIRE_SEQ_MAX, "\2\50", 2);
                    enum fate fate = rig_feed(rig, &record, RIG_NOW);
                    bool may_be_held = e == 1 && type == WIRE_HANDSHAKE;
                    assert_true(may_be_held || fate_is_drop(fate));
                }
            }
            if (point < 2)
                rig_feed(rig, &f.one[point], RIG_NOW);
        }
        assert_gets_through(rig, &f, RIG_NOW);
    }
}

static void test_early_data_is_dropped(void **state)
{
    struct rig *rig = answered(0);
    struct flight5 f = take_flight(rig);
    struct association a = rig_client_association(rig);
    struct rig_record data;

    (void)state;
    a.write_seq = 1;
    data.len = record_seal(rig->params.crypt, &a, WIRE_DATA, (const uint8_t *)"hi", 2, data.data);
    assert_int_equal(rig_feed(rig, &data, RIG_NOW), FATE_DROP_EARLY);
    rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
    rig_feed(rig, &f.one[CCS], RIG_NOW);
    assert_int_equal(rig_feed(rig, &data, RIG_NOW), FATE_DROP_EARLY);
    assert_gets_through(rig, &f, RIG_NOW);
}

/* An authenticated peer that sends something else than a Finished harms only itself. */
static void test_wrong_finished_under_the_right_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = answered(i);
        struct flight5 f = take_flight(rig);
        struct association a = rig_client_association(rig);
        uint8_t message[WIRE_MESSAGE_HEADER + 12] = {0};
        struct rig_record wrong;

        wire_put_message_header(message, WIRE_FINISHED, 3, 12);
        wrong.len =
            record_seal(rig->params.crypt, &a, WIRE_HANDSHAKE, message, sizeof message, wrong.data);
        rig_feed(rig, &f.one[KEY_EXCHANGE], RIG_NOW);
        rig_feed(rig, &f.one[CCS], RIG_NOW);
        rig_feed(rig, &wrong, RIG_NOW);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
        assert_string_equal(handshake_why(rig->h), "the client's Finished is wrong");
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged_key_exchanges_before_the_real_one),
        cmocka_unit_test(test_forged_key_exchanges_behind_the_real_one),
        cmocka_unit_test(test_flood_of_key_exchanges_then_a_repeat),
        cmocka_unit_test(test_flood_of_pairs),
        cmocka_unit_test(test_malformed_key_exchanges),
        cmocka_unit_test(test_bad_public_values),
        cmocka_unit_test(test_wrong_message_numbers),
        cmocka_unit_test(test_other_messages_in_its_place),
        cmocka_unit_test(test_key_exchange_in_single_bytes),
        cmocka_unit_test(test_key_exchange_in_overlapping_fragments),
        cmocka_unit_test(test_fragments_of_another_length),
        cmocka_unit_test(test_more_messages_in_one_record),
        cmocka_unit_test(test_all_orders),
        cmocka_unit_test(test_forged_ccs),
        cmocka_unit_test(test_flood_of_forged_finished),
        cmocka_unit_test(test_split_finished_and_key_exchanges_between),
        cmocka_unit_test(test_every_type_and_epoch),
        cmocka_unit_test(test_early_data_is_dropped),
        cmocka_unit_test(test_wrong_finished_under_the_right_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
