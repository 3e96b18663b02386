/*
 * notify: one socket, and one datagram for each thing there is to tell.
 * Must never hold up the process for long, nor know what its news mean.
 */
#include "daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* How long the manager's full queue may hold us up. */
#define PATIENCE_SECONDS 2

static struct {
    int fd; /* meaningless without a name */
    struct sockaddr_un name;
    socklen_t name_len; /* 0: nobody listens */
    uint64_t watchdog_us;
    char status[NOTIFY_STATUS_MAX];
    bool is_held;
} to;

static void tell(const char *text)
{
    ssize_t sent;

    if (to.name_len == 0 || to.is_held)
        return;
    /* To the name each time, for a manager that was started anew has a new socket behind it. One
     * that cannot be reached is no reason to serve nobody. */
    do
        sent = sendto(to.fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to.name,
                      to.name_len);
    while (sent < 0 && errno == EINTR);
}

/* A path, or with '@' in front an abstract name, whose first byte is NUL then. */
static bool read_name(const char *text, char *why, size_t why_size)
{
    size_t len = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(to.name.sun_path)) {
        snprintf(why, why_size,
                 "NOTIFY_SOCKET is neither an absolute path nor @NAME of at most %zu bytes; unset "
                 "it where no service manager listens",
                 sizeof(to.name.sun_path) - 1);
        return false;
    }
    to.name = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(to.name.sun_path, text, len);
    to.name_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (text[0] == '@')
        to.name.sun_path[0] = '\0';
    else
        to.name_len++;
    return true;
}

static bool open_socket(char *why, size_t why_size)
{
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};

    to.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (to.fd >= 0 && setsockopt(to.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0)
        return true;
    snprintf(why, why_size, "cannot make a socket for NOTIFY_SOCKET: %s", strerror(errno));
    if (to.fd >= 0)
        close(to.fd);
    to.name_len = 0;
    return false;
}

static bool read_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool read_watchdog(const char *usec, const char *pid, char *why, size_t why_size)
{
    uint64_t number;

    if (pid != NULL && (!read_number(pid, &number) || number != (uint64_t)getpid()))
        return true; /* another process is meant */
    if (read_number(usec, &number) && number > 0) {
        to.watchdog_us = number;
        return true;
    }
    snprintf(why, why_size, "WATCHDOG_USEC is no number of microseconds from 1 up; unset it");
    return false;
}

bool notify_init(char *why, size_t why_size)
{
    const char *name = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
    bool is_fine = name == NULL || (read_name(name, why, why_size) && open_socket(why, why_size));

    if (is_fine && name != NULL && usec != NULL)
        is_fine = read_watchdog(usec, getenv("WATCHDOG_PID"), why, why_size);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return is_fine;
}

void notify_close(void)
{
    if (to.name_len > 0)
        close(to.fd);
    memset(&to, 0, sizeof(to));
}

bool notify_is_wanted(void)
{
    return to.name_len > 0;
}

uint64_t notify_watchdog_us(void)
{
    return to.watchdog_us;
}

void notify_hold(bool is_held)
{
    to.is_held = is_held;
}

void notify_main_process(long pid)
{
    char text[64];

    snprintf(text, sizeof(text), "MAINPID=%ld", pid);
    tell(text);
}

void notify_ready(void)
{
    tell("READY=1");
}

void notify_reloading(uint64_t now_us)
{
    char text[64];

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us);
    tell(text);
}

void notify_stopping(void)
{
    tell("STOPPING=1");
}

void notify_status(const char *text)
{
    char line[sizeof("STATUS=") + NOTIFY_STATUS_MAX];

    if (to.name_len == 0 || to.is_held || strncmp(text, to.status, sizeof(to.status) - 1) == 0)
        return;
    snprintf(to.status, sizeof(to.status), "%s", text);
    snprintf(line, sizeof(line), "STATUS=%s", to.status);
    tell(line);
}

void notify_alive(void)
{
    tell("WATCHDOG=1");
}
