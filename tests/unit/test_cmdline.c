/*
 * test_cmdline: what the command line may say, and what it becomes.
 */
#include "daemon/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ARGUMENTS_MAX 16

struct fixture {
    struct cmdline c;
    struct errors errors;
    bool is_fine;
};

/* Parses `line`, whose arguments are divided by '|'. */
static struct fixture parse(const char *line)
{
    static char copy[512];
    static char program[] = "dtlsgate";
    char *argv[ARGUMENTS_MAX + 1] = {program};
    struct fixture f = {.errors = {.count = 0}};
    char *rest = copy;
    int argc = 1;

    snprintf(copy, sizeof(copy), "%s", line);
    while (*line != '\0' && rest != NULL && argc < ARGUMENTS_MAX)
        argv[argc++] = strsep(&rest, "|");
    f.is_fine = cmdline_parse(&f.c, argc, argv, &f.errors);
    return f;
}

static void done(struct fixture *f)
{
    cmdline_clear(&f->c);
    errors_clear(&f->errors);
}

static void assert_refused(const char *line, const char *why)
{
    struct fixture f = parse(line);

    assert_false(f.is_fine);
    assert_int_equal(f.errors.count, 1);
    assert_string_equal(f.errors.line[0], why);
    done(&f);
}

static void assert_action(const char *line, enum cmdline_action action)
{
    struct fixture f = parse(line);

    assert_true(f.is_fine);
    assert_int_equal(f.c.action, action);
    done(&f);
}

static void test_nothing_means_run_with_the_default_file(void **state)
{
    struct fixture f = parse("");

    (void)state;
    assert_true(f.is_fine);
    assert_int_equal(f.c.action, CMDLINE_RUN);
    assert_non_null(strstr(f.c.source.path, "/dtlsgate/dtlsgate.ini"));
    assert_int_equal(f.c.source.override_count, 0);
    done(&f);
}

static void test_config_names_the_file(void **state)
{
    struct fixture f = parse("-c|one.ini");

    (void)state;
    assert_string_equal(f.c.source.path, "one.ini");
    assert_string_equal(cmdline_source_name(&f.c), "one.ini");
    done(&f);
    f = parse("--config=two.ini");
    assert_string_equal(f.c.source.path, "two.ini");
    done(&f);
}

static void test_listen_backend_and_keys_need_no_file(void **state)
{
    struct fixture f = parse("-l|[::]:5684|-b|127.0.0.1:5683|-k|keys.psk");

    (void)state;
    assert_true(f.is_fine);
    assert_null(f.c.source.path);
    assert_string_equal(cmdline_source_name(&f.c), "command line");
    assert_int_equal(f.c.source.override_count, 3);
    assert_string_equal(f.c.source.overrides[0], "service.default.listen=[::]:5684");
    assert_string_equal(f.c.source.overrides[1], "service.default.backend=127.0.0.1:5683");
    assert_string_equal(f.c.source.overrides[2], "service.default.psk-file=keys.psk");
    done(&f);
}

static void test_listen_overrides_a_file(void **state)
{
    struct fixture f = parse("--config|x.ini|--listen|127.0.0.1:0");

    (void)state;
    assert_string_equal(f.c.source.path, "x.ini");
    assert_int_equal(f.c.source.override_count, 1);
    done(&f);
}

static void test_listen_may_be_repeated(void **state)
{
    struct fixture f = parse("-l|127.0.0.1:1|-l|127.0.0.1:2|-l[::1]:3");

    (void)state;
    assert_int_equal(f.c.source.override_count, 1);
    assert_string_equal(f.c.source.overrides[0],
                        "service.default.listen=127.0.0.1:1, 127.0.0.1:2, [::1]:3");
    done(&f);
}

static void test_the_last_backend_counts(void **state)
{
    struct fixture f = parse("-b|127.0.0.1:1|--backend=127.0.0.1:2");

    (void)state;
    assert_int_equal(f.c.source.override_count, 1);
    assert_string_equal(f.c.source.overrides[0], "service.default.backend=127.0.0.1:2");
    done(&f);
}

static void test_set_keeps_its_order_and_the_default_file(void **state)
{
    struct fixture f = parse("-o|daemon.workers=1|--set=daemon.workers=2|-odaemon.log=syslog");

    (void)state;
    assert_non_null(f.c.source.path);
    assert_int_equal(f.c.source.override_count, 3);
    assert_string_equal(f.c.source.overrides[0], "daemon.workers=1");
    assert_string_equal(f.c.source.overrides[1], "daemon.workers=2");
    assert_string_equal(f.c.source.overrides[2], "daemon.log=syslog");
    done(&f);
}

static void test_each_action_has_its_option(void **state)
{
    (void)state;
    assert_action("-t", CMDLINE_TEST);
    assert_action("--test", CMDLINE_TEST);
    assert_action("-T", CMDLINE_SHOW);
    assert_action("--show-config", CMDLINE_SHOW);
    assert_action("-V", CMDLINE_VERSION);
    assert_action("--version", CMDLINE_VERSION);
    assert_action("-h", CMDLINE_HELP);
    assert_action("--help", CMDLINE_HELP);
    assert_action("--genpsk|alice", CMDLINE_GENPSK);
}

static void test_help_stops_the_reading(void **state)
{
    (void)state;
    assert_action("-h|--bogus", CMDLINE_HELP);
    assert_action("-t|-V|stray", CMDLINE_VERSION);
}

static void test_genpsk_keeps_the_identity(void **state)
{
    struct fixture f = parse("--genpsk|sensor 7");

    (void)state;
    assert_string_equal(f.c.identity, "sensor 7");
    done(&f);
    f = parse("--genpsk=");
    assert_true(f.is_fine);
    assert_int_equal(f.c.action, CMDLINE_GENPSK);
    assert_string_equal(f.c.identity, "");
    done(&f);
}

static void test_verbose_raises_what_the_settings_say(void **state)
{
    struct fixture f = parse("-v");

    (void)state;
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_ERROR), LOG_LEVEL_WARNING);
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_INFO), LOG_LEVEL_DEBUG);
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_DEBUG), LOG_LEVEL_DEBUG);
    done(&f);
    f = parse("-vv|--verbose");
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_ERROR), LOG_LEVEL_DEBUG);
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_WARNING), LOG_LEVEL_DEBUG);
    done(&f);
    f = parse("");
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_WARNING), LOG_LEVEL_WARNING);
    done(&f);
}

static void test_quiet_leaves_errors_only(void **state)
{
    struct fixture f = parse("--quiet");

    (void)state;
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_DEBUG), LOG_LEVEL_ERROR);
    assert_int_equal(cmdline_log_level(&f.c, LOG_LEVEL_ERROR), LOG_LEVEL_ERROR);
    done(&f);
}

static void test_the_background_and_its_pidfile(void **state)
{
    struct fixture f = parse("-d|--pidfile|/run/x.pid");

    (void)state;
    assert_true(f.is_fine && f.c.background);
    assert_int_equal(f.c.action, CMDLINE_RUN);
    assert_string_equal(f.c.pidfile, "/run/x.pid");
    done(&f);
    f = parse("--daemon|-t");
    assert_true(f.is_fine && f.c.background && f.c.pidfile == NULL);
    assert_int_equal(f.c.action, CMDLINE_TEST);
    done(&f);
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    assert_refused("-x", "-x is no option");
    assert_refused("--test|-vx", "-x is no option");
    assert_refused("-:", "-: is no option");
    assert_refused("--bogus", "--bogus is no option, or short for more than one");
    assert_refused("--verison", "--verison is no option; did you mean --version?");
    assert_refused("--psk-flie=x", "--psk-flie=x is no option; did you mean --psk-file?");
    assert_refused("--a-word-that-is-longer-than-any-option",
                   "--a-word-that-is-longer-than-any-option is no option, or short for more than "
                   "one");
    assert_refused("--ver", "--ver is no option, or short for more than one");
    assert_refused("--test=yes", "--test=yes: this option takes no value");
    assert_refused("-c", "-c needs a value");
    assert_refused("-vl", "-l needs a value");
    assert_refused("--backend", "--backend needs a value");
    assert_refused("--genpsk", "--genpsk needs a value");
    assert_refused("-c|", "-c needs the name of a file");
    assert_refused("--pidfile|", "--pidfile needs the name of a file");
    assert_refused("stray", "stray is no option, and nothing else is awaited");
    assert_refused("-t|-T", "-t and -T exclude each other; choose one");
    assert_refused("-q|-v", "-q and -v exclude each other; choose one");
    assert_refused("-t|--genpsk|a", "--genpsk excludes -t and -T; choose one");
}

static void test_all_mistakes_are_told_at_once(void **state)
{
    struct fixture f = parse("-x|-q|-v|stray|--bogus");

    (void)state;
    assert_false(f.is_fine);
    assert_int_equal(f.errors.count, 4);
    done(&f);
}

static void test_help_fits_a_terminal_and_names_every_option(void **state)
{
    static const char *const options[] = {
        "-c, --config", "-l, --listen",      "-b, --backend", "-k, --psk-file", "-o, --set",
        "-t, --test",   "-T, --show-config", "-v, --verbose", "-q, --quiet",    "-V, --version",
        "-h, --help",   "--genpsk",          "-d, --daemon",  "--pidfile FILE"};
    const char *help = cmdline_help();

    (void)state;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        assert_non_null(strstr(help, options[i]));
    for (size_t len; *help != '\0'; help += len + 1) {
        len = strcspn(help, "\n");
        assert_in_range(len, 0, 80);
        assert_int_equal(help[len], '\n');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_means_run_with_the_default_file),
        cmocka_unit_test(test_config_names_the_file),
        cmocka_unit_test(test_listen_backend_and_keys_need_no_file),
        cmocka_unit_test(test_listen_overrides_a_file),
        cmocka_unit_test(test_listen_may_be_repeated),
        cmocka_unit_test(test_the_last_backend_counts),
        cmocka_unit_test(test_set_keeps_its_order_and_the_default_file),
        cmocka_unit_test(test_each_action_has_its_option),
        cmocka_unit_test(test_help_stops_the_reading),
        cmocka_unit_test(test_genpsk_keeps_the_identity),
        cmocka_unit_test(test_verbose_raises_what_the_settings_say),
        cmocka_unit_test(test_quiet_leaves_errors_only),
        cmocka_unit_test(test_the_background_and_its_pidfile),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_all_mistakes_are_told_at_once),
        cmocka_unit_test(test_help_fits_a_terminal_and_names_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
