/*
 * test_log_start: what a start that leaves its terminal and its user needs of the log.
 */
#include "conf_text.h"
#include "log_text.h"

#define TIME_LEN 25 /* "2026-11-22T13:30:40.123Z " */
#define NOBODY 65534

static uid_t owner(const char *name)
{
    struct stat st;

    assert_int_equal(stat(name, &st), 0);
    return st.st_uid;
}

/* Another file than the log stands for stderr meanwhile. */
static void test_an_echo_is_for_warnings_and_errors(void **state)
{
    int kept = dup(STDERR_FILENO), fd = open("echo", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char text[256];
    ssize_t len;

    (void)state;
    assert_true(kept >= 0 && fd >= 0);
    log_capture();
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    log_echo(true);
    log_info("for the file");
    log_error("for both");
    log_warning("%s, too", "this");
    log_echo(false);
    log_error("over");
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    len = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    unlink("echo");
    assert_true(len > 2 * TIME_LEN);
    text[len] = '\0';
    assert_memory_equal(text + TIME_LEN, "error for both\n", 15);
    assert_string_equal(text + 2 * TIME_LEN + 15, "warning this, too\n");
    assert_int_equal(log_count(""), 4);
    assert_int_equal(log_count("for the file") + log_count("for both") + log_count("over"), 3);
    log_release();
}

static void test_what_goes_to_stderr_goes_there_once(void **state)
{
    int kept = dup(STDERR_FILENO), fd = open("echo", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char text[256];
    ssize_t len;

    (void)state;
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    log_echo(true);
    log_error("once");
    log_echo(false);
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    len = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    unlink("echo");
    assert_int_equal(len, TIME_LEN + 11);
}

static void test_a_new_file_can_be_given_away(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    log_capture();
    assert_true(log_give(NOBODY, NOBODY));
    assert_int_equal(owner(LOG_FILE), NOBODY);
    log_release();
}

static void test_a_file_that_was_there_stays_whose_it_is(void **state)
{
    char path[PATH_MAX], why[PATH_MAX + 64];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_non_null(getcwd(path, sizeof path - sizeof LOG_FILE - 1));
    strcat(path, "/" LOG_FILE);
    write_file(LOG_FILE, "", 0600);
    assert_true(log_open(path, LOG_FORMAT_TEXT, why, sizeof why));
    assert_true(log_give(NOBODY, NOBODY));
    assert_int_equal(owner(LOG_FILE), 0);
    log_release();
    assert_true(log_give(NOBODY, NOBODY)); /* stderr is nobody's to give */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_to_stderr_goes_there_once),
        cmocka_unit_test(test_an_echo_is_for_warnings_and_errors),
        cmocka_unit_test(test_a_new_file_can_be_given_away),
        cmocka_unit_test(test_a_file_that_was_there_stays_whose_it_is),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
