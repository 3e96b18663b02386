/* log: the form of a line, where it goes, and that nothing foreign can break out of it. */
#include "base/log.h"

#include "file_text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MOST 2048
#define THREADS 4
#define LINES_PER_THREAD 500
/* "2026-11-22T13:30:40.123Z " */
#define TIME_LEN 25

static char folder[] = "/tmp/test_log.XXXXXX";
static char path[sizeof folder + 16], rotated[sizeof folder + 16];
static char why[PATH_MAX + 100];

static char syslog_ident[32], syslog_line[LINE_MOST * 2];
static int syslog_option, syslog_facility, syslog_priority;

/* Ours in place of libc's; the second name of the writer is what _FORTIFY_SOURCE calls. */
void openlog(const char *ident, int option, int facility);
void syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void openlog(const char *ident, int option, int facility)
{
    snprintf(syslog_ident, sizeof syslog_ident, "%s", ident);
    syslog_option = option;
    syslog_facility = facility;
}

__attribute__((format(printf, 2, 0))) static void record(int priority, const char *format,
                                                         va_list ap)
{
    syslog_priority = priority;
    vsnprintf(syslog_line, sizeof syslog_line, format, ap);
}

void syslog(int priority, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    record(priority, format, ap);
    va_end(ap);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list ap;

    (void)flag;
    va_start(ap, format);
    record(priority, format, ap);
    va_end(ap);
}

static void open_target(const char *target, enum log_format format)
{
    if (!log_open(target, format, why, sizeof why))
        fail_msg("%s", why);
}

static void open_fresh(enum log_format format)
{
    unlink(path);
    unlink(rotated);
    open_target(path, format);
}

/* The one line that was written, without time and newline. */
static const char *text_line(void)
{
    static char line[LINE_MOST + 1];
    const char *all = file_text(path);
    size_t len = strlen(all);

    assert_in_range(len, TIME_LEN + 1, LINE_MOST);
    assert_ptr_equal(strchr(all, '\n'), all + len - 1);
    assert_int_equal(all[10], 'T');
    assert_int_equal(all[TIME_LEN - 2], 'Z');
    assert_int_equal(all[TIME_LEN - 1], ' ');
    snprintf(line, sizeof line, "%.*s", (int)(len - 1 - TIME_LEN), all + TIME_LEN);
    return line;
}

/* The same of a JSON line: what follows the time. */
static const char *json_line(void)
{
    static const char head[] = "{\"time\":\"";
    static char line[LINE_MOST + 1];
    const char *all = file_text(path);
    size_t len = strlen(all), skip_len = strlen(head) + TIME_LEN - 1;

    assert_in_range(len, skip_len + 2, LINE_MOST);
    assert_memory_equal(all, head, strlen(head));
    assert_ptr_equal(strchr(all, '\n'), all + len - 1);
    snprintf(line, sizeof line, "%.*s", (int)(len - 1 - skip_len), all + skip_len);
    return line;
}

static void test_text_line(void **state)
{
    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    log_info("dtlsgate: %s %d", "ready", 7);
    assert_string_equal(text_line(), "info dtlsgate: ready 7");
}

static void test_json_line(void **state)
{
    (void)state;
    open_fresh(LOG_FORMAT_JSON);
    log_warning("a \"b\" \\ c/d");
    assert_string_equal(json_line(),
                        "\",\"level\":\"warning\",\"message\":\"a \\\"b\\\" \\\\ c/d\"}");
}

static void test_levels(void **state)
{
    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    log_set_level(LOG_LEVEL_ERROR);
    assert_true(log_wants(LOG_LEVEL_ERROR));
    assert_false(log_wants(LOG_LEVEL_WARNING));
    log_warning("no");
    log_info("no");
    log_debug("no");
    log_event(LOG_LEVEL_WARNING, "no", NULL);
    assert_string_equal(file_text(path), "");
    log_error("yes");
    assert_string_equal(text_line(), "error yes");
    log_set_level(LOG_LEVEL_DEBUG);
    open_fresh(LOG_FORMAT_TEXT);
    log_debug("yes");
    assert_string_equal(text_line(), "debug yes");
    log_set_level(LOG_LEVEL_INFO);
    assert_false(log_wants(LOG_LEVEL_DEBUG));
}

static void test_event_as_text(void **state)
{
    const struct log_field fields[] = {
        {"peer", "192.0.2.1:5", 0},
        {"id", "a b", 0},
        {"q", "x\"y\\z", 0},
        {"e", "k=v", 0},
        {"empty", "", 0},
        {"back", "a\\x0a", 0},
        {"n", NULL, LLONG_MIN},
        {"big", NULL, 12345},
        {NULL, NULL, 0},
    };

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    log_event(LOG_LEVEL_INFO, "session", fields);
    assert_string_equal(text_line(),
                        "info session: peer=192.0.2.1:5 id=\"a b\" q=\"x\\\"y\\\\z\" e=\"k=v\" "
                        "empty=\"\" back=a\\x0a n=-9223372036854775808 big=12345");
}

static void test_event_as_json(void **state)
{
    const struct log_field fields[] = {
        {"peer", "192.0.2.1:5", 0}, {"id", "a \"b\"\n", 0}, {"n", NULL, -3}, {NULL, NULL, 0}};

    (void)state;
    open_fresh(LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_ERROR, "session", fields);
    assert_string_equal(json_line(), "\",\"level\":\"error\",\"message\":\"session\",\"peer\":"
                                     "\"192.0.2.1:5\",\"id\":\"a \\\"b\\\"?\",\"n\":-3}");
}

static void test_event_without_fields(void **state)
{
    const struct log_field none[] = {{NULL, NULL, 0}};

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    log_event(LOG_LEVEL_INFO, "started", none);
    assert_string_equal(text_line(), "info started");
    open_fresh(LOG_FORMAT_JSON);
    log_event(LOG_LEVEL_INFO, "started", NULL);
    assert_string_equal(json_line(), "\",\"level\":\"info\",\"message\":\"started\"}");
}

static void test_only_printable_ascii_is_written(void **state)
{
    char all[256];

    (void)state;
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    open_fresh(LOG_FORMAT_TEXT);
    log_info("%s", all);
    for (const char *at = text_line(); *at != '\0'; at++)
        assert_in_range(*at, 0x20, 0x7e);
    open_fresh(LOG_FORMAT_JSON);
    log_info("%s", all);
    for (const char *at = json_line(); *at != '\0'; at++)
        assert_in_range(*at, 0x20, 0x7e);
}

static void test_long_text_is_cut(void **state)
{
    char text[3 * LINE_MOST];

    (void)state;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    open_fresh(LOG_FORMAT_TEXT);
    log_info("%s", text);
    assert_in_range(strlen(text_line()), LINE_MOST - TIME_LEN - 10, LINE_MOST);
}

/* A reader of the JSON this module writes: strings and integers as members of one object. */
static bool is_json_object(const char *at)
{
    if (*at++ != '{')
        return false;
    for (;; at++) {
        for (int part = 0; part < 2; part++) {
            if (part == 1 && *at != '"') {
                at += *at == '-';
                if (strspn(at, "0123456789") == 0)
                    return false;
                at += strspn(at, "0123456789");
                break;
            }
            if (*at++ != '"')
                return false;
            for (; *at != '"'; at++) {
                if (*at == '\\' && *++at != '"' && *at != '\\')
                    return false;
                if (*at < 0x20 || *at > 0x7e)
                    return false;
            }
            at++;
            if (part == 0 && *at++ != ':')
                return false;
        }
        if (*at == '}')
            return strcmp(at, "}\n") == 0;
        if (*at != ',')
            return false;
    }
}

static void test_json_reader_of_this_test(void **state)
{
    (void)state;
    assert_true(is_json_object("{\"a\":\"b\\\"\",\"c\":-1,\"d\":\"\"}\n"));
    assert_false(is_json_object("{\"a\":\"b\n"));
    assert_false(is_json_object("{\"a\":\"b\\}\n"));
    assert_false(is_json_object("{\"a\":}\n"));
    assert_false(is_json_object("{\"a\":1,}\n"));
    assert_false(is_json_object("{\"a\":1}"));
}

static void test_json_is_whole_wherever_it_is_cut(void **state)
{
    static char text[2 * LINE_MOST];
    const struct log_field fields[] = {
        {"text", text, 0}, {"number", NULL, -1234567}, {"last", "\"\"", 0}, {NULL, NULL, 0}};

    (void)state;
    /* Up to and past the end, one byte more each time, once plain and once with escapes. */
    for (size_t len = LINE_MOST - 200; len < LINE_MOST + 50; len++) {
        memset(text, 'x', len);
        text[len] = '\0';
        open_fresh(LOG_FORMAT_JSON);
        log_event(LOG_LEVEL_INFO, "s", fields);
        assert_true(is_json_object(file_text(path)));
        assert_in_range(strlen(file_text(path)), 100, LINE_MOST);
        memset(text, '"', len / 2);
        open_fresh(LOG_FORMAT_JSON);
        log_event(LOG_LEVEL_INFO, text, fields);
        assert_true(is_json_object(file_text(path)));
        assert_in_range(strlen(file_text(path)), 100, LINE_MOST);
    }
}

static void test_quoted_text_is_closed_wherever_it_is_cut(void **state)
{
    static char text[2 * LINE_MOST];
    const struct log_field fields[] = {
        {"text", text, 0}, {"number", NULL, 1234567}, {NULL, NULL, 0}};

    (void)state;
    for (size_t len = LINE_MOST - 100; len < LINE_MOST + 20; len++) {
        const char *line, *end;

        memset(text, ' ', len);
        text[len] = '\0';
        open_fresh(LOG_FORMAT_TEXT);
        log_event(LOG_LEVEL_INFO, "s", fields);
        line = text_line();
        end = strrchr(line, '"');
        assert_ptr_not_equal(end, strchr(line, '"'));
        assert_true(end[1] == '\0' || strcmp(end + 1, " number=1234567") == 0);
    }
}

static void test_file_is_appended_to_and_private(void **state)
{
    struct stat st;
    mode_t before = umask(0);

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    log_info("one");
    open_target(path, LOG_FORMAT_TEXT);
    log_info("two");
    assert_non_null(strstr(file_text(path), " info one\n"));
    assert_non_null(strstr(file_text(path), " info two\n"));
}

static void test_reopen_follows_rotation(void **state)
{
    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    log_info("before");
    assert_int_equal(rename(path, rotated), 0);
    log_info("between");
    assert_true(log_reopen(why, sizeof why));
    log_info("after");
    assert_string_equal(text_line(), "info after");
    assert_non_null(strstr(file_text(rotated), " info before\n"));
    assert_non_null(strstr(file_text(rotated), " info between\n"));
}

static void test_failed_reopen_keeps_the_old_file(void **state)
{
    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    assert_int_equal(rename(path, rotated), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(log_reopen(why, sizeof why));
    assert_non_null(strstr(why, path));
    log_info("still here");
    assert_int_equal(rmdir(path), 0);
    assert_non_null(strstr(file_text(rotated), " info still here\n"));
}

static void test_refused_target_keeps_the_old_one(void **state)
{
    static const char *const wrong[] = {"", "stdout", "relative/path", "/no/such/folder/log", "/"};
    char long_path[PATH_MAX + 10];

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        why[0] = '\0';
        assert_false(log_open(wrong[i], LOG_FORMAT_JSON, why, sizeof why));
        assert_string_not_equal(why, "");
        assert_null(strchr(why, '\n'));
    }
    memset(long_path, '/', sizeof long_path);
    long_path[sizeof long_path - 1] = '\0';
    assert_false(log_open(long_path, LOG_FORMAT_JSON, why, sizeof why));
    log_info("here");
    assert_string_equal(text_line(), "info here");
}

static void test_descriptors_do_not_pile_up(void **state)
{
    int before, after;

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    before = open("/dev/null", O_RDONLY);
    close(before);
    for (int i = 0; i < 20; i++) {
        open_target(path, LOG_FORMAT_TEXT);
        assert_true(log_reopen(why, sizeof why));
        open_target("stderr", LOG_FORMAT_TEXT);
        open_target("syslog", LOG_FORMAT_TEXT);
        assert_false(log_open("/", LOG_FORMAT_TEXT, why, sizeof why));
    }
    after = open("/dev/null", O_RDONLY);
    close(after);
    assert_int_equal(before, after);
}

static void test_stderr(void **state)
{
    int kept = dup(STDERR_FILENO), fd;

    (void)state;
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    open_target("stderr", LOG_FORMAT_TEXT);
    log_info("on stderr");
    assert_true(log_reopen(why, sizeof why));
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    close(fd);
    assert_string_equal(text_line(), "info on stderr");
}

static void test_syslog_has_level_but_no_time(void **state)
{
    static const struct {
        void (*log)(const char *format, ...);
        int priority;
        const char *line;
    } cases[] = {
        {log_error, 3, "error x 1"},
        {log_warning, 4, "warning x 1"},
        {log_info, 6, "info x 1"},
        {log_debug, 7, "debug x 1"},
    };

    (void)state;
    log_set_level(LOG_LEVEL_DEBUG);
    open_target("syslog", LOG_FORMAT_TEXT);
    assert_string_equal(syslog_ident, "dtlsgate");
    assert_int_equal(syslog_option, 0x01);     /* LOG_PID */
    assert_int_equal(syslog_facility, 3 << 3); /* LOG_DAEMON */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cases[i].log("x %d", 1);
        assert_int_equal(syslog_priority, cases[i].priority);
        assert_string_equal(syslog_line, cases[i].line);
    }
    log_info("100%%s %s", "%n");
    assert_string_equal(syslog_line, "info 100%s %n");
    assert_true(log_reopen(why, sizeof why));
    log_set_level(LOG_LEVEL_INFO);
}

static void test_syslog_as_json(void **state)
{
    (void)state;
    open_target("syslog", LOG_FORMAT_JSON);
    log_info("x");
    assert_memory_equal(syslog_line, "{\"time\":\"", 9);
    assert_non_null(strstr(syslog_line, ",\"level\":\"info\",\"message\":\"x\"}"));
    assert_null(strchr(syslog_line, '\n'));
}

static void test_logging_keeps_errno(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    open_target("/dev/full", LOG_FORMAT_TEXT);
    errno = EXDEV;
    log_info("x");
    assert_int_equal(errno, EXDEV);
    log_event(LOG_LEVEL_INFO, "x", NULL);
    assert_int_equal(errno, EXDEV);
    open_fresh(LOG_FORMAT_TEXT);
    log_info("what was lost is told here");
}

static void *write_lines(void *arg)
{
    const char *name = arg;

    for (int i = 0; i < LINES_PER_THREAD; i++)
        log_info("%s %d", name, i);
    return NULL;
}

static size_t count_whole_lines(const char *name)
{
    size_t lines = 0;

    for (const char *at = file_text(name); *at != '\0'; lines++) {
        char word[8];
        int number, used = 0;

        assert_int_equal(at[TIME_LEN - 1], ' ');
        assert_int_equal(sscanf(at + TIME_LEN, "info %7s %d%n", word, &number, &used), 2);
        assert_string_equal(word, "thread");
        assert_int_equal(at[TIME_LEN + used], '\n');
        at += TIME_LEN + used + 1;
    }
    return lines;
}

static void test_threads_lose_no_line_in_rotation(void **state)
{
    static char name[] = "thread";
    pthread_t threads[THREADS];

    (void)state;
    open_fresh(LOG_FORMAT_TEXT);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, name), 0);
    assert_int_equal(rename(path, rotated), 0);
    assert_true(log_reopen(why, sizeof why));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(count_whole_lines(path) + count_whole_lines(rotated),
                     THREADS * LINES_PER_THREAD);
}

static void test_limit(void **state)
{
    struct log_limit limit = {0};
    uint32_t skipped = 99;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(log_allowed(&limit, 1000, &skipped));
        assert_int_equal(skipped, 0);
    }
    for (int i = 0; i < 5; i++)
        assert_false(log_allowed(&limit, 1999, &skipped));
    assert_true(log_allowed(&limit, 2000, &skipped));
    assert_int_equal(skipped, 5);
    assert_false(log_allowed(&limit, 2000, &skipped));
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(rotated, sizeof rotated, "%s/log.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(rotated);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stderr),
        cmocka_unit_test(test_text_line),
        cmocka_unit_test(test_json_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_event_as_text),
        cmocka_unit_test(test_event_as_json),
        cmocka_unit_test(test_event_without_fields),
        cmocka_unit_test(test_only_printable_ascii_is_written),
        cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_json_reader_of_this_test),
        cmocka_unit_test(test_json_is_whole_wherever_it_is_cut),
        cmocka_unit_test(test_quoted_text_is_closed_wherever_it_is_cut),
        cmocka_unit_test(test_file_is_appended_to_and_private),
        cmocka_unit_test(test_reopen_follows_rotation),
        cmocka_unit_test(test_failed_reopen_keeps_the_old_file),
        cmocka_unit_test(test_refused_target_keeps_the_old_one),
        cmocka_unit_test(test_descriptors_do_not_pile_up),
        cmocka_unit_test(test_stderr),
        cmocka_unit_test(test_syslog_has_level_but_no_time),
        cmocka_unit_test(test_syslog_as_json),
        cmocka_unit_test(test_logging_keeps_errno),
        cmocka_unit_test(test_threads_lose_no_line_in_rotation),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
