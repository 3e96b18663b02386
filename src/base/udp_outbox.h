/*
 * udp_outbox: datagrams wait here until the turn's end and then leave in as few system calls as
 * possible: those of one way joined into one message (UDP_SEGMENT), those of one socket in one
 * call.
 */
#ifndef DTLSGATE_BASE_UDP_OUTBOX_H
#define DTLSGATE_BASE_UDP_OUTBOX_H

#include "base/udp.h"

#include <stdint.h>

/* Which way a datagram goes. The order of those that go the same way is kept. */
struct udp_way {
    int fd;
    int family;               /* of the socket; 0: it is connected, peer and local say nothing */
    const struct addr *peer;  /* copied */
    const struct addr *local; /* where it leaves from, copied; NULL or family 0: any */
    void *owner;              /* of a connected socket; stays until the flush */
};

/* On a connected socket, `n` refusals (ICMP) of earlier datagrams were waiting, and were stepped
 * over. Comes within a flush: the callee must neither send nor close anything. */
typedef void (*udp_refused_fn)(void *arg, void *owner, unsigned n);

struct udp_outbox;
/* One per thread and side. `joins`: the kernel can (udp_probe_offload()). `on_refused` may be NULL.
 * NULL: out of memory. */
struct udp_outbox *udp_outbox_new(bool joins, udp_refused_fn on_refused, void *arg);
/* What waits is lost. NULL is fine. */
void udp_outbox_free(struct udp_outbox *out);
/* Room for one datagram of up to `max` bytes (at most UDP_PAYLOAD_MAX); flushes by itself when
 * full. Never NULL. The room is valid until the next call of this function, beyond a flush. */
uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max);
/* Queues `len` bytes of the room reserved last. The socket stays open until the next flush. */
void udp_outbox_commit(struct udp_outbox *out, size_t len, const struct udp_way *way);
/* Sends all that is queued. Returns how many datagrams the kernel has refused since the last call
 * of this function. */
size_t udp_outbox_flush(struct udp_outbox *out);

#endif
