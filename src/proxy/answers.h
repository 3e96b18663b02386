/*
 * answers: what helpers' answers mean for a worker's sessions. The inside of relay, split off for
 * size: nobody else includes this.
 */
#ifndef DTLSGATE_PROXY_ANSWERS_H
#define DTLSGATE_PROXY_ANSWERS_H

#include "proxy/life.h"

/* keyring_hooks.tell, with the relay as `arg`: the handshake of a session goes on. */
void answers_tell(void *arg, void *owner, enum keyring_verdict verdict, const struct psk *named,
                  uint64_t now);
/* Ends the sessions whose helper says another thing about their key now, and does what else is due.
 * Returns when to call again, or TIMER_NEVER. */
uint64_t answers_tick(struct relay *r, uint64_t now);

#endif
