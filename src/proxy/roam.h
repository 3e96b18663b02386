/*
 * roam: what a session with connection ids (RFC 9146) has besides: its place in the index by our
 * id, what may be sent to an address that it has just moved to, and what proves that address.
 * Knows no records and moves nothing.
 */
#ifndef DTLSGATE_PROXY_ROAM_H
#define DTLSGATE_PROXY_ROAM_H

#include "base/addr.h"
#include "base/hash.h"
#include "base/slab.h"
#include "dtls/record.h"

/* So many times what came from an address that may not be the client's goes there (RFC 9146 6). */
#define ROAM_AMPLIFICATION 3
/* How long an answer to a challenge is waited for where it may move a session, and how often it is
 * asked (RFC 9853 5.5). */
#define ROAM_PROOF_MS 1000
#define ROAM_ASK_MS 250

struct session;

/* Where a session is or was. */
struct roam_place {
    struct addr peer, local;
    unsigned listener;
};

/* While an address is unproven, or was not proven in time. */
struct roam_proof {
    struct roam_place home; /* the last place that was proven */
    struct addr asked;      /* who was sent the challenge; family 0: nobody */
    uint8_t cookie[WIRE_RRC_COOKIE];
    uint64_t asked_at, until; /* ms */
};

/* Behind the session's connection ids, from its beginning on. */
struct roam {
    struct table_link link; /* in the worker's peers, by our id */
    struct table_link at;   /* the same, by its route, while it is the newest there */
    struct session *session;
    uint32_t moves;
    bool is_at;
    bool is_unproven;         /* what came from where it is now may be a copy */
    uint64_t budget;          /* bytes that may yet go there while that is so */
    uint64_t moved_by;        /* which datagram */
    struct roam_proof *proof; /* NULL: none, or memory was short */
};

/* That of the session whose association this is. NULL: it has no connection ids. */
struct roam *roam_of(const struct association *a);
/* Gives back what it holds; harmless for an association without. */
void roam_clear(const struct association *a);

/* It has moved from `before`: an authentic record of `size` bytes, the newest, has come from
 * elsewhere. Its proof comes out of `proofs`. */
void roam_move(struct roam *r, const struct roam_place *before, size_t size, struct slab *proofs,
               uint64_t datagram);
/* Where it is is the client's address, by whatever proof. */
void roam_prove(struct roam *r);
/* An authentic record of `size` bytes has come from where it is. */
void roam_hear(struct roam *r, size_t size);
/* Is there anything left to prove? */
bool roam_is_in_doubt(const struct roam *r);
/* May a newer record from there count as proof, where routes are not checked? Not one of the
 * datagram that moved it, which may be a copy, however many records are in it. */
bool roam_may_believe(const struct roam *r, uint64_t datagram);
/* Is it time to ask for the proof (RFC 9853 5.1)? Then *r->proof has the cookie to ask with. */
bool roam_asks(struct roam *r, const struct addr *whom, uint64_t now);
/* Is this what `from` was asked for? */
bool roam_is_answer(const struct roam *r, const struct addr *from,
                    const uint8_t cookie[WIRE_RRC_COOKIE]);
/* Was the answer due before `now`? Then the session belongs to r->proof->home again. */
bool roam_is_overdue(const struct roam *r, uint64_t now);
/* May a record with `len` bytes in it be sent to the client? If so it counts as sent. */
bool roam_may_send(const struct association *a, size_t len);

#endif
