/*
 * heir: the new process's side of an upgrade: what the running one hands over, and when. There is
 * at most one such other process; without it all of this is nothing, or none.
 */
#ifndef DTLSGATE_DAEMON_HEIR_H
#define DTLSGATE_DAEMON_HEIR_H

#include "base/addr.h"
#include "base/errors.h"
#include "conf/conf.h"
#include "daemon/fleet.h"
#include "daemon/sockets.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads what the running process begins with, first of all that opens anything. Each mistake adds a
 * line to `errors`; false when there was any. */
bool heir_meet(struct errors *errors) __attribute__((warn_unused_result));
bool heir_is_there(void);
/* It has let go: what it had is ours. */
bool heir_has_all(void);
/* The mirror. What nobody has claimed is closed. */
void heir_close(void);

/* Tells the running process why it has to go on, unless it knows; `errors` may be NULL, as may
 * `why`. */
void heir_refuse(const struct errors *errors, const char *why);

/* ---- at the start, as whoever has started us ---- */

/* Takes all public sockets, into s->list, and those that flows share, into s->shared. `path` is the
 * settings' file. They must be just those of the settings: each difference adds a line. */
bool heir_claim_sockets(struct sockets *s, const struct conf *conf, const char *path,
                        struct errors *errors) __attribute__((warn_unused_result));
/* The HTTP socket where it is bound to `at`, the control socket, the file with the process id; -1:
 * there is none. The caller's from now on. */
int heir_claim_http(const struct addr *at);
int heir_claim_control(void);
int heir_claim_pidfile(void);
int heir_claim_state(void); /* the lock of its state-dir */

/* ---- as who we are from then on ---- */

struct heir_report {
    bool is_draining;      /* the running process takes no handshakes */
    size_t sessions, left; /* taken; not taken, to be told goodbye by the running process */
    pid_t before;          /* who had them */
    bool is_reload_due;    /* it was told to reload in the meantime */
};

/* Says that we are able, and takes all that comes into the workers, which have not been started.
 * False with `why`: the process must end without a word to anybody, by heir_fail(). */
bool heir_take_all(struct fleet *f, const struct conf *conf, struct heir_report *report, char *why,
                   size_t why_size) __attribute__((warn_unused_result));
/* With the workers started and still: returns once the running process leaves it to us. False as
 * above. */
bool heir_confirm(struct heir_report *report, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* Takes it: from here on it is ours, and the other process only waits to hear this. False: it
 * cannot be told, so it will go on itself; heir_fail(). */
bool heir_begin(void) __attribute__((warn_unused_result));
/* Ends the process then and there: what it may have taken is not its own. */
_Noreturn void heir_fail(const char *why);
/* Becomes readable when the other process has gone. */
int heir_fd(void);

#endif
