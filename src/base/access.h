/*
 * access: the access log: lines about what has ended, apart from the log. A thread of its own
 * writes them, so a disk that is slow or stuck holds up nobody else; between it and the others is a
 * pipe of a megabyte. Must never know what an event means.
 */
#ifndef DTLSGATE_BASE_ACCESS_H
#define DTLSGATE_BASE_ACCESS_H

#include "base/line.h"
#include "base/sink.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Lines go there from now on, what is under way included. It is off before, and once more behind
 * access_close(), which leaves the file open until the next access_reopen(), for what is under way.
 */
void access_use(const struct sink_draft *d, enum log_format format);
void access_close(void);
/* As log_reopen() and log_give(). */
bool access_reopen(char *why, size_t why_size) __attribute__((warn_unused_result));
bool access_give(uid_t user, gid_t group) __attribute__((warn_unused_result));

/* Starts the thread, with all signals blocked in it; harmless where it runs. Without it whoever
 * flushes writes. False: errno. Both from the main thread. */
bool access_start(void) __attribute__((warn_unused_result));
/* Once nobody else writes: waits until all is written. */
void access_stop(void);

bool access_is_on(void);
/* One line, as log_event() has it at the level info; it waits for access_flush(), or until this
 * thread has 2 KB of them. */
void access_event(const char *subject, const struct log_field *fields);
/* Hands on what this thread has; call it before it waits for anything. Where the pipe is full it
 * waits for room, for at most a fifth of any second, and what finds none by then is lost. */
void access_flush(void);
/* Lines that were lost, in all, there or on a full disk. The log is told when it begins, and how
 * many they were when it is over. */
uint64_t access_lost(void);

#endif
