/*
 * moves: sessions with connection ids (RFC 9146): whose a record is, and how a session follows its
 * client to another address. The inside of relay, split off for size: only relay includes this.
 */
#ifndef DTLSGATE_PROXY_MOVES_H
#define DTLSGATE_PROXY_MOVES_H

#include "proxy/life.h"

/* Makes a connection id for a client whose hello asks for one. NULL: it does not, or may not. */
const uint8_t *moves_offer(const struct relay *r, unsigned service, const struct wire_hello *hello,
                           uint8_t cid[WIRE_OWN_CID]);
/* The session that a record of type 25 is for, which came from `from`. NULL: it may have none, and
 * *fate tells why. */
struct session *moves_find(const struct relay *r, const struct session_route *from,
                           const struct wire_record *rec, enum fate *fate);
/* Before anything is sent to a session: one whose new address has not been proven in time is where
 * it was before (RFC 9853 5.1). Harmless for one without connection ids. */
void moves_settle(struct relay *r, struct session *s, uint64_t now);
/* life_sink(), but the session follows what authenticates. */
struct session_sink moves_sink(struct turn *t);

/* Is it another worker's? Then it may be passed on; false: that one has too much waiting. */
bool moves_is_elsewhere(const struct relay *r, const struct wire_record *rec);
bool moves_pass(struct relay *r, const struct turn *t, const struct wire_record *rec);

#endif
