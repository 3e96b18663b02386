/*
 * log: one line per event to stderr, syslog or a file, as text or JSON.
 * Must never know what an event means, nor have a lock (those inside libc aside).
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LIMIT_BURST 10
#define LIMIT_PER_SECOND 1

enum sink { SINK_STDERR, SINK_SYSLOG, SINK_FILE };

/* What waits is written at once, and PIPE_BUF is what a pipe takes as a whole or not at all. */
#define HELD_SIZE 4096

/* A thread's lines that are not written yet, and behind them the room for its next one. */
static _Thread_local struct {
    bool is_wanted;
    size_t len;
    char text[HELD_SIZE];
} held;

_Static_assert(HELD_SIZE >= LINE_SIZE && HELD_SIZE <= PIPE_BUF, "a line fits, a pipe takes all");

/* Read by every thread. `descriptor` leaves STDERR_FILENO once, for a number that is ours from then
 * on. */
static atomic_int descriptor = STDERR_FILENO;
static atomic_int sink = SINK_STDERR;
static atomic_int line_format = LOG_FORMAT_TEXT;
static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_bool is_echoed;
/* The file's name; only the thread that opens the log uses it. */
static char file_path[PATH_MAX];
/* That file was not there before. */
static bool is_new;

static const int syslog_priorities[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_WARNING] = LOG_WARNING,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};

/* How much of it went; where a line cannot be written there is no one left to tell. */
static size_t write_some(const char *text, size_t len)
{
    ssize_t written;

    do
        written = write(descriptor, text, len);
    while (written < 0 && errno == EINTR);
    return written > 0 ? (size_t)written : 0;
}

/* What does not go at once goes line by line: a pipe or a disk that is nearly full may have room
 * for some. */
static void write_lines(const char *text, size_t len)
{
    const char *end = text + len, *next;

    for (text += write_some(text, len); text < end; text = next) {
        next = (const char *)memchr(text, '\n', (size_t)(end - text)) + 1;
        write_some(text, (size_t)(next - text));
    }
}

void log_flush(void)
{
    int saved = errno;

    if (held.len > 0)
        write_lines(held.text, held.len);
    held.len = 0;
    errno = saved;
}

void log_hold(void)
{
    held.is_wanted = true;
}

static void emit(enum log_level level, const char *message, const struct log_field *fields)
{
    const struct line_head head = {(enum log_format)line_format, level, sink == SINK_SYSLOG,
                                   message};
    char *text;
    size_t len;

    if (held.len > HELD_SIZE - LINE_SIZE)
        log_flush();
    text = held.text + held.len;
    len = line_build(text, &head, fields);
    if (is_echoed && sink != SINK_STDERR && level <= LOG_LEVEL_WARNING)
        dprintf(STDERR_FILENO, "%.*s\n", (int)len, text);
    if (sink == SINK_SYSLOG) {
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

/* Puts `fd`, which stays the caller's, behind our descriptor. False: errno tells. */
static bool redirect(int fd)
{
    int own;

    if (descriptor != STDERR_FILENO)
        return dup3(fd, descriptor, O_CLOEXEC) >= 0;
    if (fd == STDERR_FILENO)
        return true;
    own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (own < 0)
        return false;
    descriptor = own;
    return true;
}

static bool open_file(const char *path, char *why, size_t why_size)
{
    /* O_NONBLOCK: a FIFO without a reader must hold up neither this open nor a worker's line. */
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(path, flags | O_EXCL, 0640);
    bool ok;

    is_new = fd >= 0;
    if (fd < 0)
        fd = open(path, flags, 0640);
    ok = fd >= 0 && redirect(fd);

    if (!ok)
        snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool switch_to(enum sink wanted, const char *path, char *why, size_t why_size)
{
    if (wanted == SINK_FILE) {
        if (!open_file(path, why, why_size))
            return false;
        snprintf(file_path, sizeof file_path, "%s", path);
    } else if (!redirect(STDERR_FILENO)) {
        snprintf(why, why_size, "cannot use stderr: %s", strerror(errno));
        return false;
    }
    if (wanted == SINK_SYSLOG)
        openlog("dtlsgate", LOG_PID, LOG_DAEMON);
    sink = (int)wanted;
    return true;
}

bool log_open(const char *target, enum log_format format, char *why, size_t why_size)
{
    enum sink wanted = SINK_FILE;

    if (strcmp(target, "stderr") == 0) {
        wanted = SINK_STDERR;
    } else if (strcmp(target, "syslog") == 0) {
        wanted = SINK_SYSLOG;
    } else if (target[0] != '/' || strlen(target) >= sizeof file_path) {
        snprintf(why, why_size, "is neither \"stderr\", \"syslog\" nor an absolute path");
        return false;
    }
    if (!switch_to(wanted, target, why, why_size))
        return false;
    line_format = (int)format;
    return true;
}

bool log_reopen(char *why, size_t why_size)
{
    return sink != SINK_FILE || open_file(file_path, why, why_size);
}

bool log_give(uid_t user, gid_t group)
{
    return sink != SINK_FILE || !is_new || fchown(descriptor, user, group) == 0;
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
