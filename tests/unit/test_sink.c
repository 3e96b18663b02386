/* sink: what gets through is whole lines, and what does not is counted. */
#include "conf_text.h"
#include "file_text.h"

#include "base/sink.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

static struct sink sink = SINK_START;
static char path[PATH_MAX], why[PATH_MAX + 64];

static void use(const char *target)
{
    struct sink_draft draft;

    if (!sink_prepare(&draft, target, why, sizeof why))
        fail_msg("%s", why);
    sink_use(&sink, &draft);
}

static void allow_size(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static size_t put(const char *text)
{
    return sink_write(&sink, text, strlen(text));
}

/* A file that may not grow stands for a disk that is full. */
static void test_a_line_that_was_cut_does_not_run_into_the_next(void **state)
{
    uint64_t before = sink.lost;

    (void)state;
    use(path);
    allow_size(8);
    assert_int_equal(put("one\ntwo\nthree\nfour\n"), 2);
    assert_int_equal(put("five\n"), 1);
    assert_string_equal(file_text(path), "one\ntwo\n");
    allow_size(10);
    assert_int_equal(put("seven\neight\n"), 2);
    assert_string_equal(file_text(path), "one\ntwo\nse");
    allow_size(RLIM_INFINITY);
    assert_int_equal(put("nine\nten\n"), 0);
    assert_string_equal(file_text(path), "one\ntwo\nse\nnine\nten\n");
    assert_int_equal(sink.lost - before, 5);
    assert_int_equal(sink.error, EFBIG);
}

static void test_a_draft_changes_nothing_until_it_is_used(void **state)
{
    char other[PATH_MAX + 8];
    struct sink_draft draft;

    (void)state;
    unlink(path);
    use(path);
    snprintf(other, sizeof other, "%s.2", path);
    assert_true(sink_prepare(&draft, other, why, sizeof why));
    assert_int_equal(put("a\n"), 0);
    sink_discard(&draft);
    assert_int_equal(put("b\n"), 0);
    assert_string_equal(file_text(path), "a\nb\n");
    unlink(other);
    unlink(path);
}

static void test_lines_are_counted(void **state)
{
    (void)state;
    assert_int_equal(sink_lines("", 0), 0);
    assert_int_equal(sink_lines("\n", 1), 1);
    assert_int_equal(sink_lines("a\nb\nc\n", 6), 3);
    assert_int_equal(sink_lines("a\nb\nc\n", 5), 2);
}

static int enter(void **state)
{
    if (conf_text_setup(state) != 0 || getcwd(path, sizeof path - 8) == NULL)
        return -1;
    strcat(path, "/file");
    return signal(SIGXFSZ, SIG_IGN) == SIG_ERR ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_that_was_cut_does_not_run_into_the_next),
        cmocka_unit_test(test_a_draft_changes_nothing_until_it_is_used),
        cmocka_unit_test(test_lines_are_counted),
    };

    return cmocka_run_group_tests(tests, enter, conf_text_teardown);
}
