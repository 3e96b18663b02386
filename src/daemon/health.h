/*
 * health: what the process as a whole learns of its backends, beside the workers: who answers
 * probes, and which names have other addresses now. Tells the workers, and the log.
 */
#ifndef DTLSGATE_DAEMON_HEALTH_H
#define DTLSGATE_DAEMON_HEALTH_H

#include "conf/conf.h"

#include <stdbool.h>

struct event_base;
struct fleet;
struct health;

/* Both outlive it. NULL: out of memory or descriptors. */
struct health *health_new(struct event_base *base, struct fleet *fleet);
/* NULL is fine. Before fleet_stop(). */
void health_free(struct health *h);
/* Goes by this snapshot from now on, which the workers have been told of. What was known of a
 * backend that stays is still known. False: out of memory, nothing is watched. */
bool health_use(struct health *h, const struct conf *conf) __attribute__((warn_unused_result));

#endif
