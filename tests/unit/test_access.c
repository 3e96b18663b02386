/* access: all lines come through the thread, and a disk that is stuck holds up nobody for long. */
#include "conf_text.h"
#include "log_text.h"

#include "base/access.h"
#include "base/clock.h"

#include <pthread.h>

#define ACCESS_FILE "access"
#define THREADS 4
#define LINES 20000
#define STUCK_MAX_MS 5000 /* far more than its patience, far less than for ever */

static char path[PATH_MAX], why[PATH_MAX + 64];

static void use(const char *target, enum log_format format)
{
    struct sink_draft draft;

    if (!sink_prepare(&draft, target, why, sizeof why))
        fail_msg("%s", why);
    access_use(&draft, format);
}

static void say(long long number)
{
    const struct log_field fields[] = {{"number", NULL, number}, {NULL, NULL, 0}};

    access_event("session", fields);
}

static unsigned lines_in(const char *name)
{
    FILE *f = fopen(name, "r");
    char line[4096];
    unsigned n = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        assert_non_null(strstr(line, "Z info session: number="));
        n++;
    }
    fclose(f);
    return n;
}

static void *say_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < LINES; i++)
        say(i);
    access_flush();
    return NULL;
}

static void test_no_line_is_lost_on_the_way_nor_in_rotation(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    use(path, LOG_FORMAT_TEXT);
    assert_true(access_is_on());
    assert_true(access_start());
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_many, NULL), 0);
    assert_int_equal(rename(ACCESS_FILE, "rotated"), 0);
    assert_true(access_reopen(why, sizeof why));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    access_stop();
    assert_int_equal(lines_in(ACCESS_FILE) + lines_in("rotated"), THREADS * LINES);
    assert_int_equal(access_lost(), 0);
    unlink("rotated");
    unlink(ACCESS_FILE);
}

/* Until nobody writes there any more. */
static void *drain(void *arg)
{
    char text[65536];

    while (read(*(int *)arg, text, sizeof text) > 0)
        continue;
    return NULL;
}

/* A pipe that nobody reads, opened so that who writes waits, stands for such a disk. */
static void test_a_disk_that_is_stuck_costs_lines_and_little_time(void **state)
{
    uint64_t begin;
    pthread_t reader;
    int fd, flags;

    (void)state;
    log_capture();
    assert_int_equal(mkfifo(ACCESS_FILE, 0600), 0);
    fd = open(ACCESS_FILE, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0 && fcntl(fd, F_SETFL, 0) == 0);
    use(path, LOG_FORMAT_JSON);
    for (int other = 3; other < fd + 8; other++) /* the file's, whichever number it has */
        if ((flags = fcntl(other, F_GETFL)) >= 0 && (flags & O_ACCMODE) == O_WRONLY)
            (void)fcntl(other, F_SETFL, flags & ~O_NONBLOCK);
    assert_true(access_start());
    begin = clock_now_ms();
    for (int i = 0; i < LINES * 2; i++)
        say(i);
    access_flush();
    assert_true(clock_now_ms() - begin < STUCK_MAX_MS);
    assert_true(access_lost() > 0);
    assert_int_equal(log_count("warning access log loses lines: reason="), 1);
    assert_int_equal(pthread_create(&reader, NULL, drain, &fd), 0);
    access_stop();
    assert_int_equal(log_count("warning access log lines lost: lines="), 1);
    use("stderr", LOG_FORMAT_TEXT);
    assert_int_equal(pthread_join(reader, NULL), 0);
    close(fd);
    unlink(ACCESS_FILE);
    log_release();
}

static void test_a_full_disk_is_told_once_and_at_its_end(void **state)
{
    uint64_t before = access_lost();

    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    log_capture();
    use("/dev/full", LOG_FORMAT_TEXT);
    for (int i = 0; i < 3; i++) {
        say(i);
        access_flush();
    }
    assert_int_equal(access_lost() - before, 3);
    assert_int_equal(log_count("access log loses lines: reason=\"No space left on device\""), 1);
    use(path, LOG_FORMAT_TEXT);
    say(4);
    access_flush();
    assert_int_equal(log_count("access log lines lost: lines=3"), 1);
    assert_int_equal(lines_in(ACCESS_FILE), 1);
    unlink(ACCESS_FILE);
    log_release();
}

static void test_once_off_the_file_is_let_go_when_the_logs_are_opened_anew(void **state)
{
    (void)state;
    use(path, LOG_FORMAT_TEXT);
    access_close();
    assert_false(access_is_on());
    say(1); /* was under way */
    access_flush();
    assert_int_equal(lines_in(ACCESS_FILE), 1);
    unlink(ACCESS_FILE);
    assert_true(access_reopen(why, sizeof why));
    assert_int_not_equal(access(ACCESS_FILE, F_OK), 0);
}

static int enter(void **state)
{
    if (conf_text_setup(state) != 0 || getcwd(path, sizeof path - 16) == NULL)
        return -1;
    strcat(path, "/" ACCESS_FILE);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_line_is_lost_on_the_way_nor_in_rotation),
        cmocka_unit_test(test_a_full_disk_is_told_once_and_at_its_end),
        cmocka_unit_test(test_a_disk_that_is_stuck_costs_lines_and_little_time),
        cmocka_unit_test(test_once_off_the_file_is_let_go_when_the_logs_are_opened_anew),
    };

    return cmocka_run_group_tests(tests, enter, conf_text_teardown);
}
