/*
 * wire: reads and writes the plaintext parts of DTLS 1.0/1.2 as plain bytes.
 * It must never know OpenSSL, keys, or what came before: each call judges its input alone.
 */
#include "dtls/wire.h"

#include <string.h>

enum {
    EXTENSION_MAX_FRAGMENT = 1,
    EXTENSION_MASTER_SECRET = 23,
    EXTENSION_TICKET = 35,
    EXTENSION_CID = 54,
    EXTENSION_RRC = 61,
    MAJOR = 0xfe, /* DTLS counts its versions downwards from fe ff */
};

static bool is_offerable(uint16_t version)
{
    return version == WIRE_DTLS10 || (version >> 8 == MAJOR && version <= WIRE_DTLS12);
}

/* The cap keeps the search for repeats short: a datagram could hold 4000 of them. */
static bool are_extensions_sound(struct reader list)
{
    uint16_t seen[WIRE_EXTENSIONS_MAX];
    size_t count = 0;

    while (list.left > 0) {
        uint16_t type = read_u16(&list);
        read_vec16(&list);
        if (list.bad || count == WIRE_EXTENSIONS_MAX)
            return false;
        for (size_t i = 0; i < count; i++)
            if (seen[i] == type)
                return false;
        seen[count++] = type;
    }
    return !list.bad;
}

static void read_hello_extensions(struct reader *r, struct wire_hello *out)
{
    struct reader list;

    out->extensions = NULL;
    out->extensions_len = 0;
    if (r->bad || r->left == 0)
        return;
    list = read_vec16(r);
    if (list.bad || !are_extensions_sound(list)) {
        r->bad = true;
        return;
    }
    out->extensions = list.at;
    out->extensions_len = (uint16_t)list.left;
}

static bool parse_hello_body(struct reader r, struct wire_hello *out)
{
    struct reader session_id, cookie, suites, compression;

    out->version = read_u16(&r);
    out->random = read_bytes(&r, WIRE_RANDOM);
    session_id = read_vec8(&r);
    cookie = read_vec8(&r);
    suites = read_vec16(&r);
    compression = read_vec8(&r);
    read_hello_extensions(&r, out);
    if (r.bad || r.left > 0)
        return false;

    out->session_id = session_id.at;
    out->session_id_len = (uint8_t)session_id.left;
    out->cookie = cookie.at;
    out->cookie_len = (uint8_t)cookie.left;
    out->suites = suites.at;
    out->suites_len = (uint16_t)suites.left;
    out->compression = compression.at;
    out->compression_len = (uint8_t)compression.left;
    return is_offerable(out->version) && out->session_id_len <= WIRE_SESSION_ID_MAX &&
           out->suites_len >= 2 && out->suites_len % 2 == 0 && out->compression_len > 0 &&
           memchr(out->compression, 0, out->compression_len) != NULL;
}

static void read_server_extension(struct reader *list, struct wire_server_hello *out)
{
    uint16_t type = read_u16(list);
    struct reader body = read_vec16(list);

    if (type == EXTENSION_MASTER_SECRET) {
        out->extended_master_secret = true;
    } else if (type == EXTENSION_MAX_FRAGMENT) {
        uint8_t code = read_u8(&body);
        if (code < 1 || code > 4)
            body.bad = true;
        else
            out->max_fragment = (size_t)256 << code;
    } else if (type == EXTENSION_RRC) {
        out->has_rrc = true;
    } else if (type == EXTENSION_CID) {
        read_vec8(&body);
        out->has_cid = true;
    } else {
        return;
    }
    if (body.bad || body.left > 0)
        list->bad = true;
}

bool wire_next_record(struct reader *r, struct wire_record *out)
{
    return wire_next_record_to(r, WIRE_OWN_CID, out);
}

bool wire_next_record_to(struct reader *r, size_t cid_len, struct wire_record *out)
{
    if (r->bad || r->left == 0)
        return false;
    out->whole = r->at;
    out->type = read_u8(r);
    out->version = read_u16(r);
    out->epoch = read_u16(r);
    out->seq = read_u48(r);
    out->cid = out->type == WIRE_CID ? read_bytes(r, cid_len) : NULL;
    out->len = read_u16(r);
    out->body = read_bytes(r, out->len);
    if (out->version >> 8 != MAJOR || out->len > WIRE_CIPHERTEXT_MAX)
        r->bad = true;
    return !r->bad;
}

bool wire_next_message(struct reader *r, struct wire_message *out)
{
    if (r->bad || r->left == 0)
        return false;
    out->type = read_u8(r);
    out->length = read_u24(r);
    out->seq = read_u16(r);
    out->offset = read_u24(r);
    out->fragment_length = read_u24(r);
    out->body = read_bytes(r, out->fragment_length);
    if (out->offset + out->fragment_length > out->length)
        r->bad = true;
    return !r->bad;
}

bool wire_is_whole(const struct wire_message *m)
{
    return m->fragment_length == m->length;
}

enum wire_hello_status wire_parse_hello(const struct wire_record *rec, struct wire_hello *out)
{
    struct reader r = reader_of(rec->body, rec->len);
    struct wire_message m;

    if (rec->type != WIRE_HANDSHAKE || rec->epoch != 0 || rec->len > WIRE_PLAINTEXT_MAX)
        return WIRE_HELLO_BAD;
    if (!wire_next_message(&r, &m) || m.type != WIRE_CLIENT_HELLO || r.left > 0)
        return WIRE_HELLO_BAD;
    if (!wire_is_whole(&m))
        return WIRE_HELLO_FRAGMENT;

    out->record_seq = rec->seq;
    out->message_seq = m.seq;
    if (!parse_hello_body(reader_of(m.body, m.length), out))
        return WIRE_HELLO_BAD;
    return WIRE_HELLO_OK;
}

static bool find_extension(const struct wire_hello *hello, uint16_t wanted, struct reader *body)
{
    struct reader list = reader_of(hello->extensions, hello->extensions_len);

    while (!list.bad && list.left > 0) {
        uint16_t type = read_u16(&list);
        *body = read_vec16(&list);
        if (type == wanted)
            return !body->bad;
    }
    return false;
}

bool wire_hello_cid(const struct wire_hello *hello, const uint8_t **cid, uint8_t *len)
{
    struct reader body;

    if (!find_extension(hello, EXTENSION_CID, &body))
        return false;
    struct reader id = read_vec8(&body);
    *cid = id.at;
    *len = (uint8_t)id.left;
    return !id.bad && body.left == 0;
}

bool wire_hello_ticket(const struct wire_hello *hello, const uint8_t **ticket, size_t *len)
{
    struct reader body;

    if (!find_extension(hello, EXTENSION_TICKET, &body))
        return false;
    *ticket = body.at;
    *len = body.left;
    return true;
}

bool wire_parse_server_hello(const uint8_t *body, size_t len, struct wire_server_hello *out)
{
    struct reader r = reader_of(body, len);
    struct reader list = reader_of(NULL, 0);
    struct reader session_id;

    out->version = read_u16(&r);
    out->random = read_bytes(&r, WIRE_RANDOM);
    session_id = read_vec8(&r);
    out->suite = read_u16(&r);
    read_u8(&r); /* compression: we never offer any to choose */
    out->extended_master_secret = false;
    out->max_fragment = 0;
    out->has_cid = out->has_rrc = false;
    if (!r.bad && r.left > 0)
        list = read_vec16(&r);
    while (!list.bad && list.left > 0)
        read_server_extension(&list, out);
    return !r.bad && !list.bad && r.left == 0 && out->version >> 8 == MAJOR &&
           session_id.left <= WIRE_SESSION_ID_MAX;
}

void wire_put_record_header(uint8_t p[WIRE_RECORD_HEADER], uint8_t type, uint16_t version,
                            uint64_t epoch_and_seq, size_t len)
{
    p[0] = type;
    put_u16(p + 1, version);
    put_u64(p + 3, epoch_and_seq);
    put_u16(p + 11, (uint16_t)len);
}

void wire_put_message_header(uint8_t p[WIRE_MESSAGE_HEADER], uint8_t type, uint16_t seq,
                             uint32_t length)
{
    struct writer w = writer_of(p, WIRE_MESSAGE_HEADER);

    write_u8(&w, type);
    write_u24(&w, length);
    write_u16(&w, seq);
    write_u24(&w, 0);
    write_u24(&w, length);
}
