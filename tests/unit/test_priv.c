/*
 * test_priv: who the process becomes, and that there is no way back. What changes the process is
 * tried in a child.
 */
#include "conf_text.h"
#include "log_text.h"

#include "daemon/priv.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char nobody[] = "nobody", root[] = "root", nowhere[] = "no-such-name";

/* Runs `fn` in a child and tells what it returned. Nothing is asserted in there, for that would
 * run the other tests, too. */
static int in_child(int (*fn)(void *arg), void *arg)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static struct priv find(char *user, char *group)
{
    struct conf_daemon daemon = {.user = user, .group = group};
    struct priv p;

    errors_clear(&errors);
    assert_true(priv_find(&p, &daemon, "x.ini", &errors));
    assert_int_equal(errors.count, 0);
    return p;
}

static void assert_not_found(char *user, char *group, const char *expected)
{
    struct conf_daemon daemon = {.user = user, .group = group};
    struct priv p;

    errors_clear(&errors);
    assert_false(priv_find(&p, &daemon, "x.ini", &errors));
    assert_string_equal(errors.line[0], expected);
}

static void test_users_and_groups_are_looked_up(void **state)
{
    struct priv p = find(nobody, NULL);
    const struct passwd *user = getpwnam("nobody");

    (void)state;
    assert_true(p.is_wanted);
    assert_int_equal(p.uid, user->pw_uid);
    assert_int_equal(p.gid, user->pw_gid);
    p = find(nobody, root);
    assert_int_equal(p.gid, 0);
    assert_false(find(NULL, NULL).is_wanted);
    assert_int_equal(p.control_gid, (gid_t)-1);
    const struct conf_daemon control = {.control_group = root};
    assert_true(priv_find(&p, &control, "x.ini", &errors));
    assert_int_equal(p.control_gid, 0);
}

static void test_who_is_not_there_is_told(void **state)
{
    (void)state;
    assert_not_found(nowhere, NULL,
                     "x.ini: daemon.user: there is no user no-such-name; create it or name "
                     "another");
    assert_not_found(nobody, nowhere,
                     "x.ini: daemon.group: there is no group no-such-name; create it or name "
                     "another");
    assert_not_found(NULL, nobody,
                     "x.ini: daemon.group: is set without daemon.user; set both, or none");
    const struct conf_daemon control = {.control_group = nowhere};
    struct priv p;
    errors_clear(&errors);
    assert_false(priv_find(&p, &control, "x.ini", &errors));
    assert_string_equal(errors.line[0], "x.ini: daemon.control-group: there is no group "
                                        "no-such-name; create it or name another");
    assert_not_found(nowhere, nowhere,
                     "x.ini: daemon.user: there is no user no-such-name; create it or name "
                     "another");
    assert_int_equal(errors.count, 2); /* both at once */
}

static void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

static int drop_and_look(void *arg)
{
    const struct priv *p = arg;
    gid_t groups[8];
    char why[128];

    priv_forbid_dumps();
    if (!priv_drop(p, why, sizeof why))
        return 1;
    if (getuid() != p->uid || geteuid() != p->uid || getgid() != p->gid || getegid() != p->gid)
        return 2;
    if (setuid(0) == 0 || seteuid(0) == 0 || (p->gid != 0 && setgid(0) == 0))
        return 3;
    if (prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) != 0) /* which the kernel has set anew */
        return 4;
    for (int i = getgroups(8, groups); i-- > 0;)
        if (groups[i] != p->gid)
            return 5;
    return priv_drop(p, why, sizeof why) ? 0 : 6; /* is already */
}

static void test_there_is_no_way_back(void **state)
{
    struct priv p = find(nobody, NULL);

    (void)state;
    need_root();
    assert_int_equal(in_child(drop_and_look, &p), 0);
}

/* CAP_NET_RAW and nothing else, in the sets that count. */
static bool has_raw_alone(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3];
    const uint32_t raw = UINT32_C(1) << CAP_NET_RAW;

    return syscall(SYS_capget, &header, held) == 0 && held[0].effective == raw &&
           held[0].permitted == raw && held[0].inheritable == 0 && held[1].permitted == 0;
}

static int drop_all_but_raw(void *arg)
{
    const struct priv *p = arg;
    char why[128];

    if (!priv_drop(p, why, sizeof why))
        return 1;
    if (getuid() != p->uid || !has_raw_alone())
        return 2;
    if (setuid(0) == 0 || prctl(PR_GET_KEEPCAPS, 0L, 0L, 0L, 0L) != 0)
        return 3;
    if (!priv_give_up(true) || !has_raw_alone() || !priv_give_up(false))
        return 4;
    return priv_give_up(true) ? 5 : 0; /* what is gone is gone */
}

static void test_one_capability_can_stay(void **state)
{
    struct priv p = find(nobody, NULL);

    (void)state;
    need_root();
    p.keeps_raw = true;
    assert_int_equal(in_child(drop_all_but_raw, &p), 0);
}

static void test_the_group_root_can_be_wanted(void **state)
{
    struct priv p = find(nobody, root);

    (void)state;
    need_root();
    assert_int_equal(in_child(drop_and_look, &p), 0);
}

static int drop_as_nobody(void *arg)
{
    struct priv p = *(struct priv *)arg;
    struct errors found = {.count = 0};
    char why[128] = "";

    if (!priv_drop(&p, why, sizeof why) || !priv_check(&p, "x.ini", &found))
        return 1;
    p.uid = 0;
    p.user = root;
    if (priv_check(&p, "x.ini", &found) || found.count != 1)
        return 2;
    if (strcmp(found.line[0], "x.ini: daemon.user: only root can become root; start as root, or "
                              "leave it out and start as that user") != 0)
        return 3;
    errors_clear(&found);
    if (priv_drop(&p, why, sizeof why))
        return 4;
    return strstr(why, "cannot become user root: ") == why ? 0 : 5;
}

static void test_only_root_can_become_another(void **state)
{
    struct priv p = find(nobody, NULL);

    (void)state;
    need_root();
    assert_int_equal(in_child(drop_as_nobody, &p), 0);
}

static int forbid_and_allow(void *arg)
{
    struct rlimit core;

    (void)arg;
    priv_forbid_dumps();
    if (prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) != 0 || getrlimit(RLIMIT_CORE, &core) != 0)
        return 1;
    if (core.rlim_cur != 0 || core.rlim_max != 0)
        return 2;
    priv_allow_dumps();
    return prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L) == 1 ? 0 : 3;
}

static void test_no_core_is_dumped(void **state)
{
    (void)state;
    assert_int_equal(in_child(forbid_and_allow, NULL), 0);
}

static int raise_soft_limit(void *arg)
{
    struct rlimit limit = {64, 512};

    (void)arg;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1;
    if (priv_raise_descriptors(100) != 512 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 2;
    return limit.rlim_cur == 512 && limit.rlim_max == 512 ? 0 : 3;
}

/* Beyond the hard limit only root gets; others all that there is. */
static int raise_hard_limit(void *arg)
{
    struct rlimit limit = {64, 512};
    char why[128];

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || !priv_drop(arg, why, sizeof why))
        return 1;
    return priv_raise_descriptors(600) == 512 ? 0 : 2;
}

static void test_descriptors_are_raised_as_far_as_it_goes(void **state)
{
    struct priv p = find(nobody, NULL);

    (void)state;
    assert_int_equal(in_child(raise_soft_limit, NULL), 0);
    need_root();
    assert_int_equal(in_child(raise_hard_limit, &p), 0);
}

struct files {
    struct priv priv;
    const struct conf *conf;
};

static int warn_of_files(void *arg)
{
    const struct files *files = arg;
    char why[128];

    if (chmod(".", 0755) != 0 || !priv_drop(&files->priv, why, sizeof why))
        return 1;
    priv_check_files(&files->priv, files->conf, "x.ini");
    return 0;
}

static void test_files_that_a_reload_cannot_open_are_warned_of(void **state)
{
    static const char *const settings[] = {NULL};
    struct files files = {.priv = find(nobody, NULL)};

    (void)state;
    need_root();
    files.conf = load_good(MINIMAL, settings);
    log_capture();
    assert_int_equal(in_child(warn_of_files, &files), 0);
    assert_int_equal(log_count("warning dtlsgate: user nobody "), 2);
    assert_int_equal(log_count(" (psk-file): Permission denied; a reload will fail until"), 1);
    assert_int_equal(log_count("/log: Permission denied (daemon.log); it cannot be opened anew"),
                     1);
    assert_int_equal(log_count("(--config)"), 0);
    log_release();
    conf_unref(files.conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users_and_groups_are_looked_up),
        cmocka_unit_test(test_who_is_not_there_is_told),
        cmocka_unit_test(test_there_is_no_way_back),
        cmocka_unit_test(test_one_capability_can_stay),
        cmocka_unit_test(test_the_group_root_can_be_wanted),
        cmocka_unit_test(test_only_root_can_become_another),
        cmocka_unit_test(test_no_core_is_dumped),
        cmocka_unit_test(test_descriptors_are_raised_as_far_as_it_goes),
        cmocka_unit_test(test_files_that_a_reload_cannot_open_are_warned_of),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
