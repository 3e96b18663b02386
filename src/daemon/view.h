/*
 * view: what the process is doing, for whoever wants to show it: the state of the whole, and one
 * session. The same for people and for programs, by way of show. Must never show a key.
 */
#ifndef DTLSGATE_DAEMON_VIEW_H
#define DTLSGATE_DAEMON_VIEW_H

#include "conf/conf.h"
#include "daemon/fleet.h"
#include "daemon/show.h"
#include "daemon/sockets.h"
#include "proxy/inquiry.h"
#include "proxy/stats.h"

/* A moment of the whole; all that it points to is borrowed, and holds until the loop turns. */
struct view {
    const struct conf *conf;
    const struct sockets *sockets; /* NULL: tells of no addresses */
    const struct fleet *fleet;     /* NULL: tells of no workers */
    const char *state;             /* "running", "reloading", "stopping" */
    enum log_level log_level;
    bool is_draining, is_stopping, is_upgrading;
    uint64_t uptime_ms;
    uint64_t reloads, failed_reloads;
};

/* The members of an answer. In text counters that are zero are left out. */
void view_status(struct show *s, const struct view *v);
/* The list of backends as a member of an answer: of one service, or of all (`service` NULL). */
void view_backends(struct show *s, const struct view *v, const char *service);
/* Of an answer, or of an item. */
void view_session(struct show *s, const struct inquiry_row *row, const struct conf *conf);
void view_version(struct show *s, const char *event_library);
/* Every setting in effect: as INI, or a list of section, key and value. */
void view_settings(struct show *s, const struct conf *conf);

#endif
