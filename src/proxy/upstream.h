/*
 * upstream: a connected socket per session towards its backend, on the worker's event loop.
 * Knows nothing of DTLS and nothing of sessions but an owner's pointer.
 */
#ifndef DTLSGATE_PROXY_UPSTREAM_H
#define DTLSGATE_PROXY_UPSTREAM_H

#include "base/list.h"
#include "base/udp_inbox.h"

struct event_base;
struct upstream; /* one per worker */
struct flow;

/* One batch of datagrams from the backend for `owner`, which udp_next() gives. The callee may close
 * this flow and any other, and open new ones; `in` stays valid. */
typedef void (*upstream_fn)(void *arg, void *owner, struct udp_inbox *in);
/* `n` refusals (ICMP) of the backend of `owner` were taken in. The callee must neither close flows
 * nor send. */
typedef void (*upstream_refused_fn)(void *arg, void *owner, unsigned n);

struct upstream_hooks {
    upstream_fn on_datagrams;
    upstream_refused_fn on_refused;
    void *arg;
};

/* NULL: out of memory. */
struct upstream *upstream_new(struct event_base *base, struct udp_offload offload,
                              const struct upstream_hooks *hooks);
/* Closes what is open; what is still queued goes first. Not from within a hook. NULL is fine. */
void upstream_free(struct upstream *u);

/* Opens a flow: a fresh port of its own, never one that another flow holds. NULL with errno
 * (EMFILE: out of descriptors). */
struct flow *upstream_open(struct upstream *u, const struct addr *backend, void *owner);
/* What is queued for it goes first. */
void upstream_close(struct flow *f);
/* Our own port, host order, by which the backend knows the flow. */
uint16_t upstream_port(const struct flow *f);
/* Room for one datagram of up to `max` bytes, to be queued for some flow by upstream_commit() or
 * not at all. Never NULL. Valid until the next call, whatever is opened, closed or sent. */
uint8_t *upstream_reserve(struct upstream *u, size_t max);
/* Queues `len` bytes, 0 included, of the room reserved last. */
void upstream_commit(struct flow *f, size_t len);
/* Sends all that is queued; call it at the end of each turn. A refusal that was waiting is reported
 * through on_refused and loses nothing. Returns how many datagrams the kernel did not take since
 * the last call. */
size_t upstream_flush(struct upstream *u);
/* How many flows are open. */
size_t upstream_count(const struct upstream *u);

/* Puts a flow at the end of a list of flows that the caller keeps, taking it out of the one it was
 * in; a flow that is closed leaves by itself. */
void upstream_touch(struct flow *f, struct list *order);
/* The owner of the flow that stands first in such a list, or NULL. */
void *upstream_idlest(const struct list *order);

#endif
