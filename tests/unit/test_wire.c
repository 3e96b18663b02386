/*
 * test_wire: records, messages and the ServerHello as bytes, well-formed and hostile.
 * Inputs that are cut short lie in blocks of just their size, so that a sanitizer sees each byte
 * that is read past their end.
 */
#include "dtls/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *copy_of(const void *data, size_t len)
{
    void *p = malloc(len + (len == 0));

    assert_non_null(p);
    memcpy(p, data, len);
    return p;
}

static bool takes_record(const uint8_t *data, size_t len)
{
    uint8_t *exact = copy_of(data, len);
    struct reader r = reader_of(exact, len);
    struct wire_record rec;
    bool taken = wire_next_record(&r, &rec);

    assert_int_equal(r.bad, !taken && len > 0);
    free(exact);
    return taken;
}

static void test_records_follow_each_other_to_the_end(void **state)
{
    static const uint8_t datagram[] = {
        23,   0xfe, 0xfd, 0x01, 0x02, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0, 2, 0x55,
        0x66, 21,   0xfe, 0xff, 0,    0,    0,    0,    0,    0,    0,    1, 0, 0,
    };
    struct reader r = reader_of(datagram, sizeof datagram);
    struct wire_record rec;

    (void)state;
    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(rec.type, WIRE_DATA);
    assert_int_equal(rec.version, WIRE_DTLS12);
    assert_int_equal(rec.epoch, 0x0102);
    assert_true(rec.seq == UINT64_C(0xa1a2a3a4a5a6));
    assert_ptr_equal(rec.whole, datagram);
    assert_ptr_equal(rec.body, datagram + WIRE_RECORD_HEADER);
    assert_int_equal(rec.len, 2);
    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(rec.type, WIRE_ALERT);
    assert_int_equal(rec.len, 0);
    assert_ptr_equal(rec.whole, datagram + 15);
    assert_false(wire_next_record(&r, &rec));
    assert_false(r.bad);
}

static void test_a_cut_record_header_is_junk(void **state)
{
    static const uint8_t header[] = {22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

    (void)state;
    for (size_t len = 0; len < sizeof header; len++)
        assert_false(takes_record(header, len));
    assert_true(takes_record(header, sizeof header));
}

static void test_a_record_longer_than_its_datagram_is_junk(void **state)
{
    uint8_t data[WIRE_RECORD_HEADER + 3] = {0};

    (void)state;
    wire_put_record_header(data, WIRE_HANDSHAKE, WIRE_DTLS12, 0, 4);
    assert_false(takes_record(data, sizeof data));
    wire_put_record_header(data, WIRE_HANDSHAKE, WIRE_DTLS12, 0, 3);
    assert_true(takes_record(data, sizeof data));
}

static void test_a_record_longer_than_allowed_is_junk(void **state)
{
    static uint8_t data[WIRE_RECORD_HEADER + WIRE_CIPHERTEXT_MAX + 1];

    (void)state;
    wire_put_record_header(data, WIRE_DATA, WIRE_DTLS12, 0, WIRE_CIPHERTEXT_MAX);
    assert_true(takes_record(data, sizeof data));
    wire_put_record_header(data, WIRE_DATA, WIRE_DTLS12, 0, WIRE_CIPHERTEXT_MAX + 1);
    assert_false(takes_record(data, sizeof data));
}

static void test_only_dtls_versions_make_a_record(void **state)
{
    static const struct {
        uint16_t version;
        bool taken;
    } cases[] = {{0xfeff, true},  {0xfefd, true},  {0xfe00, true},  {0x0303, false},
                 {0xfdff, false}, {0xff00, false}, {0x0100, false}, {0, false}};
    uint8_t data[WIRE_RECORD_HEADER];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_put_record_header(data, WIRE_HANDSHAKE, cases[i].version, 0, 0);
        assert_int_equal(takes_record(data, sizeof data), cases[i].taken);
    }
}

static void test_empty_records_of_every_type_pass(void **state)
{
    uint8_t data[256 * WIRE_RECORD_HEADER + WIRE_OWN_CID] = {0};
    struct reader r = reader_of(data, sizeof data);
    struct wire_record rec;

    (void)state;
    for (size_t type = 0, at = 0; type < 256; type++) {
        wire_put_record_header(data + at, (uint8_t)type, WIRE_DTLS12, type, 0);
        at += WIRE_RECORD_HEADER +
              (type == WIRE_CID ? WIRE_OWN_CID : 0); /* of zeros, as the length */
    }
    for (size_t type = 0; type < 256; type++) {
        assert_true(wire_next_record(&r, &rec));
        assert_int_equal(rec.type, type);
        assert_int_equal(rec.seq, type);
        assert_int_equal(rec.cid != NULL, type == WIRE_CID);
    }
    assert_false(wire_next_record(&r, &rec));
    assert_false(r.bad);
}

static void test_messages_follow_each_other_to_the_end(void **state)
{
    static const uint8_t body[] = {16,   0,  0, 2, 0, 2,    0, 0, 0, 0, 0, 2, 0xaa,
                                   0xbb, 1,  1, 2, 3, 4,    5, 0, 0, 9, 0, 0, 1,
                                   0xcc, 14, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 0};
    struct reader r = reader_of(body, sizeof body);
    struct wire_message m;

    (void)state;
    assert_true(wire_next_message(&r, &m));
    assert_int_equal(m.type, WIRE_CLIENT_KEY_EXCHANGE);
    assert_int_equal(m.seq, 2);
    assert_ptr_equal(m.body, body + WIRE_MESSAGE_HEADER);
    assert_true(wire_is_whole(&m));
    assert_true(wire_next_message(&r, &m));
    assert_int_equal(m.length, 0x010203);
    assert_int_equal(m.seq, 0x0405);
    assert_int_equal(m.offset, 9);
    assert_int_equal(m.fragment_length, 1);
    assert_false(wire_is_whole(&m));
    assert_true(wire_next_message(&r, &m));
    assert_int_equal(m.seq, 0x0100);
    assert_true(wire_is_whole(&m)); /* ServerHelloDone has no body */
    assert_false(wire_next_message(&r, &m));
    assert_false(r.bad);
}

static void test_a_cut_message_is_bad(void **state)
{
    static const uint8_t body[] = {16, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0xaa, 0xbb};
    struct wire_message m;

    (void)state;
    for (size_t len = 1; len < sizeof body; len++) {
        uint8_t *exact = copy_of(body, len);
        struct reader r = reader_of(exact, len);

        assert_false(wire_next_message(&r, &m));
        assert_true(r.bad);
        free(exact);
    }
}

static void test_a_fragment_past_its_message_is_bad(void **state)
{
    static const struct {
        uint32_t length, offset;
        bool good;
    } cases[] = {{4, 0, true},  {4, 2, true},         {4, 3, false},
                 {1, 0, false}, {4, 0xffffff, false}, {0xffffff, 0xfffffd, true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t body[WIRE_MESSAGE_HEADER + 2] = {0};
        struct writer w = writer_of(body, sizeof body);
        struct reader r = reader_of(body, sizeof body);
        struct wire_message m;

        write_u8(&w, WIRE_CLIENT_KEY_EXCHANGE);
        write_u24(&w, cases[i].length);
        write_u16(&w, 0);
        write_u24(&w, cases[i].offset);
        write_u24(&w, 2);
        assert_int_equal(wire_next_message(&r, &m), cases[i].good);
        assert_int_equal(r.bad, !cases[i].good);
    }
}

static const uint8_t random_bytes[WIRE_RANDOM] = {0xd1, 0x5c, 0x09};

static size_t write_server_hello(uint8_t *out, size_t size, const uint8_t *extensions, size_t len)
{
    struct writer w = writer_of(out, size);

    write_u16(&w, WIRE_DTLS12);
    write_bytes(&w, random_bytes, WIRE_RANDOM);
    write_u8(&w, 1);
    write_u8(&w, 0x77); /* session id */
    write_u16(&w, 0x00a8);
    write_u8(&w, 0);
    write_bytes(&w, extensions, len);
    assert_false(w.bad);
    return size - w.left;
}

static void test_server_hello_tells_what_was_negotiated(void **state)
{
    static const uint8_t extensions[] = {0, 14, 0xff, 1, 0, 1, 0, 0, 23, 0, 0, 0, 1, 0, 1, 2};
    uint8_t body[128];
    struct wire_server_hello h;

    (void)state;
    assert_true(wire_parse_server_hello(
        body, write_server_hello(body, sizeof body, extensions, sizeof extensions), &h));
    assert_int_equal(h.version, WIRE_DTLS12);
    assert_int_equal(h.suite, 0x00a8);
    assert_memory_equal(h.random, random_bytes, WIRE_RANDOM);
    assert_true(h.extended_master_secret);
    assert_int_equal(h.max_fragment, 1024);
    assert_true(wire_parse_server_hello(body, write_server_hello(body, sizeof body, NULL, 0), &h));
    assert_false(h.extended_master_secret);
    assert_int_equal(h.max_fragment, 0);
}

static void test_server_hello_fragment_limits(void **state)
{
    static const size_t limits[] = {0, 512, 1024, 2048, 4096, 0};
    struct wire_server_hello h;

    (void)state;
    for (uint8_t code = 0; code < 6; code++) {
        const uint8_t extensions[] = {0, 5, 0, 1, 0, 1, code};
        uint8_t body[128];
        size_t len = write_server_hello(body, sizeof body, extensions, sizeof extensions);

        assert_int_equal(wire_parse_server_hello(body, len, &h), limits[code] != 0);
        assert_int_equal(h.max_fragment, limits[code]);
    }
}

static void test_every_cut_of_a_server_hello_is_refused(void **state)
{
    static const uint8_t extensions[] = {0, 9, 0, 23, 0, 0, 0, 1, 0, 1, 4};
    uint8_t body[128];
    size_t len = write_server_hello(body, sizeof body, extensions, sizeof extensions);
    unsigned good = 0;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *exact = copy_of(body, cut);
        struct wire_server_hello h;

        good += wire_parse_server_hello(exact, cut, &h);
        free(exact);
    }
    assert_int_equal(good, 2); /* the whole one, and the one cut just before its extensions */
}

static void test_server_hello_of_tls_is_refused(void **state)
{
    uint8_t body[128];
    size_t len = write_server_hello(body, sizeof body, NULL, 0);
    struct wire_server_hello h;

    (void)state;
    put_u16(body, 0x0303);
    assert_false(wire_parse_server_hello(body, len, &h));
}

static void test_record_header_is_written_as_it_is_read(void **state)
{
    static const uint8_t expected[] = {23, 0xfe, 0xfd, 0, 1, 2, 3, 4, 5, 6, 7, 0x40, 0x18};
    uint8_t header[WIRE_RECORD_HEADER];

    (void)state;
    wire_put_record_header(header, WIRE_DATA, WIRE_DTLS12, UINT64_C(0x0001020304050607), 0x4018);
    assert_memory_equal(header, expected, sizeof expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_follow_each_other_to_the_end),
        cmocka_unit_test(test_a_cut_record_header_is_junk),
        cmocka_unit_test(test_a_record_longer_than_its_datagram_is_junk),
        cmocka_unit_test(test_a_record_longer_than_allowed_is_junk),
        cmocka_unit_test(test_only_dtls_versions_make_a_record),
        cmocka_unit_test(test_empty_records_of_every_type_pass),
        cmocka_unit_test(test_messages_follow_each_other_to_the_end),
        cmocka_unit_test(test_a_cut_message_is_bad),
        cmocka_unit_test(test_a_fragment_past_its_message_is_bad),
        cmocka_unit_test(test_server_hello_tells_what_was_negotiated),
        cmocka_unit_test(test_server_hello_fragment_limits),
        cmocka_unit_test(test_every_cut_of_a_server_hello_is_refused),
        cmocka_unit_test(test_server_hello_of_tls_is_refused),
        cmocka_unit_test(test_record_header_is_written_as_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
