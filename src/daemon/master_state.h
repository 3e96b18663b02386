/*
 * master_state: what the master has in hand. The inside of master, split off for size: nobody else
 * includes this but those who do a part of its work.
 */
#ifndef DTLSGATE_DAEMON_MASTER_STATE_H
#define DTLSGATE_DAEMON_MASTER_STATE_H

#include "daemon/cmdline.h"
#include "daemon/control.h"
#include "daemon/fleet.h"
#include "daemon/health.h"
#include "daemon/heir.h"
#include "daemon/http.h"
#include "daemon/sockets.h"
#include "daemon/status.h"
#include "daemon/unixsock.h"
#include "daemon/upgrade.h"

enum state {
    STARTING,
    RUNNING,
    RELOADING, /* new settings are posted; not all workers have acknowledged them */
    STOPPING,  /* as above, for the end */
};

enum watch {
    ON_HUP,
    ON_TERM,
    ON_INT,
    ON_USR1,
    ON_USR2,
    ON_ACKS,
    ON_REPLIES,
    ON_COOKIE_TURN,
    ON_DENIAL,
    ON_STATUS, /* this and the next only where a service manager listens */
    ON_WATCHDOG,
    WATCH_COUNT
};

struct master {
    const struct cmdline *cmdline;
    const struct conf *conf; /* a reference */
    const struct sockets *sockets;
    struct fleet *fleet;
    struct http *http; /* NULL: none is wanted */
    struct status status;
    struct health *health; /* NULL once we are stopping */
    struct event_base *base;
    struct event *watch[WATCH_COUNT];
    enum state state;
    struct control *control;               /* NULL: nobody can ask */
    const struct unixsock *control_socket; /* or NULL */
    bool is_reload_due; /* one was asked for while another was under way, or an upgrade */
    bool is_stop_due;   /* the end was asked for while an upgrade was under way */
    bool has_left;      /* another process has taken over */
    struct upgrade *upgrade;
    struct heir_report inheritance;
    struct event *heir_gone; /* NULL: there was nobody before us */
    struct event *last_look; /* whether the last answers have left */
    unsigned last_looks;
    void (*stop)(struct master *m);
    void (*tell_status)(const struct master *m);
    enum log_level log_level;
};

#endif
