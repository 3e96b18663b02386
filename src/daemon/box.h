/*
 * box: takes from the process what it no longer needs once it serves: every capability, the way to
 * new ones, and every system call but those on a list. For the life of the process; there is no way
 * back.
 */
#ifndef DTLSGATE_DAEMON_BOX_H
#define DTLSGATE_DAEMON_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To be called before the change of user, which takes the right to it: nothing that the process
 * might still execute gets a privilege from now on. False with `why`: the process must end. */
bool box_prepare(char *why, size_t why_size) __attribute__((warn_unused_result));
/* After it, with everything made that is made only once, and with a single thread: gives up all
 * capabilities, but CAP_NET_RAW with `keeps_raw`, and filters the system calls of all threads. A
 * call that is denied returns EPERM to whoever made it, unless that thread blocks SIGSYS: then it
 * kills the process. Where calls cannot be filtered a warning says so and the process goes on.
 * False with `why`: it must end. */
bool box_close(bool keeps_raw, char *why, size_t why_size) __attribute__((warn_unused_result));
/* Whether system calls are filtered. */
bool box_is_closed(void);

/* A descriptor that is readable while denied calls wait to be reported; -1 before box_prepare(). */
int box_denials(void);
/* Logs some of those that wait, with a limit. */
void box_report(uint64_t now_ms);

#endif
