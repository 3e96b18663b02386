/*
 * upstream: flows towards the backends, on the worker's event loop. A flow is a connected socket of
 * its own, or an address of its own on the one socket (proxy/fan) that all flows of a service
 * share. Which backend one goes to is the caller's choice. Knows nothing of DTLS and nothing of
 * sessions but an owner's pointer.
 */
#ifndef DTLSGATE_PROXY_UPSTREAM_H
#define DTLSGATE_PROXY_UPSTREAM_H

#include "base/list.h"
#include "base/prefix.h"
#include "base/udp_inbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct upstream; /* one per worker */
struct flow;

/* One batch of datagrams from the backend for `owner`, which udp_next() gives. The callee may close
 * this flow and any other, and open new ones; `in` stays valid. */
typedef void (*upstream_fn)(void *arg, void *owner, struct udp_inbox *in);
/* `n` refusals (ICMP) of the backend of `owner` were taken in. The callee must neither close flows
 * nor send. */
typedef void (*upstream_refused_fn)(void *arg, void *owner, unsigned n);

/* One datagram on a shared socket, for `owner`; or, with NULL, of somebody else than the backend or
 * to an address that no flow has. The callee may close and open flows. */
typedef void (*upstream_shared_fn)(void *arg, void *owner, const struct udp_datagram *d);

struct upstream_hooks {
    upstream_fn on_datagrams;
    upstream_shared_fn on_shared;
    upstream_refused_fn on_refused;
    void *arg;
};

/* NULL: out of memory. */
struct upstream *upstream_new(struct event_base *base, struct udp_offload offload,
                              const struct upstream_hooks *hooks);
/* Closes what is open; what is still queued goes first. Not from within a hook. NULL is fine. */
void upstream_free(struct upstream *u);

/* How the flows of a service reach its backends. */
struct upstream_service {
    const struct prefixes *source; /* borrowed for the call: empty, addresses, or one prefix, all of
                                      the backends' family */
    unsigned worker, workers;      /* which of how many share a prefix */
    size_t buffer;                 /* bytes asked of the kernel for a shared socket, each way */
    int taken;                     /* a shared socket of another process; 0: none, it opens one */
};

/* Adds a service; the first one is number 0. False with errno: out of memory or descriptors. */
bool upstream_add(struct upstream *u, const struct upstream_service *service)
    __attribute__((warn_unused_result));
/* Where flows share a socket, these may speak to each of them; beside them whoever a flow goes to.
 * None before the first call. False: out of memory, as many as there was room for. */
bool upstream_set_backends(struct upstream *u, unsigned service, const struct addr *list,
                           size_t count) __attribute__((warn_unused_result));

/* Leaves the choice of the source to upstream_open(). */
#define UPSTREAM_ANY UINT32_MAX

/* Opens a flow of a service to a backend. Where flows share a socket, `number` is that of its
 * address in the prefix, or UPSTREAM_ANY; else it has a fresh port, never one that another flow
 * holds. NULL with errno (EMFILE: out of descriptors; EADDRINUSE: of ports; EBUSY: the number is in
 * use). */
struct flow *upstream_open(struct upstream *u, unsigned service, const struct addr *to,
                           uint32_t number, void *owner);
/* Opens one to a backend from an address that is not ours, in a service without a source of its
 * own: from its port where that is not 0 and free, else from a fresh one. NULL with errno as above
 * (EPERM: we may not; EAFNOSUPPORT: it is not of the backend's family). */
struct flow *upstream_open_as(struct upstream *u, unsigned service, const struct addr *to,
                              const struct addr *as, void *owner);
/* Goes on with the connected socket that a flow of another process has had (upstream_socket()), in
 * a service whose flows have sockets of their own; `number` is upstream_source()'s. NULL with
 * errno: it is no such socket, or out of memory; the descriptor is still the caller's then. */
struct flow *upstream_take_over(struct upstream *u, unsigned service, int fd, uint32_t number,
                                void *owner);
/* The descriptor of a flow, or -1 where it has none of its own; and of a service's shared socket,
 * at any time and from any thread. */
int upstream_socket(const struct flow *f);
int upstream_shared_socket(const struct upstream *u, unsigned service);
/* Where a flow goes. */
struct addr upstream_backend(const struct flow *f);
/* From now on a flow on a shared socket goes to another backend. False: out of memory, it stays. */
bool upstream_turn(struct flow *f, const struct addr *to) __attribute__((warn_unused_result));
/* A number of the caller's that goes with a flow, 0 at first. */
void upstream_mark(struct flow *f, uint8_t mark);
uint8_t upstream_mark_of(const struct flow *f);
/* Whether it costs neither descriptor nor port, so that closing it helps nobody. */
bool upstream_is_shared(const struct flow *f);
/* The number of its address in the prefix, or of the address in the list; 0 without either. */
uint32_t upstream_source(const struct flow *f);
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
 * in; a flow that is closed leaves by itself. One on a shared socket stands in no list. */
void upstream_touch(struct flow *f, struct list *order);
/* The same for its beginning. */
void upstream_touch_idlest(struct flow *f, struct list *order);
/* The owner of the flow that stands first in such a list, or NULL. */
void *upstream_idlest(const struct list *order);

#endif
