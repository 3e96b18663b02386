/*
 * sink: opens, opens anew, writes. See the header.
 */
#include "base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool open_file(struct sink_draft *d, char *why, size_t why_size)
{
    /* O_NONBLOCK: a FIFO without a reader must hold up neither this open nor a worker's line. */
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(d->path, flags | O_EXCL, 0640);

    d->is_new = fd >= 0;
    if (fd < 0)
        fd = open(d->path, flags, 0640);
    /* Never one of the first three, whoever has closed those. */
    d->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    if (d->fd < 0)
        snprintf(why, why_size, "cannot open %s: %s", d->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return d->fd >= 0;
}

bool sink_prepare(struct sink_draft *d, const char *target, char *why, size_t why_size)
{
    d->kind = SINK_FILE;
    d->fd = -1;
    d->is_new = false;
    d->path[0] = '\0';
    if (strcmp(target, "stderr") == 0) {
        d->kind = SINK_STDERR;
        return true;
    }
    if (strcmp(target, "syslog") == 0) {
        d->kind = SINK_SYSLOG;
        return true;
    }
    if (target[0] != '/' || strlen(target) >= sizeof d->path) {
        snprintf(why, why_size, "is neither \"stderr\", \"syslog\" nor an absolute path");
        return false;
    }
    snprintf(d->path, sizeof d->path, "%s", target);
    return open_file(d, why, why_size);
}

/* Both are open, so this cannot fail but by a mistake of ours. */
static void put_behind(struct sink *s, int fd)
{
    if (s->descriptor == STDERR_FILENO || fd == STDERR_FILENO) {
        if (s->descriptor != STDERR_FILENO)
            (void)dup3(fd, s->descriptor, O_CLOEXEC);
        else
            s->descriptor = fd;
        return;
    }
    (void)dup3(fd, s->descriptor, O_CLOEXEC);
    close(fd);
}

void sink_use(struct sink *s, const struct sink_draft *d)
{
    put_behind(s, d->kind == SINK_FILE ? d->fd : STDERR_FILENO);
    s->is_new = d->is_new;
    s->is_torn = false;
    memcpy(s->path, d->path, sizeof s->path);
    s->kind = (int)d->kind;
}

void sink_discard(const struct sink_draft *d)
{
    if (d->fd >= 0)
        close(d->fd);
}

bool sink_reopen(struct sink *s, char *why, size_t why_size)
{
    struct sink_draft d;

    if (s->kind != SINK_FILE)
        return true;
    if (!sink_prepare(&d, s->path, why, why_size))
        return false;
    sink_use(s, &d);
    return true;
}

bool sink_give(const struct sink *s, uid_t user, gid_t group)
{
    return s->kind != SINK_FILE || !s->is_new || fchown(s->descriptor, user, group) == 0;
}

/* How much of it went. */
static size_t write_some(struct sink *s, const char *text, size_t len)
{
    ssize_t written;

    do
        written = write(s->descriptor, text, len);
    while (written < 0 && errno == EINTR);
    if (written < 0)
        s->error = errno;
    return written > 0 ? (size_t)written : 0;
}

/* What was cut before must not run into what comes now. */
static bool begin_line(struct sink *s)
{
    if (!s->is_torn)
        return true;
    if (write_some(s, "\n", 1) == 0)
        return false;
    s->is_torn = false;
    return true;
}

size_t sink_lines(const char *text, size_t len)
{
    const char *end = text + len;
    size_t n = 0;

    for (; text < end && (text = memchr(text, '\n', (size_t)(end - text))) != NULL; text++)
        n++;
    return n;
}

void sink_lose(struct sink *s, size_t lines, int error)
{
    s->lost += lines;
    s->error = error;
}

/* What does not go at once goes line by line: a pipe or a disk that is nearly full may have room
 * for some. */
size_t sink_write(struct sink *s, const char *text, size_t len)
{
    const char *end = text + len, *next;
    size_t lost = 0;
    bool is_begun = begin_line(s);

    if (is_begun) {
        size_t first = write_some(s, text, len);
        text += first;
        is_begun = first > 0 && text[-1] != '\n';
    }
    for (; text < end; text = next, is_begun = false) {
        next = (const char *)memchr(text, '\n', (size_t)(end - text)) + 1;
        size_t left = (size_t)(next - text);
        size_t went = is_begun || begin_line(s) ? write_some(s, text, left) : 0;
        if (went == left)
            continue;
        lost++;
        s->is_torn = s->is_torn || is_begun || went > 0;
    }
    s->lost += lost;
    return lost;
}
