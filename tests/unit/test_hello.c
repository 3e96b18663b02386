/*
 * test_hello: what wire_parse_hello() takes for a ClientHello, and what it refuses.
 * Inputs that are cut short lie in blocks of just their size, so that a sanitizer sees each byte
 * that is read past their end.
 */
#include "dtls/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADERS (WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER)

/* The second hello of gnutls-cli 3.7.9: a cookie of 17 bytes, extensions. */
static const char gnutls_hello[] =
    "16feff000000000000000100c9010000bd00010000000000bdfefdf1cee74f3ce13a22c40220d596951f1770"
    "4da91d7b89ee28db1ecbcd80e2774c00110102030405060708090a0b0c0d0e0f1011001c00a9ccabc0a5008d"
    "00a8c0a4008c00abccadc0a7009100aac0a6009001000066000500050100000000000a001600140100010101"
    "0201030104001700180019001d001e000b00020100000d00220020040108090804040308070501080a080505"
    "0308080601080b0806060302010203001600000017000000230000ff01000100001c00024000";

/* The body of the hello that Erlang/OTP 20.3 sent, without any extension. */
static const uint8_t otp_random[WIRE_RANDOM] = {91, 41,  130, 211, 124, 91,  38, 102, 66,  231, 76,
                                                27, 43,  210, 205, 118, 211, 78, 25,  37,  177, 52,
                                                12, 123, 116, 64,  22,  55,  44, 86,  102, 100};
static const uint8_t otp_cookie[20] = {86,  18,  108, 113, 78, 236, 230, 56,  65,  27,
                                       204, 119, 145, 92,  85, 225, 26,  165, 144, 105};
static const uint8_t otp_suites[] = {0x00, 0xff, 0x00, 0x8c};

struct parts {
    uint16_t version;
    size_t session_id_len;
    const uint8_t *cookie;
    size_t cookie_len;
    const uint8_t *suites;
    size_t suites_len;
    const uint8_t *compression;
    size_t compression_len;
    const uint8_t *extensions; /* with their length; NULL for none */
    size_t extensions_size;
};

static const uint8_t null_compression[] = {0};

static const struct parts usual = {
    .version = WIRE_DTLS10,
    .cookie = otp_cookie,
    .cookie_len = sizeof otp_cookie,
    .suites = otp_suites,
    .suites_len = sizeof otp_suites,
    .compression = null_compression,
    .compression_len = sizeof null_compression,
};

static size_t write_message(uint8_t *out, uint8_t type, const uint8_t *body, size_t len)
{
    struct writer w = writer_of(out, WIRE_MESSAGE_HEADER + len);

    write_u8(&w, type);
    write_u24(&w, (uint32_t)len);
    write_u16(&w, 1);
    write_u24(&w, 0);
    write_u24(&w, (uint32_t)len);
    write_bytes(&w, body, len);
    assert_false(w.bad);
    return WIRE_MESSAGE_HEADER + len;
}

static size_t write_hello_body(uint8_t *out, size_t size, const struct parts *p)
{
    static const uint8_t session_id[255];
    struct writer w = writer_of(out, size);

    write_u16(&w, p->version);
    write_bytes(&w, otp_random, sizeof otp_random);
    write_u8(&w, (uint8_t)p->session_id_len);
    write_bytes(&w, session_id, p->session_id_len);
    write_u8(&w, (uint8_t)p->cookie_len);
    write_bytes(&w, p->cookie, p->cookie_len);
    write_u16(&w, (uint16_t)p->suites_len);
    write_bytes(&w, p->suites, p->suites_len);
    write_u8(&w, (uint8_t)p->compression_len);
    write_bytes(&w, p->compression, p->compression_len);
    write_bytes(&w, p->extensions, p->extensions_size);
    assert_false(w.bad);
    return size - w.left;
}

static struct wire_record record_of(const uint8_t *body, size_t len)
{
    return (struct wire_record){
        .type = WIRE_HANDSHAKE, .version = WIRE_DTLS10, .seq = 7, .body = body, .len = len};
}

static enum wire_hello_status parse_parts(const struct parts *p)
{
    static uint8_t body[WIRE_CIPHERTEXT_MAX], message[WIRE_MESSAGE_HEADER + WIRE_CIPHERTEXT_MAX];
    struct wire_record rec;
    struct wire_hello hello;
    size_t len = write_hello_body(body, sizeof body, p);

    len = write_message(message, WIRE_CLIENT_HELLO, body, len);
    rec = record_of(message, len);
    return wire_parse_hello(&rec, &hello);
}

static size_t real_hello(uint8_t *out, size_t size)
{
    int len = hex_decode(out, size, gnutls_hello, strlen(gnutls_hello));

    assert_true(len > HEADERS);
    return (size_t)len;
}

static void *copy_of(const void *data, size_t len)
{
    void *p = malloc(len + (len == 0));

    assert_non_null(p);
    memcpy(p, data, len);
    return p;
}

static void test_hello_without_extensions_parses(void **state)
{
    uint8_t body[256], message[256];
    size_t body_len = write_hello_body(body, sizeof body, &usual);
    size_t len = write_message(message, WIRE_CLIENT_HELLO, body, body_len);
    struct wire_record rec = record_of(message, len);
    struct wire_hello h;

    (void)state;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_OK);
    assert_int_equal(h.record_seq, 7);
    assert_int_equal(h.message_seq, 1);
    assert_int_equal(h.version, WIRE_DTLS10);
    assert_memory_equal(h.random, otp_random, WIRE_RANDOM);
    assert_int_equal(h.session_id_len, 0);
    assert_int_equal(h.cookie_len, sizeof otp_cookie);
    assert_memory_equal(h.cookie, otp_cookie, sizeof otp_cookie);
    assert_int_equal(h.suites_len, sizeof otp_suites);
    assert_memory_equal(h.suites, otp_suites, sizeof otp_suites);
    assert_int_equal(h.compression_len, 1);
    assert_null(h.extensions);
    assert_int_equal(h.extensions_len, 0);
}

static void test_hello_with_extensions_parses(void **state)
{
    uint8_t datagram[512];
    size_t len = real_hello(datagram, sizeof datagram);
    struct reader r = reader_of(datagram, len);
    struct wire_record rec;
    struct wire_hello h;

    (void)state;
    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_OK);
    assert_int_equal(h.version, WIRE_DTLS12);
    assert_int_equal(h.message_seq, 1);
    assert_int_equal(h.cookie_len, 17);
    assert_int_equal(h.cookie[0], 1);
    assert_non_null(h.extensions);
    assert_ptr_equal(h.extensions + h.extensions_len, datagram + len);
}

static void test_every_cut_of_a_hello_is_refused(void **state)
{
    uint8_t datagram[512];
    size_t len = real_hello(datagram, sizeof datagram);
    struct wire_hello h;

    (void)state;
    for (size_t cut = WIRE_RECORD_HEADER; cut < len; cut++) {
        size_t body_len = cut - WIRE_RECORD_HEADER;
        uint8_t *exact = copy_of(datagram + WIRE_RECORD_HEADER, body_len);
        struct wire_record rec = record_of(exact, body_len);

        assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
        free(exact);
    }
}

static void test_every_cut_of_a_hello_body_is_refused(void **state)
{
    uint8_t datagram[512], message[512];
    size_t len = real_hello(datagram, sizeof datagram);
    size_t body_len = len - HEADERS;
    unsigned good = 0;

    (void)state;
    for (size_t cut = 0; cut <= body_len; cut++) {
        size_t size = write_message(message, WIRE_CLIENT_HELLO, datagram + HEADERS, cut);
        uint8_t *exact = copy_of(message, size);
        struct wire_record rec = record_of(exact, size);
        struct wire_hello h;

        good += wire_parse_hello(&rec, &h) == WIRE_HELLO_OK;
        free(exact);
    }
    assert_int_equal(good, 2); /* the whole one, and the one cut just before its extensions */
}

static void test_hello_must_fill_its_record(void **state)
{
    uint8_t body[256], message[600];
    size_t body_len = write_hello_body(body, sizeof body, &usual);
    size_t len = write_message(message, WIRE_CLIENT_HELLO, body, body_len);
    struct wire_record rec;
    struct wire_hello h;

    (void)state;
    message[len] = 0;
    rec = record_of(message, len + 1);
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
    len += write_message(message + len, WIRE_CLIENT_HELLO, body, body_len);
    rec = record_of(message, len);
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
}

static void test_hello_elsewhere_is_refused(void **state)
{
    uint8_t body[256], message[256];
    size_t body_len = write_hello_body(body, sizeof body, &usual);
    size_t len = write_message(message, WIRE_CLIENT_HELLO, body, body_len);
    struct wire_record rec = record_of(message, len);
    struct wire_hello h;

    (void)state;
    rec.epoch = 1;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
    rec.epoch = 0;
    rec.type = WIRE_DATA;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
    rec.type = WIRE_HANDSHAKE;
    message[0] = WIRE_SERVER_HELLO;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
    message[0] = WIRE_CLIENT_HELLO;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_OK);
}

static void test_hello_versions(void **state)
{
    static const struct {
        uint16_t version;
        enum wire_hello_status status;
    } cases[] = {{0xfeff, WIRE_HELLO_OK},  {0xfefd, WIRE_HELLO_OK},  {0xfefc, WIRE_HELLO_OK},
                 {0xfe00, WIRE_HELLO_OK},  {0xfefe, WIRE_HELLO_BAD}, {0x0303, WIRE_HELLO_BAD},
                 {0x0100, WIRE_HELLO_BAD}, {0xfdff, WIRE_HELLO_BAD}, {0xffff, WIRE_HELLO_BAD}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parts p = usual;

        p.version = cases[i].version;
        assert_int_equal(parse_parts(&p), cases[i].status);
    }
}

static void test_hello_fragments_are_told_apart(void **state)
{
    static const uint8_t first[] = {1, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 2, 0xfe, 0xfd};
    static const uint8_t last[] = {1, 0, 0, 50, 0, 0, 0, 0, 48, 0, 0, 2, 1, 0};
    static const uint8_t empty[] = {1, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t overrun[] = {1, 0, 0, 50, 0, 0, 0, 0, 49, 0, 0, 2, 1, 0};
    struct wire_record rec = record_of(first, sizeof first);
    struct wire_hello h;

    (void)state;
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_FRAGMENT);
    rec = record_of(last, sizeof last);
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_FRAGMENT);
    rec = record_of(empty, sizeof empty);
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_FRAGMENT);
    rec = record_of(overrun, sizeof overrun);
    assert_int_equal(wire_parse_hello(&rec, &h), WIRE_HELLO_BAD);
}

static void test_hello_session_id_of_up_to_32_bytes(void **state)
{
    struct parts p = usual;

    (void)state;
    p.session_id_len = 32;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
    p.session_id_len = 33;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_BAD);
}

static void test_hello_cookie_of_any_length(void **state)
{
    static const uint8_t cookie[WIRE_COOKIE_MAX];
    struct parts p = usual;

    (void)state;
    p.cookie = cookie;
    p.cookie_len = WIRE_COOKIE_MAX;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
    p.cookie_len = 0;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
}

static void test_hello_needs_whole_suites(void **state)
{
    struct parts p = usual;

    (void)state;
    for (size_t len = 0; len <= 4; len++) {
        p.suites_len = len;
        assert_int_equal(parse_parts(&p), len == 2 || len == 4 ? WIRE_HELLO_OK : WIRE_HELLO_BAD);
    }
}

static void test_hello_needs_null_compression(void **state)
{
    static const uint8_t deflate[] = {1, 0};
    struct parts p = usual;

    (void)state;
    p.compression = deflate;
    p.compression_len = 2;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
    p.compression_len = 1;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_BAD);
    p.compression_len = 0;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_BAD);
}

static void test_hello_no_longer_than_a_plaintext(void **state)
{
    static uint8_t suites[WIRE_CIPHERTEXT_MAX];
    struct parts p = usual;
    size_t rest = WIRE_MESSAGE_HEADER + 2 + WIRE_RANDOM + 1 + 1 + 2 + 2;

    (void)state;
    p.cookie_len = 0;
    p.suites = suites;
    p.suites_len = WIRE_PLAINTEXT_MAX - rest;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
    p.suites_len += 2;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_BAD);
}

static void test_hello_extensions_must_be_sound(void **state)
{
    static const uint8_t none[] = {0, 0};
    static const uint8_t two[] = {0, 9, 0, 1, 0, 1, 1, 0, 2, 0, 0};
    static const uint8_t twice[] = {0, 9, 0, 1, 0, 1, 1, 0, 1, 0, 0};
    static const uint8_t body_cut[] = {0, 5, 0, 1, 0, 2, 1};
    static const uint8_t header_cut[] = {0, 3, 0, 1, 0};
    static const uint8_t list_cut[] = {0, 5, 0, 1, 0, 0};
    static const uint8_t trailing[] = {0, 4, 0, 1, 0, 0, 0};
    static const uint8_t length_cut[] = {0};
    static const struct {
        const uint8_t *at;
        size_t size;
        enum wire_hello_status status;
    } cases[] = {
        {none, sizeof none, WIRE_HELLO_OK},
        {two, sizeof two, WIRE_HELLO_OK},
        {twice, sizeof twice, WIRE_HELLO_BAD},
        {body_cut, sizeof body_cut, WIRE_HELLO_BAD},
        {header_cut, sizeof header_cut, WIRE_HELLO_BAD},
        {list_cut, sizeof list_cut, WIRE_HELLO_BAD},
        {trailing, sizeof trailing, WIRE_HELLO_BAD},
        {length_cut, sizeof length_cut, WIRE_HELLO_BAD},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parts p = usual;

        p.extensions = cases[i].at;
        p.extensions_size = cases[i].size;
        assert_int_equal(parse_parts(&p), cases[i].status);
    }
}

static void test_hello_with_too_many_extensions_is_refused(void **state)
{
    uint8_t list[2 + 4 * (WIRE_EXTENSIONS_MAX + 1)] = {0};
    struct parts p = usual;

    (void)state;
    for (size_t i = 0; i <= WIRE_EXTENSIONS_MAX; i++)
        put_u16(list + 2 + 4 * i, (uint16_t)(1000 + i));
    p.extensions = list;
    put_u16(list, 4 * WIRE_EXTENSIONS_MAX);
    p.extensions_size = sizeof list - 4;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_OK);
    put_u16(list, 4 * (WIRE_EXTENSIONS_MAX + 1));
    p.extensions_size = sizeof list;
    assert_int_equal(parse_parts(&p), WIRE_HELLO_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_without_extensions_parses),
        cmocka_unit_test(test_hello_with_extensions_parses),
        cmocka_unit_test(test_every_cut_of_a_hello_is_refused),
        cmocka_unit_test(test_every_cut_of_a_hello_body_is_refused),
        cmocka_unit_test(test_hello_must_fill_its_record),
        cmocka_unit_test(test_hello_elsewhere_is_refused),
        cmocka_unit_test(test_hello_versions),
        cmocka_unit_test(test_hello_fragments_are_told_apart),
        cmocka_unit_test(test_hello_session_id_of_up_to_32_bytes),
        cmocka_unit_test(test_hello_cookie_of_any_length),
        cmocka_unit_test(test_hello_needs_whole_suites),
        cmocka_unit_test(test_hello_needs_null_compression),
        cmocka_unit_test(test_hello_no_longer_than_a_plaintext),
        cmocka_unit_test(test_hello_extensions_must_be_sound),
        cmocka_unit_test(test_hello_with_too_many_extensions_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
