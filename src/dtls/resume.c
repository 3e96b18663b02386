/*
 * resume: which ticket is good for what, and the bytes about it. See the header.
 * Must never let a session go on that could not begin now.
 */
#include "dtls/resume.h"

#include "base/bytes.h"

#include <string.h>

#define EXTENSION_TICKET 35

/* The wall clock may have been set back: that makes no ticket younger than new. */
static bool is_fresh(const struct ticket *t, uint64_t lifetime, uint64_t wall)
{
    return wall >= t->born && wall - t->born < lifetime;
}

/* Its identity is still there, with the key that it had. */
static const struct psk *find_identity(const struct psk_set *keys, const struct ticket *t,
                                       uint64_t wall)
{
    const struct psk *psk = psk_find_valid(keys, t->identity, t->identity_len, wall);
    uint8_t proof[sizeof t->proof];

    if (psk == NULL || !ticket_prove(psk, t->master, proof) ||
        !bytes_equal_secret(proof, t->proof, sizeof proof))
        return NULL;
    return psk;
}

static enum resume_verdict judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out)
{
    const struct resumption *r = b->resumption;
    const struct ticket *t = &out->ticket;

    if (!is_fresh(t, r->lifetime, b->wall) ||
        !greeting_judge_again(b->tls, t->suite, hello, &out->greeting) ||
        greeting_max_fragment(&out->greeting) != t->max_fragment)
        return RESUME_REFUSED;
    out->psk = find_identity(b->keys, t, b->wall);
    if (out->psk == NULL || !r->may(r->arg, out->psk, t->suite, b->wall))
        return RESUME_REFUSED;
    return out->greeting.extended_master_secret ? RESUME_WELCOME : RESUME_FORBIDDEN;
}

enum resume_verdict resume_judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out)
{
    const uint8_t *sealed;
    size_t len;

    if (b->resumption->keys == NULL || !wire_hello_ticket(hello, &sealed, &len) || len == 0)
        return RESUME_NONE;
    memset(out, 0, sizeof *out);
    if (!ticket_open(b->resumption->keys, b->resumption->service, sealed, len, &out->ticket))
        return RESUME_REFUSED;
    return judge(b, hello, out);
}

bool resume_is_wanted(const struct resumption *r, const struct wire_hello *hello)
{
    const uint8_t *sealed;
    size_t len;

    return r->keys != NULL && wire_hello_ticket(hello, &sealed, &len);
}

/* Where the extensions' length stands in a ServerHello's body; 0: it has none. */
static size_t find_extensions(const uint8_t *body, size_t len)
{
    struct reader r = reader_of(body, len);

    read_bytes(&r, 2 + WIRE_RANDOM);
    read_vec8(&r);
    read_bytes(&r, 2 + 1);
    return r.bad || r.left < 2 ? 0 : len - r.left;
}

size_t resume_promise(const struct terms *terms, const struct wire_record *rec, uint8_t *out,
                      size_t size)
{
    struct reader r = reader_of(rec->body, rec->len);
    size_t len = wire_record_size(rec);
    struct wire_message m;

    if (terms->suite == NULL || terms->suite->exchange == EXCHANGE_PSK ||
        !terms->extended_master_secret || len + RESUME_PROMISE > size)
        return 0;
    if (rec->type != WIRE_HANDSHAKE || !wire_next_message(&r, &m) || r.left > 0 ||
        m.type != WIRE_SERVER_HELLO || !wire_is_whole(&m))
        return 0;
    size_t at = find_extensions(m.body, m.length);
    if (at == 0)
        return 0;
    uint8_t *body = out + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    memcpy(out, rec->whole, len);
    put_u16(out + WIRE_RECORD_HEADER - 2, (uint16_t)(rec->len + RESUME_PROMISE));
    wire_put_message_header(out + WIRE_RECORD_HEADER, m.type, m.seq, m.length + RESUME_PROMISE);
    put_u16(body + at, (uint16_t)(m.length - at - 2 + RESUME_PROMISE));
    put_u16(out + len, EXTENSION_TICKET);
    put_u16(out + len + 2, 0);
    return len + RESUME_PROMISE;
}

/* Those of files alone, which tell at any time what has become of them. */
static size_t make_ticket(const struct resumption *r, const struct resume_facts *facts,
                          uint8_t out[TICKET_MAX])
{
    struct ticket t = {.suite = facts->suite,
                       .born = facts->wall,
                       .max_fragment = facts->max_fragment,
                       .identity_len = facts->psk->identity_len};
    size_t len = 0;

    if (facts->psk->line == 0 || RESUME_RECORD_MIN + ticket_size(t.identity_len) > facts->room)
        return 0;
    memcpy(t.identity, facts->psk->identity, t.identity_len);
    memcpy(t.master, facts->master, KEYS_MASTER);
    if (ticket_prove(facts->psk, facts->master, t.proof))
        len = ticket_seal(r->keys, r->service, &t, out);
    bytes_wipe(&t, sizeof t);
    return len;
}

size_t resume_write_ticket(const struct resumption *r, const struct resume_facts *facts,
                           uint8_t out[RESUME_RECORD_MAX], bool *is_issued)
{
    uint8_t *body = out + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    size_t len = make_ticket(r, facts, out + RESUME_RECORD_MIN);
    struct writer w = writer_of(body, 4 + 2);

    *is_issued = len > 0;
    write_u32(&w, len > 0 ? (uint32_t)(r->lifetime / 1000) : 0);
    write_u16(&w, (uint16_t)len);
    wire_put_message_header(out + WIRE_RECORD_HEADER, WIRE_NEW_TICKET, facts->seq,
                            (uint32_t)(4 + 2 + len));
    wire_put_record_header(out, WIRE_HANDSHAKE, WIRE_DTLS12, 0,
                           RESUME_RECORD_MIN + len - WIRE_RECORD_HEADER);
    return RESUME_RECORD_MIN + len;
}
