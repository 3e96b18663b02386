/*
 * sources: the addresses of a prefix that one worker's flows to one backend have: hands them out,
 * and finds whose one is. Knows no sockets, and owns nothing that has an address.
 */
#ifndef DTLSGATE_PROXY_SOURCES_H
#define DTLSGATE_PROXY_SOURCES_H

#include "base/hash.h"
#include "base/prefix.h"

#include <stdbool.h>
#include <stdint.h>

/* As many addresses go round at most, for each worker; more than there can be sessions. */
#define SOURCES_MAX (1u << 24)

struct sources {
    struct prefix prefix;
    unsigned worker, workers; /* number % workers == worker are ours to hand out */
    uint32_t count, next;     /* of our own, and where the search begins */
    uint64_t *used;           /* one bit for each of our own */
    struct table table;       /* in use */
};

/* Part of whatever has an address. */
struct source {
    struct table_link link;
    uint32_t number; /* in the prefix */
};

/* The prefix has at least one address for each worker. False: out of memory, nothing is left then.
 */
bool sources_init(struct sources *s, const struct prefix *prefix, unsigned worker, unsigned workers)
    __attribute__((warn_unused_result));
/* All have been given back. */
void sources_clear(struct sources *s);

/* Takes the free one of our own that was handed out longest ago. False: all are in use. */
bool sources_take_next(struct sources *s, struct source *source)
    __attribute__((warn_unused_result));
/* Takes this one, ours or not; the other call does not hand it out then. False: it is in use. */
bool sources_take(struct sources *s, struct source *source, uint32_t number)
    __attribute__((warn_unused_result));
void sources_give_back(struct sources *s, struct source *source);

/* Who has this address, whatever its port; NULL: nobody. */
struct source *sources_find(const struct sources *s, const struct addr *a);
/* The address, with the port 0. */
struct addr sources_address(const struct sources *s, const struct source *source);

#endif
