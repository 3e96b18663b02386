/*
 * record: one record's header and nonce, and the two counters that must never go back. Must never
 * know of datagrams, peers, time or what a content type means.
 */
#include "dtls/record.h"

#include "base/bytes.h"
#include "dtls/aead.h"

#include <stdlib.h>
#include <string.h>

#define EPOCH 1 /* the only protected one: renegotiation is refused */

struct record_crypt {
    struct aead_contexts *aead;
    const struct leases *leases;       /* NULL: nobody keeps associations */
    uint8_t body[WIRE_CIPHERTEXT_MAX]; /* a record is opened here */
};

static struct aead_side client_side(const struct association *a)
{
    return (struct aead_side){a->suite, keys_client_key(&a->keys),
                              keys_client_iv(&a->keys, a->suite), a};
}

static struct aead_side server_side(const struct association *a)
{
    return (struct aead_side){a->suite, keys_server_key(&a->keys, a->suite),
                              keys_server_iv(&a->keys, a->suite), a};
}

/* With connection ids all records of the client have ours; for another end's this one is none. */
static bool has_right_form(const struct association *a, const struct wire_record *rec)
{
    const struct association_cid *cid = association_cid(a);

    if (cid == NULL)
        return rec->type != WIRE_CID;
    return rec->type == WIRE_CID && memcmp(rec->cid, cid->own, WIRE_OWN_CID) == 0;
}

static enum record_verdict check_shape(const struct association *a, const struct wire_record *rec)
{
    size_t extra = (size_t)a->suite->explicit_len + a->suite->tag_len;
    size_t max = a->has_cid ? WIRE_CIPHERTEXT_MAX : WIRE_PLAINTEXT_MAX + extra;

    if (rec->epoch != EPOCH)
        return RECORD_EPOCH;
    if (!has_right_form(a, rec))
        return RECORD_FORM;
    if (rec->len < extra + a->has_cid || rec->len > max) /* the inner type is a byte at least */
        return RECORD_SIZE;
    return RECORD_OK;
}

/* Takes padding and inner type off (RFC 9146 4). False: it was padding alone, or hides itself. */
static bool take_inner(const uint8_t *text, size_t *len, uint8_t *type)
{
    while (*len > 0 && text[*len - 1] == 0)
        --*len;
    if (*len == 0 || *len - 1 > WIRE_PLAINTEXT_MAX)
        return false;
    *type = text[--*len];
    return *type != WIRE_CID;
}

/* Opens a record whose shape was checked. */
static enum record_verdict open_checked(struct record_crypt *c, const struct aead_side *side,
                                        struct wire_record *rec, uint8_t *plain, size_t *len)
{
    const struct suite *suite = side->suite;
    struct aead_header header = {
        .type = rec->type, .version = rec->version, .cid = rec->cid, .cid_len = WIRE_OWN_CID};
    const uint8_t *text = c->body + suite->explicit_len;

    put_u64(header.number, (uint64_t)EPOCH << 48 | rec->seq);
    memcpy(c->body, rec->body, rec->len);
    bool opens = aead_open(c->aead, side, &header, c->body, rec->len);
    size_t plain_len = rec->len - suite->explicit_len - suite->tag_len;
    if (opens && rec->cid != NULL && !take_inner(text, &plain_len, &rec->type)) {
        bytes_wipe(c->body, rec->len);
        return RECORD_INNER;
    }
    if (plain_len > WIRE_PLAINTEXT_MAX) /* padded, and does not open */
        plain_len = WIRE_PLAINTEXT_MAX;
    memcpy(plain, text, plain_len); /* zeros if it does not */
    if (opens)
        *len = plain_len;
    return opens ? RECORD_OK : RECORD_FORGED;
}

/* One that is used tells now and then that it is. */
static bool is_told_long_ago(const struct record_crypt *c, const struct lease *lease)
{
    return c->leases->now - lease->told >= LEASE_TOLD_MS;
}

/* Before the next number is sealed with. */
static void lease_sending(const struct record_crypt *c, const struct association *a)
{
    const struct lease *lease;

    if (a->lease == 0)
        return;
    lease = leases_at(c->leases, a->lease);
    if (a->write_seq >= lease->write_end || is_told_long_ago(c, lease))
        c->leases->renew(c->leases->arg, a);
}

/* Before what came in with this number is given to anybody. */
static void lease_receiving(const struct record_crypt *c, const struct association *a, uint64_t seq)
{
    const struct lease *lease;

    if (a->lease == 0)
        return;
    lease = leases_at(c->leases, a->lease);
    if (seq > a->window.top)
        atomic_store_explicit(lease->top, lease_word(seq, lease->check), memory_order_release);
    if (is_told_long_ago(c, lease))
        c->leases->renew(c->leases->arg, a);
}

void association_set_cid(struct association *a, const struct association_cid *cid)
{
    a->has_cid = true;
    memcpy((uint8_t *)a + association_size(a->suite), cid, association_cid_size(cid->peer_len));
}

const struct association_cid *association_cid(const struct association *a)
{
    if (!a->has_cid)
        return NULL;
    return (const struct association_cid *)((const uint8_t *)a + association_size(a->suite));
}

size_t association_length(const struct association *a)
{
    const struct association_cid *cid = association_cid(a);

    return association_size(a->suite) + (cid != NULL ? association_cid_size(cid->peer_len) : 0);
}

struct record_crypt *record_crypt_new(void)
{
    struct record_crypt *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->aead = aead_new();
    if (c->aead)
        return c;
    free(c);
    return NULL;
}

void record_crypt_free(struct record_crypt *c)
{
    if (!c)
        return;
    aead_free(c->aead);
    bytes_wipe(c->body, sizeof c->body);
    free(c);
}

void record_crypt_lend(struct record_crypt *c, const struct leases *leases)
{
    c->leases = leases;
}

enum record_verdict record_open(struct record_crypt *c, struct association *a,
                                struct wire_record *rec, uint8_t *plain, size_t *len)
{
    struct aead_side client = client_side(a);
    enum record_verdict verdict = check_shape(a, rec);

    if (verdict != RECORD_OK)
        return verdict;
    if (!record_window_allows(&a->window, rec->seq))
        return RECORD_REPLAY;
    verdict = open_checked(c, &client, rec, plain, len);
    if (verdict == RECORD_FORGED) {
        a->forged += a->forged < ASSOCIATION_FORGED_MAX;
    } else {
        lease_receiving(c, a, rec->seq);
        record_window_mark(&a->window, rec->seq);
    }
    return verdict;
}

/* How a record to the peer is sealed. */
struct form {
    const struct association_cid *cid; /* NULL: without; the peer may have asked for that */
    size_t header_len, body_len;
};

static struct form form_of(const struct association *a, size_t len)
{
    const struct association_cid *cid = association_cid(a);
    struct form form = {.header_len = WIRE_RECORD_HEADER,
                        .body_len = a->suite->explicit_len + len + a->suite->tag_len};

    if (cid == NULL || cid->peer_len == 0)
        return form;
    form.cid = cid;
    form.header_len += cid->peer_len;
    form.body_len++;
    return form;
}

size_t record_sealed_size(const struct association *a, size_t len)
{
    const struct form form = form_of(a, len);

    return form.header_len + form.body_len;
}

/* RFC 9146 4: the id stands before the length. */
static void put_header(uint8_t *out, const struct aead_header *header, size_t body_len)
{
    struct writer w = writer_of(out, WIRE_RECORD_HEADER + WIRE_CID_MAX);

    if (header->cid == NULL) {
        out[0] = header->type;
        put_u16(out + 1, header->version);
        memcpy(out + 3, header->number, AEAD_NUMBER);
        put_u16(out + 11, (uint16_t)body_len);
        return;
    }
    write_u8(&w, header->type);
    write_u16(&w, header->version);
    write_bytes(&w, header->number, AEAD_NUMBER);
    write_bytes(&w, header->cid, header->cid_len);
    write_u16(&w, (uint16_t)body_len);
}

size_t record_seal(struct record_crypt *c, struct association *a, uint8_t type,
                   const uint8_t *plain, size_t len, uint8_t *out)
{
    const struct suite *suite = a->suite;
    struct aead_side server = server_side(a);
    struct aead_header header = {.type = type, .version = WIRE_DTLS12};
    const struct form form = form_of(a, len);
    uint64_t number = (uint64_t)EPOCH << 48 | a->write_seq;
    uint8_t *body = out + form.header_len;

    if (len > WIRE_PLAINTEXT_MAX || a->write_seq > WIRE_SEQ_MAX)
        return 0;
    lease_sending(c, a);
    a->write_seq++;
    put_u64(header.number, number);
    if (form.cid != NULL) {
        header.type = WIRE_CID;
        header.cid = form.cid->peer;
        header.cid_len = form.cid->peer_len;
        body[suite->explicit_len + len] = type;
    }
    put_header(out, &header, form.body_len);
    if (suite->explicit_len > 0)
        put_u64(body, number);
    if (len > 0)
        memcpy(body + suite->explicit_len, plain, len);
    if (!aead_seal(c->aead, &server, &header, body, form.body_len))
        return 0;
    return form.header_len + form.body_len;
}

bool record_window_allows(const struct record_window *w, uint64_t seq)
{
    if (seq > w->top)
        return true;
    return w->top - seq < RECORD_WINDOW && !(w->map >> (w->top - seq) & 1);
}

void record_window_mark(struct record_window *w, uint64_t seq)
{
    if (seq > w->top) {
        uint64_t ahead = seq - w->top;

        w->map = ahead < RECORD_WINDOW ? w->map << ahead | 1 : 1;
        w->top = seq;
    } else if (w->top - seq < RECORD_WINDOW) {
        w->map |= UINT64_C(1) << (w->top - seq);
    }
}
