/*
 * background: -d. The process leaves its caller, who waits until it is ready or has failed, sees
 * its messages until then, and gets its exit status.
 */
#ifndef DTLSGATE_DAEMON_BACKGROUND_H
#define DTLSGATE_DAEMON_BACKGROUND_H

#include "conf/conf.h"

#include <stdbool.h>

/* Goes on in a process that belongs to nobody, with what is logged as a warning or worse on stderr,
 * too. True there; false in the caller's process, once there is an exit status for it in *status.
 * Call it with a single thread, before there are secrets in memory. */
bool background_enter(int *status) __attribute__((warn_unused_result));
/* We go on for one that is in the background: there is no caller, and no stderr either. */
void background_resume(void);
/* All is well: the caller goes, and stdin, stdout and stderr lead nowhere. Does nothing where
 * background_enter() was not called, or when told before. */
void background_ready(void);
/* It has come to nothing: what the caller exits with. The same holds. */
void background_failed(int status);

/* Whether the settings can be served with: the log must not go to a stderr that leads nowhere.
 * False with `why`; always true in the foreground. */
bool background_allows(const struct conf_daemon *daemon, char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
