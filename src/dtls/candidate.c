/*
 * candidate: ClientKeyExchanges that may be forged. See the header.
 */
#include "dtls/candidate.h"

#include "base/bytes.h"

#include <string.h>

const uint8_t *candidates_assemble(struct candidates *c, const struct wire_message *m)
{
    if (m->length == 0 || m->length > CANDIDATE_BODY_MAX)
        return NULL;
    if (c->partial.length != m->length) {
        /* Another message, or a forged piece of one: the newest claim counts. */
        memset(&c->partial, 0, sizeof c->partial);
        c->partial.length = m->length;
    }
    memcpy(c->partial.message + WIRE_MESSAGE_HEADER + m->offset, m->body, m->fragment_length);
    for (uint32_t i = m->offset; i < m->offset + m->fragment_length; i++)
        c->partial.have[i / 8] |= (uint8_t)(1u << (i % 8));
    for (uint32_t i = 0; i < m->length; i++) {
        if ((c->partial.have[i / 8] & (1u << (i % 8))) == 0)
            return NULL;
    }
    c->partial.length = 0;
    wire_put_message_header(c->partial.message, m->type, m->seq, m->length);
    return c->partial.message;
}

/* Reads the identity, and checks that what is behind it has the form of the key exchange. */
static bool parse_body(const uint8_t *body, size_t len, enum suite_exchange exchange,
                       struct reader *identity)
{
    struct reader r = reader_of(body, len);
    *identity = read_vec16(&r);
    if (exchange == EXCHANGE_ECDHE_PSK) {
        struct reader point = read_vec8(&r);
        r.bad = r.bad || point.left == 0;
    } else if (exchange == EXCHANGE_DHE_PSK) {
        struct reader public_value = read_vec16(&r);
        r.bad = r.bad || public_value.left == 0;
    }
    return !r.bad && r.left == 0 && identity->left > 0 && identity->left <= PSK_IDENTITY_MAX;
}

static bool is_known(const struct candidates *c, const uint8_t *message, size_t len)
{
    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        if (c->one[i].len == len && memcmp(c->one[i].message, message, len) == 0)
            return true;
    }
    return false;
}

struct candidate *candidates_add(struct candidates *c, const uint8_t *message, size_t len,
                                 enum suite_exchange exchange, bool *is_repeat)
{
    struct reader identity;

    *is_repeat = false;
    if (len < WIRE_MESSAGE_HEADER || len > sizeof c->one[0].message ||
        !parse_body(message + WIRE_MESSAGE_HEADER, len - WIRE_MESSAGE_HEADER, exchange, &identity))
        return NULL;
    *is_repeat = is_known(c, message, len);
    if (*is_repeat)
        return NULL;

    struct candidate *k = &c->one[c->next];
    c->next = (c->next + 1) % CANDIDATE_COUNT;
    bytes_wipe(k, sizeof *k);
    memcpy(k->message, message, len);
    k->len = len;
    k->identity = k->message + (identity.at - message);
    k->identity_len = identity.left;
    return k;
}

const struct candidate *candidates_newest(const struct candidates *c)
{
    const struct candidate *k = &c->one[(c->next + CANDIDATE_COUNT - 1) % CANDIDATE_COUNT];
    return k->len > 0 ? k : NULL;
}
