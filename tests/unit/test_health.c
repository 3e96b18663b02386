/*
 * test_health: backends that answer probes, that do not, and that refuse them; what the workers
 * know of it, and what the log says.
 */
#include "conf_text.h"
#include "log_text.h"
#include "loop_rig.h"

#include "base/udp.h"
#include "daemon/fleet.h"
#include "daemon/health.h"

#include <stdio.h>
#include <sys/socket.h>

struct world {
    struct conf *conf;
    struct sockets sockets;
    struct fleet *fleet;
    struct event_base *base;
    struct health *health;
    struct addr at[2];
    int fd[2]; /* the backends */
    struct event *answer[2];
    unsigned asked[2];
    bool is_silent[2];
    struct event *acks;
};

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
    struct world *w = arg;
    unsigned which = fd == w->fd[1];
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    char got[16];
    ssize_t n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&name, &len);

    (void)what;
    if (n != 2) /* a port of the kernel's choice: whoever had it before may still be spoken to */
        return;
    assert_memory_equal(got, w->asked[which]++ % 2 == 0 ? "\x40\x01" : "hi", 2);
    if (!w->is_silent[which])
        (void)sendto(fd, "", 0, 0, (struct sockaddr *)&name, len);
}

static void on_acks(evutil_socket_t fd, short what, void *arg)
{
    struct world *w = arg;

    (void)fd;
    (void)what;
    fleet_take_acks(w->fleet);
}

static struct fleet_backend look(const struct world *w, unsigned number)
{
    struct fleet_backend list[BALANCE_SLOTS];

    assert_int_equal(fleet_backends(w->fleet, 0, 1000, list), 2);
    return list[number];
}

/* Turns the loop until so many of the two workers take a backend for up. */
static void await_up(struct world *w, unsigned number, unsigned up)
{
    struct event *guard = loop_guard(w->base);

    while (look(w, number).up != up)
        event_base_loop(w->base, EVLOOP_ONCE);
    event_free(guard);
}

static struct conf *settings(const struct world *w, const char *more)
{
    char text[ADDR_TEXT_MAX], other[ADDR_TEXT_MAX], backend[256];
    const char *const overrides[] = {"daemon.workers=2",
                                     backend,
                                     "service.a.probe=udp:4001,6869",
                                     "service.a.probe-interval=100ms",
                                     more,
                                     NULL};

    snprintf(backend, sizeof(backend), "service.a.backend=%s, %s", addr_format(&w->at[0], text),
             addr_format(&w->at[1], other));
    return load_good(MINIMAL, overrides);
}

static void use(struct world *w, const char *more)
{
    struct conf *next = settings(w, more);
    char why[128];
    struct fleet_settings *s = fleet_prepare(w->fleet, next, why, sizeof(why));

    assert_non_null(s);
    assert_int_equal(fleet_commit(w->fleet, s), 0);
    assert_true(health_use(w->health, next));
    conf_unref(w->conf);
    w->conf = next;
}

static int set_up(void **state)
{
    static struct world w;
    struct addr any;
    char why[128];

    w = (struct world){.base = event_base_new()};
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    for (int i = 0; i < 2; i++) {
        w.fd[i] = udp_listen(&any, false, false, &w.at[i]);
        assert_true(w.fd[i] >= 0);
        w.answer[i] = event_new(w.base, w.fd[i], EV_READ | EV_PERSIST, on_probe, &w);
        assert_int_equal(event_add(w.answer[i], NULL), 0);
    }
    w.conf = settings(&w, NULL);
    assert_true(sockets_open(&w.sockets, w.conf, "x.ini", &errors));
    log_capture();
    w.fleet = fleet_new(w.conf, &w.sockets, why, sizeof(why));
    assert_non_null(w.fleet);
    w.acks = event_new(w.base, fleet_acks(w.fleet), EV_READ | EV_PERSIST, on_acks, &w);
    assert_int_equal(event_add(w.acks, NULL), 0);
    assert_true(fleet_start(w.fleet, why, sizeof(why)));
    w.health = health_new(w.base, w.fleet);
    assert_non_null(w.health);
    assert_true(health_use(w.health, w.conf));
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    health_free(w->health);
    fleet_free(w->fleet);
    for (int i = 0; i < 2; i++) {
        event_free(w->answer[i]);
        if (w->fd[i] >= 0)
            close(w->fd[i]);
    }
    event_free(w->acks);
    event_base_free(w->base);
    sockets_close(&w->sockets);
    assert_int_equal(w->conf->references, 1);
    conf_unref(w->conf);
    log_release();
    return 0;
}

static void test_all_datagrams_are_sent_and_any_answer_will_do(void **state)
{
    struct world *w = *state;

    while (w->asked[0] < 8 || w->asked[1] < 8)
        event_base_loop(w->base, EVLOOP_ONCE);
    assert_int_equal(look(w, 0).up, 2);
    assert_int_equal(log_count("backend"), 0);
}

static void test_two_unanswered_are_down_and_one_answer_is_up(void **state)
{
    struct world *w = *state;

    w->is_silent[1] = true;
    await_up(w, 1, 0);
    assert_int_equal(look(w, 0).up, 2);
    assert_int_equal(log_count("warning backend down: service=a "), 1);
    assert_int_equal(log_count("reason=\"does not answer the probe\""), 1);
    w->is_silent[1] = false;
    await_up(w, 1, 2);
    assert_int_equal(log_count("info backend up: service=a "), 1);
}

static void test_a_refusal_is_down_at_once(void **state)
{
    struct world *w = *state;

    event_del(w->answer[0]);
    close(w->fd[0]);
    w->fd[0] = -1;
    await_up(w, 0, 0);
    assert_int_equal(log_count("reason=\"refuses the probe\""), 1);
    w->fd[0] = udp_listen(&w->at[0], false, false, &w->at[0]);
    assert_true(w->fd[0] >= 0);
    event_free(w->answer[0]);
    w->answer[0] = event_new(w->base, w->fd[0], EV_READ | EV_PERSIST, on_probe, w);
    assert_int_equal(event_add(w->answer[0], NULL), 0);
    await_up(w, 0, 2);
}

static void test_a_reload_remembers_who_is_down(void **state)
{
    struct world *w = *state;

    w->is_silent[0] = true;
    await_up(w, 0, 0);
    use(w, "service.a.mtu=1000");
    use(w, "service.a.mtu=1100");
    w->is_silent[0] = false;
    await_up(w, 0, 2);
    assert_int_equal(log_count("backend down"), 1);
    assert_int_equal(log_count("backend up"), 1);
    w->is_silent[0] = true;
    await_up(w, 0, 0);
    use(w, "service.a.probe=none");
    await_up(w, 0, 2); /* nobody asks any more */
}

static void test_an_order_reaches_all_workers(void **state)
{
    struct world *w = *state;
    struct relay_order order = {.what = BALANCE_DRAIN, .backend = w->at[1]};

    assert_int_equal(fleet_tell_backend(w->fleet, &order), 0);
    while (!fleet_is_settled(w->fleet))
        event_base_loop(w->base, EVLOOP_ONCE);
    assert_true(look(w, 1).is_drained);
    assert_false(look(w, 0).is_drained);
    const struct addr second = look(w, 1).addr;
    assert_true(addr_equal(&second, &w->at[1]));
    order.what = BALANCE_UNDRAIN;
    assert_int_equal(fleet_tell_backend(w->fleet, &order), 0);
    while (!fleet_is_settled(w->fleet))
        event_base_loop(w->base, EVLOOP_ONCE);
    assert_false(look(w, 1).is_drained);
    assert_int_equal(look(w, 1).state, BALANCE_UP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_datagrams_are_sent_and_any_answer_will_do),
        TEST(test_two_unanswered_are_down_and_one_answer_is_up),
        TEST(test_a_refusal_is_down_at_once),
        TEST(test_a_reload_remembers_who_is_down),
        TEST(test_an_order_reaches_all_workers),
    };

    return cmocka_run_group_tests_name("health", tests, conf_text_setup, conf_text_teardown);
}
