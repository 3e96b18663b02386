/*
 * raw_dtls: the client's side of a PSK handshake (RFC 6347 4.2, RFC 4279 2, RFC 7627).
 */
#include "raw_dtls.h"

#include <string.h>

#define MESSAGE_HEADER 12
#define BODY_MAX 384

enum { CLIENT_HELLO = 1, SERVER_HELLO, HELLO_VERIFY };
enum { SERVER_HELLO_DONE = 14, CLIENT_KEY_EXCHANGE = 16, FINISHED = 20 };

struct record {
    uint8_t type;
    unsigned epoch;
    const uint8_t *whole, *body;
    size_t whole_len, len;
};

static const char *identity;

void raw_dtls_init(const char *new_identity)
{
    identity = new_identity;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

static uint8_t *put_number(uint8_t *at, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        *at++ = (uint8_t)(number >> (8 * bytes));
    return at;
}

static size_t number_at(const uint8_t *at, unsigned bytes)
{
    size_t n = 0;

    while (bytes-- > 0)
        n = n << 8 | *at++;
    return n;
}

/* --- what we say ----------------------------------------------------------------------------- */

/* A message, whole in one fragment. Returns its length. */
static size_t put_message(uint8_t *to, uint8_t type, unsigned number, const uint8_t *body,
                          size_t len)
{
    uint8_t *at = to;

    *at++ = type;
    at = put_number(at, len, 3);
    at = put_number(at, number, 2);
    at = put_number(at, 0, 3);
    at = put_number(at, len, 3);
    return (size_t)(put(at, body, len) - to);
}

static size_t put_hello(const struct raw_shake *s, uint8_t *to)
{
    static const uint8_t rest[] = {0x00, 0xff,                          /* no renegotiation */
                                   0x01, 0x00,                          /* no compression */
                                   0x00, 0x04, 0x00, 0x17, 0x00, 0x00}; /* RFC 7627 */
    uint8_t body[BODY_MAX], *at = body;

    at = put_number(at, 0xfefd, 2);
    at = put(at, s->random, 32);
    *at++ = 0; /* no session */
    *at++ = s->cookie_len;
    at = put(at, s->cookie, s->cookie_len);
    at = put_number(at, 4, 2);
    at = put_number(at, raw_crypt_suite_id(), 2);
    at = put(at, rest, sizeof(rest));
    return put_message(to, CLIENT_HELLO, s->state == RAW_COOKIE, body, (size_t)(at - body));
}

static size_t put_key_exchange(uint8_t *to)
{
    uint8_t body[BODY_MAX], *at = put_number(body, strlen(identity), 2);

    at = put(at, identity, strlen(identity));
    return put_message(to, CLIENT_KEY_EXCHANGE, 2, body, (size_t)(at - body));
}

static size_t put_plain_record(struct raw_shake *s, uint8_t type, size_t len, uint8_t *out)
{
    raw_put_header(out, type, s->record_seq++, len);
    return RAW_HEADER + len;
}

/* ClientKeyExchange, ChangeCipherSpec, Finished; each time with new record numbers. */
static size_t write_last(struct raw_shake *s, uint8_t *out)
{
    uint8_t finished[MESSAGE_HEADER + RAW_VERIFY], *at = out;
    size_t len;

    at += put_plain_record(s, RAW_HANDSHAKE, put_key_exchange(at + RAW_HEADER), at);
    at[RAW_HEADER] = 1;
    at += put_plain_record(s, RAW_CCS, 1, at);
    len = put_message(finished, FINISHED, 3, s->verify, RAW_VERIFY);
    return (size_t)(at - out) + raw_seal(&s->keys, RAW_HANDSHAKE, finished, len, at);
}

size_t raw_write(struct raw_shake *s, uint8_t *out)
{
    if (s->state == RAW_HELLO || s->state == RAW_COOKIE)
        return put_plain_record(s, RAW_HANDSHAKE, put_hello(s, out + RAW_HEADER), out);
    return s->state == RAW_FINISHED ? write_last(s, out) : 0;
}

/* --- what we hear ---------------------------------------------------------------------------- */

static bool next_record(struct raw_rest *rest, struct record *out)
{
    const uint8_t *at = rest->at;
    size_t len;

    if (rest->left < RAW_HEADER)
        return false;
    len = number_at(at + 11, 2);
    if (len > rest->left - RAW_HEADER)
        return false;
    *out = (struct record){.type = at[0],
                           .epoch = (unsigned)number_at(at + 3, 2),
                           .whole = at,
                           .body = at + RAW_HEADER,
                           .whole_len = RAW_HEADER + len,
                           .len = len};
    rest->at += out->whole_len;
    rest->left -= out->whole_len;
    return true;
}

static void fail(struct raw_shake *s)
{
    s->state = RAW_FAILED;
}

/* The second hello is the first that is hashed (RFC 6347 4.2.1). */
static bool on_hello_verify(struct raw_shake *s, const uint8_t *body, size_t len)
{
    uint8_t hello[MESSAGE_HEADER + BODY_MAX];

    if (s->state != RAW_HELLO || len < 3 || body[2] > len - 3)
        return false;
    s->state = RAW_COOKIE;
    s->expected = 1;
    s->cookie_len = body[2];
    memcpy(s->cookie, body + 3, s->cookie_len);
    raw_transcript_add(s->transcript, hello, put_hello(s, hello));
    return true;
}

static bool offers_extended_master(const uint8_t *at, size_t left)
{
    while (left >= 4 && number_at(at + 2, 2) <= left - 4) {
        size_t step = 4 + number_at(at + 2, 2);
        if (number_at(at, 2) == 0x0017)
            return true;
        at += step;
        left -= step;
    }
    return false;
}

/* Version, random, session, suite, compression, extensions. */
static void on_server_hello(struct raw_shake *s, const uint8_t *body, size_t len)
{
    const uint8_t *suite;

    if (len < 35 || len < 40u + body[34]) {
        fail(s);
        return;
    }
    memcpy(s->server_random, body + 2, 32);
    suite = body + 35 + body[34];
    if (number_at(body, 2) != 0xfefd || number_at(suite, 2) != raw_crypt_suite_id() ||
        !offers_extended_master(suite + 5, len - 40u - body[34]))
        fail(s);
}

/* All that the last flight needs. */
static bool on_server_hello_done(struct raw_shake *s)
{
    uint8_t message[MESSAGE_HEADER + BODY_MAX], hash[32];

    raw_transcript_add(s->transcript, message, put_key_exchange(message));
    raw_transcript_hash(s->transcript, hash);
    raw_master(hash, s->master);
    raw_expand(s->master, s->server_random, s->random, &s->keys);
    raw_finished(s->master, "client finished", hash, s->verify);
    raw_transcript_add(s->transcript, message,
                       put_message(message, FINISHED, 3, s->verify, RAW_VERIFY));
    raw_transcript_hash(s->transcript, hash);
    raw_finished(s->master, "server finished", hash, s->server_verify);
    s->state = RAW_FINISHED;
    return true;
}

/* One message in the clear; `m` is whole. True: a new flight is due. */
static bool on_message(struct raw_shake *s, const uint8_t *m, size_t len)
{
    if (m[0] == HELLO_VERIFY)
        return on_hello_verify(s, m + MESSAGE_HEADER, len - MESSAGE_HEADER);
    if (s->state != RAW_COOKIE || number_at(m + 4, 2) != s->expected)
        return false;
    s->expected++;
    raw_transcript_add(s->transcript, m, len);
    if (m[0] == SERVER_HELLO)
        on_server_hello(s, m + MESSAGE_HEADER, len - MESSAGE_HEADER);
    return s->state == RAW_COOKIE && m[0] == SERVER_HELLO_DONE && on_server_hello_done(s);
}

static bool on_messages(struct raw_shake *s, const struct record *r)
{
    const uint8_t *at = r->body;
    size_t left = r->len;
    bool due = false;

    while (left >= MESSAGE_HEADER && number_at(at + 1, 3) == number_at(at + 9, 3) &&
           number_at(at + 1, 3) <= left - MESSAGE_HEADER) {
        size_t len = MESSAGE_HEADER + number_at(at + 1, 3);
        due |= on_message(s, at, len);
        at += len;
        left -= len;
    }
    return due;
}

static void on_finished(struct raw_shake *s, const struct record *r)
{
    uint8_t plain[RAW_PLAIN_MAX];
    size_t len;

    if (s->state != RAW_FINISHED || r->type != RAW_HANDSHAKE)
        return;
    if (raw_open(&s->keys, r->whole, r->whole_len, plain, &len) &&
        len == MESSAGE_HEADER + RAW_VERIFY && plain[0] == FINISHED &&
        memcmp(plain + MESSAGE_HEADER, s->server_verify, RAW_VERIFY) == 0)
        s->state = RAW_OPEN;
    else
        fail(s);
}

bool raw_read(struct raw_shake *s, const uint8_t *data, size_t len)
{
    struct raw_rest rest = {.at = data, .left = len};
    struct record r;
    bool due = false;

    while (next_record(&rest, &r)) {
        if (r.epoch == 1)
            on_finished(s, &r);
        else if (r.type == RAW_HANDSHAKE)
            due |= on_messages(s, &r);
        else if (r.type == RAW_ALERT)
            fail(s);
    }
    return due;
}

/* --- beginning and end ----------------------------------------------------------------------- */

void raw_start(struct raw_shake *s, const uint8_t random[32])
{
    EVP_MD_CTX *transcript = s->transcript ? s->transcript : raw_transcript_new();

    *s = (struct raw_shake){.transcript = transcript};
    raw_transcript_start(transcript);
    memcpy(s->random, random, 32);
}

void raw_clear(struct raw_shake *s)
{
    EVP_MD_CTX_free(s->transcript);
    *s = (struct raw_shake){0};
}

enum raw_verdict raw_take(const struct raw_keys *k, struct raw_rest *rest, uint8_t *plain,
                          size_t *plain_len)
{
    struct record r;

    while (next_record(rest, &r)) {
        if ((r.type != RAW_DATA && r.type != RAW_ALERT) ||
            !raw_open(k, r.whole, r.whole_len, plain, plain_len))
            continue;
        if (r.type == RAW_DATA)
            return RAW_PLAIN;
        if (*plain_len == 2 && (plain[0] == 2 || plain[1] == 0))
            return RAW_END;
    }
    return RAW_NOTHING;
}

size_t raw_close(struct raw_keys *k, uint8_t *out)
{
    static const uint8_t goodbye[2] = {1, 0};

    return raw_seal(k, RAW_ALERT, goodbye, sizeof(goodbye), out);
}
