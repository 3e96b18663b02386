/*
 * session_room: a session's piece of memory, no longer than its suite, its connection ids and the
 * access log need.
 */
#ifndef DTLSGATE_PROXY_SESSION_ROOM_H
#define DTLSGATE_PROXY_SESSION_ROOM_H

#include "proxy/session.h"

/* A zeroed session with its suite (NULL: libssl keeps the records) and its connection ids (NULL:
 * none), with a tally in front or without. NULL: out of memory. */
struct session *session_room_take(struct session_memory *memory, const struct suite *suite,
                                  const struct association_cid *cid, bool has_tally);
/* Wipes it; what it points to has gone before. */
void session_room_give(struct session *s);

#endif
