/*
 * box: no_new_privs, no capabilities, and the list of system calls that serving takes.
 * Must never need a call that is not on the list once it is closed.
 */
#include "daemon/box.h"

#include "base/log.h"
#include "daemon/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

/* A call that is allowed when one of its arguments, seen through a mask, has a value. */
struct guarded {
    int call;
    unsigned argument;
    uint64_t mask, value;
};

/* What the kernel looks at of an int, and of a pointer. */
#define AN_INT UINT32_MAX
#define A_POINTER UINT64_MAX
#define A_SOCKET_TYPE 0xf /* the rest are flags */

/* Allowed whatever the arguments. */
static const int allowed[] = {
    /* the event loops */
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_wait),
    SCMP_SYS(poll), SCMP_SYS(ppoll),
    /* sockets; which ones, `guarded` says */
    SCMP_SYS(accept4), SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(getpeername),
    SCMP_SYS(getsockname), SCMP_SYS(getsockopt), SCMP_SYS(recvfrom), SCMP_SYS(recvmmsg),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto),
    SCMP_SYS(setsockopt), SCMP_SYS(shutdown),
    /* files: settings, keys, names of hosts, the log */
    SCMP_SYS(access), SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(fstatfs),
    SCMP_SYS(getdents64), SCMP_SYS(lseek), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(open),
    SCMP_SYS(openat), SCMP_SYS(pread64), SCMP_SYS(read), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
    SCMP_SYS(readv), SCMP_SYS(stat), SCMP_SYS(statx), SCMP_SYS(write), SCMP_SYS(writev),
    /* the way to the thread that writes the access log */
    SCMP_SYS(pipe2),
    /* at the end: the file with our process id, the control socket's name */
    SCMP_SYS(ftruncate), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
    /* the file of sessions: it grows, comes in force behind an upgrade, and is written through */
    SCMP_SYS(fallocate), SCMP_SYS(fsync), SCMP_SYS(renameat),
    /* memory */
    SCMP_SYS(brk), SCMP_SYS(madvise), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(mremap),
    SCMP_SYS(munlock), SCMP_SYS(munmap),
    /* threads and signals */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(futex), SCMP_SYS(membarrier),
    SCMP_SYS(restart_syscall), SCMP_SYS(rseq), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list), SCMP_SYS(sigaltstack),
    /* time, chance, and who we are */
    SCMP_SYS(clock_getres), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(getcpu),
    SCMP_SYS(getegid), SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getpid), SCMP_SYS(getrandom),
    SCMP_SYS(getrusage), SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(getuid),
    SCMP_SYS(nanosleep), SCMP_SYS(sysinfo), SCMP_SYS(time), SCMP_SYS(uname)};

static const struct guarded guarded[] = {
    /* syslog, a helper for keys, and what a name's lookup takes: daemons on this host, our own
       addresses */
    {SCMP_SYS(socket), 0, AN_INT, AF_UNIX},
    {SCMP_SYS(socket), 0, AN_INT, AF_NETLINK},
    {SCMP_SYS(ioctl), 1, AN_INT, FIONREAD},
    {SCMP_SYS(ioctl), 1, AN_INT, SIOCGIFINDEX},
    {SCMP_SYS(ioctl), 1, AN_INT, TCGETS},
    /* Memory is never both writable and code; libraries can still be loaded, as a lookup does. */
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
    {SCMP_SYS(mmap), 2, PROT_WRITE, 0},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    /* Threads, but no processes. */
    {SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD},
    {SCMP_SYS(prctl), 0, AN_INT, PR_SET_NAME},
    /* Limits can be read, not set. */
    {SCMP_SYS(prlimit64), 2, A_POINTER, 0},
};

/* From the handler, in whatever thread, to box_report(); set once, before the handler is. */
static int denials[2] = {-1, -1};
static bool is_closed;

static void set_result(ucontext_t *context, int result)
{
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
    context->uc_mcontext.regs[0] = (unsigned long long)(long long)result;
#else
    (void)context;
    (void)result;
#endif
}

/* Runs inside of anything, a lock of libc's held or not: it logs nothing itself. When the pipe is
 * full the call goes unreported, for there is enough to report already. */
static void on_denied(int number, siginfo_t *info, void *context)
{
    int saved = errno;

    (void)number;
    if (info->si_code <= 0) /* of kill(2), not of the filter */
        return;
    if (write(denials[1], &info->si_syscall, sizeof(info->si_syscall)) < 0)
        errno = saved;
    set_result(context, -EPERM);
}

static bool catch_denials(void)
{
    struct sigaction action = {.sa_sigaction = on_denied, .sa_flags = SA_SIGINFO};
    sigset_t set;

    sigemptyset(&action.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    return sigaction(SIGSYS, &action, NULL) == 0 && pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0;
}

/* Zero, or a negative errno; the same below. UDP, and TCP for DNS; with a capability that is kept,
 * raw ones could be had otherwise. */
static int allow_sockets(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_INET, AF_INET6}, types[] = {SOCK_DGRAM, SOCK_STREAM};
    int error = 0;

    for (size_t i = 0; error == 0 && i < 4; i++) {
        const struct scmp_arg_cmp are_fine[] = {
            {0, SCMP_CMP_MASKED_EQ, AN_INT, families[i / 2]},
            {1, SCMP_CMP_MASKED_EQ, A_SOCKET_TYPE, types[i % 2]},
        };
        error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, are_fine);
    }
    return error;
}

static int add_rules(scmp_filter_ctx filter)
{
    struct scmp_arg_cmp ourselves = {
        .op = SCMP_CMP_MASKED_EQ, .datum_a = AN_INT, .datum_b = (scmp_datum_t)getpid()};
    /* Its flags lie in memory, where no filter sees them; without it libc takes clone(). */
    int error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

    if (error == 0)
        error = allow_sockets(filter);
    /* For abort(). */
    if (error == 0)
        error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &ourselves);
    for (size_t i = 0; error == 0 && i < sizeof(allowed) / sizeof(*allowed); i++)
        error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; error == 0 && i < sizeof(guarded) / sizeof(*guarded); i++) {
        const struct guarded *g = &guarded[i];
        struct scmp_arg_cmp is_fine = {
            .arg = g->argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = g->mask, .datum_b = g->value};
        error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, g->call, 1, &is_fine);
    }
    return error;
}

static int set_attributes(scmp_filter_ctx filter)
{
    /* Calls of another architecture are nobody's mistake. */
    int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    if (error == 0)
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (error == 0)
        error = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
    /* A binary tree instead of a list: a long way to the data path's calls costs at each datagram.
     */
    if (error == 0)
        error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return error;
}

static int filter_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    int error;

    if (filter == NULL)
        return -ENOMEM;
    error = set_attributes(filter);
    if (error == 0)
        error = add_rules(filter);
    if (error == 0)
        error = seccomp_load(filter);
    seccomp_release(filter);
    return error;
}

/* Why not even to try; NULL: nothing is known against it. */
static const char *obstacle(void)
{
    if (HAS_SANITIZER)
        return "this build has a sanitizer, which makes calls of its own";
#if !defined(__x86_64__) && !defined(__aarch64__)
    return "the list is not made for this processor";
#else
    return prctl(PR_GET_SECCOMP, 0L, 0L, 0L, 0L) < 0 ? "the kernel has no seccomp" : NULL;
#endif
}

static void log_denial(int call, uint32_t left_out)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);
    const struct log_field fields[] = {
        {"call", name != NULL ? name : "unknown", 0},
        {"number", NULL, call},
        {"left-out", NULL, left_out},
        {NULL, NULL, 0},
    };

    log_event(LOG_LEVEL_WARNING, "system call denied", fields);
    free(name);
}

bool box_prepare(char *why, size_t why_size)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0) {
        snprintf(why, why_size, "cannot set no_new_privs: %s", strerror(errno));
        return false;
    }
    if (pipe2(denials, O_CLOEXEC | O_NONBLOCK) != 0) {
        snprintf(why, why_size, "cannot make a pipe: %s", strerror(errno));
        return false;
    }
    /* An ordinary user may not, and has nothing to lose there: nothing that is executed gets any.
     */
    for (long capability = 0; prctl(PR_CAPBSET_READ, capability, 0L, 0L, 0L) >= 0; capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0L, 0L, 0L);
    return true;
}

bool box_close(bool keeps_raw, char *why, size_t why_size)
{
    const char *reason = obstacle();
    int error;

    if (!priv_give_up(keeps_raw) || !catch_denials()) {
        snprintf(why, why_size, "cannot give up capabilities: %s", strerror(errno));
        return false;
    }
    if (reason != NULL) {
        log_warning("dtlsgate: system calls are not filtered: %s", reason);
        return true;
    }
    error = filter_calls();
    is_closed = error == 0;
    if (!is_closed)
        snprintf(why, why_size, "cannot filter system calls: %s; daemon.sandbox = no goes without",
                 strerror(-error));
    return is_closed;
}

bool box_is_closed(void)
{
    return is_closed;
}

int box_denials(void)
{
    return denials[0];
}

void box_report(uint64_t now_ms)
{
    static struct log_limit limit;
    int calls[64];
    ssize_t got = read(denials[0], calls, sizeof(calls));
    uint32_t left_out;

    /* Each is written whole, so it is read whole. */
    for (ssize_t i = 0; i < got / (ssize_t)sizeof(*calls); i++)
        if (log_allowed(&limit, now_ms, &left_out))
            log_denial(calls[i], left_out);
}
