/* log: lines that wait for others leave with them, in order, and none is lost. */
#include "base/log.h"

#include "file_text.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test_log_hold.XXXXXX";
static char path[sizeof folder + 16];
static char why[PATH_MAX + 100];

static void open_fresh(void)
{
    unlink(path);
    if (!log_open(path, LOG_FORMAT_TEXT, why, sizeof why))
        fail_msg("%s", why);
}

/* "012" for the lines numbered so. */
static const char *numbers_in(const char *text)
{
    static char found[100];
    size_t n = 0;

    for (; (text = strstr(text, " line ")) != NULL && n < sizeof found - 1; text++)
        found[n++] = text[strlen(" line ")];
    found[n] = '\0';
    return found;
}

static void hold_some(void)
{
    log_hold();
    log_info("a line 0");
    log_info("a line 1");
    assert_string_equal(file_text(path), "");
    log_flush();
    assert_string_equal(numbers_in(file_text(path)), "01");
    log_info("a line 2");
    log_warning("a line 3");
    assert_string_equal(numbers_in(file_text(path)), "0123");
    log_info("a line 4");
    assert_true(log_reopen(why, sizeof why));
    log_flush();
    log_flush();
    assert_string_equal(numbers_in(file_text(path)), "01234");
}

static void test_held_lines_leave_together_and_in_order(void **state)
{
    (void)state;
    open_fresh();
    hold_some();
}

static void hold_much(void)
{
    log_hold();
    for (int i = 0; i < 9; i++)
        log_info("a line %d%0900d", i, 0);
    assert_string_equal(numbers_in(file_text(path)), "012345");
    log_flush();
    assert_string_equal(numbers_in(file_text(path)), "012345678");
}

static void test_as_many_lines_are_held_as_there_is_room_for(void **state)
{
    (void)state;
    open_fresh();
    hold_much();
}

static void hold_three(void)
{
    log_hold();
    for (int i = 0; i < 3; i++)
        log_info("a line %d%0900d", i, 0);
    log_flush();
}

static void test_a_pipe_that_is_nearly_full_takes_what_it_can(void **state)
{
    static char got[8192];
    ssize_t len;
    int fd;

    (void)state;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0 && fcntl(fd, F_SETPIPE_SZ, 4096) == 4096);
    if (!log_open(path, LOG_FORMAT_TEXT, why, sizeof why))
        fail_msg("%s", why);
    log_info("%01500d", 0);
    log_flush();
    hold_three();
    len = read(fd, got, sizeof got - 1);
    assert_true(len > 0);
    got[len] = '\0';
    assert_string_equal(numbers_in(got), "01");
    close(fd);
    unlink(path);
}

static void open_target(const char *target)
{
    if (!log_open(target, LOG_FORMAT_TEXT, why, sizeof why))
        fail_msg("%s", why);
}

static void test_lost_lines_are_told_where_one_gets_through(void **state)
{
    uint64_t before;
    const char *at;

    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    open_fresh();
    log_warning("what was lost before is told here");
    before = log_lost();
    open_target("/dev/full");
    log_warning("lost");
    log_info("lost, too");
    log_flush();
    assert_int_equal(log_lost() - before, 2);
    open_fresh();
    log_info("a line 0");
    log_info("a line 1");
    log_flush();
    assert_int_equal(log_lost() - before, 2);
    at = strstr(file_text(path),
                "Z warning log lines lost: lines=2 reason=\"No space left on device\"\n");
    assert_non_null(at);
    assert_string_equal(numbers_in(at), "01");
    log_info("a line 2");
    log_flush();
    assert_null(strstr(strstr(file_text(path), " lost:") + 1, " lost:"));
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    strcpy(path, folder);
    strcat(path, "/log");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_lines_leave_together_and_in_order),
        cmocka_unit_test(test_as_many_lines_are_held_as_there_is_room_for),
        cmocka_unit_test(test_a_pipe_that_is_nearly_full_takes_what_it_can),
        cmocka_unit_test(test_lost_lines_are_told_where_one_gets_through),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
