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
#define WINDOW_SIZE 64

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

static enum record_verdict check_shape(const struct suite *suite, const struct wire_record *rec)
{
    size_t extra = (size_t)suite->explicit_len + suite->tag_len;

    if (rec->epoch != EPOCH)
        return RECORD_EPOCH;
    if (rec->len < extra || rec->len - extra > WIRE_PLAINTEXT_MAX)
        return RECORD_SIZE;
    return RECORD_OK;
}

/* Opens a record whose shape was checked. */
static enum record_verdict open_checked(struct record_crypt *c, const struct aead_side *side,
                                        const struct wire_record *rec, uint8_t *plain, size_t *len)
{
    const struct suite *suite = side->suite;
    struct aead_header header = {.type = rec->type, .version = rec->version};

    put_u64(header.number, (uint64_t)EPOCH << 48 | rec->seq);
    memcpy(c->body, rec->body, rec->len);
    bool opens = aead_open(c->aead, side, &header, c->body, rec->len);
    size_t plain_len = rec->len - suite->explicit_len - suite->tag_len;
    memcpy(plain, c->body + suite->explicit_len, plain_len); /* zeros if it does not */
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
                                const struct wire_record *rec, uint8_t *plain, size_t *len)
{
    struct aead_side client = client_side(a);
    enum record_verdict verdict = check_shape(a->suite, rec);

    if (verdict != RECORD_OK)
        return verdict;
    if (!record_window_allows(&a->window, rec->seq))
        return RECORD_REPLAY;
    verdict = open_checked(c, &client, rec, plain, len);
    if (verdict == RECORD_OK) {
        lease_receiving(c, a, rec->seq);
        record_window_mark(&a->window, rec->seq);
    } else if (a->forged < ASSOCIATION_FORGED_MAX) {
        a->forged++;
    }
    return verdict;
}

size_t record_seal(struct record_crypt *c, struct association *a, uint8_t type,
                   const uint8_t *plain, size_t len, uint8_t *out)
{
    const struct suite *suite = a->suite;
    struct aead_side server = server_side(a);
    struct aead_header header = {.type = type, .version = WIRE_DTLS12};
    uint64_t number = (uint64_t)EPOCH << 48 | a->write_seq;
    uint8_t *body = out + WIRE_RECORD_HEADER;
    size_t body_len = suite->explicit_len + len + suite->tag_len;

    if (len > WIRE_PLAINTEXT_MAX || a->write_seq > WIRE_SEQ_MAX)
        return 0;
    lease_sending(c, a);
    a->write_seq++;
    put_u64(header.number, number);
    wire_put_record_header(out, type, WIRE_DTLS12, number, body_len);
    if (suite->explicit_len > 0)
        put_u64(body, number);
    if (len > 0)
        memcpy(body + suite->explicit_len, plain, len);
    return aead_seal(c->aead, &server, &header, body, body_len) ? WIRE_RECORD_HEADER + body_len : 0;
}

bool record_window_allows(const struct record_window *w, uint64_t seq)
{
    if (seq > w->top)
        return true;
    return w->top - seq < WINDOW_SIZE && !(w->map >> (w->top - seq) & 1);
}

void record_window_mark(struct record_window *w, uint64_t seq)
{
    if (seq > w->top) {
        uint64_t ahead = seq - w->top;

        w->map = ahead < WINDOW_SIZE ? w->map << ahead | 1 : 1;
        w->top = seq;
    } else if (w->top - seq < WINDOW_SIZE) {
        w->map |= UINT64_C(1) << (w->top - seq);
    }
}
