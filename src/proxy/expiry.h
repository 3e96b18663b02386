/*
 * expiry: ends the sessions whose identity's time is over. No timer per session: when an end has
 * passed, all sessions are walked through, a slice a turn and at most once a minute. The inside of
 * relay: knows no clock.
 */
#ifndef DTLSGATE_PROXY_EXPIRY_H
#define DTLSGATE_PROXY_EXPIRY_H

#include <stdint.h>

struct relay;

/* The settings are others now. */
void expiry_plan(struct relay *r);
/* Does what is due. Returns when to call again, or TIMER_NEVER. */
uint64_t expiry_tick(struct relay *r, uint64_t now);

#endif
