/*
 * test_pidfile: who holds the file, what becomes of a dead one's, and that nothing else is harmed.
 */
#include "daemon/pidfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

static char folder[] = "/tmp/test_pidfile.XXXXXX";
static char why[256];

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int clean(void **state)
{
    (void)state;
    pidfile_close();
    unlink("pid");
    unlink("other");
    return 0;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *read_text(const char *name)
{
    static char text[64];
    FILE *f = fopen(name, "r");

    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

static const char *own_line(void)
{
    static char text[32];

    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    return text;
}

/* Another process that tries for the same file: 0 when it gets it, 1 when it is told why not. */
static int try_elsewhere(void)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char expected[128];
        snprintf(expected, sizeof(expected), "pid is held by another process, %ld; stop that",
                 (long)getppid());
        if (pidfile_open("pid", why, sizeof(why)))
            _exit(0);
        _exit(strncmp(why, expected, strlen(expected)) == 0 ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_it_holds_the_process_id_and_goes(void **state)
{
    struct stat st;

    (void)state;
    assert_true(pidfile_open("pid", why, sizeof(why)));
    assert_string_equal(read_text("pid"), own_line());
    assert_int_equal(stat("pid", &st), 0);
    assert_int_equal(st.st_mode & 07133, 0); /* nobody else writes, nobody executes */
    pidfile_close();
    assert_int_equal(access("pid", F_OK), -1);
    pidfile_close();
}

static void test_a_second_one_is_refused(void **state)
{
    (void)state;
    assert_true(pidfile_open("pid", why, sizeof(why)));
    assert_int_equal(try_elsewhere(), 1);
    assert_string_equal(read_text("pid"), own_line());
    pidfile_close();
}

static void test_a_dead_ones_is_taken_over(void **state)
{
    static const char *const left[] = {"", "1\n", "99999999\n", "123456789012345678901234567890\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
        write_text("pid", left[i]);
        assert_true(pidfile_open("pid", why, sizeof(why)));
        assert_string_equal(read_text("pid"), own_line());
        pidfile_close();
        assert_int_equal(access("pid", F_OK), -1);
    }
    assert_int_equal(try_elsewhere(), 0); /* which does not close it */
    assert_true(pidfile_open("pid", why, sizeof(why)));
}

static void test_what_is_no_pidfile_is_left_alone(void **state)
{
    static const char *const texts[] = {
        "root:x:0:0\n", "12 34\n", "\n", "12", "1\n2\n", "1234567890123456789012345678901\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        write_text("pid", texts[i]);
        assert_false(pidfile_open("pid", why, sizeof(why)));
        assert_string_equal(why, "pid holds something else than a process id; choose another name");
        pidfile_close();
        assert_string_equal(read_text("pid"), texts[i]);
    }
}

static void test_a_link_is_not_followed(void **state)
{
    (void)state;
    assert_int_equal(symlink("other", "pid"), 0);
    assert_false(pidfile_open("pid", why, sizeof(why)));
    assert_memory_equal(why, "cannot open pid: ", 17);
    assert_int_equal(access("other", F_OK), -1);
}

static void test_a_folder_and_a_missing_one_are_told(void **state)
{
    (void)state;
    assert_false(pidfile_open("/", why, sizeof(why)));
    assert_memory_equal(why, "cannot open /: ", 15);
    assert_false(pidfile_open("no/pid", why, sizeof(why)));
    assert_memory_equal(why, "cannot open no/pid: ", 20);
}

static void test_the_file_of_a_successor_stays(void **state)
{
    (void)state;
    assert_true(pidfile_open("pid", why, sizeof(why)));
    assert_int_equal(unlink("pid"), 0);
    write_text("pid", "1\n");
    pidfile_close();
    assert_string_equal(read_text("pid"), "1\n");
}

/* In a folder of root's, as /run is. */
static void test_who_may_not_take_it_away_empties_it(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(folder, 0755), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!pidfile_open("pid", why, sizeof(why)) || setresuid(NOBODY, NOBODY, NOBODY) != 0)
            _exit(1);
        pidfile_close();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_string_equal(read_text("pid"), "");
}

/* As another process would, with the descriptor of the first. */
static void test_it_is_gone_on_with(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(pidfile_fd(), -1);
    assert_true(pidfile_open("pid", why, sizeof(why)));
    fd = dup(pidfile_fd());
    pidfile_leave();
    write_text("pid", "1\n");
    assert_false(pidfile_adopt("other", fd, why, sizeof(why)));
    assert_true(pidfile_adopt("pid", fd, why, sizeof(why)));
    pidfile_close(); /* it came to nothing: the file is the other process's */
    assert_string_equal(read_text("pid"), "1\n");
    unlink("pid");
    assert_true(pidfile_open("pid", why, sizeof(why)));
    fd = dup(pidfile_fd());
    pidfile_leave();
    write_text("pid", "1\n");
    assert_true(pidfile_adopt("pid", fd, why, sizeof(why)));
    pidfile_take();
    assert_int_equal(atoi(read_text("pid")), getpid());
    pidfile_close();
    assert_int_not_equal(access("pid", F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_it_holds_the_process_id_and_goes),
        TEST(test_a_second_one_is_refused),
        TEST(test_a_dead_ones_is_taken_over),
        TEST(test_what_is_no_pidfile_is_left_alone),
        TEST(test_a_link_is_not_followed),
        TEST(test_a_folder_and_a_missing_one_are_told),
        TEST(test_the_file_of_a_successor_stays),
        TEST(test_who_may_not_take_it_away_empties_it),
        TEST(test_it_is_gone_on_with),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
