/*
 * log: one line per event to stderr, syslog or a file, as text or JSON.
 * Must never know what an event means, nor have a lock (those inside libc aside).
 */
#include "base/log.h"

#include "base/sink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LIMIT_BURST 10
#define LIMIT_PER_SECOND 1

/* What waits is written at once, and PIPE_BUF is what a pipe takes as a whole or not at all. */
#define HELD_SIZE 4096

/* A thread's lines that are not written yet, and behind them the room for its next one. */
static _Thread_local struct {
    bool is_wanted;
    size_t len;
    char text[HELD_SIZE];
} held;

_Static_assert(HELD_SIZE >= LINE_SIZE && HELD_SIZE <= PIPE_BUF, "a line fits, a pipe takes all");

/* Read by every thread. */
static struct sink sink = SINK_START;
static atomic_int line_format = LOG_FORMAT_TEXT;
static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_bool is_echoed;
static _Atomic uint64_t untold; /* lines that were lost since the log said so */

static const int syslog_priorities[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_WARNING] = LOG_WARNING,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};

/* What is written says first how many lines before it are missing. False: it cannot be said yet. */
static bool tell_lost(void)
{
    const struct line_head head = {(enum log_format)line_format, LOG_LEVEL_WARNING, false,
                                   "log lines lost"};
    uint64_t lines = atomic_exchange(&untold, 0);
    char text[LINE_SIZE];
    size_t len;

    if (lines == 0)
        return true;
    const struct log_field fields[] = {
        {"lines", NULL, (long long)lines},
        {"reason", strerror(sink.error), 0},
        {NULL, NULL, 0},
    };
    len = line_build(text, &head, fields);
    text[len++] = '\n';
    if (sink_write(&sink, text, len) == 0)
        return true;
    sink.lost--; /* one that tells of lost ones is none itself */
    untold += lines;
    return false;
}

void log_flush(void)
{
    int saved = errno;

    if (held.len > 0 && (untold == 0 || tell_lost())) {
        untold += sink_write(&sink, held.text, held.len);
    } else if (held.len > 0) {
        size_t lines = sink_lines(held.text, held.len);
        sink_lose(&sink, lines, sink.error);
        untold += lines;
    }
    held.len = 0;
    errno = saved;
}

uint64_t log_lost(void)
{
    return sink.lost;
}

void log_hold(void)
{
    held.is_wanted = true;
}

static void emit(enum log_level level, const char *message, const struct log_field *fields)
{
    const struct line_head head = {(enum log_format)line_format, level, sink.kind == SINK_SYSLOG,
                                   message};
    char *text;
    size_t len;

    if (held.len > HELD_SIZE - LINE_SIZE)
        log_flush();
    text = held.text + held.len;
    len = line_build(text, &head, fields);
    if (is_echoed && sink.kind != SINK_STDERR && level <= LOG_LEVEL_WARNING)
        dprintf(STDERR_FILENO, "%.*s\n", (int)len, text);
    if (sink.kind == SINK_SYSLOG) {
        text[len] = '\0';
        syslog(syslog_priorities[level], "%s", text);
        return;
    }
    text[len++] = '\n';
    held.len += len;
    if (!held.is_wanted || level <= LOG_LEVEL_WARNING)
        log_flush();
}

__attribute__((format(printf, 2, 0))) static void emit_format(enum log_level level,
                                                              const char *format, va_list ap)
{
    char message[LINE_SIZE];
    int saved = errno;

    if (!log_wants(level))
        return;
    vsnprintf(message, sizeof message, format, ap);
    emit(level, message, NULL);
    errno = saved;
}

bool log_open(const char *target, enum log_format format, char *why, size_t why_size)
{
    struct sink_draft draft;

    if (!sink_prepare(&draft, target, why, why_size))
        return false;
    if (draft.kind == SINK_SYSLOG)
        openlog("dtlsgate", LOG_PID, LOG_DAEMON);
    sink_use(&sink, &draft);
    line_format = (int)format;
    return true;
}

bool log_reopen(char *why, size_t why_size)
{
    return sink_reopen(&sink, why, why_size);
}

bool log_give(uid_t user, gid_t group)
{
    return sink_give(&sink, user, group);
}

void log_echo(bool wanted)
{
    is_echoed = wanted;
}

void log_set_level(enum log_level level)
{
    threshold = (int)level;
}

bool log_wants(enum log_level level)
{
    return (int)level <= threshold;
}

void log_error(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    emit_format(LOG_LEVEL_ERROR, format, ap);
    va_end(ap);
}

void log_warning(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    emit_format(LOG_LEVEL_WARNING, format, ap);
    va_end(ap);
}

void log_info(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    emit_format(LOG_LEVEL_INFO, format, ap);
    va_end(ap);
}

void log_debug(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    emit_format(LOG_LEVEL_DEBUG, format, ap);
    va_end(ap);
}

void log_event(enum log_level level, const char *subject, const struct log_field *fields)
{
    int saved = errno;

    if (!log_wants(level))
        return;
    emit(level, subject, fields);
    errno = saved;
}

bool log_allowed(struct log_limit *limit, uint64_t now_ms, uint32_t *skipped)
{
    return rate_take(&limit->rate, LIMIT_PER_SECOND, LIMIT_BURST, now_ms, skipped);
}
