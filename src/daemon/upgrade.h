/*
 * upgrade: the running process's side of an upgrade: starts the program anew by the spawner, hands
 * everything over, and learns whether that one runs. In the main thread, on the master's loop.
 * Until the new process has said so, everything can be taken back, and is where anything goes
 * wrong.
 */
#ifndef DTLSGATE_DAEMON_UPGRADE_H
#define DTLSGATE_DAEMON_UPGRADE_H

#include "base/errors.h"
#include "conf/conf.h"
#include "daemon/fleet.h"
#include "daemon/sockets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct upgrade;

/* What came of it. */
struct upgrade_report {
    pid_t pid;                    /* of the process that runs now */
    size_t sessions, left;        /* handed over; told goodbye */
    uint64_t settle_ms, still_us; /* from able to still; from still to running */
};

struct upgrade_params {
    struct event_base *base;
    struct fleet *fleet;
    const struct sockets *sockets;
    /* What the new process may take a while for, ms: to get able, to take it all. */
    uint64_t start_ms, transfer_ms;
    /* All with `arg`. Workers are about to be still (true), or go on (false). */
    void (*on_still)(void *arg, bool is_still);
    /* It came to nothing, and all is as before: `why` is the caller's to read during the call. */
    void (*on_failed)(void *arg, const struct errors *why);
    /* The new process runs. Nothing may be sent for a session any more but goodbyes; those are
     * sent when on_over() is called. */
    void (*on_running)(void *arg, const struct upgrade_report *report);
    void (*on_over)(void *arg);
    void *arg;
};

/* What it hands over beside workers and sockets; each -1: none. */
struct upgrade_things {
    const struct conf *conf;           /* in effect; a reference is taken */
    int control, http, pidfile, state; /* of the last its lock */
    bool is_draining;
};

/* NULL: out of memory. */
struct upgrade *upgrade_new(const struct upgrade_params *params);
/* Leaves the loop, which must be before the loop and the fleet go. NULL is fine, here and below. */
void upgrade_close(struct upgrade *u);
/* Frees, when all workers have ended: one may look at what it holds before. */
void upgrade_free(struct upgrade *u);

/* Ends with on_failed() or on_over(), maybe within the call. */
void upgrade_begin(struct upgrade *u, const struct upgrade_things *things);
bool upgrade_is_under_way(const struct upgrade *u);
/* Takes it back as long as that is possible. */
void upgrade_abort(struct upgrade *u, const char *why);
/* Something else that must not be forgotten: the new process shall reload. */
void upgrade_note_reload(struct upgrade *u);

#endif
