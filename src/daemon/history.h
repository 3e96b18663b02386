/*
 * history: the last ten minutes of the whole process, a sample every two seconds, so that who looks
 * for the first time sees the past at once. Of fixed size. Is told the time.
 */
#ifndef DTLSGATE_DAEMON_HISTORY_H
#define DTLSGATE_DAEMON_HISTORY_H

#include "daemon/json.h"
#include "proxy/stats.h"

#include <stdint.h>

#define HISTORY_EVERY_MS 2000
#define HISTORY_STEPS 300

/* X(name, kind): a RATE is told per second, a LEVEL as it was. */
#define HISTORY_SERIES(X)                                                                          \
    X(client_datagrams, RATE)                                                                      \
    X(client_sent, RATE)                                                                           \
    X(client_bytes, RATE)                                                                          \
    X(backend_datagrams, RATE)                                                                     \
    X(backend_bytes, RATE)                                                                         \
    X(backend_refused, RATE)                                                                       \
    X(handshakes_completed, RATE)                                                                  \
    X(handshakes_failed, RATE)                                                                     \
    X(sessions, LEVEL)                                                                             \
    X(handshakes, LEVEL)                                                                           \
    X(flows, LEVEL)

struct history_sample {
    uint64_t at_ms;
#define HISTORY_FIELD(name, kind) uint64_t name;
    HISTORY_SERIES(HISTORY_FIELD)
#undef HISTORY_FIELD
    uint64_t drops, hellos;
};

struct history {
    uint64_t taken; /* samples in all; the newest is number `taken` */
    struct history_sample ring[HISTORY_STEPS + 1]; /* a rate needs the sample before */
};

/* Adds a sample; the oldest falls out. Zeroed memory is an empty history. */
void history_take(struct history *h, const struct stats *sum, uint64_t drops, uint64_t now_ms);
/* One JSON object with those steps that are newer than number `since`, the oldest first. */
void history_write(const struct history *h, uint64_t since, uint64_t now_ms, struct json *j);

#endif
