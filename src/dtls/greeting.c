/*
 * greeting: the server's first flight for plain PSK, as bytes. See the header.
 * It must never answer what it does not wholly understand.
 */
#include "dtls/greeting.h"

#include "base/bytes.h"

#include <string.h>

enum {
    RENEGOTIATION_SCSV = 0x00ff,
    EXTENSION_MAX_FRAGMENT = 1,
    EXTENSION_MASTER_SECRET = 23,
    EXTENSION_CID = 54,
    EXTENSION_RRC = 61,
    EXTENSION_RENEGOTIATION = 0xff01,
    MESSAGE_MAX = WIRE_MESSAGE_HEADER + 2 + TLSCTX_HINT_MAX,
};

static bool offers(const struct wire_hello *hello, uint16_t suite)
{
    struct reader list = reader_of(hello->suites, hello->suites_len);

    while (list.left > 0)
        if (read_u16(&list) == suite)
            return true;
    return false;
}

/* Of the first handshake there is nothing to be renegotiated: the body is one empty vector. */
static bool take_renegotiation(struct reader body, struct greeting *g)
{
    g->renegotiation_info = true;
    return read_u8(&body) == 0 && !body.bad && body.left == 0;
}

static bool take_max_fragment(struct reader body, struct greeting *g)
{
    g->max_fragment_code = read_u8(&body);
    return !body.bad && body.left == 0 && g->max_fragment_code >= 1 && g->max_fragment_code <= 4;
}

static bool take_cid(struct reader body, struct greeting *g)
{
    g->has_cid = true;
    read_vec8(&body);
    return !body.bad && body.left == 0;
}

/* Others are about certificates, groups, tickets and the like, and go unanswered. */
static bool take_extension(uint16_t type, struct reader body, struct greeting *g)
{
    switch (type) {
    case EXTENSION_RENEGOTIATION:
        return take_renegotiation(body, g);
    case EXTENSION_MAX_FRAGMENT:
        return take_max_fragment(body, g);
    case EXTENSION_MASTER_SECRET:
        g->extended_master_secret = true;
        return body.left == 0;
    case EXTENSION_CID:
        return take_cid(body, g);
    case EXTENSION_RRC:
        g->has_rrc = true;
        return body.left == 0;
    default:
        return true;
    }
}

static bool take_extensions(const struct wire_hello *hello, struct greeting *g)
{
    struct reader list = reader_of(hello->extensions, hello->extensions_len);

    while (list.left > 0) {
        uint16_t type = read_u16(&list);
        if (!take_extension(type, read_vec16(&list), g))
            return false;
    }
    return !list.bad;
}

static bool fits(const struct tlsctx *ctx, size_t mtu)
{
    const char *hint = tlsctx_hint(ctx);

    return hint == NULL || WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 2 + strlen(hint) <= mtu;
}

bool greeting_judge(const struct tlsctx *ctx, size_t mtu, const struct wire_hello *hello,
                    struct greeting *out)
{
    *out = (struct greeting){.renegotiation_info = offers(hello, RENEGOTIATION_SCSV)};
    if (hello->version > WIRE_DTLS12 || !fits(ctx, mtu)) /* versions count downwards */
        return false;
    for (size_t i = 0; i < tlsctx_suite_count(ctx); i++) {
        uint16_t id = tlsctx_suite(ctx, i);
        if (!offers(hello, id))
            continue;
        out->suite = suite_find(id);
        return out->suite != NULL && out->suite->exchange == EXCHANGE_PSK &&
               take_extensions(hello, out);
    }
    return false;
}

static bool allows(const struct tlsctx *ctx, uint16_t suite)
{
    for (size_t i = 0; i < tlsctx_suite_count(ctx); i++) {
        if (tlsctx_suite(ctx, i) == suite)
            return true;
    }
    return false;
}

bool greeting_judge_again(const struct tlsctx *ctx, const struct suite *suite,
                          const struct wire_hello *hello, struct greeting *out)
{
    *out = (struct greeting){.suite = suite,
                             .session_id = hello->session_id,
                             .session_id_len = hello->session_id_len,
                             .renegotiation_info = offers(hello, RENEGOTIATION_SCSV)};
    return hello->version <= WIRE_DTLS12 && allows(ctx, suite->id) && offers(hello, suite->id) &&
           take_extensions(hello, out);
}

uint16_t greeting_max_fragment(const struct greeting *g)
{
    return g->max_fragment_code > 0 ? (uint16_t)(256 << g->max_fragment_code) : WIRE_PLAINTEXT_MAX;
}

static void put_extension(struct writer *w, uint16_t type, const void *body, uint16_t len)
{
    write_u16(w, type);
    write_u16(w, len);
    write_bytes(w, body, len);
}

static void put_extensions(struct writer *w, const struct greeting *g, const uint8_t *own_cid)
{
    uint8_t cid[1 + WIRE_OWN_CID] = {WIRE_OWN_CID};
    struct writer length = *w;

    write_u16(w, 0);
    if (g->renegotiation_info)
        put_extension(w, EXTENSION_RENEGOTIATION, "", 1);
    if (g->max_fragment_code != 0)
        put_extension(w, EXTENSION_MAX_FRAGMENT, &g->max_fragment_code, 1);
    if (g->extended_master_secret)
        put_extension(w, EXTENSION_MASTER_SECRET, "", 0);
    if (g->has_cid && own_cid != NULL) {
        memcpy(cid + 1, own_cid, WIRE_OWN_CID);
        put_extension(w, EXTENSION_CID, cid, sizeof cid);
        if (g->has_rrc)
            put_extension(w, EXTENSION_RRC, "", 0);
    }
    uint16_t len = (uint16_t)(w->at - length.at - 2);
    if (len > 0)
        write_u16(&length, len);
    else
        *w = length; /* a client that sent none need not know the block (RFC 5246 7.4.1.4) */
}

static void put_server_hello(struct writer *w, const struct greeting *g, const uint8_t *own_cid)
{
    uint8_t random[WIRE_RANDOM];

    bytes_random(random, sizeof random);
    write_u16(w, WIRE_DTLS12);
    write_bytes(w, random, sizeof random);
    write_u8(w, g->session_id_len);
    if (g->session_id_len > 0)
        write_bytes(w, g->session_id, g->session_id_len);
    write_u16(w, g->suite->id);
    write_u8(w, 0); /* no compression */
    put_extensions(w, g, own_cid);
}

struct out {
    greeting_fn on_record;
    void *arg;
    uint16_t next_seq;
};

/* `body` was written behind the room for both headers. */
static void send_message(struct out *out, uint8_t type, uint8_t *record, size_t body_len)
{
    size_t len = WIRE_MESSAGE_HEADER + body_len;

    wire_put_record_header(record, WIRE_HANDSHAKE, WIRE_DTLS12, 0, len);
    wire_put_message_header(record + WIRE_RECORD_HEADER, type, out->next_seq++, (uint32_t)body_len);
    out->on_record(out->arg, record, WIRE_RECORD_HEADER + len);
}

static void send_hello(struct out *out, const struct greeting *g, const uint8_t *own_cid)
{
    uint8_t record[WIRE_RECORD_HEADER + MESSAGE_MAX];
    uint8_t *body = record + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    struct writer w = writer_of(body, sizeof record - (size_t)(body - record));

    put_server_hello(&w, g, own_cid);
    send_message(out, WIRE_SERVER_HELLO, record, (size_t)(w.at - body));
}

void greeting_write_hello(const struct greeting *g, const struct greeting_words *words,
                          greeting_fn on_record, void *arg)
{
    struct out out = {on_record, arg, 1};

    send_hello(&out, g, words->own_cid);
}

void greeting_write(const struct greeting *g, const struct greeting_words *words,
                    greeting_fn on_record, void *arg)
{
    uint8_t record[WIRE_RECORD_HEADER + MESSAGE_MAX];
    uint8_t *body = record + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    struct out out = {on_record, arg, 1};

    send_hello(&out, g, words->own_cid);
    if (words->hint != NULL) {
        size_t len = strlen(words->hint);
        struct writer w = writer_of(body, sizeof record - (size_t)(body - record));
        write_u16(&w, (uint16_t)len);
        write_bytes(&w, words->hint, len);
        send_message(&out, WIRE_SERVER_KEY_EXCHANGE, record, (size_t)(w.at - body));
    }
    send_message(&out, WIRE_SERVER_HELLO_DONE, record, 0);
}
