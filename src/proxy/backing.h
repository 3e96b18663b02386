/*
 * backing: a worker's backends as the settings and the master have them. The inside of relay, split
 * off for size: nobody else includes this.
 */
#ifndef DTLSGATE_PROXY_BACKING_H
#define DTLSGATE_PROXY_BACKING_H

#include "proxy/life.h"

/* Takes over the list of a service whose settings are new. */
void backing_use(struct relay *r, unsigned service, uint64_t now);
/* As relay_tell(). */
void backing_tell(struct relay *r, const struct relay_order *order, uint64_t now);

#endif
