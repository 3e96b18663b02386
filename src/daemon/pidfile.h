/*
 * pidfile: a file with our process id, locked for as long as we live, so that a second one sees
 * that the first runs, and that a file of a process that died is nobody's.
 */
#ifndef DTLSGATE_DAEMON_PIDFILE_H
#define DTLSGATE_DAEMON_PIDFILE_H

#include <stdbool.h>
#include <stddef.h>

/* Makes it, or takes over one that nobody holds and that has nothing but a process id in it. `path`
 * must outlive it. Call it in the process that serves, before it changes its user. False with
 * `why`. */
bool pidfile_open(const char *path, char *why, size_t why_size) __attribute__((warn_unused_result));
/* The mirror: takes it away, or empties it where our user may not take it away. Harmless without.
 */
void pidfile_close(void);

#endif
