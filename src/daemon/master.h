/*
 * master: the process while it runs: signals in, messages to the workers out.
 * One state machine, in the main thread, on an event loop of its own.
 */
#ifndef DTLSGATE_DAEMON_MASTER_H
#define DTLSGATE_DAEMON_MASTER_H

#include "daemon/cmdline.h"
#include "daemon/sockets.h"
#include "daemon/unixsock.h"

#include <stddef.h>

struct master_params {
    const struct cmdline *cmdline; /* where a reload reads anew */
    const struct conf *conf;       /* takes a reference of its own */
    const struct sockets *sockets;
    const struct unixsock *control; /* NULL, or none: nobody can ask; all must outlive the master */
    struct state_dir *state;        /* NULL: no session outlives the process */
    int http;                       /* a socket of http_bind(), taken over; 0: none */
};

struct master;

/* Makes workers and signal handlers: a signal that comes from now on is acted on by master_run().
 * NULL with `why`. */
struct master *master_new(const struct master_params *params, char *why, size_t why_size);
enum master_end {
    MASTER_FAILED = 0, /* which has been logged */
    MASTER_STOPPED,    /* after TERM or INT, or an order */
    MASTER_LEFT,       /* another process has taken over; what bears a name is that one's */
};
/* Starts the workers, says that all is ready, and returns when they have ended. */
enum master_end master_run(struct master *m);
/* NULL is fine. */
void master_free(struct master *m);

/* Name and version of the event library, for --version. */
const char *master_library_version(void);

#endif
