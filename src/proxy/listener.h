/*
 * listener: a shared public socket with many peers, on the worker's event loop.
 * Knows nothing of DTLS.
 */
#ifndef DTLSGATE_PROXY_LISTENER_H
#define DTLSGATE_PROXY_LISTENER_H

#include "base/udp_inbox.h"
#include "base/udp_outbox.h"

struct event_base;
struct listener;

/* Datagrams have come in, which listener_next() gives, now and later; until all have been taken,
 * nothing more is read into the inbox. The callee must not free the listener. */
typedef void (*listener_fn)(void *arg, struct listener *l);

struct listener_hooks {
    listener_fn on_datagrams;
    void *arg;
};

/* Watches `fd` (borrowed, from udp_listen(), bound to `bound`). `inbox` reads addresses; it may be
 * shared with others of the same thread. NULL: out of memory or of the kernel's room for watches.
 */
struct listener *listener_new(struct event_base *base, struct udp_inbox *inbox, int fd,
                              const struct addr *bound, const struct listener_hooks *hooks);
/* Stops watching and frees; the descriptor stays open, it is the process's. NULL is fine. */
void listener_free(struct listener *l);
/* From on_datagrams on: the next one, whose `local` is complete: address and port of the socket.
 * NULL: that was all. Valid until the next call. */
const struct udp_datagram *listener_next(struct listener *l);
/* Its place among the worker's listeners, and the index of its service; 0 and 0 before. */
void listener_tag(struct listener *l, unsigned index, unsigned service);
unsigned listener_index(const struct listener *l);
unsigned listener_service(const struct listener *l);
/* Queues `len` bytes of the room that udp_outbox_reserve() gave last, from `local` (address only is
 * used) to `peer`. */
void listener_commit(struct listener *l, struct udp_outbox *out, size_t len,
                     const struct addr *peer, const struct addr *local);

#endif
