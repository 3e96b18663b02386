/*
 * test_master: what each signal does. The master runs in a child, whose log the test reads line by
 * line, so that nothing has to be waited for by time.
 */
#include "conf_text.h"

#include "daemon/master.h"

#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define KEY_OF_ME "me:00112233445566778899aabbccddeeff\n"
#define PATIENCE_MS 20000

struct child {
    pid_t pid;
    int log; /* its stderr */
    size_t len;
    char line[4096];
};

static struct child child;

/* What main() does, from the settings to the end. */
static int run_master(void (*first)(void))
{
    static char program[] = "dtlsgate", option[] = "-cx.ini";
    char *argv[] = {program, option, NULL};
    struct errors found = {.count = 0};
    struct sockets sockets = {0};
    struct cmdline cmdline;
    char why[256];
    int status = 3;

    if (!cmdline_parse(&cmdline, 2, argv, &found))
        return 4;
    struct conf *conf = conf_load(&cmdline.source, &found);
    if (conf == NULL || !sockets_open(&sockets, conf, "x.ini", &found))
        return 5;
    struct master_params params = {&cmdline, conf, &sockets};
    if (!log_open(conf->daemon.log, conf->daemon.log_format, why, sizeof why))
        return 6;
    struct master *m = master_new(&params, why, sizeof why);
    if (m != NULL) {
        if (first != NULL)
            first();
        status = master_run(m) ? 0 : 1;
        master_free(m);
        raise(SIGTERM); /* one more, on the last few yards */
    }
    sockets_close(&sockets);
    if (conf->references != 1) /* all workers have let go */
        status = 7;
    conf_unref(conf);
    cmdline_clear(&cmdline);
    return status;
}

/* At once, for a reload may be reading it. */
static void replace(const char *name, const char *text)
{
    write_file("new", text, 0600);
    assert_int_equal(rename("new", name), 0);
}

static void start_with(const char *settings, void (*first)(void))
{
    int ends[2];

    replace("x.ini", settings);
    replace("keys", KEY_OF_ME);
    assert_int_equal(pipe(ends), 0);
    child = (struct child){.log = ends[0], .pid = fork()};
    assert_true(child.pid >= 0);
    if (child.pid > 0) {
        close(ends[1]);
        return;
    }
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    exit(run_master(first));
}

/* The next line of its log; false at the end. */
static bool next_line(void)
{
    struct pollfd p = {.fd = child.log, .events = POLLIN};
    char c = '\0';

    child.len = 0;
    while (c != '\n' && child.len < sizeof child.line - 1) {
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        if (read(child.log, &c, 1) != 1)
            return false;
        child.line[child.len++] = c;
    }
    child.line[child.len] = '\0';
    return true;
}

/* Reads until a line with `text`, none of which has `never`, which may be NULL. */
static void await_line(const char *text, const char *never)
{
    while (next_line()) {
        if (strstr(child.line, text) != NULL)
            return;
        if (never != NULL && strstr(child.line, never) != NULL)
            fail_msg("%s", child.line);
    }
    fail_msg("no line with %s", text);
}

static void start_ready(const char *settings)
{
    start_with(settings, NULL);
    await_line("info dtlsgate: ready\n", "error");
}

static void tell(int signal_number)
{
    assert_int_equal(kill(child.pid, signal_number), 0);
}

/* Its last lines, and its status. Also fails when a sanitizer has said anything. */
static void await_end(void)
{
    int status;

    await_line(" info dtlsgate: stopped\n", "ERROR");
    while (next_line())
        fail_msg("behind the end: %s", child.line);
    close(child.log);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    child.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A test that failed may have left it. */
static int end_child(void **state)
{
    (void)state;
    if (child.pid > 0 && kill(child.pid, SIGKILL) == 0)
        waitpid(child.pid, NULL, 0);
    child.pid = 0;
    return 0;
}

static void end_in_peace(void)
{
    tell(SIGTERM);
    await_end();
}

#define TWO_WORKERS "[daemon]\nworkers = 2\n"

static void test_term_and_int_end_it(void **state)
{
    (void)state;
    start_with(TWO_WORKERS MINIMAL, NULL);
    await_line("info service a: listening on 127.0.0.1:", "ready");
    await_line("info dtlsgate: ready\n", NULL);
    tell(SIGTERM);
    await_line("info totals: workers=2\n", NULL);
    await_end();
    start_ready(MINIMAL);
    tell(SIGINT);
    await_end();
}

static void stop_three_times(void)
{
    raise(SIGTERM);
    raise(SIGINT);
    raise(SIGTERM);
}

static void test_signals_before_the_start_are_not_lost(void **state)
{
    (void)state;
    start_with(TWO_WORKERS MINIMAL, stop_three_times);
    await_line("info dtlsgate: ready\n", NULL);
    await_end();
}

static void reload_and_stop(void)
{
    raise(SIGHUP);
    raise(SIGTERM);
}

/* The end waits for the reload under way and for no other. */
static void test_an_end_during_a_reload_is_an_end(void **state)
{
    (void)state;
    start_with(TWO_WORKERS MINIMAL, reload_and_stop);
    await_end();
}

static void test_hup_takes_the_new_settings(void **state)
{
    (void)state;
    start_ready(TWO_WORKERS MINIMAL);
    for (int i = 0; i < 3; i++) {
        replace("x.ini", TWO_WORKERS MINIMAL "idle-timeout = 5s\n");
        tell(SIGHUP);
        await_line("info dtlsgate: reloaded\n", "error");
    }
    end_in_peace();
}

/* Some fall together, but the last one is acted on behind all that was there before it. */
static void test_hups_in_a_row_all_count(void **state)
{
    (void)state;
    start_ready(TWO_WORKERS MINIMAL);
    for (int i = 0; i < 5; i++)
        tell(SIGHUP);
    await_line("info dtlsgate: reloaded\n", "error");
    replace("x.ini", TWO_WORKERS "log-format = json\n" MINIMAL);
    tell(SIGHUP);
    await_line("\"message\":\"dtlsgate: reloaded\"}\n", "error");
    replace("x.ini", TWO_WORKERS MINIMAL);
    tell(SIGHUP);
    await_line(" info dtlsgate: reloaded\n", "error");
    end_in_peace();
}

static void test_a_wrong_file_changes_nothing_and_says_why(void **state)
{
    (void)state;
    start_ready(MINIMAL);
    replace("x.ini", MINIMAL "idle-timeot = 5s\nmtu = 1\n");
    tell(SIGHUP);
    await_line("error x.ini:5: service.a.idle-timeot: ", "reloaded");
    await_line("error x.ini:6: service.a.mtu: ", "reloaded");
    await_line("error dtlsgate: reload failed, nothing changed\n", "reloaded");
    replace("x.ini", MINIMAL);
    replace("keys", "me:short\n");
    tell(SIGHUP);
    await_line("keys:1: ", "reloaded");
    await_line("error dtlsgate: reload failed, nothing changed\n", "reloaded");
    replace("keys", KEY_OF_ME);
    tell(SIGHUP);
    await_line("info dtlsgate: reloaded\n", "error");
    end_in_peace();
}

static void test_what_needs_a_restart_is_refused(void **state)
{
    (void)state;
    start_ready("[daemon]\nworkers = 1\n" MINIMAL);
    replace("x.ini", TWO_WORKERS MINIMAL);
    tell(SIGHUP);
    await_line("daemon.workers", "reloaded");
    await_line("error dtlsgate: reload failed, nothing changed\n", "reloaded");
    end_in_peace();
}

static void test_a_log_that_cannot_be_opened_fails_the_reload(void **state)
{
    (void)state;
    start_ready(MINIMAL);
    replace("x.ini", "[daemon]\nlog = /no/such/folder/log\n" MINIMAL);
    tell(SIGHUP);
    await_line("error x.ini: daemon.log: cannot open /no/such/folder/log: ", "reloaded");
    await_line("error dtlsgate: reload failed, nothing changed\n", "reloaded");
    end_in_peace();
}

static void test_the_level_of_the_log_is_reloaded(void **state)
{
    (void)state;
    start_ready(MINIMAL);
    replace("x.ini", "[daemon]\nlog-format = json\n" MINIMAL);
    tell(SIGHUP);
    await_line("\"level\":\"info\",\"message\":\"dtlsgate: reloaded\"}\n", "error");
    replace("x.ini", MINIMAL);
    tell(SIGHUP);
    await_line(" info dtlsgate: reloaded\n", "error");
    end_in_peace();
}

static void move_the_log_away(void)
{
    if (rename("log", "old") != 0)
        abort();
    raise(SIGUSR1);
    raise(SIGTERM);
}

static bool holds(const char *file, const char *text)
{
    FILE *f = fopen(file, "r");
    char line[512];
    bool found = false;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        found |= strstr(line, text) != NULL;
    fclose(f);
    return found;
}

/* Of the two signals that wait for it, libevent takes the lower number first. */
static void test_usr1_opens_the_log_anew(void **state)
{
    char settings[512], path[256];
    int status;

    (void)state;
    assert_non_null(getcwd(path, sizeof path));
    snprintf(settings, sizeof settings, "[daemon]\nlog = %s/log\n" MINIMAL, path);
    start_with(settings, move_the_log_away);
    while (next_line())
        fail_msg("not in the file: %s", child.line);
    close(child.log);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    child.pid = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(holds("old", "dtlsgate: ready"));
    assert_false(holds("old", "dtlsgate: stopped"));
    assert_true(holds("log", "dtlsgate: stopped"));
    unlink("log");
    unlink("old");
}

/* Something that libevent warns of: a descriptor that cannot be watched. */
static void make_libevent_warn(void)
{
    struct event_base *base = event_base_new();

    for (int i = 0; i < 200; i++) {
        struct event *e = event_new(base, 1000, EV_READ, NULL, NULL);
        (void)event_add(e, NULL);
        event_free(e);
    }
    event_base_free(base);
}

static void test_words_of_libevent_go_to_the_log(void **state)
{
    unsigned lines = 0;

    (void)state;
    start_with(MINIMAL, make_libevent_warn);
    while (next_line() && strstr(child.line, "info dtlsgate: ready") == NULL) {
        if (strstr(child.line, "listening on") != NULL)
            continue;
        assert_non_null(strstr(child.line, "Z warning libevent: Epoll ADD(1) on fd 1000 failed"));
        lines++;
    }
    assert_in_range(lines, 1, 20);
    end_in_peace();
}

static void test_a_master_that_cannot_be_made_says_why(void **state)
{
    static const char *const settings[] = {NULL};
    struct conf *conf = load_good(MINIMAL, settings);
    char *ciphers = conf->service[0].ciphers, none[] = "NULL-SHA";
    struct sockets sockets;
    struct cmdline cmdline = {.action = CMDLINE_RUN};
    struct master_params params = {&cmdline, conf, &sockets};
    char why[128] = "";

    (void)state;
    assert_true(sockets_open(&sockets, conf, "x.ini", &errors));
    conf->service[0].ciphers = none; /* what conf_load() would have refused */
    assert_null(master_new(&params, why, sizeof why));
    assert_string_not_equal(why, "");
    assert_int_equal(conf->references, 1);
    conf->service[0].ciphers = ciphers;
    sockets_close(&sockets);
    conf_unref(conf);
    master_free(NULL);
}

static void test_the_library_has_a_version(void **state)
{
    (void)state;
    assert_memory_equal(master_library_version(), "libevent 2.", 11);
}

#define WITH_CHILD(test) cmocka_unit_test_teardown(test, end_child)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CHILD(test_term_and_int_end_it),
        WITH_CHILD(test_signals_before_the_start_are_not_lost),
        WITH_CHILD(test_an_end_during_a_reload_is_an_end),
        WITH_CHILD(test_hup_takes_the_new_settings),
        WITH_CHILD(test_hups_in_a_row_all_count),
        WITH_CHILD(test_a_wrong_file_changes_nothing_and_says_why),
        WITH_CHILD(test_what_needs_a_restart_is_refused),
        WITH_CHILD(test_a_log_that_cannot_be_opened_fails_the_reload),
        WITH_CHILD(test_the_level_of_the_log_is_reloaded),
        WITH_CHILD(test_usr1_opens_the_log_anew),
        WITH_CHILD(test_words_of_libevent_go_to_the_log),
        WITH_CHILD(test_a_master_that_cannot_be_made_says_why),
        WITH_CHILD(test_the_library_has_a_version),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
