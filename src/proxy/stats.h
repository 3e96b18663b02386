/*
 * stats: one worker's counters, from one list. The owner writes, anybody may read: plain relaxed
 * loads and stores, so counting costs no locked instruction and no other worker's cache line.
 */
#ifndef DTLSGATE_PROXY_STATS_H
#define DTLSGATE_PROXY_STATS_H

#include "dtls/fate.h"

#include <stdatomic.h>
#include <stdbool.h>
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
    X(records_passed_on, "records passed on to the worker of their connection id")                 \
    X(sessions_moved, "moves of sessions to another client address")                               \
    X(handshakes_started, "handshakes begun")                                                      \
    X(handshakes_completed, "handshakes completed")                                                \
    X(handshakes_failed, "handshakes that ended without a session")                                \
    X(handshakes_resumed, "completed by a ticket or a session id, without a key exchange")         \
    X(tickets_issued, "tickets given to clients, for sessions to be resumed")                      \
    X(tickets_refused, "tickets of hellos that were no good")                                      \
    X(session_ids_issued, "sessions remembered by their id, to be resumed")                        \
    X(session_ids_refused, "session ids of hellos that were not known, or no good")                \
    X(session_ids_evicted,                                                                         \
      "sessions forgotten before their time, for newer ones to be remembered")                     \
    X(sessions_restored, "sessions taken up again from before the start")                          \
    X(sessions_unkept, "sessions that could not be kept for the next start")                       \
    X(sessions_ended, "sessions ended, for any reason")                                            \
    X(sessions_evicted, "sessions ended to make room")                                             \
    X(flows_opened, "backend sockets opened")                                                      \
    X(flows_closed, "backend sockets closed")                                                      \
    X(flows_failed, "backend sockets that could not be opened")                                    \
    X(flows_moved, "flows that left a backend that was down or gone for another one")              \
    X(flows_hopeless, "flows opened while no backend was up")                                      \
    X(keys_asked, "identities that a psk-helper was asked for")                                    \
    X(keys_found, "answers of a psk-helper with a key")                                            \
    X(keys_none, "answers of a psk-helper without one")                                            \
    X(keys_cached, "identities for which a psk-helper's answer of late was there")                 \
    X(keys_late, "questions that a psk-helper did not answer in time")                             \
    X(keys_failed, "questions that a psk-helper could not be asked, or did not answer at all")

/* X(name, text): what there is now. */
#define STATS_GAUGES(X)                                                                            \
    X(sessions, "open sessions")                                                                   \
    X(handshakes, "handshakes under way")                                                          \
    X(flows, "open backend sockets")

/* X(NAME, name, text): what each service is counted for, apart from all others. No datagrams: these
 * change at the beginnings and ends of things, not in the data path. */
#define STATS_OF_SERVICE(X)                                                                        \
    X(SESSIONS_OPENED, sessions_opened, "sessions opened")                                         \
    X(SESSIONS_ENDED, sessions_ended, "sessions ended")                                            \
    X(HANDSHAKES_FAILED, handshakes_failed, "handshakes that ended without a session")             \
    X(FLOWS_OPENED, flows_opened, "backend sockets opened")                                        \
    X(FLOWS_CLOSED, flows_closed, "backend sockets closed")                                        \
    X(FLOWS_FAILED, flows_failed, "backend sockets that could not be opened")                      \
    X(BACKEND_REFUSED, backend_refused, "ICMP refusals by the backend")

#define SERVICE_ENUM(NAME, name, text) SERVICE_##NAME,
enum service_counter { STATS_OF_SERVICE(SERVICE_ENUM) SERVICE_COUNTERS };
#undef SERVICE_ENUM

struct service_stats {
    _Atomic uint64_t count[SERVICE_COUNTERS];
};

struct stats {
#define STATS_FIELD(name, text) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_FIELD)
    _Atomic uint64_t from_client[FATE_COUNT];
    _Atomic uint64_t from_backend[BACK_COUNT];
    STATS_GAUGES(STATS_FIELD)
#undef STATS_FIELD
};

/* One of them, as whoever shows them needs it. */
struct stats_item {
    const char *name; /* unique: "client_datagrams", "client.forwarded", "backend.sealed" */
    const char *text; /* of counters and gauges what they count, of fates the word for it */
    enum stats_kind { STATS_COUNTER, STATS_FROM_CLIENT, STATS_FROM_BACKEND, STATS_GAUGE } kind;
    size_t offset;
};

/* All of them: counters, fates, gauges, and an end without a name. */
extern const struct stats_item stats_items[];

/* A fate that says: dropped. Its text is then "drop_" and the reason. */
bool stats_is_drop(const struct stats_item *item);
uint64_t stats_value(const struct stats *s, const struct stats_item *item);

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

/* Takes over what another process has counted under this name. False: nothing is called so, or it
 * is a gauge, which tells what there is. Only for who owns `s`. */
bool stats_take_over(struct stats *s, const char *name, size_t len, uint64_t value);

/* Adds every counter and gauge of `one` to `sum`, which only the caller uses. */
void stats_sum(struct stats *sum, const struct stats *one);

/* Calls fn for each by name, in a fixed order: the counters ("client_datagrams"), the fates
 * ("client.forwarded", "backend.sealed"), the gauges ("sessions"). The names are literals. */
typedef void (*stats_fn)(void *arg, const char *name, uint64_t value);
void stats_each(const struct stats *s, stats_fn fn, void *arg);

#endif
