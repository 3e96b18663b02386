/*
 * log: one line per event to stderr, syslog or a file, as text or JSON.
 * Safe from every thread and without a lock: whole lines go in one write(2) to a descriptor whose
 * number never changes (a reopen replaces what is behind it with dup2(2)).
 * Whoever logs something a stranger can cause limits it with a log_limit.
 */
#ifndef DTLSGATE_BASE_LOG_H
#define DTLSGATE_BASE_LOG_H

#include "base/line.h"
#include "base/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where lines go. `target`: "stderr", "syslog", or the absolute path of a file (mode 0640 when it
 * is made). May be called again at a reload: on false the old target stays in use and `why` tells.
 */
bool log_open(const char *target, enum log_format format, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* Opens a file target anew under its name (after rotation). True for the others, too. */
bool log_reopen(char *why, size_t why_size) __attribute__((warn_unused_result));
/* A file that log_open() has just made becomes theirs; one that was there stays whose it is. False:
 * errno. */
bool log_give(uid_t user, gid_t group) __attribute__((warn_unused_result));
/* Warnings and errors go to stderr as well, wherever the log is; no by default. */
void log_echo(bool wanted);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* Text: "2026-11-22T13:30:40.123Z info dtlsgate: ready". On stderr and in a file the time stands in
 * front, syslog adds its own. JSON: {"time":…,"level":…,"message":…}. The text is taken as it is,
 * so foreign bytes go through bytes_escape() first; control characters are still made '?', and so
 * is what is not ASCII. One line is at most 2 KB, longer ones are cut. Before log_open() lines go
 * to stderr as text. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on this thread's lines of info and debug wait for log_flush(), for a warning or an
 * error, or until there are 2 KB of them; in order, always. Who calls this calls log_flush() before
 * it waits for anything. Not for syslog, which takes each line as it comes. */
void log_hold(void);
/* Writes what this thread has held back, in one write(2). Lines that cannot be written, say on a
 * full disk, are lost; the next that gets through has one before it, "log lines lost", that tells
 * how many. */
void log_flush(void);
/* How many that were in all; not for syslog, which does not say. */
uint64_t log_lost(void);

/* For events with fields. Text: "<subject>: k=v k="v w" …"; JSON: each field a member beside
 * "message": "<subject>". */
void log_event(enum log_level level, const char *subject, const struct log_field *fields);

/* A limit for lines that strangers can cause: at most ten at once, then one per second; one per
 * thread and kind of line. Zeroed memory is ready for use. */
struct log_limit {
    struct rate rate;
};
/* True: write the line; *skipped lines like it were left out since the last one. */
bool log_allowed(struct log_limit *limit, uint64_t now_ms, uint32_t *skipped);

#endif
