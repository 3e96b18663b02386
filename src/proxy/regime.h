/*
 * regime: the settings that a relay goes by, and the orders of the master. relay.h includes it.
 */
#ifndef DTLSGATE_PROXY_REGIME_H
#define DTLSGATE_PROXY_REGIME_H

#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/parts.h"
#include "proxy/setup.h"

struct relay;

/* A reload: takes over *setup and rebases every session on it. */
void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now);
/* Asked by another worker: ends the longest idle session of an identity; or, where its key is a
 * helper's, all those that it has no room for. True: nobody else needs to be asked; else as much
 * less room is left as there are sessions here. */
bool relay_end_one(struct relay *r, struct relay_identity *who, uint64_t now);
/* News or an order about one backend. */
void relay_tell(struct relay *r, const struct relay_order *order, uint64_t now);
/* For anybody to look at, as long as the relay is there. */
const struct balance *relay_balance(const struct relay *r, unsigned service);
/* The wall clock says `wall`, ms since 1970 UTC. Call it before the first turn and from time to
 * time, for it may be set. */
void relay_set_wall(struct relay *r, uint64_t wall, uint64_t now);
/* From now on cookies are made and checked with these. */
void relay_set_cookies(struct relay *r, const struct cookie_secrets *cookies);
/* The same for tickets, where services want any. */
void relay_set_tickets(struct relay *r, const struct ticket_keys *tickets);
/* No new handshakes from now on; those under way are given up. */
void relay_drain(struct relay *r, uint64_t now);
/* New handshakes are welcome again. */
void relay_undrain(struct relay *r);
/* Says goodbye to every client and ends all sessions. */
void relay_end_all(struct relay *r, uint64_t now);
/* The same, but those that are kept go without a word: the next start takes them up again. */
void relay_leave_all(struct relay *r, uint64_t now);

/* For relay alone: takes the setup over; what was there before is the caller's to clear. */
void regime_use(struct relay *r, struct relay_setup *setup, uint64_t now);

#endif
