/*
 * test_helper: connections to a helper, which is a socket of the test's, on a real event loop that
 * the test turns.
 */
#include "proxy/helper.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY "000102030405060708090a0b0c0d0e0f"

static char folder[] = "/tmp/test_helper.XXXXXX";
static char path[64];
static int listening, peer;
static struct event_base *base;
static struct helpers *helpers;
static char told[4 * HELPER_QUEUE]; /* a token and a verdict, two letters each */
static const char *last_why;

static void on_answer(void *arg, void *token, const struct helper_answer *a)
{
    size_t n = strlen(told);

    (void)arg;
    assert_true(n + 3 < sizeof told);
    told[n] = *(char *)token;
    told[n + 1] = "KN!"[a->verdict];
    if (a->verdict == HELPER_FAILED)
        last_why = a->why;
}

static int setup(void **state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    (void)state;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/socket", folder);
    strcpy(name.sun_path, path);
    listening = socket(AF_UNIX, SOCK_STREAM, 0);
    peer = -1;
    memset(told, 0, sizeof told);
    last_why = NULL;
    base = event_base_new();
    helpers = helpers_new(base, on_answer, NULL);
    return bind(listening, (struct sockaddr *)&name, sizeof name) || listen(listening, 4);
}

static int teardown(void **state)
{
    (void)state;
    helpers_free(helpers);
    event_base_free(base);
    if (peer >= 0)
        close(peer);
    close(listening);
    (void)unlink(path); /* which a test may have done */
    return rmdir(folder);
}

static const char *ask(const char *token)
{
    const struct helper_question q = {(const uint8_t *)token, strlen(token),
                                      (void *)(uintptr_t)token};

    return helpers_ask(helpers, 0, path, &q);
}

static void turn(void)
{
    assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static void accept_peer(void)
{
    peer = accept(listening, NULL, NULL);
    assert_true(peer >= 0);
}

/* All that has come, a string. */
static const char *heard(void)
{
    static char text[1 << 16];
    ssize_t n = recv(peer, text, sizeof text - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = 0;
    return text;
}

static void say(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), 0), strlen(text));
    turn();
}

static void test_answers_come_in_order(void **state)
{
    (void)state;
    assert_null(ask("a"));
    assert_null(ask("b"));
    accept_peer();
    turn();
    assert_string_equal(heard(), "get a\nget b\n");
    assert_null(ask("c"));
    turn();
    assert_string_equal(heard(), "get c\n");
    say(KEY "\nno");
    assert_string_equal(told, "aK");
    say("ne\n" KEY);
    assert_string_equal(told, "aKbN");
    say("\n");
    assert_string_equal(told, "aKbNcK");
}

static void test_nobody_is_there(void **state)
{
    (void)state;
    close(listening);
    listening = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_string_equal(ask("a"), "Connection refused");
    unlink(path);
    assert_string_equal(ask("a"), "No such file or directory");
    turn();
    assert_string_equal(told, "");
}

static void assert_broken_by(const char *text, const char *why, const char *what)
{
    assert_null(ask("a"));
    assert_null(ask("b"));
    accept_peer();
    turn();
    say(text);
    assert_string_equal(told, what);
    assert_string_equal(last_why, why);
    turn();
    assert_string_equal(heard(), "get a\nget b\n");
    assert_int_equal(recv(peer, &(char){0}, 1, 0), 0); /* it has hung up */
    close(peer);
    assert_null(ask("c"));
    accept_peer();
    turn();
    assert_string_equal(heard(), "get c\n");
}

static void test_nonsense(void **state)
{
    (void)state;
    assert_broken_by("hello\n" KEY "\n", "its answer is neither a key in hex nor none", "a!b!");
}

static void test_nonsense_behind_an_answer(void **state)
{
    (void)state;
    assert_broken_by("none\n\n", "its answer is neither a key in hex nor none", "aNb!");
}

static void test_an_answer_that_never_ends(void **state)
{
    char text[HELPER_ANSWER_MAX + 2] = {0};

    (void)state;
    memset(text, 'a', sizeof text - 1);
    assert_broken_by(text, "its answer is too long", "a!b!");
}

static void test_an_answer_that_nobody_asked_for(void **state)
{
    (void)state;
    assert_null(ask("a"));
    accept_peer();
    turn();
    say("none\nnone\n");
    assert_string_equal(told, "aN");
    assert_string_equal(heard(), "get a\n");
    assert_int_equal(recv(peer, &(char){0}, 1, 0), 0);
}

static void test_it_hangs_up(void **state)
{
    (void)state;
    ask("a");
    accept_peer();
    turn();
    close(peer);
    turn();
    assert_string_equal(told, "a!");
    assert_null(ask("b"));
    accept_peer();
    turn();
    assert_string_equal(heard(), "get b\n");
}

static void test_a_reset(void **state)
{
    (void)state;
    helpers_reset(helpers, 0, "nothing is there");
    ask("a");
    helpers_reset(helpers, 1, "somebody else");
    assert_string_equal(told, "");
    helpers_reset(helpers, 0, "enough");
    assert_string_equal(told, "a!");
    assert_string_equal(last_why, "enough");
}

static unsigned lines_of(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void test_the_window_and_the_queue(void **state)
{
    unsigned count = 0;

    (void)state;
    for (int i = 0; i < HELPER_QUEUE; i++)
        assert_null(ask("a"));
    assert_string_equal(ask("a"), "too many questions wait for it");
    accept_peer();
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(lines_of(heard()), HELPER_WINDOW);
    for (int i = 0; i < HELPER_QUEUE; i++) {
        say("none\n");
        turn();
        count += lines_of(heard());
    }
    assert_int_equal(count, HELPER_QUEUE - HELPER_WINDOW);
    assert_int_equal(strlen(told), 2 * HELPER_QUEUE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_come_in_order),
        TEST(test_nobody_is_there),
        TEST(test_nonsense),
        TEST(test_nonsense_behind_an_answer),
        TEST(test_an_answer_that_never_ends),
        TEST(test_an_answer_that_nobody_asked_for),
        TEST(test_it_hangs_up),
        TEST(test_a_reset),
        TEST(test_the_window_and_the_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
