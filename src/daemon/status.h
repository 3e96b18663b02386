/*
 * status: what there is to tell of the process, in one place for all who tell it.
 * The master keeps it true; everybody else only reads.
 */
#ifndef DTLSGATE_DAEMON_STATUS_H
#define DTLSGATE_DAEMON_STATUS_H

#include "conf/conf.h"
#include "daemon/fleet.h"
#include "daemon/json.h"
#include "daemon/sockets.h"

#include <stdbool.h>
#include <stdint.h>

enum status_phase { STATUS_STARTING, STATUS_SERVING, STATUS_DRAINING, STATUS_STOPPING };

struct status {
    enum status_phase phase;
    struct fleet *fleet; /* borrowed, as all pointers here */
    const struct sockets *sockets;
    const struct conf *conf;   /* the one in effect */
    const char *event_library; /* name and version */
    int64_t started_at;        /* seconds since 1970 */
    uint64_t started_ms;       /* the same by clock_now_ms() */
    struct {
        uint64_t taken, refused;
        int64_t last_taken_at; /* seconds since 1970: of the start, where there was no other */
        bool is_last_refused;
    } reload;
};

/* "serving", or why not: "starting", "draining", "stopping". */
const char *status_phase_name(enum status_phase phase);
/* Records and datagrams that were dropped, for whatever reason. */
uint64_t status_drops(const struct stats *s);
/* How long a backend has been in its state. */
double status_state_seconds(const struct status *s, const struct fleet_backend *b, uint64_t now_ms);
/* The whole of it as one JSON object. */
void status_write(const struct status *s, uint64_t now_ms, struct json *j);

#endif
