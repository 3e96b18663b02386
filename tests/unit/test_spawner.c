/*
 * test_spawner: this program starts itself anew, as often as it is asked to, and each end is told.
 * What it starts finds what to do behind its socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parcel.h"
#include "daemon/spawner.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define OURS 3 /* the descriptor that the variable has to name */

static char *const *arguments;

/* ---- what is started ---- */

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int count = -1; /* its own */

    while (d != NULL && readdir(d) != NULL)
        count++;
    if (d != NULL)
        closedir(d);
    return count - 2;
}

static bool is_default(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

/* Tells of itself, then does what the one byte says. */
static int be_started(int argc)
{
    char text[256], byte = 0;
    int len = snprintf(text, sizeof text, "%d %d %s %s %s", argc, count_descriptors(),
                       is_default(SIGUSR2) && is_default(SIGTERM) ? "default" : "other",
                       getenv("LISTEN_FDS") != NULL ? "passed" : "-",
                       getenv("WATCHDOG_USEC") != NULL ? getenv("WATCHDOG_USEC") : "-");

    if (send(OURS, text, (size_t)len, 0) != len || recv(OURS, &byte, 1, 0) != 1)
        return 99;
    if (byte == 'k')
        raise(SIGKILL);
    if (byte == 'h')
        pause();
    return byte;
}

/* ---- what starts it ---- */

static struct spawner_news await(void)
{
    struct spawner_news news;
    struct pollfd p = {.fd = spawner_fd(), .events = POLLIN};

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    spawner_take(&news);
    return news;
}

static struct spawner_news start(char text[256])
{
    struct spawner_news news;
    struct pollfd p = {.events = POLLIN};
    ssize_t n;

    assert_true(spawner_start());
    news = await();
    assert_int_equal(news.kind, SPAWNER_STARTED);
    p.fd = news.socket;
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    n = recv(news.socket, text, 255, 0);
    assert_true(n > 0);
    text[n] = '\0';
    return news;
}

static int open_one(void **state)
{
    char why[128];

    (void)state;
    setenv("LISTEN_FDS", "1", 1);
    setenv("WATCHDOG_USEC", "77", 1);
    unsetenv("WATCHDOG_PID");
    return spawner_open(arguments, false, why, sizeof why) ? 0 : -1;
}

static int close_one(void **state)
{
    (void)state;
    spawner_close();
    return 0;
}

static void it_begins_as_we_did(void **state)
{
    char text[256];
    struct spawner_news news = start(text);

    (void)state;
    assert_string_equal(text, "1 4 default - 77");
    assert_int_equal(send(news.socket, "\5", 1, 0), 1);
    close(news.socket);
    news = await();
    assert_int_equal(news.kind, SPAWNER_ENDED);
    assert_true(WIFEXITED(news.status) && WEXITSTATUS(news.status) == 5);
}

static void each_end_is_told_and_another_can_follow(void **state)
{
    char text[256];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct spawner_news news = start(text);
        assert_int_equal(send(news.socket, "k", 1, 0), 1);
        close(news.socket);
        news = await();
        assert_int_equal(news.kind, SPAWNER_ENDED);
        assert_true(WIFSIGNALED(news.status) && WTERMSIG(news.status) == SIGKILL);
    }
}

static void one_that_hangs_can_be_killed(void **state)
{
    char text[256];
    struct spawner_news news = start(text);

    (void)state;
    assert_int_equal(send(news.socket, "h", 1, 0), 1);
    assert_true(spawner_start()); /* one at a time */
    struct spawner_news second = await();
    assert_int_equal(second.kind, SPAWNER_FAILED);
    spawner_kill();
    close(news.socket);
    news = await();
    assert_int_equal(news.kind, SPAWNER_ENDED);
    assert_int_equal(WTERMSIG(news.status), SIGKILL);
}

static void its_child_outlives_it(void **state)
{
    char text[256];
    struct spawner_news news = start(text);
    struct pollfd p = {.fd = news.socket, .events = POLLIN};

    (void)state;
    spawner_close();
    assert_int_equal(spawner_fd(), -1);
    assert_false(spawner_start());
    assert_int_equal(poll(&p, 1, 0), 0); /* it is there and waits */
    assert_int_equal(send(news.socket, "\1", 1, 0), 1);
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(recv(news.socket, text, 1, 0), 0);
    close(news.socket);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_begins_as_we_did, open_one, close_one),
        cmocka_unit_test_setup_teardown(each_end_is_told_and_another_can_follow, open_one,
                                        close_one),
        cmocka_unit_test_setup_teardown(one_that_hangs_can_be_killed, open_one, close_one),
        cmocka_unit_test_setup_teardown(its_child_outlives_it, open_one, close_one),
    };

    if (getenv(SPAWNER_VARIABLE) != NULL)
        return be_started(argc);
    arguments = argv;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
