/* box: each test looks around inside one, in a child of its own, for there is no way back out. */
#include "daemon/box.h"

#include "base/log.h"
#include "daemon/unixsock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/sched.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW 1000
#define PATIENCE 20
#define MUCH (1 << 20)
#define MORE_THAN_A_PIPE_HOLDS 40000

/* What a child leaves behind: its end, and its log. */
struct outcome {
    int status;
    char log[8192];
};

/* In the child, where no assertion of the parent's works. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dprintf(STDERR_FILENO, "%d: not so: %s (errno %d)\n", __LINE__, #condition, errno);    \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)
#define EXPECT_DENIED(call)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        EXPECT((call) == -1 && errno == EPERM);                                                    \
    } while (0)

static void report_all(void)
{
    struct pollfd denials = {.fd = box_denials(), .events = POLLIN};

    while (poll(&denials, 1, 0) > 0)
        box_report(NOW);
}

static bool keeps_raw; /* in the boxes to come */

static void live_in_a_box(void (*act)(void), int log)
{
    char why[128] = "";

    alarm(PATIENCE); /* for what would wait for ever */
    EXPECT(dup2(log, STDERR_FILENO) >= 0);
    EXPECT(box_denials() == -1);
    EXPECT(box_prepare(why, sizeof why));
    EXPECT(!box_is_closed());
    EXPECT(box_close(keeps_raw, why, sizeof why));
    EXPECT(box_is_closed());
    act();
    report_all();
    _exit(0);
}

static void read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used < size - 1 && (got = read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
}

/* Skips the test where this build has no filter, and act() is not called then. */
static struct outcome in_a_box(void (*act)(void))
{
    struct outcome o;
    int log[2];
    pid_t child;

    assert_int_equal(pipe2(log, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        live_in_a_box(act, log[1]);
    close(log[1]);
    read_all(log[0], o.log, sizeof o.log);
    close(log[0]);
    assert_int_equal(waitpid(child, &o.status, 0), child);
    if (strstr(o.log, "not filtered: this build has a sanitizer") != NULL)
        skip();
    return o;
}

static void assert_fine(const struct outcome *o)
{
    if (!WIFEXITED(o->status) || WEXITSTATUS(o->status) != 0)
        fail_msg("status %#x:\n%s", (unsigned)o->status, o->log);
}

/* All went well, and nothing was denied. */
static void assert_quiet(void (*act)(void))
{
    struct outcome o = in_a_box(act);

    assert_fine(&o);
    assert_string_equal(o.log, "");
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;

    for (text = strstr(text, part); text != NULL; text = strstr(text + 1, part))
        n++;
    return n;
}

static void expect_status(const char *text, const char *name, const char *value)
{
    const char *line = strstr(text, name);

    EXPECT(line != NULL);
    if (strncmp(line + strlen(name), value, strlen(value)) != 0) {
        dprintf(STDERR_FILENO, "%s is not %s in:\n%s", name, value, text);
        _exit(1);
    }
}

static void look_at_status(void)
{
    static const char *const sets[] = {"CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapAmb:\t"};
    int fd = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    char text[4096];

    EXPECT(fd >= 0);
    read_all(fd, text, sizeof text);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        expect_status(text, sets[i], "0000000000000000\n");
    if (geteuid() == 0)
        expect_status(text, "CapBnd:\t", "0000000000000000\n");
    expect_status(text, "NoNewPrivs:\t", "1\n");
    expect_status(text, "Seccomp:\t", "2\n");
}

static void test_no_capability_is_left_nor_a_way_to_any(void **state)
{
    (void)state;
    assert_quiet(look_at_status);
}

static void borrow_an_address(void)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xcb007101)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

    EXPECT(setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof one) == 0);
    EXPECT(bind(fd, (struct sockaddr *)&v4, sizeof v4) == 0);
    EXPECT(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &one, sizeof one) == -1); /* of the admin */
}

static void test_the_one_capability_that_stays_is_of_use(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    keeps_raw = true;
    assert_quiet(borrow_an_address);
}

static void execute(void)
{
    char *arguments[] = {NULL, NULL};

    EXPECT_DENIED(execve("/bin/true", arguments, arguments));
}

static void test_a_denied_call_returns_eperm_and_is_logged(void **state)
{
    struct outcome o = in_a_box(execute);
    char line[128];

    (void)state;
    assert_fine(&o);
    snprintf(line, sizeof line, "warning system call denied: call=execve number=%d left-out=0\n",
             SYS_execve);
    assert_non_null(strstr(o.log, line));
    assert_int_equal(count(o.log, "\n"), 1);
}

static void try_what_no_server_needs(void)
{
    struct iovec all = {.iov_base = &all, .iov_len = sizeof all};
    char *arguments[] = {NULL};
    union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_ARRAY};
    struct clone_args child = {.exit_signal = SIGCHLD};
    pid_t us = getpid();

    EXPECT_DENIED(syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, arguments, 0));
    EXPECT_DENIED(fork());
    EXPECT_DENIED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    EXPECT(syscall(SYS_clone3, &child, sizeof child) == -1 && errno == ENOSYS);
    EXPECT_DENIED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    EXPECT_DENIED(process_vm_readv(us, &all, 1, &all, 1, 0));
    EXPECT_DENIED(process_vm_writev(us, &all, 1, &all, 1, 0));
    EXPECT_DENIED(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    EXPECT_DENIED(syscall(SYS_add_key, "user", "a", "b", 1, 0));
    EXPECT_DENIED(syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
    EXPECT_DENIED(syscall(SYS_init_module, "", 0, ""));
    EXPECT_DENIED(syscall(SYS_finit_module, 0, "", 0));
    EXPECT_DENIED(syscall(SYS_kexec_load, 0, 0, 0, 0));
    EXPECT_DENIED(mount("none", "/tmp", "tmpfs", 0, NULL));
    EXPECT_DENIED(chroot("/"));
    EXPECT_DENIED(unshare(CLONE_NEWUSER));
    EXPECT_DENIED(setresuid(0, 0, 0));
    EXPECT_DENIED(syscall(SYS_io_uring_setup, 1, NULL));
    EXPECT_DENIED(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
    EXPECT_DENIED(syscall(SYS_userfaultfd, 0));
    EXPECT_DENIED(kill(us, 0));
    EXPECT_DENIED(syscall(SYS_tgkill, 1, 1, SIGTERM));
}

static void test_what_no_server_needs_is_denied(void **state)
{
    struct outcome o = in_a_box(try_what_no_server_needs);

    (void)state;
    assert_fine(&o);
    assert_non_null(strstr(o.log, "call=clone "));
}

static void weaken(void)
{
    struct rlimit limit = {0, 0};

    EXPECT(getrlimit(RLIMIT_CORE, &limit) == 0);
    EXPECT_DENIED(setrlimit(RLIMIT_CORE, &limit));
    EXPECT_DENIED(prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L));
    EXPECT_DENIED(prctl(PR_SET_SECCOMP, 0L, 0L, 0L, 0L));
}

static void test_the_protection_of_the_process_stays(void **state)
{
    struct outcome o = in_a_box(weaken);

    (void)state;
    assert_fine(&o);
    assert_int_equal(count(o.log, "call=prctl"), 2);
    assert_int_equal(count(o.log, "call=prlimit64"), 1);
}

static void try_sockets(void)
{
    EXPECT_DENIED(socket(AF_PACKET, SOCK_DGRAM, 0));
    EXPECT_DENIED(socket(AF_ALG, SOCK_SEQPACKET, 0));
    EXPECT_DENIED(socket(AF_VSOCK, SOCK_STREAM, 0));
    EXPECT_DENIED(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    EXPECT_DENIED(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP));
}

/* They could listen to and write what they like. */
static void test_no_raw_socket_comes_of_it(void **state)
{
    struct outcome o;

    (void)state;
    if (geteuid() != 0)
        skip();
    keeps_raw = true;
    o = in_a_box(try_sockets);
    assert_fine(&o);
}

static int keep_nothing(void **state)
{
    (void)state;
    keeps_raw = false;
    return 0;
}

static void test_other_kinds_of_sockets_are_denied(void **state)
{
    struct outcome o = in_a_box(try_sockets);

    (void)state;
    assert_fine(&o);
    assert_int_equal(count(o.log, "call=socket "), 5);
}

static void make_code(void)
{
    void *page;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    EXPECT_DENIED((intptr_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(page != MAP_FAILED);
    EXPECT_DENIED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    EXPECT(mprotect(page, 4096, PROT_READ) == 0);
    /* As the loader maps a library. */
    EXPECT(self >= 0);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, self, 0) != MAP_FAILED);
}

static void test_no_memory_is_writable_and_code(void **state)
{
    struct outcome o = in_a_box(make_code);

    (void)state;
    assert_fine(&o);
    assert_int_equal(count(o.log, "call=mmap"), 1);
    assert_int_equal(count(o.log, "call=mprotect"), 1);
}

static void talk(int family, const struct sockaddr *to, socklen_t len)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);

    EXPECT(fd >= 0);
    EXPECT(connect(fd, to, len) == 0);
    EXPECT(send(fd, "x", 1, 0) == 1);
    close(fd);
}

static void use_the_network(void)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(9)};
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG}, *list;
    int local = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    talk(AF_INET, (struct sockaddr *)&v4, sizeof v4);
    EXPECT(local >= 0);
    EXPECT(getaddrinfo("localhost", "9", &hints, &list) == 0);
    freeaddrinfo(list);
}

static void test_sockets_and_lookups_work(void **state)
{
    (void)state;
    assert_quiet(use_the_network);
}

static void *work(void *arg)
{
    char *memory = malloc(MUCH);

    EXPECT(memory != NULL);
    memset(memory, 1, MUCH);
    memory = realloc(memory, 8 * (size_t)MUCH);
    EXPECT(memory != NULL);
    free(memory);
    return arg;
}

static void use_threads(void)
{
    pthread_t thread[8];
    int number[8];
    void *result;

    for (int i = 0; i < 8; i++)
        EXPECT(pthread_create(&thread[i], NULL, work, &number[i]) == 0);
    for (int i = 0; i < 8; i++)
        EXPECT(pthread_join(thread[i], &result) == 0 && result == &number[i]);
}

static void test_threads_and_memory_work(void **state)
{
    (void)state;
    assert_quiet(use_threads);
}

static char log_path[] = "/tmp/test_box.XXXXXX";

static void use_the_log(void)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    char why[128];

    EXPECT(fd >= 0);
    EXPECT(log_open(log_path, LOG_FORMAT_JSON, why, sizeof why));
    log_info("hello");
    EXPECT(log_reopen(why, sizeof why));
    log_info("hello again");
    EXPECT(lseek(fd, 0, SEEK_END) > 100);
    EXPECT(log_open("syslog", LOG_FORMAT_TEXT, why, sizeof why));
    log_debug("not written, but %s", "formatted");
    EXPECT(log_open("stderr", LOG_FORMAT_TEXT, why, sizeof why));
}

static void test_the_log_can_be_opened_anew(void **state)
{
    int fd = mkstemp(log_path);
    struct outcome o;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    o = in_a_box(use_the_log);
    unlink(log_path);
    assert_fine(&o);
    assert_string_equal(o.log, "");
}

static char control_path[64];
static struct unixsock control;

/* A client comes in and is looked at; at the end the name goes. */
static void use_the_control_socket(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    struct unixsock_peer peer;

    strncpy(name.sun_path, control_path, sizeof name.sun_path - 1);
    EXPECT(client >= 0);
    EXPECT(connect(client, (struct sockaddr *)&name, sizeof name) == 0);
    fd = accept4(control.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    EXPECT(fd >= 0);
    EXPECT(unixsock_may_enter(&control, fd, &peer));
    EXPECT(peer.uid == geteuid());
    EXPECT(unixsock_close(&control));
    EXPECT(access(control_path, F_OK) == -1);
}

static void test_the_control_socket_works(void **state)
{
    const struct unixsock_rules rules = {control_path, 0600, (uid_t)-1, (gid_t)-1};
    char why[128];

    (void)state;
    snprintf(control_path, sizeof control_path, "/tmp/test_box.%d.sock", (int)getpid());
    assert_true(unixsock_open(&control, &rules, why, sizeof why));
    assert_quiet(use_the_control_socket);
    unixsock_close(&control);
}

static void *be_denied(void *arg)
{
    EXPECT_DENIED(chroot("/"));
    return arg;
}

static void be_denied_in_a_thread(void)
{
    pthread_t thread;

    EXPECT(pthread_create(&thread, NULL, be_denied, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
}

static void test_a_thread_outlives_a_denied_call(void **state)
{
    struct outcome o = in_a_box(be_denied_in_a_thread);

    (void)state;
    assert_fine(&o);
    assert_int_equal(count(o.log, "call=chroot"), 1);
}

static void be_denied_often(void)
{
    for (int i = 0; i < MORE_THAN_A_PIPE_HOLDS; i++)
        EXPECT_DENIED(chroot("/"));
}

static void test_denials_never_block_and_few_are_logged(void **state)
{
    struct outcome o = in_a_box(be_denied_often);

    (void)state;
    assert_fine(&o);
    assert_int_equal(count(o.log, "call=chroot"), 10);
}

static void call_the_unknown(void)
{
    EXPECT_DENIED(syscall(0xfff));
}

static void test_an_unknown_call_is_logged_by_number(void **state)
{
    struct outcome o = in_a_box(call_the_unknown);

    (void)state;
    assert_fine(&o);
    assert_non_null(strstr(o.log, "call=unknown number=4095 "));
}

static void get_the_signal_from_elsewhere(void)
{
    raise(SIGSYS);
}

static void test_the_signal_of_somebody_else_is_ignored(void **state)
{
    (void)state;
    assert_quiet(get_the_signal_from_elsewhere);
}

static void test_abort_still_ends_the_process(void **state)
{
    struct outcome o = in_a_box(abort);

    (void)state;
    assert_true(WIFSIGNALED(o.status));
    assert_int_equal(WTERMSIG(o.status), SIGABRT);
    assert_string_equal(o.log, "");
}

static void end(void)
{
    exit(0);
}

static void test_exit_is_quiet(void **state)
{
    (void)state;
    assert_quiet(end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_capability_is_left_nor_a_way_to_any),
        cmocka_unit_test_teardown(test_the_one_capability_that_stays_is_of_use, keep_nothing),
        cmocka_unit_test_teardown(test_no_raw_socket_comes_of_it, keep_nothing),
        cmocka_unit_test(test_a_denied_call_returns_eperm_and_is_logged),
        cmocka_unit_test(test_what_no_server_needs_is_denied),
        cmocka_unit_test(test_the_protection_of_the_process_stays),
        cmocka_unit_test(test_other_kinds_of_sockets_are_denied),
        cmocka_unit_test(test_no_memory_is_writable_and_code),
        cmocka_unit_test(test_sockets_and_lookups_work),
        cmocka_unit_test(test_threads_and_memory_work),
        cmocka_unit_test(test_the_log_can_be_opened_anew),
        cmocka_unit_test(test_the_control_socket_works),
        cmocka_unit_test(test_a_thread_outlives_a_denied_call),
        cmocka_unit_test(test_denials_never_block_and_few_are_logged),
        cmocka_unit_test(test_an_unknown_call_is_logged_by_number),
        cmocka_unit_test(test_the_signal_of_somebody_else_is_ignored),
        cmocka_unit_test(test_abort_still_ends_the_process),
        cmocka_unit_test(test_exit_is_quiet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
