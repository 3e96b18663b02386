/*
 * parts: what a worker gives its relay to work with: its sockets' owners, its counters, its
 * siblings. Types alone.
 */
#ifndef DTLSGATE_PROXY_PARTS_H
#define DTLSGATE_PROXY_PARTS_H

#include "dtls/cache.h"
#include "dtls/psk.h"
#include "proxy/balance.h"
#include "proxy/keyring.h"
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
    bool is_given; /* its key is a helper's: all that are asked end what there is no room for */
    unsigned room; /* sessions that it may still have, over those who have not been asked yet */
};

/* A record whose connection id is another worker's, and where it has come in. */
struct relay_record {
    struct addr peer, local;
    unsigned listener; /* the other's has the same index */
    uint64_t datagram; /* which one it was in, among those of all workers */
    size_t len;
    const uint8_t *data;
};

/* How to ask the other workers to end one session of an identity, the longest idle one that the
 * first asked has; or, where each counts for itself, all beyond some; how to hand one a record,
 * which is copied: false: it has too many waiting. NULL: there are no others. */
struct relay_elsewhere {
    void (*end_one)(void *arg, const struct relay_identity *who);
    bool (*pass)(void *arg, unsigned worker, const struct relay_record *record);
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
    struct cache *cache;        /* of all workers: sessions to be resumed by their id; NULL: none */
    struct keyring_asker asker; /* zeroed: there is none, and no service names a helper */
};

#endif
