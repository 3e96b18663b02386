/*
 * test_fleet: all workers as one: what they owe is counted, a reload is made whole before any is
 * told, and the end comes once.
 */
#include "conf_text.h"
#include "log_text.h"

#include "daemon/fleet.h"

#include <poll.h>

#define WORKERS "daemon.workers=3"

static const char *const usual[] = {WORKERS, NULL};

struct fixture {
    struct conf *conf;
    struct sockets sockets;
    struct fleet *fleet;
};

static int set_up(void **state)
{
    static struct fixture f;
    char why[128];

    f.conf = load_good(MINIMAL, usual);
    assert_true(sockets_open(&f.sockets, f.conf, "x.ini", &errors));
    f.fleet = fleet_new(f.conf, &f.sockets, why, sizeof why);
    assert_non_null(f.fleet);
    log_capture();
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fleet_free(f->fleet);
    sockets_close(&f->sockets);
    assert_int_equal(f->conf->references, 1); /* nobody else holds on to it */
    conf_unref(f->conf);
    log_release();
    return 0;
}

static void start(struct fixture *f)
{
    char why[128];

    assert_true(fleet_start(f->fleet, why, sizeof why));
}

static void await_settled(struct fleet *f)
{
    struct pollfd p = {.fd = fleet_acks(f), .events = POLLIN};

    while (!fleet_is_settled(f)) {
        assert_int_equal(poll(&p, 1, 5000), 1);
        fleet_take_acks(f);
    }
}

static void assert_quiet(struct fleet *f)
{
    struct pollfd p = {.fd = fleet_acks(f), .events = POLLIN};

    assert_int_equal(poll(&p, 1, 0), 0);
    fleet_take_acks(f); /* harmless */
    assert_true(fleet_is_settled(f));
}

static void test_a_fleet_that_never_starts_can_be_freed(void **state)
{
    struct fixture *f = *state;

    assert_true(fleet_is_settled(f->fleet));
    fleet_rotate_cookies(f->fleet);
    assert_false(fleet_is_settled(f->fleet)); /* nobody carries it out */
}

static void test_a_fleet_that_was_not_stopped_can_be_freed(void **state)
{
    struct fixture *f = *state;

    start(f);
    fleet_rotate_cookies(f->fleet);
}

static void test_stopping_is_acknowledged_by_all(void **state)
{
    struct fixture *f = *state;

    start(f);
    fleet_stop(f->fleet);
    assert_false(fleet_is_settled(f->fleet));
    await_settled(f->fleet);
    assert_quiet(f->fleet);
}

static void test_stopping_twice_waits_for_nothing_more(void **state)
{
    struct fixture *f = *state;

    start(f);
    fleet_stop(f->fleet);
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    fleet_stop(f->fleet);
    assert_quiet(f->fleet);
}

static void test_stopping_what_never_started_waits_for_nobody(void **state)
{
    struct fixture *f = *state;

    fleet_stop(f->fleet);
    assert_true(fleet_is_settled(f->fleet));
}

static void test_everything_posted_is_acknowledged(void **state)
{
    struct fixture *f = *state;

    start(f);
    for (int i = 0; i < 5; i++)
        fleet_rotate_cookies(f->fleet);
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    assert_quiet(f->fleet);
}

/* From the first look on, as long as the longest ticket of any service lives. */
static void test_ticket_keys_are_renewed_in_time(void **state)
{
    static const char *const wanted[] = {WORKERS, "service.a.resumption=yes",
                                         "service.a.ticket-lifetime=2h", NULL};
    const uint64_t begin = 5000, turn = UINT64_C(2) * 60 * 60 * 1000;
    struct fixture *f = *state;
    struct conf *conf = load_good(MINIMAL, wanted);

    fleet_age_tickets(f->fleet, conf, begin);
    fleet_age_tickets(f->fleet, conf, begin + turn - 1);
    assert_true(fleet_is_settled(f->fleet));
    fleet_age_tickets(f->fleet, conf, begin + turn);
    assert_false(fleet_is_settled(f->fleet));
    start(f);
    await_settled(f->fleet);
    fleet_age_tickets(f->fleet, conf, begin + 2 * turn - 1);
    assert_true(fleet_is_settled(f->fleet));
    fleet_age_tickets(f->fleet, conf, begin + 2 * turn);
    await_settled(f->fleet);
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    assert_quiet(f->fleet);
    conf_unref(conf);
}

/* Those that have sealed something go, and with them what a handshake may have sealed since. */
static void test_ticket_keys_that_nobody_wants_any_more_are_gone(void **state)
{
    static const char *const wanted[] = {WORKERS, "service.a.resumption=yes", NULL};
    struct fixture *f = *state;
    struct conf *conf = load_good(MINIMAL, wanted);
    struct ticket_keys before, after;
    uint64_t age = 1;

    for (int round = 0; round < 2; round++) {
        const uint64_t now = 5000 + (uint64_t)round * 2000000;
        fleet_age_tickets(f->fleet, conf, now);
        before = *fleet_tickets(f->fleet, now, &age);
        for (int i = 1; i <= 3; i++) {
            fleet_age_tickets(f->fleet, f->conf, now + (uint64_t)i * 300000);
            after = *fleet_tickets(f->fleet, now + (uint64_t)i * 300000, &age);
            assert_int_equal(age, 0);
            assert_memory_not_equal(&after.newest, &before.newest, sizeof after.newest);
            assert_memory_not_equal(&after.before, &before.before, sizeof after.before);
            assert_memory_not_equal(&after.before, &before.newest, sizeof after.before);
            before = after;
        }
        fleet_age_tickets(f->fleet, f->conf, now + 1200000);
        assert_memory_equal(fleet_tickets(f->fleet, now + 1200000, &age), &after, sizeof after);
    }
    assert_false(fleet_is_settled(f->fleet)); /* the workers are told */
    conf_unref(conf);
}

/* A look comes later than the shortest life, and a reload may make it shorter: the newest has
 * sealed until just now. */
static void test_late_ticket_keys_still_open_what_they_have_sealed(void **state)
{
    static const char *const wanted[] = {WORKERS, "service.a.resumption=yes",
                                         "service.a.ticket-lifetime=1m", NULL};
    struct fixture *f = *state;
    struct conf *conf = load_good(MINIMAL, wanted);
    struct ticket_keys before;
    uint64_t age;

    fleet_age_tickets(f->fleet, conf, 5000);
    before = *fleet_tickets(f->fleet, 5000, &age);
    fleet_age_tickets(f->fleet, conf, 305000);
    assert_memory_equal(&fleet_tickets(f->fleet, 305000, &age)->before, &before.newest,
                        sizeof before.newest);
    assert_int_equal(age, 0);
    conf_unref(conf);
}

/* As another process would have renewed them, and neither sooner nor later. */
static void test_ticket_keys_of_another_process_are_renewed_in_time(void **state)
{
    static const char *const wanted[] = {WORKERS, "service.a.resumption=yes",
                                         "service.a.ticket-lifetime=2h", NULL};
    const uint64_t now = UINT64_C(100) * 60 * 60 * 1000, turn = UINT64_C(2) * 60 * 60 * 1000;
    const struct ticket_keys other = {.newest = {.name = "one", .key = "1"},
                                      .before = {.name = "two", .key = "2"},
                                      .is_set = true};
    struct fixture *f = *state;
    struct conf *conf = load_good(MINIMAL, wanted);
    uint64_t age = 1;

    (void)fleet_tickets(f->fleet, now, &age);
    assert_int_equal(age, 0); /* nobody has looked yet */
    fleet_use_tickets(f->fleet, &other, turn - 10, now);
    assert_memory_equal(fleet_tickets(f->fleet, now + 3, &age), &other, sizeof other);
    assert_int_equal(age, turn - 7);
    fleet_age_tickets(f->fleet, conf, now + 9);
    assert_true(fleet_is_settled(f->fleet));
    fleet_age_tickets(f->fleet, conf, now + 10);
    assert_false(fleet_is_settled(f->fleet));
    assert_memory_equal(&fleet_tickets(f->fleet, now + 11, &age)->before, &other.newest,
                        sizeof other.newest);
    assert_int_equal(age, 1);
    fleet_use_tickets(f->fleet, &other, 3 * now, now); /* older than this host */
    (void)fleet_tickets(f->fleet, now, &age);
    assert_int_equal(age, 3 * now);
    fleet_age_tickets(f->fleet, conf, now);
    assert_memory_equal(&fleet_tickets(f->fleet, now, &age)->before, &other.newest,
                        sizeof other.newest); /* it has sealed until now */
    assert_int_equal(age, 0);
    conf_unref(conf);
}

static void test_a_ping_is_answered_by_all_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    start(f);
    for (int i = 0; i < 3; i++) {
        fleet_ping(f->fleet);
        assert_false(fleet_is_settled(f->fleet));
        await_settled(f->fleet);
    }
    assert_quiet(f->fleet);
    fleet_ping(f->fleet);
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    assert_int_equal(fleet_sessions(f->fleet), 0);
}

static void test_a_reload_reaches_all(void **state)
{
    struct fixture *f = *state;
    struct conf *next = load_good(MINIMAL, usual);
    char why[128];

    start(f);
    struct fleet_settings *settings = fleet_prepare(f->fleet, next, why, sizeof why);
    assert_non_null(settings);
    assert_true(fleet_is_settled(f->fleet)); /* nobody was told yet */
    assert_int_equal(f->conf->references, 1 + 3);
    assert_int_equal(fleet_commit(f->fleet, settings), 0);
    await_settled(f->fleet);
    assert_int_equal(f->conf->references, 1);
    assert_int_equal(next->references, 1 + 3);
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    fleet_free(f->fleet);
    f->fleet = NULL;
    assert_int_equal(next->references, 1);
    conf_unref(next);
}

static void test_a_discarded_reload_reaches_nobody(void **state)
{
    struct fixture *f = *state;
    struct conf *next = load_good(MINIMAL, usual);
    char why[128];

    start(f);
    fleet_discard(fleet_prepare(f->fleet, next, why, sizeof why));
    assert_quiet(f->fleet);
    assert_int_equal(next->references, 1);
    conf_unref(next);
}

static void test_a_reload_that_cannot_be_prepared_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct conf *next = load_good(MINIMAL, usual);
    char *ciphers = next->service[0].ciphers, none[] = "NULL-SHA";
    char why[128] = "";

    next->service[0].ciphers = none; /* what conf_load() would have refused */
    assert_null(fleet_prepare(f->fleet, next, why, sizeof why));
    assert_string_not_equal(why, "");
    assert_int_equal(next->references, 1);
    assert_true(fleet_is_settled(f->fleet));
    next->service[0].ciphers = ciphers;
    conf_unref(next);
}

static void test_a_fleet_that_cannot_be_made_says_why(void **state)
{
    struct fixture *f = *state;
    char *ciphers = f->conf->service[0].ciphers, none[] = "NULL-SHA";
    char why[128] = "";

    f->conf->service[0].ciphers = none;
    assert_null(fleet_new(f->conf, &f->sockets, why, sizeof why));
    assert_string_not_equal(why, "");
    f->conf->service[0].ciphers = ciphers;
}

static void test_a_drain_reaches_all(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_int_equal(fleet_drain(f->fleet, true), 0);
    assert_int_equal(fleet_drain(f->fleet, false), 0);
    assert_false(fleet_is_settled(f->fleet));
    await_settled(f->fleet);
    assert_quiet(f->fleet);
}

static void await_reply(struct fleet *f, const struct inquiry *q)
{
    struct pollfd p = {.fd = fleet_replies(f), .events = POLLIN};

    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_ptr_equal(fleet_take_reply(f), q);
    assert_null(fleet_take_reply(f));
}

static void test_each_worker_answers_an_inquiry(void **state)
{
    static struct inquiry q;
    struct fixture *f = *state;

    start(f);
    assert_int_equal(fleet_count(f->fleet), 3);
    for (unsigned i = 0; i < 3; i++) {
        q = (struct inquiry){.kind = INQUIRY_RECENT, .limit = 1};
        assert_true(fleet_inquire(f->fleet, i, &q));
        await_reply(f->fleet, &q);
        assert_int_equal(q.count, 0);
        assert_int_equal(fleet_stats(f->fleet, i)->sessions, 0);
    }
    assert_quiet(f->fleet); /* it is not acknowledged, too */
}

static void test_inquiries_at_the_end_stay_the_askers(void **state)
{
    static struct inquiry early, late;
    struct fixture *f = *state;

    start(f);
    early = late = (struct inquiry){.kind = INQUIRY_RECENT, .limit = 1};
    assert_true(fleet_inquire(f->fleet, 0, &early)); /* nobody takes it */
    fleet_stop(f->fleet);
    assert_false(fleet_inquire(f->fleet, 0, &late));
    await_settled(f->fleet);
}

static void test_totals_are_one_line_without_zeros(void **state)
{
    struct fixture *f = *state;
    struct addr self;
    int fd = udp_connect(&sockets_of(&f->sockets, 0)->bound, &self);
    unsigned lines = 0;

    assert_true(fd >= 0);
    assert_int_equal(send(fd, "junk", 4, 0), 4);
    start(f);
    /* The stop is carried out before or behind the datagram, as the loop likes it. */
    fleet_stop(f->fleet);
    await_settled(f->fleet);
    fleet_log_totals(f->fleet);
    lines += log_count("info totals: workers=3 client_datagrams=1 client_bytes=4 "
                       "client_records=1 client.drop_junk=1\n");
    lines += log_count("info totals: workers=3\n");
    assert_int_equal(lines, 1);
    close(fd);
}

#define WITH_FLEET(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FLEET(test_a_fleet_that_never_starts_can_be_freed),
        WITH_FLEET(test_a_fleet_that_was_not_stopped_can_be_freed),
        WITH_FLEET(test_stopping_is_acknowledged_by_all),
        WITH_FLEET(test_stopping_twice_waits_for_nothing_more),
        WITH_FLEET(test_stopping_what_never_started_waits_for_nobody),
        WITH_FLEET(test_everything_posted_is_acknowledged),
        WITH_FLEET(test_ticket_keys_are_renewed_in_time),
        WITH_FLEET(test_ticket_keys_that_nobody_wants_any_more_are_gone),
        WITH_FLEET(test_late_ticket_keys_still_open_what_they_have_sealed),
        WITH_FLEET(test_ticket_keys_of_another_process_are_renewed_in_time),
        WITH_FLEET(test_a_ping_is_answered_by_all_and_leaves_nothing),
        WITH_FLEET(test_a_reload_reaches_all),
        WITH_FLEET(test_a_discarded_reload_reaches_nobody),
        WITH_FLEET(test_a_reload_that_cannot_be_prepared_leaves_nothing),
        WITH_FLEET(test_a_fleet_that_cannot_be_made_says_why),
        WITH_FLEET(test_a_drain_reaches_all),
        WITH_FLEET(test_each_worker_answers_an_inquiry),
        WITH_FLEET(test_inquiries_at_the_end_stay_the_askers),
        WITH_FLEET(test_totals_are_one_line_without_zeros),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
