/*
 * session_tail: what a session keeps of its handshake, to answer the handshake messages of a client
 * that has not seen the end of it. Must never know what a session is.
 */
#ifndef DTLSGATE_PROXY_SESSION_TAIL_H
#define DTLSGATE_PROXY_SESSION_TAIL_H

#include "base/list.h"
#include "base/rate.h"
#include "dtls/handshake.h"
#include "proxy/session_memory.h"

#include <stdbool.h>
#include <stdint.h>

/* Twice the longest life of a segment (RFC 6347 4.2.4, RFC 793 3.3). */
#define SESSION_TAIL_MS 240000

/* Made with a farewell, it goes with the client's first data. One that is made later has none, and
 * is there for its rate. Either goes when its time is over. */
struct session_tail {
    struct handshake_farewell farewell; /* all zero: none */
    struct rate rate;                   /* of repeated last flights and no_renegotiation warnings */
    struct list age;                    /* in the worker's session_memory */
    struct session_tail **holder;       /* who points here */
    uint64_t made;                      /* ms */
};

/* Leaves one in *holder, which must stay where it is; NULL there: out of memory. It takes the
 * farewell over, where there is one; none is left there. */
void session_tail_make(struct session_tail **holder, struct session_memory *m,
                       struct handshake_farewell *farewell, uint64_t now);
/* Gives it back and leaves NULL, which is fine before, too. */
void session_tail_drop(struct session_tail **holder);
bool session_tail_has_farewell(const struct session_tail *tail);

/* Drops those whose time is over, not too many for one turn. Returns when to call it again, or
 * TIMER_NEVER. */
uint64_t session_tails_expire(struct session_memory *m, uint64_t now);

#endif
