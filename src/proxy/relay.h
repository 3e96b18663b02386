/*
 * relay: the data path, and the one file that knows both sides. Takes datagrams from listeners and
 * flows, finds the session, sends on what comes out. All of one worker's state hangs here; it knows
 * no event loop and no clock.
 */
#ifndef DTLSGATE_PROXY_RELAY_H
#define DTLSGATE_PROXY_RELAY_H

#include "dtls/cookie.h"
#include "proxy/keep.h"
#include "proxy/parts.h"
#include "proxy/regime.h"
#include "proxy/setup.h"

/* Takes over *setup. NULL: out of memory, *setup is still the caller's. */
struct relay *relay_new(const struct relay_parts *parts, struct relay_setup *setup,
                        const struct cookie_secrets *cookies);
/* Frees, after relay_end_all() has ended what was left; must come before the parts go. */
void relay_free(struct relay *r);

/* One datagram from a client. */
void relay_from_client(struct relay *r, struct listener *l, const struct udp_datagram *d,
                       uint64_t now);
/* A record that another worker has passed on. */
void relay_from_worker(struct relay *r, const struct relay_record *record, uint64_t now);
/* One datagram from the backend of `session` (the flow's owner). False: the session is gone, give
 * it no more of this batch. */
bool relay_from_backend(struct relay *r, void *session, const struct udp_datagram *d, uint64_t now);
/* One datagram on a socket that sessions share, of somebody else than the backend or to an address
 * that no session has. */
void relay_from_stranger(struct relay *r, const struct udp_datagram *d);
/* `n` ICMP refusals came from the backend of `session`. */
void relay_refused(struct relay *r, void *session, unsigned n, uint64_t now);

/* What has become of a question that the asker of the parts was given. */
void relay_on_answer(struct relay *r, void *token, const struct helper_answer *answer,
                     uint64_t now);

/* Does what is due: repeats flights, ends what has timed out. Returns when to call again (ms), or
 * TIMER_NEVER. Call it after each turn. */
uint64_t relay_tick(struct relay *r, uint64_t now);
/* Sends what has been queued, both ways. Call it at the end of each turn. */
void relay_flush(struct relay *r);

/* From now on sessions are kept in what all workers share, which is borrowed. Before the first one.
 * False: out of memory, or libcrypto lacks something. */
bool relay_keep(struct relay *r, struct keep_shared *shared) __attribute__((warn_unused_result));

#endif
