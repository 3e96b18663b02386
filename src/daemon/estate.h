/*
 * estate: what an upgrade hands over beside the workers' sessions: sockets, files, secrets of
 * cookies, keys of tickets, orders of the operator. All of it stays ours; the other process gets a
 * share.
 */
#ifndef DTLSGATE_DAEMON_ESTATE_H
#define DTLSGATE_DAEMON_ESTATE_H

#include "conf/conf.h"
#include "daemon/fleet.h"
#include "daemon/handover.h"
#include "daemon/sockets.h"

#include <stdbool.h>

struct estate {
    const struct conf *conf; /* in effect */
    const struct sockets *sockets;
    struct fleet *fleet;
    int control, http, pidfile, state; /* each -1: none */
    bool is_draining;
    int socket;            /* to the other process */
    struct parcel *parcel; /* to write in */
};

/* What the other process begins with. False: it does not take it. */
bool estate_send(const struct estate *e) __attribute__((warn_unused_result));
/* What may change until the workers are still. */
bool estate_send_rest(const struct estate *e) __attribute__((warn_unused_result));

#endif
