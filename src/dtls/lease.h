/*
 * lease: the numbers that an association may use because whoever keeps it beyond the process's end
 * has been told before. Types, and where one lies; proxy/keep says how long leases are. Knows no
 * files.
 */
#ifndef DTLSGATE_DTLS_LEASE_H
#define DTLSGATE_DTLS_LEASE_H

#include <stdatomic.h>
#include <stdint.h>

struct association;

/* A lease is renewed when it is used up, and when it is used so long after the last renewal. */
#define LEASE_TOLD_MS 10000

struct lease {
    uint64_t write_end;    /* records with lower numbers may have been sent */
    _Atomic uint64_t *top; /* where the highest number delivered stands, outliving the process */
    uint64_t check;        /* odd, and of this lease alone: what such a number is known by */
    uint64_t told;         /* when it was renewed last, ms */
};

/* A number as it stands there: one word, which is whole at any moment, and no other's. */
static inline uint64_t lease_word(uint64_t number, uint64_t check)
{
    return number << 16 | ((number + 1) * check) >> 48;
}

/* A lease's number: the block it lies in, and its place there. */
#define LEASE_PLACE_BITS 10
#define LEASE_BLOCK_BITS 16

struct leases {
    struct lease **block; /* by number; NULL: none of ours lies there */
    uint64_t now;         /* ms, about: set with each step of the worker */
    /* Told before a number outside of the lease is sent: makes room for it. It always succeeds. */
    void (*renew)(void *arg, const struct association *a);
    void *arg;
};

static inline struct lease *leases_at(const struct leases *l, uint64_t number)
{
    return &l->block[number >> LEASE_PLACE_BITS][number & ((1u << LEASE_PLACE_BITS) - 1)];
}

#endif
