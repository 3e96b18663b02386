/*
 * locals: the local addresses that a worker's peers have written to, each kept once and counted, so
 * that a session needs a number for it and no address. Made for the few that a host has, right for
 * any number.
 */
#ifndef DTLSGATE_PROXY_LOCALS_H
#define DTLSGATE_PROXY_LOCALS_H

#include "base/addr.h"
#include "base/hash.h"
#include "base/slab.h"

#include <stdbool.h>
#include <stdint.h>

#define LOCALS_NONE 0 /* no address has this number */

/* One number. */
struct locals_place {
    struct local *local; /* NULL: not in use */
    uint32_t next_free;  /* then the next such number, or LOCALS_NONE */
};

struct locals {
    struct hash_key key;
    struct table table;
    struct slab entries;
    struct locals_place *places; /* by number */
    uint32_t room, next_free;
};

/* False: out of memory, nothing is left then. It must stay where it is. */
bool locals_init(struct locals *ls) __attribute__((warn_unused_result));
/* All have been given back. */
void locals_clear(struct locals *ls);

/* The number of an address, the same for as long as anybody holds it; LOCALS_NONE: out of memory.
 * To be given back as often as it was taken. */
uint32_t locals_take(struct locals *ls, const struct addr *a);
/* Harmless for LOCALS_NONE. */
void locals_give(struct locals *ls, uint32_t number);
/* The address that a number stands for, borrowed until it is given back. */
const struct addr *locals_at(const struct locals *ls, uint32_t number);

#endif
