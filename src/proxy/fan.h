/*
 * fan: one socket towards backends for all sessions of a worker, each with a source address of its
 * own out of a prefix. Takes nothing but what a backend sends to an address that is in use.
 */
#ifndef DTLSGATE_PROXY_FAN_H
#define DTLSGATE_PROXY_FAN_H

#include "base/prefix.h"
#include "base/udp_inbox.h"
#include "base/udp_outbox.h"
#include "proxy/sources.h"

struct event_base;
struct fan;

/* Datagrams have come in, which fan_next() gives. The callee must not free the fan. */
typedef void (*fan_fn)(void *arg, struct fan *f);
/* Whether a datagram of `peer` is to be taken. */
typedef bool (*fan_judge_fn)(void *arg, const struct addr *peer);

struct fan_params {
    struct prefix prefix; /* of the backends' family, with an address for each worker at least */
    unsigned worker, workers; /* which of how many share it */
    size_t buffer;            /* bytes asked of the kernel, each way */
    bool joins;               /* the kernel can hand over many datagrams as one */
    int taken; /* the socket, as fan_socket() gave it to another process; 0: opens one. The fan's
                  where it comes about */
    fan_judge_fn is_backend;
    fan_fn on_datagrams;
    void *arg;
};

/* `inbox` reads addresses; it may be shared with others of the same thread. NULL with errno. */
struct fan *fan_new(struct event_base *base, struct udp_inbox *inbox,
                    const struct fan_params *params);
/* All addresses have been given back, and what was queued has been sent. NULL is fine. */
void fan_free(struct fan *f);

/* The addresses that are in use. */
struct sources *fan_sources(struct fan *f);
/* The one port that all of them have, and the socket. */
uint16_t fan_port(const struct fan *f);
int fan_socket(const struct fan *f);

/* Within on_datagrams: the next one, and to whose address it was sent; *to is NULL where it is not
 * of a backend or to nobody. NULL: that was all. Valid until the next call. */
const struct udp_datagram *fan_next(struct fan *f, struct source **to);
/* Queues `len` bytes of the room that udp_outbox_reserve() gave last, to a backend. */
void fan_commit(struct fan *f, struct udp_outbox *out, size_t len, const struct source *from,
                const struct addr *to);

#endif
