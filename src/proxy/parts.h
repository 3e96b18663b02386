/*
 * parts: what a worker gives its relay to work with: its sockets' owners, its counters, its
 * siblings. Types alone.
 */
#ifndef DTLSGATE_PROXY_PARTS_H
#define DTLSGATE_PROXY_PARTS_H

#include "dtls/psk.h"
#include "proxy/balance.h"
#include "proxy/listener.h"
#include "proxy/stats.h"
#include "proxy/upstream.h"

#include <stddef.h>
#include <stdint.h>

/* An identity, by value: it goes from worker to worker. */
struct relay_identity {
    unsigned service;
    size_t len;
    uint8_t identity[PSK_IDENTITY_MAX];
};

/* How to ask the other workers to end one session of an identity, the longest idle one that the
 * first asked has. NULL: there are no others. */
struct relay_elsewhere {
    void (*end_one)(void *arg, const struct relay_identity *who);
    void *arg;
};

/* What a worker is told of one backend of a service. */
struct relay_order {
    unsigned service;
    bool is_move; /* a name that was `backend` is `to` now; `what` says nothing */
    enum balance_order what;
    struct addr backend, to;
};

struct relay_parts {
    unsigned worker;       /* index: goes into session ids */
    unsigned worker_count; /* the caps of the settings are shared among so many */
    struct upstream *upstream;
    struct udp_outbox *outbox;
    struct stats *stats;
    struct service_stats *services; /* by index; NULL: not counted apart */
    struct listener **listeners;    /* by index; borrowed */
    size_t listener_count;
    const int *shared; /* by service: a shared socket of another process, which is the upstream's
                          from then on, or 0; NULL: there are none */
    struct relay_elsewhere elsewhere;
};

#endif
