/*
 * candidate: the ClientKeyExchanges a peer has sent, any of which may be forged, and the keys each
 * would lead to. The one under whose keys a Finished opens is the client's. Bounded: a few; the
 * newest win.
 */
#ifndef DTLSGATE_DTLS_CANDIDATE_H
#define DTLSGATE_DTLS_CANDIDATE_H

#include "dtls/keys.h"
#include "dtls/psk.h"
#include "dtls/record.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A PSK client never needs more for one message. */
#define CANDIDATE_BODY_MAX 600
#define CANDIDATE_COUNT 8

/* Whether a candidate's key is yet to come from elsewhere. */
enum candidate_key {
    CANDIDATE_SETTLED, /* `psk` says all there is to know */
    CANDIDATE_TO_ASK,  /* `psk` may be known elsewhere; unknown until then */
    CANDIDATE_ASKED,   /* an answer is under way */
};

struct candidate {
    uint8_t message[WIRE_MESSAGE_HEADER + CANDIDATE_BODY_MAX]; /* whole, as one fragment */
    size_t len;                                                /* 0: the place is free */
    const uint8_t *identity;                                   /* inside of message */
    size_t identity_len;
    const uint8_t *public_value; /* inside of message: the client's, for (EC)DHE only */
    size_t public_len;
    const struct psk *psk; /* NULL: unknown, it gets a key that nobody has */
    enum candidate_key asking;
    struct psk given; /* by elsewhere, with its key below: where `psk` then points */
    uint8_t given_key[PSK_KEY_MAX];
    bool is_derived; /* master and association are set */
    bool is_bad;     /* no keys come of it */
    uint32_t turn;   /* counts up: who came later */
    uint8_t master[KEYS_MASTER];
    struct association association;
};

struct candidates {
    struct candidate one[CANDIDATE_COUNT];
    uint32_t turns; /* so many have been added */
    /* A message that comes in fragments (RFC 6347 4.2.3); only one at a time. */
    struct {
        uint8_t message[WIRE_MESSAGE_HEADER + CANDIDATE_BODY_MAX];
        uint8_t have[(CANDIDATE_BODY_MAX + 7) / 8];
        uint32_t length;  /* declared; 0: none */
        uint32_t missing; /* bytes that have not come yet */
    } partial;
};

/* Takes a fragment in. Returns the whole message (header and body) once it is complete, or NULL.
 * Its work is bounded by the fragment's length. */
const uint8_t *candidates_assemble(struct candidates *c, const struct wire_message *m);

/* Adds a whole message (header and body, `len` bytes). `exchange` tells the body's form (RFC 4279
 * 2, 5489 2). NULL: malformed, or there already (*is_repeat). */
struct candidate *candidates_add(struct candidates *c, const uint8_t *message, size_t len,
                                 enum suite_exchange exchange, bool *is_repeat);
/* Adds one that no message has brought: the identity of a session that is resumed. */
struct candidate *candidates_add_known(struct candidates *c, const struct psk *psk);
/* The one added `age` places before the last, 0 to CANDIDATE_COUNT - 1; NULL: there is none. */
struct candidate *candidates_recent(struct candidates *c, unsigned age);
/* What has become of the question for an identity, for all that name it and are not settled yet.
 * CANDIDATE_SETTLED: its key is that of `named`, which is copied; none when that is of 0 bytes.
 * Returns the newest of them, or NULL. */
struct candidate *candidates_set_key(struct candidates *c, const struct psk *named,
                                     enum candidate_key asking);
/* The one added last of those that stand so, or NULL. */
const struct candidate *candidates_find(const struct candidates *c, enum candidate_key asking);
/* The one added last, or NULL. */
const struct candidate *candidates_newest(const struct candidates *c);
/* Why none of them has led to a session, for the log. */
const char *candidates_flaw(const struct candidates *c);

#endif
