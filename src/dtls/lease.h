/*
 * lease: the numbers that an association may use because whoever keeps it beyond the process's end
 * has been told before. Types, and where one lies; proxy/keep says how long leases are. Knows no
 * files.
 */
#ifndef DTLSGATE_DTLS_LEASE_H
#define DTLSGATE_DTLS_LEASE_H

#include <stdbool.h>
#include <stdint.h>

struct association;

/* A lease is renewed when it is used up, and when it is used this long after the last renewal. */
#define LEASE_READ_MS 1000
#define LEASE_WRITE_MS 10000

struct lease {
    uint64_t write_end;           /* records with lower numbers may have been sent */
    uint64_t read_end;            /* records with numbers up to this one may have been delivered */
    const struct association *of; /* whose; NULL: nobody's */
    uint64_t told : 44;           /* when it was renewed last, ms */
    uint64_t streak : 4;          /* the keeper's: so many renewals in a row came fast */
    uint64_t ahead : 15;          /* how far read_end was then above the highest number */
    bool is_busy : 1;             /* the keeper's: it is to be drawn back when it falls silent */
};

/* A lease's number: the block it lies in, and its place there. */
#define LEASE_PLACE_BITS 10
#define LEASE_BLOCK_BITS 16

struct leases {
    struct lease **block; /* by number; NULL: none of ours lies there */
    uint64_t now;         /* ms, about: set with each step of the worker */
    /* Told before a number outside of the lease is used: makes room for the next to be sent, and
     * for `top` to be the highest that was received. It always succeeds. */
    void (*renew)(void *arg, const struct association *a, uint64_t top);
    void *arg;
};

static inline struct lease *leases_at(const struct leases *l, uint64_t number)
{
    return &l->block[number >> LEASE_PLACE_BITS][number & ((1u << LEASE_PLACE_BITS) - 1)];
}

#endif
