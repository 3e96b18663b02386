/*
 * test_unixsock: the control socket has the rights it shall have, replaces nothing that lives, and
 * goes away. Of who is let in the system tests show more.
 */
#include "daemon/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define US ((uid_t)-1)
#define OUR_GROUP ((gid_t)-1)

static char folder[] = "/tmp/test_unixsock.XXXXXX";
static char why[256];

static const struct unixsock_rules usual = {"s", 0600, US, OUR_GROUP};

static int connect_to(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    close(fd);
    return -1;
}

static void open_well(struct unixsock *s, const struct unixsock_rules *rules)
{
    if (!unixsock_open(s, rules, why, sizeof why))
        fail_msg("%s", why);
}

static void assert_refused(const struct unixsock_rules *rules, const char *reason)
{
    struct unixsock s;

    assert_false(unixsock_open(&s, rules, why, sizeof why));
    assert_int_equal(s.fd, -1);
    if (strstr(why, reason) == NULL)
        fail_msg("\"%s\" does not tell \"%s\"", why, reason);
    assert_true(unixsock_close(&s));
}

static void test_it_is_there_and_gone(void **state)
{
    const struct unixsock_rules open_rules = {"s", 0666, US, OUR_GROUP};
    struct unixsock s;
    struct stat st;

    (void)state;
    open_well(&s, &usual);
    assert_int_equal(stat("s", &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    int fd = connect_to("s");
    assert_true(fd >= 0);
    close(fd);
    assert_true(unixsock_close(&s));
    assert_int_equal(stat("s", &st), -1);
    assert_true(unixsock_close(&s)); /* harmless */
    mode_t before = umask(077);
    open_well(&s, &open_rules); /* whatever the umask, which stays */
    assert_int_equal(umask(before), 077);
    assert_int_equal(stat("s", &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0666);
    assert_true(unixsock_close(&s));
}

static void test_a_running_one_is_not_replaced(void **state)
{
    struct unixsock s;

    (void)state;
    open_well(&s, &usual);
    assert_refused(&usual, "is in use by another process");
    int fd = connect_to("s"); /* it is still the first one's */
    assert_true(fd >= 0);
    close(fd);
    assert_true(unixsock_close(&s));
}

static void test_what_a_crash_left_is_replaced(void **state)
{
    struct unixsock crashed, s;

    (void)state;
    open_well(&crashed, &usual);
    close(crashed.fd);
    assert_int_equal(connect_to("s"), -1);
    open_well(&s, &usual);
    int fd = connect_to("s");
    assert_true(fd >= 0);
    close(fd);
    assert_true(unixsock_close(&s));
}

static void test_files_are_not_replaced(void **state)
{
    int fd = open("s", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_refused(&usual, "is there and no socket");
    assert_int_equal(unlink("s"), 0);
    assert_int_equal(symlink("nowhere", "s"), 0);
    assert_refused(&usual, "is there and no socket");
    assert_int_equal(unlink("s"), 0);
}

static void test_what_cannot_be(void **state)
{
    static const struct unixsock_rules nowhere = {"no/such/folder", 0600, US, OUR_GROUP};
    char path[128];
    struct unixsock_rules longer = {path, 0600, US, OUR_GROUP};

    (void)state;
    assert_refused(&nowhere, "cannot be made: No such file or directory");
    memset(path, 's', sizeof path);
    path[108] = '\0';
    assert_refused(&longer, "is too long; at most 107 bytes");
}

static void test_what_took_its_place_stays(void **state)
{
    struct unixsock s, other;

    (void)state;
    open_well(&s, &usual);
    assert_int_equal(unlink("s"), 0);
    open_well(&other, &usual);
    assert_true(unixsock_close(&s));
    assert_int_equal(access("s", F_OK), 0);
    assert_true(unixsock_close(&other));
}

static void test_we_may_enter(void **state)
{
    struct unixsock_peer peer;
    struct unixsock s;

    (void)state;
    open_well(&s, &usual);
    int client = connect_to("s"), fd = accept(s.fd, NULL, NULL);
    assert_true(fd >= 0);
    assert_true(unixsock_may_enter(&s, fd, &peer));
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_false(unixsock_may_enter(&s, -1, &peer));
    assert_int_equal(peer.pid, -1);
    close(client);
    close(fd);
    assert_true(unixsock_close(&s));
}

/* A child that has connected as nobody, of group 4; it goes by itself where a test fails. */
static pid_t connect_as_other(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    alarm(20);
    if (setgroups(0, NULL) == 0 && setgid(4) == 0 && setuid(65534) == 0 && connect_to("s") >= 0)
        pause();
    _exit(1);
}

/* Also one whose capabilities have opened the way past the mode. */
static void test_the_group_may_where_it_may_write(void **state)
{
    const struct unixsock_rules group_rules = {"s", 0666, US, 4};
    struct unixsock_peer peer;
    struct unixsock s;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0711), 0);
    open_well(&s, &group_rules);
    pid_t child = connect_as_other();
    struct pollfd p = {.fd = s.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    int fd = accept(s.fd, NULL, NULL);
    assert_true(unixsock_may_enter(&s, fd, &peer));
    assert_int_equal(peer.uid, 65534);
    assert_int_equal(peer.gid, 4);
    s.rules.mode = 0606;
    assert_false(unixsock_may_enter(&s, fd, &peer));
    s.rules.mode = 0666;
    s.rules.gid = 5;
    assert_false(unixsock_may_enter(&s, fd, &peer));
    s.rules.uid = 65534;
    assert_true(unixsock_may_enter(&s, fd, &peer));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(fd);
    assert_true(unixsock_close(&s));
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) != NULL && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink("s");
    return rmdir(folder);
}

static void test_another_process_goes_on_with_it(void **state)
{
    const struct unixsock_rules others[] = {
        {"s", 0660, US, OUR_GROUP}, {"s", 0600, 12345, OUR_GROUP}, {"s", 0600, US, 12345}};
    struct unixsock old, next;
    struct stat st;

    (void)state;
    open_well(&old, &usual);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(unixsock_adopt(&next, old.fd, &others[i], why, sizeof why));
        assert_non_null(strstr(why, "another owner, group or mode"));
        assert_int_equal(next.fd, -1);
    }
    int fd = dup(old.fd);
    assert_true(unixsock_adopt(&next, fd, &usual, why, sizeof why));
    assert_true(unixsock_close(&next)); /* not its own: it stays */
    assert_int_equal(stat("s", &st), 0);
    fd = dup(old.fd);
    assert_true(unixsock_adopt(&next, fd, &usual, why, sizeof why));
    unixsock_take(&next);
    unixsock_leave(&old);
    fd = connect_to("s");
    assert_true(fd >= 0);
    close(fd);
    assert_true(unixsock_close(&next));
    assert_int_not_equal(stat("s", &st), 0);
}

static void test_what_is_not_the_one_is_not_gone_on_with(void **state)
{
    const struct unixsock_rules other = {"t", 0600, US, OUR_GROUP};
    struct unixsock s, next;

    (void)state;
    open_well(&s, &usual);
    assert_false(unixsock_adopt(&next, s.fd, &other, why, sizeof why));
    assert_false(unixsock_adopt(&next, 0, &usual, why, sizeof why));
    unlink("s");
    assert_false(unixsock_adopt(&next, s.fd, &usual, why, sizeof why));
    assert_non_null(strstr(why, "is not the one of the running process"));
    assert_true(unixsock_close(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_there_and_gone),
        cmocka_unit_test(test_a_running_one_is_not_replaced),
        cmocka_unit_test(test_what_a_crash_left_is_replaced),
        cmocka_unit_test(test_files_are_not_replaced),
        cmocka_unit_test(test_what_cannot_be),
        cmocka_unit_test(test_what_took_its_place_stays),
        cmocka_unit_test(test_we_may_enter),
        cmocka_unit_test(test_the_group_may_where_it_may_write),
        cmocka_unit_test(test_another_process_goes_on_with_it),
        cmocka_unit_test(test_what_is_not_the_one_is_not_gone_on_with),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
