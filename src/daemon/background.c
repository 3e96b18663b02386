/*
 * background: fork twice, and a pipe whose one byte is the caller's exit status.
 * Must never change the working folder, for the settings may have names that begin there.
 */
#include "daemon/background.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 1

static bool is_in_background;
static int caller = -1, nowhere = -1;

static int complain(const char *what)
{
    fprintf(stderr, "dtlsgate: -d: %s: %s\n", what, strerror(errno));
    return FAILED;
}

/* The caller's side. */
static int await(int from)
{
    unsigned char status;
    ssize_t got;

    do
        got = read(from, &status, sizeof(status));
    while (got < 0 && errno == EINTR);
    close(from);
    if (got == sizeof(status))
        return status;
    fputs("dtlsgate: -d: the process ended before it was ready\n", stderr);
    return FAILED;
}

/* The child leads a session of its own, which its child does not: no terminal can become theirs. */
static bool detach(void)
{
    pid_t pid;

    if (setsid() < 0)
        return false;
    pid = fork();
    if (pid > 0)
        _exit(0);
    return pid == 0;
}

static void tell_caller(unsigned char status)
{
    ssize_t written;

    do
        written = write(caller, &status, sizeof(status));
    while (written < 0 && errno == EINTR);
    close(caller);
    caller = -1;
}

bool background_enter(int *status)
{
    int ends[2] = {-1, -1};
    pid_t pid;

    *status = FAILED;
    nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        *status = complain("cannot begin");
        return false;
    }
    pid = fork();
    if (pid != 0) {
        close(nowhere);
        close(ends[1]);
        if (pid > 0)
            waitpid(pid, NULL, 0);
        *status = pid > 0 ? await(ends[0]) : complain("cannot fork");
        return false;
    }
    close(ends[0]);
    caller = ends[1];
    if (!detach()) {
        tell_caller((unsigned char)complain("cannot leave the terminal"));
        _exit(FAILED);
    }
    is_in_background = true;
    log_echo(true);
    return true;
}

void background_resume(void)
{
    is_in_background = true;
}

void background_ready(void)
{
    if (caller < 0)
        return;
    log_echo(false);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        (void)dup2(nowhere, fd);
    close(nowhere);
    tell_caller(0);
}

void background_failed(int status)
{
    if (caller >= 0)
        tell_caller((unsigned char)status);
}

bool background_allows(const struct conf_daemon *daemon, char *why, size_t why_size)
{
    if (!is_in_background || strcmp(daemon->log, "stderr") != 0)
        return true;
    snprintf(why, why_size, "behind -d nobody reads stderr; choose syslog or a file");
    return false;
}
