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
/* The descriptor of ours, -1: there is none. Another process that gets it holds the same lock. */
int pidfile_fd(void);
/* Goes on with one that another process has made and holds, `fd`, which is taken over on true. It
 * stays that process's until pidfile_take() writes our process id into it. False with `why`. */
bool pidfile_adopt(const char *path, int fd, char *why, size_t why_size)
    __attribute__((warn_unused_result));
void pidfile_take(void);
/* Closes it and leaves it where it is, for it is another process's now. */
void pidfile_leave(void);
/* The mirror: takes it away, or empties it where our user may not take it away. Harmless without.
 */
void pidfile_close(void);

#endif
