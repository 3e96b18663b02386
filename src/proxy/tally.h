/*
 * tally: what the access log tells of a session beyond what each session knows of itself: it lies
 * beside those that began while that log was on. Plain counting, no functions elsewhere.
 */
#ifndef DTLSGATE_PROXY_TALLY_H
#define DTLSGATE_PROXY_TALLY_H

#include "dtls/fate.h"
#include "dtls/record.h"

#include <stdbool.h>
#include <stdint.h>

#define TALLY_CLIENT_DROPS (FATE_COUNT - FATE_DROP_JUNK)
#define TALLY_BACKEND_DROPS (BACK_COUNT - BACK_DROP_TOO_BIG)

/* Counters of what anybody can cause stay at their largest. */
struct tally {
    uint64_t newest; /* the highest record number of the client that was genuine */
    uint64_t opened; /* records that were, each once */
    uint64_t late;   /* those that came behind a newer one */
    uint32_t handshake_ms : 31;
    uint32_t is_resumed : 1;
    uint32_t too_old; /* of FATE_DROP_REPLAY: older than the replay window */
    uint32_t from_client[TALLY_CLIENT_DROPS], from_backend[TALLY_BACKEND_DROPS];
};

static inline void tally_one(uint32_t *counter)
{
    *counter += *counter < UINT32_MAX;
}

/* The session opens; its window has seen the handshake's last record, whose number `newest` is. */
static inline void tally_begin(struct tally *t, uint64_t newest, uint64_t handshake_ms,
                               bool is_resumed)
{
    t->newest = newest;
    t->opened = 1;
    t->handshake_ms = handshake_ms < INT32_MAX ? (uint32_t)handshake_ms & INT32_MAX : INT32_MAX;
    t->is_resumed = is_resumed;
}

/* A genuine record, for the first time. */
static inline void tally_record(struct tally *t, uint64_t seq)
{
    t->opened++;
    if (seq > t->newest)
        t->newest = seq;
    else
        t->late++;
}

static inline void tally_client_drop(struct tally *t, enum fate fate, uint64_t seq)
{
    tally_one(&t->from_client[fate - FATE_DROP_JUNK]);
    if (fate == FATE_DROP_REPLAY && seq + RECORD_WINDOW <= t->newest)
        tally_one(&t->too_old);
}

static inline void tally_backend_drop(struct tally *t, enum back_fate fate)
{
    tally_one(&t->from_backend[fate - BACK_DROP_TOO_BIG]);
}

/* Of the numbers up to the newest those that never came, or came when they were too old. */
static inline uint64_t tally_lost(const struct tally *t)
{
    return t->newest + 1 > t->opened ? t->newest + 1 - t->opened : 0;
}

#endif
