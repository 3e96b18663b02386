/*
 * test_handshake_cid: connection ids (RFC 9146) negotiated with libssl's client, which knows the
 * extension but not the records: those of epoch 1 are sealed anew in between.
 */
#include "default_suites.h"
#include "handshake_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const OWN[] = {
    DEFAULT_SUITES,
    "DHE-PSK-AES128-GCM-SHA256",
};
#define OWN_COUNT (sizeof OWN / sizeof OWN[0])

/* The client's id, its length first. */
static uint8_t wire_cid[1 + WIRE_CID_MAX];

static struct rig_options asking(const char *suites, uint8_t len)
{
    wire_cid[0] = len;
    for (size_t i = 1; i <= len; i++)
        wire_cid[i] = (uint8_t)(i * 5 + 1);
    return (struct rig_options){.suites = suites, .cid = wire_cid, .cid_len = 1u + len};
}

/* The client's end, whose records bear the server's id. `has_cid` false: as libssl has it. */
static void client_end(const struct rig *rig, bool has_cid, union association_room *out)
{
    struct association_cid cid = {.peer_len = WIRE_OWN_CID, .peer = RIG_CID};

    memset(out, 0, sizeof *out);
    out->association = rig_client_association(rig);
    if (has_cid)
        association_set_cid(&out->association, &cid);
}

/* What libssl's client has sealed, for a server that would open it. */
static size_t open_of_client(const struct rig *rig, const struct rig_record *record,
                             uint8_t plain[WIRE_PLAINTEXT_MAX])
{
    struct association a = rig_client_association(rig);
    struct wire_record rec = rig_view(record);
    size_t len;

    a.keys = mirror_keys(&a.keys, a.suite);
    rig_require(record_open(rig->params.crypt, &a, &rec, plain, &len) == RECORD_OK);
    return len;
}

/* A record of the client with an id. */
static struct rig_record sealed(const struct rig *rig, uint8_t type, const void *plain, size_t len,
                                uint64_t seq)
{
    struct rig_record record;
    union association_room a;

    client_end(rig, true, &a);
    a.association.write_seq = seq;
    record.len = record_seal(rig->params.crypt, &a.association, type, plain, len, record.data);
    rig_require(record.len > 0 && record.data[0] == WIRE_CID);
    return record;
}

/* The client's second flight, its Finished sealed anew. */
static void reseal_flight(struct rig *rig)
{
    static uint8_t plain[WIRE_PLAINTEXT_MAX];

    for (size_t i = 0; i < rig->to_server.count; i++) {
        struct rig_record *record = &rig->to_server.one[i];
        if (rig_view(record).epoch == 0)
            continue;
        size_t len = open_of_client(rig, record, plain);
        *record = sealed(rig, WIRE_HANDSHAKE, plain, len, 0);
    }
}

/* Gives the client a record of the server's in the form that it knows. */
static void pass_to_client(struct rig *rig, const struct wire_record *rec)
{
    static uint8_t plain[WIRE_PLAINTEXT_MAX], record[2048];
    union association_room a;
    struct wire_record inner = *rec;
    size_t len;

    if (rec->epoch == 0)
        return rig_put(&rig->to_client, rec->whole, wire_record_size(rec));
    struct association_cid cid = {.peer_len = 0};
    client_end(rig, false, &a);
    if (rec->type ==
        WIRE_CID) { /* here the client's is the one to be opened by, as if of 8 bytes */
        memcpy(cid.own, rec->cid, WIRE_OWN_CID);
        association_set_cid(&a.association, &cid);
    }
    assert_int_equal(record_open(rig->params.crypt, &a.association, &inner, plain, &len),
                     RECORD_OK);
    struct association server = rig_client_association(rig);
    server.keys = mirror_keys(&server.keys, server.suite);
    server.write_seq = rec->seq;
    size_t n = record_seal(rig->params.crypt, &server, inner.type, plain, len, record);
    rig_put(&rig->to_client, record, n);
}

/* What the server sends goes to the client. Returns how many sealed records there were, all of
 * which have the client's id, where it has one. */
static unsigned take(struct rig *rig, size_t cid_len)
{
    uint8_t datagram[2048];
    unsigned count = 0;
    size_t n;

    while ((n = handshake_take(rig->h, datagram)) > 0) {
        struct reader r = reader_of(datagram, n);
        struct wire_record rec;
        rig_require(n <= rig->params.mtu);
        while (wire_next_record_to(&r, cid_len, &rec)) {
            count += rec.epoch == 1;
            assert_int_equal(rec.type == WIRE_CID, rec.epoch == 1 && cid_len > 0);
            if (rec.type == WIRE_CID)
                assert_memory_equal(rec.cid, wire_cid + 1, cid_len);
            if (cid_len == 0 || cid_len == WIRE_OWN_CID || rec.epoch == 0)
                pass_to_client(rig, &rec);
        }
        rig_require(!r.bad);
    }
    return count;
}

static void feed_all(struct rig *rig)
{
    for (size_t i = 0; i < rig->to_server.count; i++)
        assert_int_equal(rig_feed(rig, &rig->to_server.one[i], RIG_NOW), FATE_HANDSHAKE);
    rig_clear(&rig->to_server);
}

static void assert_settled(struct rig *rig, const struct rig_options *options)
{
    struct handshake_result result;

    assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
    handshake_finish(rig->h, &result);
    const struct association_cid *cid = association_cid(&result.association);
    assert_non_null(cid);
    assert_memory_equal(cid->own, RIG_CID, WIRE_OWN_CID);
    assert_int_equal(cid->peer_len, options->cid_len - 1);
    assert_memory_equal(cid->peer, options->cid + 1, cid->peer_len);
    assert_int_equal(result.association.write_seq, 1);
    assert_int_equal(result.association.window.map, 1);
    /* A repeated one has the id, too. */
    uint8_t out[HANDSHAKE_FAREWELL_MAX];
    size_t n =
        handshake_repeat_farewell(&result.farewell, rig->params.crypt, &result.association, out);
    assert_int_equal(out[WIRE_RECORD_HEADER + 1], options->cid_len > 1 ? WIRE_CID : WIRE_HANDSHAKE);
    assert_int_equal(n, WIRE_RECORD_HEADER + 1 + record_sealed_size(&result.association, 24));
}

static void test_every_suite_and_length(void **state)
{
    static const uint8_t LENGTHS[] = {0, 1, 8, 254, 255};

    (void)state;
    for (size_t i = 0; i < OWN_COUNT * sizeof LENGTHS; i++) {
        const struct rig_options options = asking(OWN[i % OWN_COUNT], LENGTHS[i / OWN_COUNT]);
        struct rig *rig = rig_new(&options);
        size_t cid_len = LENGTHS[i / OWN_COUNT];

        assert_non_null(handshake_cid(rig->h));
        take(rig, cid_len);
        rig_client_step(rig);
        reseal_flight(rig);
        feed_all(rig);
        assert_int_equal(take(rig, cid_len), 1);
        if (cid_len == 0 || cid_len == WIRE_OWN_CID)
            assert_int_equal(rig_client_step(rig), 1);
        assert_settled(rig, &options);
        rig_free(rig);
    }
}

static void assert_none(const struct rig_options *options, bool own_records)
{
    struct rig *rig = rig_answered(options);
    struct handshake_result result;

    assert_null(handshake_cid(rig->h));
    assert_true(rig_finish(rig, RIG_NOW + 10));
    handshake_finish(rig->h, &result);
    assert_int_equal(result.own_records, own_records);
    if (own_records)
        assert_null(association_cid(&result.association));
    engine_free(result.engine);
    rig_free(rig);
}

static void test_nobody_has_one_who_cannot_or_does_not_ask(void **state)
{
    struct rig_options options = asking(OWN[1], 8);

    (void)state;
    options.cid = NULL;
    assert_none(&options, true);
    options = asking(OWN[1], 8);
    options.has_no_cid = true;
    assert_none(&options, true);
    options = asking("PSK-AES128-CBC-SHA", 8);
    options.old_devices = true;
    assert_none(&options, false);
    options.dtls10 = true;
    assert_none(&options, false);
    options = asking(OWN[1], 255);
    options.mtu = 256; /* a Finished would not fit */
    assert_none(&options, true);
}

static bool may(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall)
{
    (void)arg, (void)psk, (void)suite, (void)wall;
    return true;
}

/* A hello that asks for ids and a ticket, of an identity for which that is long. */
static struct rig *rig_with_name(struct rig_options *options)
{
    static char line[256], name[WIRE_CID_MAX / 2];
    struct errors errors = {0};

    memset(name, 'n', sizeof name - 1);
    snprintf(line, sizeof line, "%s:" RIG_KEY, name);
    options->identity = name;
    struct rig *rig = rig_new(options);
    handshake_free(rig->h);
    psk_free(rig->keys);
    rig->params.keys = rig->keys = psk_parse("keys", line, strlen(line), false, &errors);
    errors_clear(&errors);
    rig_begin(rig);
    return rig;
}

/* With the longest of ids and the smallest of datagrams: all of it goes, in one if once more. */
static void test_the_last_flight_fits_the_mtu(void **state)
{
    struct ticket_keys keys;
    const struct resumption resumption = {&keys, "coap", 3600000, may, NULL, NULL};
    uint8_t out[HANDSHAKE_FAREWELL_MAX];

    (void)state;
    ticket_keys_init(&keys);
    for (unsigned len = 100; len <= WIRE_CID_MAX; len++) {
        struct rig_options options = asking(OWN[0], (uint8_t)len);
        struct handshake_result result;
        options.mtu = 256;
        options.resumption = &resumption;
        struct rig *rig = rig_with_name(&options);
        bool has_cid = handshake_cid(rig->h) != NULL;
        assert_true(has_cid || len > 150);
        take(rig, has_cid ? len : 0);
        rig_client_step(rig);
        if (has_cid)
            reseal_flight(rig);
        feed_all(rig);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_DONE);
        assert_int_equal(take(rig, has_cid ? len : 0), 1);
        handshake_finish(rig->h, &result);
        assert_in_range(handshake_repeat_farewell(&result.farewell, rig->params.crypt,
                                                  &result.association, out),
                        1, options.mtu);
        handshake_farewell_clear(&result.farewell);
        rig_free(rig);
    }
}

static void test_malformed_extensions_end_it(void **state)
{
    static const uint8_t WRONG[][3] = {{1, 2, 3}, {3, 2, 1}, {0, 1, 1}, {255, 0, 0}};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        const struct rig_options options = {.cid = WRONG[i % 4], .cid_len = i < 4 ? 3 : 0};
        struct rig *rig = rig_new(&options);
        uint8_t alert[2048];

        assert_int_equal(handshake_state(rig->h), HANDSHAKE_FAILED);
        assert_int_equal(handshake_take(rig->h, alert), WIRE_RECORD_HEADER + 2);
        assert_int_equal(alert[0], WIRE_ALERT);
        assert_int_equal(alert[WIRE_RECORD_HEADER + 1], 50); /* decode_error */
        rig_free(rig);
    }
}

/* A rig whose client has sent its second flight, sealed anew: ..., CCS, Finished. */
static struct rig *resealed(const char *suite)
{
    static struct rig_options options;

    options = asking(suite, 8);
    struct rig *rig = rig_new(&options);
    take(rig, 8);
    rig_client_step(rig);
    return rig;
}

static void assert_gets_through(struct rig *rig)
{
    feed_all(rig);
    assert_int_equal(take(rig, 8), 1);
    assert_int_equal(rig_client_step(rig), 1);
    rig_free(rig);
}

static void test_other_records_of_the_epoch_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = resealed(OWN[i]);
        size_t last = rig->to_server.count - 1;
        struct rig_record plainly = rig->to_server.one[last], wrong;

        for (size_t k = 0; k < last; k++)
            rig_feed(rig, &rig->to_server.one[k], RIG_NOW);
        assert_int_equal(rig_feed(rig, &plainly, RIG_NOW), FATE_DROP_TYPE);
        reseal_flight(rig);
        for (size_t at = 0; at < WIRE_OWN_CID; at++) {
            wrong = rig->to_server.one[last];
            wrong.data[11 + at] ^= 1;
            assert_int_equal(rig_feed(rig, &wrong, RIG_NOW), FATE_DROP_FORGED);
        }
        wrong = sealed(rig, WIRE_DATA, "data", 4, 1);
        assert_int_equal(rig_feed(rig, &wrong, RIG_NOW), FATE_DROP_EARLY);
        wrong = sealed(rig, WIRE_ALERT, "\1\0", 2, 2);
        assert_int_equal(rig_feed(rig, &wrong, RIG_NOW), FATE_DROP_TYPE);
        assert_int_equal(handshake_state(rig->h), HANDSHAKE_PENDING);
        rig->to_server.one[0] = rig->to_server.one[last];
        rig->to_server.count = 1;
        assert_gets_through(rig);
    }
}

static void test_a_finished_that_overtakes_is_held(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWN_COUNT; i++) {
        struct rig *rig = resealed(OWN[i]);
        struct rig_records *r = &rig->to_server;

        reseal_flight(rig);
        struct rig_record finished = r->one[r->count - 1];
        memmove(&r->one[1], &r->one[0], (r->count - 1) * sizeof r->one[0]);
        r->one[0] = finished;
        assert_gets_through(rig);
    }
}

/* The next peer's SSL is the last one's. */
static void test_no_handshake_inherits_an_id(void **state)
{
    struct rig_options options = asking(OWN[1], 8);
    struct rig *rig = rig_new(&options);

    (void)state;
    for (unsigned turn = 0; turn < 6; turn++) {
        assert_true((handshake_cid(rig->h) != NULL) == (turn % 2 == 0));
        handshake_free(rig->h);
        rig->params.offers_cid = turn % 2;
        rig_begin(rig);
    }
    rig_free(rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_suite_and_length),
        cmocka_unit_test(test_nobody_has_one_who_cannot_or_does_not_ask),
        cmocka_unit_test(test_the_last_flight_fits_the_mtu),
        cmocka_unit_test(test_malformed_extensions_end_it),
        cmocka_unit_test(test_other_records_of_the_epoch_change_nothing),
        cmocka_unit_test(test_a_finished_that_overtakes_is_held),
        cmocka_unit_test(test_no_handshake_inherits_an_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
