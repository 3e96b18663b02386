/*
 * candidate: ClientKeyExchanges that may be forged. See the header.
 */
#include "dtls/candidate.h"

#include "base/bytes.h"

#include <string.h>

const uint8_t *candidates_assemble(struct candidates *c, const struct wire_message *m)
{
    if (m->fragment_length == 0 || m->length > CANDIDATE_BODY_MAX)
        return NULL;
    if (c->partial.length != m->length) {
        /* Another message, or a forged piece of one: the newest claim counts. */
        memset(c->partial.have, 0, sizeof c->partial.have);
        c->partial.length = c->partial.missing = m->length;
    }
    memcpy(c->partial.message + WIRE_MESSAGE_HEADER + m->offset, m->body, m->fragment_length);
    for (uint32_t i = m->offset; i < m->offset + m->fragment_length; i++) {
        uint8_t bit = (uint8_t)(1u << (i % 8));
        c->partial.missing -= (c->partial.have[i / 8] & bit) == 0;
        c->partial.have[i / 8] |= bit;
    }
    if (c->partial.missing > 0)
        return NULL;
    c->partial.length = 0;
    wire_put_message_header(c->partial.message, m->type, m->seq, m->length);
    return c->partial.message;
}

/* Reads a body that has the form of the key exchange: the identity and, with (EC)DHE, the client's
 * public value. */
static bool parse_body(const uint8_t *body, size_t len, enum suite_exchange exchange,
                       struct reader *identity, struct reader *public_value)
{
    struct reader r = reader_of(body, len);
    *identity = read_vec16(&r);
    *public_value = reader_of(body, 0);
    if (exchange == EXCHANGE_ECDHE_PSK)
        *public_value = read_vec8(&r);
    else if (exchange == EXCHANGE_DHE_PSK)
        *public_value = read_vec16(&r);
    bool has_value = public_value->left > 0 || exchange == EXCHANGE_PSK;
    return !r.bad && r.left == 0 && has_value && identity->left > 0 &&
           identity->left <= PSK_IDENTITY_MAX;
}

static bool is_known(const struct candidates *c, const uint8_t *message, size_t len)
{
    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        if (c->one[i].len == len && memcmp(c->one[i].message, message, len) == 0)
            return true;
    }
    return false;
}

/* The oldest gives way, whoever it names: to treat names that nobody has differently would tell
 * which ones these are. */
static struct candidate *place_for_next(struct candidates *c)
{
    struct candidate *place = &c->one[0];

    for (size_t i = 1; i < CANDIDATE_COUNT; i++) {
        if (c->one[i].turn < place->turn)
            place = &c->one[i];
    }
    return place;
}

struct candidate *candidates_add(struct candidates *c, const uint8_t *message, size_t len,
                                 enum suite_exchange exchange, bool *is_repeat)
{
    struct reader identity, value;

    *is_repeat = false;
    if (len < WIRE_MESSAGE_HEADER || len > sizeof c->one[0].message ||
        !parse_body(message + WIRE_MESSAGE_HEADER, len - WIRE_MESSAGE_HEADER, exchange, &identity,
                    &value))
        return NULL;
    *is_repeat = is_known(c, message, len);
    if (*is_repeat)
        return NULL;

    struct candidate *k = place_for_next(c);
    bytes_wipe(k, sizeof *k);
    memcpy(k->message, message, len);
    k->len = len;
    k->turn = ++c->turns;
    k->identity = k->message + (identity.at - message);
    k->identity_len = identity.left;
    k->public_value = k->message + (value.at - message);
    k->public_len = value.left;
    return k;
}

struct candidate *candidates_add_known(struct candidates *c, const struct psk *psk)
{
    struct candidate *k = place_for_next(c);

    bytes_wipe(k, sizeof *k);
    memcpy(k->message, psk->identity, psk->identity_len);
    k->len = k->identity_len = psk->identity_len;
    k->identity = k->message;
    k->turn = ++c->turns;
    k->psk = psk;
    return k;
}

struct candidate *candidates_recent(struct candidates *c, unsigned age)
{
    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        unsigned newer = 0;
        for (size_t j = 0; j < CANDIDATE_COUNT; j++)
            newer += c->one[j].len > 0 && c->one[j].turn > c->one[i].turn;
        if (c->one[i].len > 0 && newer == age)
            return &c->one[i];
    }
    return NULL;
}

static bool is_of(const struct candidate *k, const struct psk *named)
{
    return k->len > 0 && k->identity_len == named->identity_len &&
           memcmp(k->identity, named->identity, k->identity_len) == 0;
}

static void settle(struct candidate *k, const struct psk *named)
{
    k->asking = CANDIDATE_SETTLED;
    if (named->key_len == 0)
        return;
    memcpy(k->given_key, named->key, named->key_len);
    k->given = (struct psk){.identity = k->identity,
                            .key = k->given_key,
                            .identity_len = named->identity_len,
                            .key_len = named->key_len};
    k->psk = &k->given;
    k->is_derived = false; /* it was with a key that nobody has */
}

struct candidate *candidates_set_key(struct candidates *c, const struct psk *named,
                                     enum candidate_key asking)
{
    struct candidate *newest = NULL;

    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        struct candidate *k = &c->one[i];
        if (k->asking == CANDIDATE_SETTLED || !is_of(k, named))
            continue;
        k->asking = asking;
        if (asking == CANDIDATE_SETTLED)
            settle(k, named);
        if (newest == NULL || k->turn > newest->turn)
            newest = k;
    }
    return newest;
}

const struct candidate *candidates_find(const struct candidates *c, enum candidate_key asking)
{
    const struct candidate *found = NULL;

    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        const struct candidate *k = &c->one[i];
        if (k->len > 0 && k->asking == asking && (found == NULL || k->turn > found->turn))
            found = k;
    }
    return found;
}

const struct candidate *candidates_newest(const struct candidates *c)
{
    for (size_t i = 0; i < CANDIDATE_COUNT; i++) {
        if (c->one[i].len > 0 && c->one[i].turn == c->turns)
            return &c->one[i];
    }
    return NULL;
}

const char *candidates_flaw(const struct candidates *c)
{
    const struct candidate *k = candidates_newest(c);

    if (k == NULL)
        return "no ClientKeyExchange came";
    if (k->asking != CANDIDATE_SETTLED)
        return "unknown identity, and nobody could be asked";
    return k->psk == NULL ? "unknown identity" : "no Finished opened: wrong key";
}
