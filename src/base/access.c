/*
 * access: lines through a pipe to the one thread that writes them. See the header.
 */
#include "base/access.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* What a pipe takes as a whole or not at all. */
#define HELD_SIZE 4096
#define PIPE_SIZE (1024 * 1024) /* what Linux gives to anybody */
#define CHUNK 65536
/* How long a thread waits for room, of each second. */
#define PATIENCE_MS 200
#define PERIOD_MS 1000

_Static_assert(HELD_SIZE >= LINE_SIZE && HELD_SIZE <= PIPE_BUF, "a line fits, a pipe takes all");

static struct sink sink = SINK_START;
static atomic_bool is_on;
static atomic_int line_format;
/* Lines are being lost, and the log knows; how many the log has been told of. */
static atomic_bool is_failing;
static uint64_t told;

/* Of the main thread, which starts and stops the other; the ends stay while anybody writes. */
static int read_end = -1;
static atomic_int write_end = -1;
static pthread_t writer;

/* A thread's lines that are not handed on, and how long it has waited in this period. */
static _Thread_local struct {
    uint64_t period, waited;
    size_t len;
    char text[HELD_SIZE];
} held;

bool access_is_on(void)
{
    return is_on;
}

uint64_t access_lost(void)
{
    return sink.lost;
}

static void tell_failing(int error)
{
    const struct log_field fields[] = {{"reason", strerror(error), 0}, {NULL, NULL, 0}};

    if (!atomic_exchange(&is_failing, true))
        log_event(LOG_LEVEL_WARNING, "access log loses lines", fields);
}

/* Only who writes calls this, and only who writes has told. */
static void tell_recovered(void)
{
    uint64_t lost = sink.lost;
    const struct log_field fields[] = {{"lines", NULL, (long long)(lost - told)}, {NULL, NULL, 0}};

    if (!is_failing)
        return;
    is_failing = false;
    told = lost;
    log_event(LOG_LEVEL_WARNING, "access log lines lost", fields);
}

/* ---- who writes ---- */

static void write_to_syslog(char *text, char *end)
{
    for (char *next; text < end; text = next) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        next = newline + 1;
        *newline = '\0';
        syslog(LOG_INFO, "%s", text);
    }
}

static void write_out(char *text, size_t len)
{
    if (sink.kind == SINK_SYSLOG)
        write_to_syslog(text, text + len);
    else if (sink_write(&sink, text, len) > 0)
        return tell_failing(sink.error);
    tell_recovered();
}

/* What was read may end within a line, whose rest then comes next. */
static void *run_writer(void *arg)
{
    static char text[CHUNK];
    size_t len = 0, whole;
    ssize_t got;

    (void)arg;
    while ((got = read(read_end, text + len, sizeof text - len)) != 0) {
        if (got < 0)
            continue; /* by a signal, if at all */
        len += (size_t)got;
        const char *newline = memrchr(text, '\n', len);
        whole = newline != NULL ? (size_t)(newline - text) + 1 : 0;
        if (whole > 0)
            write_out(text, whole);
        memmove(text, text + whole, len - whole);
        len -= whole;
    }
    return NULL;
}

static bool start_thread(void)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* a denied system call must reach its thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&writer, NULL, run_writer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return error == 0;
}

bool access_start(void)
{
    int ends[2];

    if (write_end >= 0)
        return true;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* 64 KB without */
    read_end = ends[0];
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0 && start_thread()) {
        write_end = ends[1];
        return true;
    }
    close(ends[0]);
    close(ends[1]);
    return false;
}

void access_stop(void)
{
    int fd = write_end;

    if (fd < 0)
        return;
    write_end = -1;
    close(fd);
    pthread_join(writer, NULL);
    close(read_end);
}

/* ---- all others ---- */

static bool hand_over(void)
{
    ssize_t written;

    do
        written = write(write_end, held.text, held.len);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)held.len;
}

/* False: its patience is at an end. */
static bool wait_for_room(void)
{
    struct pollfd room = {.fd = write_end, .events = POLLOUT};
    uint64_t now = clock_now_ms();

    if (now - held.period >= PERIOD_MS) {
        held.period = now;
        held.waited = 0;
    }
    if (held.waited >= PATIENCE_MS)
        return false;
    (void)poll(&room, 1, (int)(PATIENCE_MS - held.waited));
    held.waited += clock_now_ms() - now;
    return true;
}

static void pass_on(void)
{
    if (write_end < 0) {
        write_out(held.text, held.len);
        return;
    }
    while (!hand_over()) {
        if (errno == EAGAIN && wait_for_room())
            continue;
        sink_lose(&sink, sink_lines(held.text, held.len), errno);
        tell_failing(EAGAIN);
        return;
    }
}

void access_flush(void)
{
    int saved = errno;

    if (held.len == 0)
        return;
    pass_on();
    held.len = 0;
    errno = saved;
}

void access_event(const char *subject, const struct log_field *fields)
{
    const struct line_head head = {(enum log_format)line_format, LOG_LEVEL_INFO,
                                   sink.kind == SINK_SYSLOG, subject};

    if (held.len > HELD_SIZE - LINE_SIZE)
        access_flush();
    held.len += line_build(held.text + held.len, &head, fields);
    held.text[held.len++] = '\n';
}

/* ---- where to ---- */

void access_use(const struct sink_draft *d, enum log_format format)
{
    sink_use(&sink, d);
    line_format = (int)format;
    is_on = true;
}

void access_close(void)
{
    is_on = false;
}

bool access_reopen(char *why, size_t why_size)
{
    struct sink_draft nowhere = {.kind = SINK_STDERR, .fd = -1};

    if (is_on)
        return sink_reopen(&sink, why, why_size);
    sink_use(&sink, &nowhere);
    return true;
}

bool access_give(uid_t user, gid_t group)
{
    return sink_give(&sink, user, group);
}
