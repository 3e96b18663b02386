/*
 * spawner: fork, wait for a byte, execute. See the header.
 * Must never read a file, nor do anything with what it is told but what the one byte says.
 *
 * No filter of system calls holds it: a filter goes over to what is executed, which at its start
 * needs many.
 */
#include "daemon/spawner.h"

#include "base/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT 3 /* its channel there, and the successor's socket in what it starts */
#define PATIENCE_MS 1000
#define PATH_ROOM 4096

enum order { START = 'S', KILL = 'K', LEAVE = 'Q' };
enum news { STARTED = 'P', FAILED = 'F', ENDED = 'X' };

/* ---- in the process that serves ---- */

static int channel = -1, pidfd = -1;
static pid_t spawner;

/* ---- in the spawner ---- */

static struct {
    char path[PATH_ROOM];
    char *const *argv;
    pid_t child; /* 0: none */
    int child_fd;
} own;

static void tell(enum news what, uint32_t number, int fd)
{
    static struct parcel p;
    struct writer w = parcel_writer(&p);

    write_u8(&w, (uint8_t)what);
    write_u32(&w, number);
    if (fd >= 0)
        p.fd[p.fds++] = fd;
    if (!parcel_wrote(&p, &w) || parcel_send(KEPT, &p, PATIENCE_MS) != PARCEL_OK)
        _exit(0);
}

/* How it was started, where that still is the same file: a link stays a link, so that another
 * version can stand behind it one day. */
static bool find_path(void)
{
    const char *given = (const char *)getauxval(AT_EXECFN); // NOLINT: that is what it is
    struct stat ours, there;
    ssize_t len;

    if (given != NULL && strlen(given) < sizeof(own.path) && stat("/proc/self/exe", &ours) == 0 &&
        stat(given, &there) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        memcpy(own.path, given, strlen(given) + 1);
        return true;
    }
    len = readlink("/proc/self/exe", own.path, sizeof(own.path) - 1);
    return len > 0 && len < (ssize_t)sizeof(own.path) - 1;
}

/* Sockets come another way, and a watchdog that was meant for our process is meant for the next. */
static void prepare_environment(pid_t served)
{
    const char *pid = getenv("WATCHDOG_PID");

    if (pid != NULL && strtol(pid, NULL, 10) != (long)served)
        unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    setenv(SPAWNER_VARIABLE, "3", 1);
}

static const int ours_to_survive[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

static void set_signals(void (*handler)(int))
{
    for (size_t i = 0; i < sizeof(ours_to_survive) / sizeof(*ours_to_survive); i++)
        signal(ours_to_survive[i], handler);
}

/* In the child. What cannot be executed is told in the way of a successor that refuses. */
static void execute(int socket)
{
    char text[PATH_ROOM + 128];
    int len;

    if (dup2(socket, KEPT) < 0)
        _exit(127);
    (void)close_range(KEPT + 1, ~0U, 0);
    set_signals(SIG_DFL);
    execv(own.path, own.argv);
    len = snprintf(text, sizeof(text), "Ncannot execute %s: %s", own.path, strerror(errno));
    (void)!send(KEPT, text, (size_t)len, MSG_NOSIGNAL);
    _exit(127);
}

static void start(void)
{
    int ends[2];

    if (own.child != 0) {
        tell(FAILED, EBUSY, -1);
        return;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        tell(FAILED, (uint32_t)errno, -1);
        return;
    }
    own.child = fork();
    if (own.child == 0)
        execute(ends[1]);
    close(ends[1]);
    if (own.child > 0)
        own.child_fd = (int)syscall(SYS_pidfd_open, own.child, 0);
    if (own.child > 0 && own.child_fd >= 0) {
        tell(STARTED, (uint32_t)own.child, ends[0]);
    } else {
        tell(FAILED, (uint32_t)errno, -1);
        if (own.child > 0)
            kill(own.child, SIGKILL);
        own.child = 0;
    }
    close(ends[0]);
}

static void obey(void)
{
    char byte;
    ssize_t n = recv(KEPT, &byte, 1, 0);

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0 || byte == LEAVE)
        _exit(0);
    if (byte == START)
        start();
    else if (byte == KILL && own.child != 0)
        kill(own.child, SIGKILL);
}

static void bury(void)
{
    int status = 0;

    if (waitpid(own.child, &status, WNOHANG) != own.child)
        return;
    close(own.child_fd);
    own.child = 0;
    tell(ENDED, (uint32_t)status, -1);
}

static void live(void)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = KEPT, .events = POLLIN},
                              {.fd = own.child != 0 ? own.child_fd : -1, .events = POLLIN}};
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0)
            bury();
        if (p[0].revents != 0)
            obey();
    }
}

/* Keeps the arguments apart from where they were, and gives itself a name there, so that pidof(8)
 * tells of one dtlsgate. They stand behind each other, in whatever order argv has them now. */
static bool take_name(void)
{
    static const char *const names[] = {"dtlsgate-spawn", "spawner"};
    char *first = own.argv[0], *end = own.argv[0];
    size_t count = 0, room;

    for (; own.argv[count] != NULL; count++) {
        char *arg = own.argv[count];
        first = arg < first ? arg : first;
        end = arg + strlen(arg) > end ? arg + strlen(arg) : end;
    }
    char **copy = calloc(count + 1, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < count; i++)
        if ((copy[i] = strdup(own.argv[i])) == NULL)
            return false;
    if (copy == NULL)
        return false;
    own.argv = copy;
    room = (size_t)(end - first);
    memset(first, 0, room);
    for (size_t i = 0; i < 2; i++)
        if (strlen(names[i]) <= room) {
            memcpy(first, names[i], strlen(names[i]));
            break;
        }
    return true;
}

static void become_spawner(int socket, bool is_quiet)
{
    int nowhere = is_quiet ? open("/dev/null", O_RDWR) : -1;

    for (int fd = STDIN_FILENO; nowhere >= 0 && fd <= STDERR_FILENO; fd++)
        (void)dup2(nowhere, fd);
    if (dup2(socket, KEPT) < 0 || fcntl(KEPT, F_SETFD, FD_CLOEXEC) != 0 || !take_name())
        _exit(1);
    (void)close_range(KEPT + 1, ~0U, 0);
    prctl(PR_SET_NAME, "dtlsgate-spawn", 0L, 0L, 0L);
    set_signals(SIG_IGN);
    prepare_environment(getppid());
    live();
}

/* ---- in the process that serves ---- */

bool spawner_open(char *const argv[], bool is_quiet, char *why, size_t why_size)
{
    int ends[2] = {-1, -1};

    own.argv = argv;
    if (!find_path() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ||
        (spawner = fork()) < 0) {
        snprintf(why, why_size, "cannot keep a process for upgrades: %s", strerror(errno));
        if (ends[0] >= 0) {
            close(ends[0]);
            close(ends[1]);
        }
        return false;
    }
    if (spawner == 0)
        become_spawner(ends[1], is_quiet);
    close(ends[1]);
    channel = ends[0];
    pidfd = (int)syscall(SYS_pidfd_open, spawner, 0);
    if (pidfd >= 0)
        (void)fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    return true;
}

static bool order(enum order what)
{
    char byte = (char)what;

    return channel >= 0 && send(channel, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

void spawner_close(void)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};

    if (channel < 0)
        return;
    if (order(LEAVE) && pidfd >= 0)
        (void)poll(&p, 1, PATIENCE_MS);
    close(channel);
    if (pidfd >= 0)
        close(pidfd);
    channel = pidfd = -1;
}

int spawner_fd(void)
{
    return channel;
}

bool spawner_start(void)
{
    return order(START);
}

void spawner_kill(void)
{
    (void)order(KILL);
}

void spawner_take(struct spawner_news *news)
{
    static struct parcel p;
    enum parcel_verdict verdict = parcel_receive(channel, &p, 0);
    struct reader r = parcel_reader(&p);
    uint8_t what = read_u8(&r);
    uint32_t number = read_u32(&r);

    *news = (struct spawner_news){.kind = SPAWNER_NOTHING, .socket = -1};
    if (verdict == PARCEL_LATE)
        return;
    if (verdict != PARCEL_OK || r.bad) {
        news->kind = SPAWNER_GONE;
    } else if (what == STARTED) {
        news->kind = SPAWNER_STARTED;
        news->pid = (pid_t)number;
        news->socket = parcel_take(&p, 0);
    } else {
        news->kind = what == ENDED ? SPAWNER_ENDED : SPAWNER_FAILED;
        news->status = (int)number;
    }
    parcel_clear(&p);
}
