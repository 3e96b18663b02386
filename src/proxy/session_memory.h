/*
 * session_memory: where a worker's sessions lie: each in one piece that is no longer than its suite
 * needs, for there may be a million of them. session.c decides what is in there.
 */
#ifndef DTLSGATE_PROXY_SESSION_MEMORY_H
#define DTLSGATE_PROXY_SESSION_MEMORY_H

#include "base/slab.h"
#include "dtls/keys.h"
#include "dtls/record.h"

#include <stdbool.h>

#define SESSION_SIZES 3

/* By the client's connection id: none, a short one, any. */
#define SESSION_CIDS 3

struct session_memory {
    /* By the length of the suite's keys and of the client's connection id. */
    struct slab sessions[SESSION_SIZES][SESSION_CIDS];
    struct slab tallied[SESSION_SIZES][SESSION_CIDS]; /* the same, with a tally in front */
    struct slab pending, tails, proofs;
    struct list tails_by_age; /* proxy/session_tail */
};

/* How long things are: a session without its keys, what it has besides before and after, and what
 * goes behind its connection ids, and what a move takes. */
struct session_sizes {
    size_t session, tally, pending, tail, roam, proof;
};

/* It must stay where it is, and outlives its sessions. */
void session_memory_init(struct session_memory *m, const struct session_sizes *sizes);
/* All are back by then. */
void session_memory_clear(struct session_memory *m);

/* Where the sessions of a suite lie, those with a tally or those without; NULL: those that libssl
 * keeps. `cid` is NULL for those without connection ids. */
struct slab *session_memory_of(struct session_memory *m, const struct suite *suite,
                               const struct association_cid *cid, bool has_tally);
/* Where what goes behind the ids begins, behind an association of so many bytes. */
size_t session_memory_align(size_t length);

#endif
