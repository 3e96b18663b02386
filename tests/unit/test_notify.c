/*
 * test_notify: what arrives at the service manager's socket, and what is done with odd names.
 */
#include "daemon/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_notify.XXXXXX";
static char path[sizeof(folder) + 8];
static char why[256];
static int manager = -1;

/* The manager's end; a name with '@' in front is abstract. */
static void listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(name);

    memcpy(at.sun_path, name, len);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    else
        len++;
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
}

static void assert_told(const char *expected)
{
    char text[512];
    ssize_t len = recv(manager, text, sizeof(text) - 1, 0);

    assert_true(len >= 0);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void assert_silence(void)
{
    char byte;

    assert_int_equal(recv(manager, &byte, 1, 0), -1);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/socket", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int close_all(void **state)
{
    (void)state;
    notify_close();
    if (manager >= 0)
        close(manager);
    manager = -1;
    unlink(path);
    return 0;
}

static void start(const char *name, const char *usec, const char *pid)
{
    setenv("NOTIFY_SOCKET", name, 1);
    if (usec != NULL)
        setenv("WATCHDOG_USEC", usec, 1);
    if (pid != NULL)
        setenv("WATCHDOG_PID", pid, 1);
}

static void tell_all(void)
{
    notify_status("sessions 1");
    notify_ready();
    notify_reloading(1234567);
    notify_alive();
    notify_stopping();
}

static void assert_all_told(void)
{
    assert_told("STATUS=sessions 1");
    assert_told("READY=1");
    assert_told("RELOADING=1\nMONOTONIC_USEC=1234567");
    assert_told("WATCHDOG=1");
    assert_told("STOPPING=1");
    assert_silence();
}

static void test_everything_arrives_at_a_path(void **state)
{
    (void)state;
    listen_at(path);
    start(path, NULL, NULL);
    assert_true(notify_init(why, sizeof(why)));
    assert_true(notify_is_wanted());
    tell_all();
    assert_all_told();
}

static void test_everything_arrives_at_an_abstract_name(void **state)
{
    char name[64];

    (void)state;
    snprintf(name, sizeof(name), "@test_notify/%ld", (long)getpid());
    listen_at(name);
    start(name, NULL, NULL);
    assert_true(notify_init(why, sizeof(why)));
    tell_all();
    assert_all_told();
}

static void test_a_manager_that_was_started_anew_is_found(void **state)
{
    (void)state;
    listen_at(path);
    start(path, NULL, NULL);
    assert_true(notify_init(why, sizeof(why)));
    close(manager);
    notify_ready(); /* lost, and no harm */
    unlink(path);
    notify_ready();
    listen_at(path);
    notify_ready();
    assert_told("READY=1");
    assert_silence();
}

static void test_a_status_is_told_once(void **state)
{
    char text[2 * NOTIFY_STATUS_MAX], expected[NOTIFY_STATUS_MAX + 8] = "STATUS=";

    (void)state;
    listen_at(path);
    start(path, NULL, NULL);
    assert_true(notify_init(why, sizeof(why)));
    for (int i = 0; i < 3; i++)
        notify_status("a");
    assert_told("STATUS=a");
    notify_status("b");
    assert_told("STATUS=b");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    notify_status(text);
    notify_status(text);
    memset(expected + 7, 'x', NOTIFY_STATUS_MAX - 1);
    assert_told(expected);
    assert_silence();
}

static void test_the_environment_is_left_clean(void **state)
{
    (void)state;
    listen_at(path);
    start(path, "3000000", NULL);
    assert_true(notify_init(why, sizeof(why)));
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_int_equal(notify_watchdog_us(), 3000000);
}

static void test_a_watchdog_of_another_process_is_none(void **state)
{
    char own[24];

    (void)state;
    listen_at(path);
    start(path, "3000000", "1");
    assert_true(notify_init(why, sizeof(why)));
    assert_int_equal(notify_watchdog_us(), 0);
    notify_close();
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    start(path, "5", own);
    assert_true(notify_init(why, sizeof(why)));
    assert_int_equal(notify_watchdog_us(), 5);
}

static void test_without_a_manager_nothing_is_done(void **state)
{
    (void)state;
    setenv("WATCHDOG_USEC", "3000000", 1);
    assert_true(notify_init(why, sizeof(why)));
    assert_false(notify_is_wanted());
    assert_int_equal(notify_watchdog_us(), 0);
    tell_all();
}

static void test_what_cannot_be_is_told(void **state)
{
    static const char *const names[] = {"", "/", "@", "relative", "vsock:2:1234"};
    static const char *const times[] = {"", "0", "-1", "1s", "99999999999999999999999"};
    char long_name[200] = "/";

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        start(names[i], NULL, NULL);
        assert_false(notify_init(why, sizeof(why)));
        assert_memory_equal(why, "NOTIFY_SOCKET is neither", 24);
        assert_false(notify_is_wanted());
    }
    memset(long_name + 1, 'x', sizeof(long_name) - 2);
    start(long_name, NULL, NULL);
    assert_false(notify_init(why, sizeof(why)));
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        start(path, times[i], NULL);
        assert_false(notify_init(why, sizeof(why)));
        assert_memory_equal(why, "WATCHDOG_USEC is no number", 26);
        notify_close();
    }
}

static void test_while_it_is_held_nothing_is_told(void **state)
{
    (void)state;
    listen_at(path);
    start(path, NULL, NULL);
    assert_true(notify_init(why, sizeof(why)));
    notify_hold(true);
    tell_all();
    notify_status("a");
    assert_silence();
    notify_hold(false);
    notify_status("a");
    assert_told("STATUS=a");
    notify_main_process(4711);
    assert_told("MAINPID=4711");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_all)
    const struct CMUnitTest tests[] = {
        TEST(test_everything_arrives_at_a_path),
        TEST(test_everything_arrives_at_an_abstract_name),
        TEST(test_a_manager_that_was_started_anew_is_found),
        TEST(test_a_status_is_told_once),
        TEST(test_the_environment_is_left_clean),
        TEST(test_a_watchdog_of_another_process_is_none),
        TEST(test_without_a_manager_nothing_is_done),
        TEST(test_what_cannot_be_is_told),
        TEST(test_while_it_is_held_nothing_is_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
