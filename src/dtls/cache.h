/*
 * cache: sessions that can be resumed by their id (RFC 5246 F.1.4), remembered for clients that
 * keep no tickets. A fixed number of places, which all threads share; the oldest gives way. Must
 * never know a hello or a clock, nor judge who may go on.
 */
#ifndef DTLSGATE_DTLS_CACHE_H
#define DTLSGATE_DTLS_CACHE_H

#include "dtls/ticket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_ID 32

struct cache;

/* `places` is at least 1. Those that were never used cost addresses and no memory. NULL: out of
 * memory. */
struct cache *cache_new(uint32_t places);
/* Wipes all there is. Nobody else may use it any more. NULL is fine. */
void cache_free(struct cache *c);

/* What a session is found by: of another service's nothing is known. */
struct cache_name {
    const char *service;
    const uint8_t *id; /* CACHE_ID bytes */
};

/* What follows may be called by any thread at any time. */

/* Remembers what a ticket would say of a session, under a fresh name, for `lifetime` ms from
 * t->born on. Returns whether another one had to give way for it that was good still. */
bool cache_put(struct cache *c, const struct cache_name *name, const struct ticket *t,
               uint64_t lifetime);
/* Copies it; to be wiped. It stays, and may be had any number of times. False: nothing is known of
 * that name, or nothing any more. */
bool cache_find(struct cache *c, const struct cache_name *name, struct ticket *out)
    __attribute__((warn_unused_result));
/* It is to be resumed no more (RFC 5246 7.2.2). Harmless when there is nothing. */
void cache_forget(struct cache *c, const struct cache_name *name);
/* Wipes all whose time is over at `wall`, ms since 1970 UTC; a few at a time, so that nobody waits.
 * NULL is fine. */
void cache_expire(struct cache *c, uint64_t wall);

#endif
