/*
 * upstream: a connected socket per session towards its backend, on the worker's event loop.
 * Knows nothing of DTLS and nothing of sessions but an owner's pointer.
 */
#ifndef DTLSGATE_PROXY_UPSTREAM_H
#define DTLSGATE_PROXY_UPSTREAM_H

#include "base/list.h"
#include "base/udp.h"

struct event_base;
struct upstream; /* one per worker */
struct flow;

/* One batch of datagrams from the backend for `owner`. The callee may close this flow and any
 * other, and open new ones; `list` stays valid. */
typedef void (*upstream_fn)(void *arg, void *owner, const struct udp_datagram *list, size_t count);
/* `n` refusals (ICMP) of the backend of `owner` were taken in. The callee must not close flows. */
typedef void (*upstream_refused_fn)(void *arg, void *owner, unsigned n);

struct upstream_hooks {
    upstream_fn on_datagrams;
    upstream_refused_fn on_refused;
    void *arg;
};

/* `inbox` may be shared with others of the same thread. NULL: out of memory. */
struct upstream *upstream_new(struct event_base *base, struct udp_inbox *inbox,
                              const struct upstream_hooks *hooks);
/* Closes what is open. Not from within a hook. NULL is fine. */
void upstream_free(struct upstream *u);

/* Opens a flow: a fresh port of its own, never one that another flow holds. NULL with errno
 * (EMFILE: out of descriptors). */
struct flow *upstream_open(struct upstream *u, const struct addr *backend, void *owner);
void upstream_close(struct flow *f);
/* Our own port, host order, by which the backend knows the flow. */
uint16_t upstream_port(const struct flow *f);
/* Sends one datagram, 0 bytes included. A refusal that was waiting is reported through on_refused
 * and does not lose it. False: the kernel did not take it. */
bool upstream_send(struct flow *f, const void *data, size_t len);
/* How many flows are open. */
size_t upstream_count(const struct upstream *u);

/* Puts a flow at the end of a list of flows that the caller keeps, taking it out of the one it was
 * in; a flow that is closed leaves by itself. */
void upstream_touch(struct flow *f, struct list *order);
/* The owner of the flow that stands first in such a list, or NULL. */
void *upstream_idlest(const struct list *order);

#endif
