/*
 * seen: hellos whose cookie has been used. A cookie is good for minutes and binds the client's
 * random, so without this a late or replayed copy of a hello would begin a handshake again, or end
 * the one its client has begun since. Fixed in size: a newer hello may push an older one out.
 */
#ifndef DTLSGATE_PROXY_SEEN_H
#define DTLSGATE_PROXY_SEEN_H

#include "base/addr.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct seen;

/* What a hello is known by. The peer is in it: who has seen a hello may show it from an address of
 * its own, and that must not make its client's a copy. */
uint64_t seen_print(const uint8_t random[WIRE_RANDOM], const struct addr *peer);

/* NULL: out of memory. */
struct seen *seen_new(void);
void seen_free(struct seen *s);
/* `print` names the hello; never two hellos by the same, but for one in 2^64. */
bool seen_has(const struct seen *s, uint64_t print);
void seen_add(struct seen *s, uint64_t print);
/* Calls fn for each that is still known. */
void seen_each(const struct seen *s, void (*fn)(void *arg, uint64_t print), void *arg);
/* Its handshake had to make room through no fault of the client: it may come again. */
void seen_forget(struct seen *s, uint64_t print);

#endif
