/*
 * fuzz_wire: any datagram through the record, message and hello parsers, and through the cookies.
 * Checked: every view lies inside the input, an answer never amplifies.
 */
#include "dtls/cookie.h"
#include "dtls/wire.h"

#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cookie_secrets secrets = {.key = {{{1}}, {{2}}}, .generation = 7};
static const struct addr peer = {.ip = {192, 0, 2, 1}, .port = 40000, .family = AF_INET};
static const struct addr local = {.ip = {192, 0, 2, 2}, .port = 5684, .family = AF_INET};

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_inside(const struct wire_record *rec, const uint8_t *at, size_t len)
{
    require(at != NULL && at >= rec->body && len <= rec->len);
    require((size_t)(at - rec->body) <= rec->len - len);
}

/* The hello a client would send next must pass, and one with another random must not. */
static void check_cookie(const struct wire_record *rec, const struct wire_hello *hello)
{
    uint8_t answer[COOKIE_ANSWER_SIZE], other[WIRE_RANDOM];
    struct wire_hello second = *hello;
    struct reader r = reader_of(answer, cookie_answer(&secrets, hello, &peer, &local, answer));
    struct wire_record answered;

    require(!cookie_check(&secrets, hello, &peer, &local));
    require(wire_next_record(&r, &answered) && r.left == 0);
    require(answered.seq == rec->seq && answered.epoch == 0);
    require(sizeof answer <= WIRE_RECORD_HEADER + rec->len);

    second.message_seq = 1;
    second.cookie = answer + sizeof answer - COOKIE_SIZE;
    second.cookie_len = COOKIE_SIZE;
    require(cookie_check(&secrets, &second, &peer, &local));
    memcpy(other, hello->random, sizeof other);
    other[0] ^= 1;
    second.random = other;
    require(!cookie_check(&secrets, &second, &peer, &local));
}

static void check_hello(const struct wire_record *rec)
{
    struct wire_hello hello;

    if (wire_parse_hello(rec, &hello) != WIRE_HELLO_OK)
        return;
    require(rec->type == WIRE_HANDSHAKE && rec->epoch == 0 && hello.record_seq == rec->seq);
    require(hello.version >> 8 == 0xfe && hello.session_id_len <= 32);
    require(hello.suites_len >= 2 && hello.suites_len % 2 == 0);
    require_inside(rec, hello.random, WIRE_RANDOM);
    require_inside(rec, hello.session_id, hello.session_id_len);
    require_inside(rec, hello.cookie, hello.cookie_len);
    require_inside(rec, hello.suites, hello.suites_len);
    require_inside(rec, hello.compression, hello.compression_len);
    require(hello.extensions != NULL || hello.extensions_len == 0);
    if (hello.extensions != NULL) {
        require_inside(rec, hello.extensions, hello.extensions_len);
        require(hello.extensions + hello.extensions_len == rec->body + rec->len);
    }
    const uint8_t *cid;
    uint8_t cid_len;
    if (wire_hello_cid(&hello, &cid, &cid_len))
        require_inside(rec, cid, cid_len);
    check_cookie(rec, &hello);
}

static void check_messages(const struct wire_record *rec)
{
    struct reader r = reader_of(rec->body, rec->len);
    struct wire_server_hello hello;
    struct wire_message m;

    while (wire_next_message(&r, &m)) {
        require_inside(rec, m.body, m.fragment_length);
        require(m.offset <= m.length && m.fragment_length <= m.length - m.offset);
        require(!wire_is_whole(&m) || m.offset == 0);
        if (wire_parse_server_hello(m.body, m.fragment_length, &hello))
            require_inside(rec, hello.random, WIRE_RANDOM);
    }
    require(r.bad || r.left == 0);
}

static void check_record(const struct wire_record *rec)
{
    uint8_t header[WIRE_RECORD_HEADER];
    size_t cid_len = rec->type == WIRE_CID ? WIRE_OWN_CID : 0;

    require(rec->body == rec->whole + WIRE_RECORD_HEADER + cid_len && rec->seq <= WIRE_SEQ_MAX);
    require(rec->len <= WIRE_CIPHERTEXT_MAX);
    require(rec->cid == (cid_len > 0 ? rec->whole + WIRE_CID_AT : NULL));
    wire_put_record_header(header, rec->type, rec->version, (uint64_t)rec->epoch << 48 | rec->seq,
                           rec->len);
    require(memcmp(header, rec->whole, WIRE_CID_AT) == 0);
    require(memcmp(header + WIRE_CID_AT, rec->body - 2, 2) == 0);
    check_messages(rec);
    check_hello(rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    struct wire_record rec;
    const uint8_t *at = data;

    while (wire_next_record(&r, &rec)) {
        require(rec.whole == at);
        at = rec.body + rec.len;
        require(at <= data + size && r.at == at);
        check_record(&rec);
    }
    require(r.bad || at == data + size);
    return 0;
}
