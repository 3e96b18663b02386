/* worker: the thread, its messages and acknowledgements, and what it passes on to the relay. */
#include "worker_rig.h"

static void test_relay_gets_the_parts(void **state)
{
    (void)state;
    assert_int_equal(relay.parts.worker, 1);
    assert_int_equal(relay.parts.worker_count, 2);
    assert_non_null(relay.parts.upstream);
    for (unsigned i = 0; i < SOCKETS; i++) {
        assert_int_equal(listener_index(relay.parts.listeners[i]), i);
        assert_int_equal(listener_service(relay.parts.listeners[i]), 3 + i);
    }
}

static void test_clients_are_heard_and_answered(void **state)
{
    struct world *w = *state;
    int one = client_of(w, 0), two = client_of(w, 1);

    assert_true(worker_start(w->worker));
    exchange(one, "hello");
    exchange(two, "you");
    stop_and_wait(w);
    assert_string_equal(relay.said, "34L");
    assert_int_equal(relay.walls, 1); /* before the first turn, and again when a minute is over */
    close(one);
    close(two);
}

static void test_counters_are_readable_while_it_runs(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    assert_int_equal(
        atomic_load_explicit(&worker_stats(w->worker)->client_datagrams, memory_order_relaxed), 1);
    close(fd);
}

static void test_backend_is_heard_until_the_session_is_gone(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "2");
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3bL");
    close(fd);
}

static void test_refusals_reach_the_relay(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    close(backend_fd);
    backend_fd = -1;
    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3rL");
    close(fd);
}

static void test_tick_comes_when_it_was_asked_for(void **state)
{
    struct world *w = *state;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    assert_int_equal(send(fd, "t", 1, 0), 1);
    await_count(rung, 1);
    assert_int_equal(send(fd, "t", 1, 0), 1); /* and again */
    await_count(rung, 1);
    stop_and_wait(w);
    assert_string_equal(relay.said, "3T3TL");
    close(fd);
}

static void test_messages_are_carried_out_in_order_and_acknowledged(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};
    const struct relay_order order = {.service = 1, .what = BALANCE_DRAIN};
    struct ticket_keys tickets;

    ticket_keys_init(&tickets);
    cookie_secrets_rotate(&w->cookies);
    assert_int_not_equal(relay.generation, w->cookies.generation);
    assert_true(worker_post_drain(w->worker));
    assert_true(worker_post_backend(w->worker, &order));
    assert_true(worker_post_cookies(w->worker, &w->cookies));
    assert_true(worker_post_tickets(w->worker, &tickets));
    assert_true(worker_post_setup(w->worker, &next));
    assert_null(next.conf);
    assert_nothing_added(w->acks);
    assert_true(worker_start(w->worker));
    await_count(w->acks, 5);
    assert_string_equal(relay.said, "DBCKA");
    assert_ptr_equal(relay.conf, snapshot(1));
    assert_int_equal(relay.generation, w->cookies.generation);
    assert_int_equal(cleared, 0);
}

static void test_messages_reach_a_waiting_thread(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    for (int i = 0; i < 3; i++) {
        assert_true(worker_post_drain(w->worker));
        await_count(w->acks, 1);
    }
    assert_string_equal(relay.said, "DDD");
}

static void test_stop_is_acknowledged_once_all_is_sent(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    worker_post_stop(w->worker);
    worker_post_stop(w->worker); /* harmless */
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "L");
    assert_true(relay.is_flushed);
    worker_free(w->worker);
    w->worker = NULL;
    assert_nothing_added(w->acks);
    assert_string_equal(relay.said, "LF");
}

static void test_told_to_forget_it_says_goodbye_to_all(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    worker_forget(w->worker);
    worker_post_stop(w->worker);
    worker_forget(w->worker); /* too late for anything, and harmless */
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "E");
}

static void test_messages_behind_the_stop_are_dropped(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};

    worker_post_stop(w->worker);
    assert_true(worker_post_setup(w->worker, &next));
    assert_true(worker_post_cookies(w->worker, &w->cookies));
    assert_true(worker_start(w->worker));
    worker_free(w->worker);
    w->worker = NULL;
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "LF");
    assert_int_equal(cleared, 1);
}

static void test_a_ping_is_acknowledged_again_and_again(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    for (int i = 0; i < 3; i++) {
        worker_post_ping(w->worker);
        await_count(w->acks, 1);
    }
    worker_post_ping(w->worker); /* may still wait when the end comes */
    worker_free(w->worker);
    w->worker = NULL;
    assert_string_equal(relay.said, "LF");
}

static void test_requests_of_workers_go_around_once_and_unacknowledged(void **state)
{
    struct world *w = *state;
    const struct relay_identity none_has = {.service = 1, .len = 2, .identity = "me"};
    const struct relay_identity one_has = {.service = 0, .len = 2, .identity = "me"};

    /* A ring of two, both of which are this one. */
    worker_link(w->worker, w->worker);
    relay.parts.elsewhere.end_one(relay.parts.elsewhere.arg, &none_has);
    relay.parts.elsewhere.end_one(relay.parts.elsewhere.arg, &one_has);
    assert_true(worker_post_drain(w->worker));
    assert_true(worker_start(w->worker));
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "11D");
    stop_and_wait(w);
    assert_string_equal(relay.said, "11DL");
    assert_nothing_added(w->acks);
}

static void test_records_of_other_workers_are_taken_up_to_a_bound(void **state)
{
    struct world *w = *state;
    uint8_t data[4] = {'s', 'o', 'm', 'e'};
    const struct relay_record record = {.listener = 7, .len = sizeof data, .data = data};
    const struct relay_elsewhere *to = &relay.parts.elsewhere;
    size_t taken = 0;

    worker_link(w->worker, w->worker); /* a ring of two, both of which are this one */
    assert_non_null(to->pass);
    assert_true(to->pass(to->arg, 1, &record));
    assert_false(to->pass(to->arg, 2, &record)); /* none of this ring */
    memset(data, 0, sizeof data);                /* it was copied */
    assert_true(worker_start(w->worker));
    assert_true(worker_post_drain(w->worker));
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "pD");
    stop_and_wait(w);
    assert_nothing_added(w->acks);
    while (taken < 100000 && to->pass(to->arg, 1, &record))
        taken++;
    assert_in_range(taken, 100, 10000);
}

static void test_an_inquiry_comes_back_and_is_not_acknowledged(void **state)
{
    struct world *w = *state;
    struct mailbox replies;
    struct inquiry q = {.replies = &replies};
    struct pollfd p;

    assert_true(mailbox_init(&replies));
    assert_true(worker_post_inquiry(w->worker, &q));
    assert_true(worker_post_undrain(w->worker));
    assert_true(worker_start(w->worker));
    p = (struct pollfd){.fd = mailbox_fd(&replies), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_ptr_equal(mailbox_take(&replies), &q.node);
    assert_int_equal(q.count, 7);
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "QU");
    mailbox_clear(&replies);
}

static void test_an_inquiry_behind_the_stop_is_dropped(void **state)
{
    struct world *w = *state;
    struct mailbox replies;
    struct inquiry q = {.replies = &replies};

    assert_true(mailbox_init(&replies));
    worker_post_stop(w->worker);
    assert_true(worker_post_inquiry(w->worker, &q));
    assert_true(worker_start(w->worker));
    worker_free(w->worker);
    w->worker = NULL;
    assert_null(mailbox_take(&replies));
    mailbox_clear(&replies);
}

static void test_free_stops_a_running_thread(void **state)
{
    struct world *w = *state;

    assert_true(worker_start(w->worker));
    worker_free(w->worker);
    w->worker = NULL;
    await_count(w->acks, 1);
    assert_string_equal(relay.said, "LF");
}

static void test_free_without_a_start_gives_waiting_setups_back(void **state)
{
    struct world *w = *state;
    struct relay_setup next = {.conf = snapshot(1)};

    assert_true(worker_post_setup(w->worker, &next));
    worker_free(w->worker);
    w->worker = NULL;
    assert_int_equal(cleared, 1);
    assert_string_equal(relay.said, "F");
    assert_nothing_added(w->acks);
}

static int lowest_free_descriptor(void)
{
    int fd = dup(STDERR_FILENO);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_failing_to_make_one_leaves_the_setup_and_no_descriptor(void **state)
{
    struct world *w = *state;
    struct relay_setup setup = {.conf = snapshot(2)};
    int before = lowest_free_descriptor();

    is_refusing = true;
    assert_null(worker_new(&w->params, &setup));
    assert_ptr_equal(setup.conf, snapshot(2));
    assert_int_equal(cleared, 0);
    assert_int_equal(lowest_free_descriptor(), before);
}

static void test_signals_are_blocked_in_the_thread_alone(void **state)
{
    struct world *w = *state;
    sigset_t mine;
    int fd = client_of(w, 0);

    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    stop_and_wait(w);
    assert_int_equal(sigismember(&relay.blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&relay.blocked, SIGHUP), 1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    assert_int_equal(sigismember(&mine, SIGTERM), 0);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static struct moving *await_moving(struct mailbox *replies)
{
    struct pollfd p = {.fd = mailbox_fd(replies), .events = POLLIN};
    struct list *node;

    assert_int_equal(poll(&p, 1, 5000), 1);
    node = mailbox_take(replies);
    assert_non_null(node);
    return list_entry(node, struct moving, node);
}

static void step(struct world *w, struct mailbox *replies, enum moving_step what)
{
    struct moving m = {.replies = replies, .step = what};

    worker_post_moving(w->worker, &m);
    assert_ptr_equal(await_moving(replies), &m);
    assert_true(m.is_done);
}

static void await_text(int fd, const char *expected)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char text[16];

    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_int_equal(recv(fd, text, sizeof text, 0), strlen(expected));
    assert_memory_equal(text, expected, strlen(expected));
}

/* What comes waits, as do all messages but a ping; then all of it is there. */
static void test_a_worker_that_is_still_touches_no_socket(void **state)
{
    struct world *w = *state;
    struct mailbox replies;
    int fd = client_of(w, 0);
    char text[16];

    assert_true(mailbox_init(&replies));
    assert_true(worker_start(w->worker));
    exchange(fd, "hello");
    step(w, &replies, MOVING_SETTLE);
    exchange(fd, "hello"); /* it goes on all the same */
    step(w, &replies, MOVING_STOP);
    assert_int_equal(send(fd, "later", 5, 0), 5);
    assert_true(worker_post_drain(w->worker));
    worker_post_ping(w->worker);
    await_count(w->acks, 1); /* the ping's */
    step(w, &replies, MOVING_PACK);
    assert_nothing_added(w->acks);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    step(w, &replies, MOVING_GO_ON);
    await_text(fd, "later");
    await_count(w->acks, 1);
    stop_and_wait(w);
    close(fd);
    mailbox_clear(&replies);
}

static void test_a_worker_that_has_let_go_hears_of_its_end_alone(void **state)
{
    struct world *w = *state;
    struct mailbox replies;
    int fd = client_of(w, 0);
    char text[16];

    assert_true(mailbox_init(&replies));
    assert_true(worker_start(w->worker));
    step(w, &replies, MOVING_STOP);
    step(w, &replies, MOVING_LET_GO);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    assert_true(worker_post_drain(w->worker));
    stop_and_wait(w);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    assert_string_equal(relay.said, "L");
    close(fd);
    mailbox_clear(&replies);
}

/* They would be lost where they are, and nobody can hand them over once the sessions have gone. */
static void test_records_of_others_are_dealt_with_before_it_packs(void **state)
{
    struct world *w = *state;
    const struct relay_elsewhere *to = &relay.parts.elsewhere;
    const struct relay_record record = {.listener = 7, .len = 4, .data = (const uint8_t *)"some"};
    struct mailbox replies;

    worker_link(w->worker, w->worker);
    assert_true(mailbox_init(&replies));
    assert_true(worker_start(w->worker));
    step(w, &replies, MOVING_STOP);
    assert_true(to->pass(to->arg, 1, &record));
    assert_true(worker_post_drain(w->worker));
    assert_true(to->pass(to->arg, 1, &record));
    worker_post_ping(w->worker);
    await_count(w->acks, 1);
    assert_string_equal(relay.said, ""); /* it rests */
    step(w, &replies, MOVING_PACK);
    assert_string_equal(relay.said, "ppK");
    assert_true(to->pass(to->arg, 1, &record)); /* if all is taken back, by one that has begun */
    unsigned flushes = atomic_load(&relay.flushes);
    step(w, &replies, MOVING_GO_ON);
    await_count(w->acks, 1);
    while (atomic_load(&relay.flushes) == flushes) /* without any other event */
        sched_yield();
    stop_and_wait(w);
    assert_string_equal(relay.said, "ppKDpL");
    mailbox_clear(&replies);
}

static void test_a_worker_may_begin_still(void **state)
{
    struct world *w = *state;
    struct mailbox replies;
    int fd = client_of(w, 0);
    char text[16];

    assert_true(mailbox_init(&replies));
    worker_free(w->worker);
    w->params.is_stopped = true;
    w->setup.conf = snapshot(0);
    w->worker = worker_new(&w->params, &w->setup);
    assert_non_null(w->worker);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    assert_true(worker_start(w->worker));
    worker_post_ping(w->worker);
    await_count(w->acks, 1);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    step(w, &replies, MOVING_GO_ON);
    await_text(fd, "hello");
    stop_and_wait(w);
    close(fd);
    mailbox_clear(&replies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_relay_gets_the_parts),
        TEST(test_clients_are_heard_and_answered),
        TEST(test_counters_are_readable_while_it_runs),
        TEST(test_backend_is_heard_until_the_session_is_gone),
        TEST(test_refusals_reach_the_relay),
        TEST(test_tick_comes_when_it_was_asked_for),
        TEST(test_messages_are_carried_out_in_order_and_acknowledged),
        TEST(test_messages_reach_a_waiting_thread),
        TEST(test_stop_is_acknowledged_once_all_is_sent),
        TEST(test_told_to_forget_it_says_goodbye_to_all),
        TEST(test_messages_behind_the_stop_are_dropped),
        TEST(test_a_ping_is_acknowledged_again_and_again),
        TEST(test_requests_of_workers_go_around_once_and_unacknowledged),
        TEST(test_records_of_other_workers_are_taken_up_to_a_bound),
        TEST(test_an_inquiry_comes_back_and_is_not_acknowledged),
        TEST(test_an_inquiry_behind_the_stop_is_dropped),
        TEST(test_free_stops_a_running_thread),
        TEST(test_free_without_a_start_gives_waiting_setups_back),
        TEST(test_failing_to_make_one_leaves_the_setup_and_no_descriptor),
        TEST(test_signals_are_blocked_in_the_thread_alone),
        TEST(test_a_worker_that_is_still_touches_no_socket),
        TEST(test_a_worker_that_has_let_go_hears_of_its_end_alone),
        TEST(test_records_of_others_are_dealt_with_before_it_packs),
        TEST(test_a_worker_may_begin_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
