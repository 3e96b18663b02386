/*
 * stats: one worker's counters, from one list. The owner writes, anybody may read: plain relaxed
 * loads and stores, so counting costs no locked instruction and no other worker's cache line.
 */
#ifndef DTLSGATE_PROXY_STATS_H
#define DTLSGATE_PROXY_STATS_H

#include "dtls/fate.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, text) */
#define STATS_COUNTERS(X)                                                                          \
    X(client_datagrams, "datagrams received from clients")                                         \
    X(client_bytes, "bytes received from clients, UDP payload")                                    \
    X(client_records, "records received from clients; the sum of all fates")                       \
    X(client_sent, "datagrams sent to clients")                                                    \
    X(client_send_failed, "datagrams to clients that the kernel refused")                          \
    X(backend_datagrams, "datagrams received from backends; the sum of all fates")                 \
    X(backend_bytes, "bytes received from backends")                                               \
    X(backend_send_failed, "datagrams to backends that the kernel refused")                        \
    X(backend_refused, "ICMP refusals by backends")                                                \
    X(handshakes_started, "handshakes begun")                                                      \
    X(handshakes_completed, "handshakes completed")                                                \
    X(handshakes_failed, "handshakes that ended without a session")                                \
    X(sessions_ended, "sessions ended, for any reason")                                            \
    X(sessions_evicted, "sessions ended to make room")                                             \
    X(flows_opened, "backend sockets opened")                                                      \
    X(flows_closed, "backend sockets closed")                                                      \
    X(flows_failed, "backend sockets that could not be opened")                                    \
    X(flows_moved, "flows that left a backend that was down or gone for another one")              \
    X(flows_hopeless, "flows opened while no backend was up")

/* X(name, text): what there is now. */
#define STATS_GAUGES(X)                                                                            \
    X(sessions, "open sessions")                                                                   \
    X(handshakes, "handshakes under way")                                                          \
    X(flows, "open backend sockets")

struct stats {
#define STATS_FIELD(name, text) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_FIELD)
    _Atomic uint64_t from_client[FATE_COUNT];
    _Atomic uint64_t from_backend[BACK_COUNT];
    STATS_GAUGES(STATS_FIELD)
#undef STATS_FIELD
};

/* Only the worker that owns the counter calls these. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void stats_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

/* Adds every counter and gauge of `one` to `sum`, which only the caller uses. */
void stats_sum(struct stats *sum, const struct stats *one);

/* Calls fn for each by name, in a fixed order: the counters ("client_datagrams"), the fates
 * ("client.forwarded", "backend.sealed"), the gauges ("sessions"). The names are literals. */
typedef void (*stats_fn)(void *arg, const char *name, uint64_t value);
void stats_each(const struct stats *s, stats_fn fn, void *arg);

#endif
