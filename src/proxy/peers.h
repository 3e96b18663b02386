/*
 * peers: one worker's sessions by address: the open ones and, apart from them, the handshakes under
 * way, so that a peer may have one of each (RFC 6347 4.2.8). Also their idle order and the caps.
 * Owns no session.
 */
#ifndef DTLSGATE_PROXY_PEERS_H
#define DTLSGATE_PROXY_PEERS_H

#include "proxy/locals.h"
#include "proxy/session.h"

struct peers {
    struct hash_key key;
    struct table open, pending;
    struct locals locals; /* what ->local is a number of */
    struct list *idle;    /* per service: open sessions, longest idle first */
    struct list *flows;   /* per service: the flows, longest idle first (upstream_touch()) */
    size_t service_count;
    struct list handshakes; /* pending, oldest first */
    size_t open_max, pending_max;
};

/* The caps are this worker's share. It must stay where it is. False: out of memory, nothing is left
 * then. */
bool peers_init(struct peers *p, size_t service_count, size_t open_max, size_t pending_max)
    __attribute__((warn_unused_result));
/* Frees the tables; they are empty by then. */
void peers_clear(struct peers *p);

/* What one route has, at the cost of one hash: for the data path. Either may be NULL. */
struct peers_found {
    struct session *open, *pending;
};
struct peers_found peers_find(const struct peers *p, const struct session_route *route);
struct session *peers_find_open(const struct peers *p, const struct session_route *route);
struct session *peers_find_pending(const struct peers *p, const struct session_route *route);

/* Gives a session its route, before it is added. False: out of memory. */
bool peers_set_route(struct peers *p, struct session *s, const struct session_route *route)
    __attribute__((warn_unused_result));
/* Its route has to be forgotten before it is freed; harmless when it has none. */
void peers_forget_route(struct peers *p, struct session *s);
struct session_route peers_route(const struct peers *p, const struct session *s);

/* Adds one by its state, to the pending (SESSION_HANDSHAKE) or to the open ones, among which no
 * other has its route. Its list node has been through list_init(). */
void peers_add(struct peers *p, struct session *s);
/* The same for an open one that was used before all others; and its flow before all other flows. */
void peers_add_idlest(struct peers *p, struct session *s);
void peers_flow_idlest(struct peers *p, struct session *s);
/* Takes it out of all that it is in, also when its state has changed since peers_add(); harmless
 * when it is in none. */
void peers_remove(struct peers *p, struct session *s);
/* It has just been used: an open one goes to the end of its idle list, and its flow, where it has
 * one, to the end of `flows`. */
void peers_touch(struct peers *p, struct session *s);

/* The one that gives way when the cap is reached, or NULL while there is room. */
struct session *peers_open_victim(const struct peers *p);    /* longest idle of all, by ->used */
struct session *peers_pending_victim(const struct peers *p); /* oldest */
/* The session whose flow is longest idle of all, or NULL when there is no flow. */
struct session *peers_flow_victim(const struct peers *p);

/* Calls fn for each, open and pending; fn may remove the one it is given. */
void peers_each(struct peers *p, void (*fn)(struct session *s, void *arg), void *arg);
/* The same for the open ones of each service, those used last first. */
void peers_each_open(struct peers *p, void (*fn)(struct session *s, void *arg), void *arg);

#endif
