/*
 * log: one line per event to stderr, syslog or a file, as text or JSON.
 * Must never know what an event means, nor have a lock (those inside libc aside).
 */
#include "base/log.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_SIZE 2048
/* What closes a line that was cut always fits: a quote, a brace, a newline (or NUL). */
#define LINE_LIMIT (LINE_SIZE - 3)

#define LIMIT_BURST 10
#define LIMIT_PER_SECOND 1

enum sink { SINK_STDERR, SINK_SYSLOG, SINK_FILE };

/* What waits is written at once, and PIPE_BUF is what a pipe takes as a whole or not at all. */
#define HELD_SIZE 4096

/* One that is being written, in room for LINE_SIZE bytes. */
struct line {
    size_t len;
    char *text;
};

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

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

static const int syslog_priorities[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_WARNING] = LOG_WARNING,
    [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};

/* All of `text`, which is ours and clean, or nothing. */
static bool put(struct line *l, const char *text)
{
    size_t len = strlen(text);

    if (l->len + len > LINE_LIMIT)
        return false;
    memcpy(l->text + l->len, text, len);
    l->len += len;
    return true;
}

/* As much of a foreign text as fits. ASCII only: a line is then valid in any encoding, cut or not.
 */
static void put_foreign(struct line *l, const char *text, bool escape)
{
    char *at = l->text + l->len;
    const char *end = l->text + LINE_LIMIT;

    for (; *text != '\0'; text++) {
        char c = *text >= 0x20 && *text < 0x7f ? *text : '?';
        bool escaped = escape && (c == '"' || c == '\\');

        if (at + (escaped ? 2 : 1) > end)
            break;
        if (escaped)
            *at++ = '\\';
        *at++ = c;
    }
    l->len = (size_t)(at - l->text);
}

/* False when not even the opening quote fits; the closing one always does. */
static bool put_quoted(struct line *l, const char *text)
{
    if (!put(l, "\""))
        return false;
    put_foreign(l, text, true);
    l->text[l->len++] = '"';
    return true;
}

static bool put_number(struct line *l, long long number)
{
    char text[1 + DECIMAL_MAX + 1] = "-";
    bool is_negative = number < 0;
    uint64_t size = is_negative ? 0 - (uint64_t)number : (uint64_t)number;

    text[1 + decimal_encode(text + 1, size)] = '\0';
    return put(l, is_negative ? text : text + 1);
}

static bool put_value(struct line *l, const struct log_field *f, bool json)
{
    if (f->text == NULL)
        return put_number(l, f->number);
    if (json || f->text[0] == '\0' || strpbrk(f->text, " \"=") != NULL)
        return put_quoted(l, f->text);
    put_foreign(l, f->text, false);
    return true;
}

/* The fields that fit, in order; one whose key is cut off is left out with all that follow. */
static void put_fields(struct line *l, const struct log_field *f, bool json)
{
    for (; f != NULL && f->key != NULL; f++) {
        size_t start = l->len;

        if (!put(l, json ? ",\"" : " ") || !put(l, f->key) || !put(l, json ? "\":" : "=") ||
            !put_value(l, f, json)) {
            l->len = start;
            return;
        }
    }
}

/* The heads below are far shorter than a line, so what put() returns needs no look there. */
static void build_json(struct line *l, enum log_level level, const char *message,
                       const struct log_field *fields)
{
    char time_text[CLOCK_TEXT_MAX];

    put(l, "{\"time\":\"");
    put(l, clock_wall_text(time_text));
    put(l, "\",\"level\":\"");
    put(l, level_names[level]);
    put(l, "\",\"message\":");
    put_quoted(l, message);
    put_fields(l, fields, true);
    l->text[l->len++] = '}';
}

static void build_text(struct line *l, enum log_level level, const char *message,
                       const struct log_field *fields)
{
    char time_text[CLOCK_TEXT_MAX];

    if (sink != SINK_SYSLOG) {
        put(l, clock_wall_text(time_text));
        put(l, " ");
    }
    put(l, level_names[level]);
    put(l, " ");
    put_foreign(l, message, false);
    if (fields != NULL && fields->key != NULL)
        put(l, ":");
    put_fields(l, fields, false);
}

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
    struct line l = {.len = 0};

    if (held.len > HELD_SIZE - LINE_SIZE)
        log_flush();
    l.text = held.text + held.len;
    if (line_format == LOG_FORMAT_JSON)
        build_json(&l, level, message, fields);
    else
        build_text(&l, level, message, fields);
    if (is_echoed && sink != SINK_STDERR && level <= LOG_LEVEL_WARNING)
        dprintf(STDERR_FILENO, "%.*s\n", (int)l.len, l.text);
    if (sink == SINK_SYSLOG) {
        l.text[l.len] = '\0';
        syslog(syslog_priorities[level], "%s", l.text);
        return;
    }
    l.text[l.len++] = '\n';
    held.len += l.len;
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
