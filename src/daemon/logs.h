/*
 * logs: the log and the access log as the settings want them: opened at the start, moved by a
 * reload, opened anew after a rotation. Must never write a line of either.
 */
#ifndef DTLSGATE_DAEMON_LOGS_H
#define DTLSGATE_DAEMON_LOGS_H

#include "base/errors.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* At the start; what cannot be opened adds a line to `errors`, with `source` for the settings. */
bool logs_open(const struct conf_daemon *daemon, const char *source, struct errors *errors)
    __attribute__((warn_unused_result));
/* Once the process is what it stays: the access log gets its thread, where there is one. False with
 * `why`. */
bool logs_start(char *why, size_t why_size) __attribute__((warn_unused_result));
/* A reload: both as `next` wants them, or neither. Each is opened anew only where it differs, for
 * the file's name may be out of our reach by now. */
bool logs_switch(const struct conf_daemon *running, const struct conf_daemon *next,
                 const char *source, struct errors *errors) __attribute__((warn_unused_result));
/* Both, whatever becomes of the first. */
bool logs_reopen(char *why, size_t why_size) __attribute__((warn_unused_result));
/* When all workers have ended: the access log is complete. */
void logs_stop(void);

#endif
