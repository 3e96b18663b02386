/*
 * lookup: asks for the addresses of names without keeping anybody waiting: one round at a time, in
 * a thread of its own that ends with it. Knows nothing of what the names are for.
 */
#ifndef DTLSGATE_DAEMON_LOOKUP_H
#define DTLSGATE_DAEMON_LOOKUP_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct lookup_name {
    char *text;         /* HOST:PORT, owned by the round */
    struct addr before; /* what it was; an answer that still holds it changes nothing */
    bool is_bound;      /* to the family of `before` */
    struct addr now;    /* family 0: no answer */
    unsigned tags[2];   /* the caller's */
};

struct lookup_round {
    size_t count;
    struct lookup_name name[];
};

struct lookup;

/* NULL: out of memory or descriptors. */
struct lookup *lookup_new(void);
/* A round that is under way is left to itself: it may take as long as the resolver does. NULL is
 * fine. */
void lookup_free(struct lookup *l);
/* Readable when a round is over. */
int lookup_fd(const struct lookup *l);

/* Room for a round, with `count` 0. NULL: out of memory. */
struct lookup_round *lookup_round_new(size_t room);
/* Adds a name; it has room. False: out of memory. */
bool lookup_add(struct lookup_round *round, const struct lookup_name *name)
    __attribute__((warn_unused_result));
void lookup_round_free(struct lookup_round *round);

/* Begins a round, which is taken over. False: one is under way, or there is no thread to be had;
 * the round is gone either way. */
bool lookup_start(struct lookup *l, struct lookup_round *round);
/* The round that is over, the caller's to free; NULL: none is. */
struct lookup_round *lookup_take(struct lookup *l);

#endif
