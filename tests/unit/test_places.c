/*
 * test_places: what is said of files and folders before they are needed, and that nothing is made.
 */
#include "conf_text.h"

#include "daemon/places.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct errors told, found;
static char nobody[] = "nobody";

static void clear(void)
{
    errors_clear(&told);
    errors_clear(&found);
}

static struct conf *settings(const char *daemon)
{
    char text[2048];

    snprintf(text, sizeof(text), "[daemon]\n%s" MINIMAL, daemon);
    clear();
    return load_good(text, NULL);
}

static bool check(const char *daemon, const char *pidfile, bool is_heir)
{
    struct conf *c = settings(daemon);
    const struct places p = {c, "x.ini", pidfile, is_heir};
    bool is_fine = places_check(&p, &told);

    conf_unref(c);
    return is_fine;
}

/* Exactly this is said by places_check(); NULL: nothing. */
static void assert_checked(const char *daemon, const char *expected)
{
    assert_int_equal(check(daemon, NULL, false), expected == NULL);
    if (told.count > (expected != NULL))
        fail_msg("unexpected: %s", told.line[told.count - 1]);
    if (expected == NULL)
        return;
    assert_int_equal(told.count, 1);
    assert_string_equal(told.line[0], expected);
}

static bool is_there(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0;
}

static void make_socket(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(at.sun_path, sizeof(at.sun_path), "%s", name);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    close(fd);
}

static void test_where_all_can_be_made_nothing_is_said_nor_made(void **state)
{
    char daemon[512];

    (void)state;
    assert_checked("", NULL);
    snprintf(daemon, sizeof(daemon),
             "log = %s/log\naccess-log = %s/access\ntrace-keylog = keylog\ncontrol-socket = sock\n",
             folder, folder);
    assert_true(check(daemon, "pid", false));
    assert_false(is_there("log") || is_there("access") || is_there("keylog") || is_there("sock") ||
                 is_there("pid"));
    assert_checked("log = syslog\naccess-log = stderr\n", NULL);
}

static void test_all_folders_that_are_not_there_are_told_at_once(void **state)
{
    static const char *const expected[] = {
        "x.ini:2: daemon.control-socket: /no/c.sock cannot be made in /no: No such file or "
        "directory; make that folder or choose another path",
        "x.ini:3: daemon.log: /no/log cannot be made in /no: No such file or directory; make that "
        "folder or choose another path",
        "x.ini:4: daemon.access-log: /no/access cannot be made in /no: No such file or directory; "
        "make that folder or choose another path",
        "x.ini:5: daemon.trace-keylog: /no/keys cannot be made in /no: No such file or directory; "
        "make that folder or choose another path",
    };

    (void)state;
    assert_false(check("control-socket = /no/c.sock\nlog = /no/log\naccess-log = /no/access\n"
                       "trace-keylog = /no/keys\n",
                       "/no/pid", false));
    assert_int_equal(told.count, 5);
    assert_string_equal(told.line[0],
                        "--pidfile: /no/pid cannot be made in /no: No such file or directory; make "
                        "that folder or choose another path");
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(told.line[i + 1], expected[i]);
}

static void test_what_stands_in_the_way(void **state)
{
    (void)state;
    assert_checked("log = /etc\n", "x.ini:2: daemon.log: /etc is a folder; name a file in it");
    write_file("there", "", 0644);
    assert_checked("control-socket = there\n",
                   "x.ini:2: daemon.control-socket: there is there and no socket; remove it or "
                   "choose another path");
    assert_checked("trace-keylog = there\n",
                   "x.ini:2: daemon.trace-keylog: there is open to others; chmod 600 it");
    unlink("there");
    make_socket("there");
    assert_checked("control-socket = there\n", NULL);
    unlink("there");
}

static void test_a_control_socket_that_is_given_needs_no_folder(void **state)
{
    (void)state;
    assert_true(check("control-socket = /no/c.sock\n", NULL, true));
}

static void test_settings_of_the_command_line_say_so(void **state)
{
    static const char *const overrides[] = {"daemon.log=/no/log", NULL};
    struct conf *c;

    (void)state;
    clear();
    c = load_good(MINIMAL, overrides);
    const struct places p = {c, "x.ini", NULL, false};
    assert_false(places_check(&p, &told));
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.line[0], "command line: daemon.log: /no/log cannot be made in "));
    conf_unref(c);
}

/* ---- as the user that a start becomes ---- */

static void review(const char *daemon)
{
    struct conf *c = settings(daemon);
    const struct places p = {c, "x.ini", NULL, false};
    struct priv user;

    assert_true(priv_find(&user, &c->daemon, "x.ini", &told));
    places_review(&p, &user, &told, &found);
    conf_unref(c);
}

static void assert_found(const char *what)
{
    for (unsigned i = 0; i < found.count; i++)
        if (strcmp(found.line[i], what) == 0)
            return;
    fail_msg("missing: %s; %u others, the first: %s", what, found.count,
             found.count > 0 ? found.line[0] : "");
}

static void test_a_helper_that_is_not_there_is_no_mistake(void **state)
{
    static const char text[] = MINIMAL "psk-helper = helper\n";
    struct priv me = {.is_wanted = false};
    struct conf *c;

    (void)state;
    clear();
    c = load_good(text, NULL);
    const struct places p = {c, "x.ini", NULL, false};
    places_review(&p, &me, &told, &found);
    assert_int_equal(told.count, 0);
    assert_int_equal(found.count, 1);
    assert_found("x.ini:5: service.a.psk-helper: user root cannot find helper: No such file or "
                 "directory; start the helper that makes it");
    clear();
    write_file("helper", "", 0600);
    places_review(&p, &me, &told, &found);
    assert_found("x.ini:5: service.a.psk-helper: helper is no socket; name that of the helper");
    unlink("helper");
    clear();
    make_socket("helper");
    places_review(&p, &me, &told, &found);
    assert_int_equal(told.count + found.count, 0);
    unlink("helper");
    conf_unref(c);
}

static void test_what_another_user_may_not_is_told_by_a_look_as_that_user(void **state)
{
    char text[1024], expected[512];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    write_file("log", "", 0640);
    make_socket("helper");
    snprintf(text, sizeof(text),
             "user = %s\nlog = %s/log\naccess-log = %s/access\ncontrol-socket = c.sock\n"
             "state-dir = state\nstate-key = keys\n",
             nobody, folder, folder);
    review(text);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.line[0],
                        "x.ini:6: daemon.state-dir: user nobody cannot make state: Permission "
                        "denied; make it, and give it to them");
    assert_int_equal(found.count, 4);
    snprintf(expected, sizeof(expected),
             "x.ini:3: daemon.log: user nobody cannot write to %s/log, so that it cannot be opened "
             "anew; chown it",
             folder);
    assert_found(expected);
    snprintf(expected, sizeof(expected),
             "x.ini:4: daemon.access-log: user nobody cannot make files in %s, so that a rotation "
             "has to make the new one; give them that folder",
             folder);
    assert_found(expected);
    assert_found("x.ini:5: daemon.control-socket: user nobody cannot remove it from . at the end; "
                 "give them that folder");
    assert_found("x.ini:11: service.a.psk-file: user nobody cannot read keys: Permission denied; a "
                 "reload will fail until its group can (chgrp, chmod g+r)");
    assert_int_equal(geteuid(), 0);
    unlink("log");
    unlink("helper");
}

static void test_a_folder_for_sessions_is_judged_as_its_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(mkdir("state", 0700), 0);
    review("user = nobody\nstate-dir = state\nstate-key = keys\n");
    assert_int_equal(told.count, 1);
    assert_string_equal(told.line[0], "x.ini:3: daemon.state-dir: user nobody cannot use state: "
                                      "Permission denied; give it to them");
    assert_int_equal(chown("state", 65534, 65534), 0);
    review("user = nobody\nstate-dir = state\nstate-key = keys\n");
    assert_int_equal(told.count, 0);
    assert_int_equal(chmod("state", 0770), 0);
    review("user = nobody\nstate-dir = state\nstate-key = keys\n");
    assert_string_equal(told.line[0], "x.ini:3: daemon.state-dir: state can be written by others "
                                      "(mode 0770); chmod go-w it");
    rmdir("state");
    write_file("state", "", 0600);
    review("user = nobody\nstate-dir = state\nstate-key = keys\n");
    assert_string_equal(told.line[0], "x.ini:3: daemon.state-dir: state is no folder; name one");
    unlink("state");
}

static void test_a_folder_for_sessions_may_end_in_slashes(void **state)
{
    (void)state;
    review("state-dir = state/\nstate-key = keys\n");
    assert_int_equal(told.count, 0);
    review("state-dir = state//\nstate-key = keys\n");
    assert_int_equal(told.count, 0);
    assert_false(is_there("state"));
    review("state-dir = no/state/\nstate-key = keys\n");
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.line[0], "cannot make no/state/: No such file or directory"));
}

/* As a start would. */
static void test_a_folder_for_sessions_is_not_another_user_s(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(mkdir("state", 0755), 0);
    assert_int_equal(chown("state", 65533, 65533), 0);
    for (int i = 0; i < 2; i++) {
        review(i == 0 ? "state-dir = state\nstate-key = keys\n"
                      : "state-key = keys\nstate-dir = state\nuser = nobody\n");
        assert_int_equal(told.count, 1);
        assert_non_null(strstr(told.line[0],
                               "daemon.state-dir: state is another user's, who could put an older "
                               "file there; give it to the user that dtlsgate runs as"));
    }
    assert_int_equal(chown("state", 0, 0), 0);
    review("state-dir = state\nstate-key = keys\n");
    assert_int_equal(told.count, 0);
    rmdir("state");
}

static int end(void **state)
{
    clear();
    return conf_text_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_all_can_be_made_nothing_is_said_nor_made),
        cmocka_unit_test(test_all_folders_that_are_not_there_are_told_at_once),
        cmocka_unit_test(test_what_stands_in_the_way),
        cmocka_unit_test(test_a_control_socket_that_is_given_needs_no_folder),
        cmocka_unit_test(test_settings_of_the_command_line_say_so),
        cmocka_unit_test(test_a_helper_that_is_not_there_is_no_mistake),
        cmocka_unit_test(test_what_another_user_may_not_is_told_by_a_look_as_that_user),
        cmocka_unit_test(test_a_folder_for_sessions_is_judged_as_its_user),
        cmocka_unit_test(test_a_folder_for_sessions_may_end_in_slashes),
        cmocka_unit_test(test_a_folder_for_sessions_is_not_another_user_s),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, end);
}
