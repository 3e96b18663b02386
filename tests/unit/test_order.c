/*
 * test_order: each command does what it says to a made-up dtlsgate, and what comes later ends its
 * answer. The system tests have them all against a real one.
 */
#include "daemon/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct order o;
static struct view now;
static enum log_level level;
static unsigned untold;
static int drained; /* 1 on, -1 off */
static struct conf conf;

static void look(void *arg, struct view *v)
{
    (void)arg;
    *v = now;
}

static bool reopen_log(void *arg, char *why, size_t why_size)
{
    (void)arg;
    snprintf(why, why_size, "the disk is on fire");
    return untold == 0;
}

static void set_log_level(void *arg, enum log_level wanted)
{
    (void)arg;
    level = wanted;
}

static unsigned drain(void *arg, bool is_on)
{
    (void)arg;
    drained = is_on ? 1 : -1;
    return untold;
}

static struct relay_order told;

static unsigned tell_backend(void *arg, const struct relay_order *order)
{
    (void)arg;
    told = *order;
    return untold;
}

static unsigned forgotten;

static void forget(void *arg)
{
    (void)arg;
    forgotten++;
}

static const char *take(const char *line)
{
    static const struct order_hooks hooks = {look,         reopen_log, set_log_level, drain,
                                             tell_backend, forget,     "events",      NULL};

    order_clear(&o);
    order_take(&o, line, strlen(line), &hooks);
    return o.show.text.data != NULL ? o.show.text.data : "";
}

static void assert_walk(const char *line, enum inquiry_kind ask)
{
    take(line);
    assert_int_equal(o.kind, ORDER_WALK);
    assert_int_equal(o.ask, ask);
}

static void test_one_backend_is_drained(void **state)
{
    struct backend list[2] = {{.name = NULL}, {.name = (char[]){"a.example:53"}}};
    struct conf_service services[2] = {{.name = (char[]){"coap"}}, {.name = (char[]){"dns"}}};
    const struct conf before = conf;
    char text[ADDR_TEXT_MAX];

    (void)state;
    assert_true(addr_parse(&list[0].addr, "192.0.2.1:53"));
    assert_true(addr_parse(&list[1].addr, "192.0.2.2:53"));
    services[1].backend = (struct backends){list, 2};
    conf = (struct conf){.service = services, .service_count = 2};
    assert_string_equal(take("backend dns 192.0.2.1:53 drain"), "ok\ndraining: yes\n");
    assert_true(o.is_change && told.service == 1 && told.what == BALANCE_DRAIN && !told.is_move);
    assert_string_equal(addr_format(&told.backend, text), "192.0.2.1:53");
    assert_string_equal(take("backend dns a.example:53 up --json"), "ok\n{\"draining\":false}\n");
    assert_int_equal(told.what, BALANCE_UNDRAIN);
    assert_string_equal(addr_format(&told.backend, text), "192.0.2.2:53");
    told.service = 9;
    assert_string_equal(take("backend ntp 192.0.2.1:53 drain"),
                        "error: no service has this name; status lists them\n");
    assert_string_equal(take("backend dns 192.0.2.3:53 drain"),
                        "error: this is no backend of the service; status lists them\n");
    assert_string_equal(take("backend coap 192.0.2.1:53 drain"),
                        "error: this is no backend of the service; status lists them\n");
    assert_string_equal(take("backend dns 192.0.2.1:53 down"),
                        "error: a backend can be told drain or up\n");
    assert_int_equal(told.service, 9);
    conf = before;
}

static void test_what_is_done_at_once(void **state)
{
    (void)state;
    assert_string_equal(take("drain"), "ok\ndraining: yes\n");
    assert_true(o.is_change && drained == 1);
    assert_string_equal(take("undrain --json"), "ok\n{\"draining\":false}\n");
    assert_int_equal(drained, -1);
    assert_string_equal(take("log-level debug"), "ok\nlog-level: debug\n");
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_string_equal(take("reopen"), "ok\nreopened: yes\n");
    take("version");
    assert_false(o.is_change);
    assert_non_null(strstr(o.show.text.data, "event-library: events\n"));
    assert_string_equal(take("stop"), "ok\nstopping: yes\n");
    assert_int_equal(forgotten, 0);
    assert_string_equal(take("stop farewell"), "ok\nstopping: yes\n");
    assert_int_equal(o.kind, ORDER_STOP);
    assert_int_equal(forgotten, 1);
    assert_string_equal(take("stop now"), "error: stop can be told farewell, and nothing else\n");
    assert_int_equal(o.kind, ORDER_ANSWERED);
    take("stop");
    assert_int_equal(o.kind, ORDER_STOP);
}

static void test_what_fails_says_so(void **state)
{
    (void)state;
    untold = 2;
    assert_string_equal(take("drain"),
                        "error: out of memory: 2 workers were not told; try again\n");
    assert_string_equal(take("reopen --json"),
                        "error: the log goes on in the old file: the disk is on fire\n"
                        "{\"error\":\"the log goes on in the old file: the disk is on fire\"}\n");
    untold = 0;
    take("log-level");
    assert_string_equal(o.show.text.data, "error: usage: log-level LEVEL [--json]\n");
}

static void test_nothing_is_changed_while_it_stops(void **state)
{
    (void)state;
    now.is_stopping = true;
    drained = 0;
    assert_string_equal(take("drain"), "error: dtlsgate is stopping\n");
    assert_string_equal(take("reload"), "error: dtlsgate is stopping\n");
    assert_int_equal(drained, 0);
    assert_memory_equal(take("status"), "ok\n", 3);
    now.is_stopping = false;
}

static void test_filters(void **state)
{
    (void)state;
    assert_walk("sessions --service b --identity a\\x5cxff\\x20 --peer [::1]:7 --limit 9",
                INQUIRY_LIST);
    assert_true(o.filter.has_service && o.filter.service == 1);
    assert_true(o.filter.has_identity && o.filter.identity_len == 3);
    assert_memory_equal(o.filter.identity, "a\xff ", 3);
    assert_true(o.filter.has_peer && o.filter.peer.bits == 128 && o.filter.port == 7);
    assert_int_equal(o.limit, 9);
    assert_walk("sessions --peer 10.0.0.0/8 --recent", INQUIRY_RECENT);
    assert_int_equal(o.filter.peer.bits, 8);
    assert_walk("session 18446744073709551615", INQUIRY_LIST);
    assert_true(o.filter.id == UINT64_MAX && o.is_single);
    assert_walk("end 1", INQUIRY_END);
    assert_walk("end identity:1", INQUIRY_END);
    assert_int_equal(o.filter.id, 0);
}

static void slice(size_t count)
{
    static struct inquiry q;

    q.kind = o.ask;
    q.count = count;
    for (size_t i = 0; i < count; i++)
        q.row[i] = (struct inquiry_row){.id = i + 1, .service = 1, .identity_len = 1};
    order_slice(&o, &q, &conf);
}

static void test_a_walk_stops_at_its_limit(void **state)
{
    (void)state;
    assert_walk("sessions --limit 70", INQUIRY_LIST);
    assert_int_equal(order_rows(&o), INQUIRY_ROWS);
    slice(64);
    assert_false(order_is_satisfied(&o));
    assert_int_equal(order_rows(&o), 6);
    slice(6);
    assert_true(order_is_satisfied(&o));
    order_finish(&o);
    assert_non_null(strstr(o.show.text.data, "\ncount: 70\n"));
    assert_walk("sessions", INQUIRY_LIST);
    slice(64);
    assert_false(order_is_satisfied(&o));
    assert_int_equal(order_rows(&o), INQUIRY_ROWS);
}

/* There the limit is each worker's. */
static void test_recent_ones_are_asked_of_all_workers(void **state)
{
    (void)state;
    assert_walk("sessions --recent --limit 3", INQUIRY_RECENT);
    for (int worker = 0; worker < 4; worker++) {
        assert_int_equal(order_rows(&o), 3);
        slice(3);
        assert_false(order_is_satisfied(&o));
    }
    order_finish(&o);
    assert_non_null(strstr(o.show.text.data, "\ncount: 12\n"));
}

static void test_who_is_not_found(void **state)
{
    static const char *const lines[] = {"session 5", "end 5", "end identity:x"};

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        take(lines[i]);
        slice(0);
        order_finish(&o);
        assert_string_equal(o.show.text.data, "error: there is no such session\n");
    }
    take("sessions --json");
    order_finish(&o);
    assert_string_equal(o.show.text.data, "ok\n{\"sessions\":[],\"count\":0}\n");
}

static void test_who_is_found(void **state)
{
    (void)state;
    take("session 1 --json");
    slice(1);
    assert_true(order_is_satisfied(&o));
    order_finish(&o);
    assert_memory_equal(o.show.text.data,
                        "ok\n{\"id\":1,\"service\":\"b\",\"peer\":\"-\",\"local\":\"-\","
                        "\"identity\":\"\\\\x00\",",
                        67);
    take("end identity:x");
    slice(64);
    assert_false(order_is_satisfied(&o));
    slice(1);
    order_finish(&o);
    assert_string_equal(o.show.text.data, "ok\nended: 65\n");
}

static void test_a_reload_ends_either_way(void **state)
{
    struct errors errors = {.count = 0};

    (void)state;
    take("reload");
    assert_int_equal(o.kind, ORDER_RELOAD);
    order_reloaded(&o, NULL);
    assert_string_equal(o.show.text.data, "ok\nreloaded: yes\n");
    for (int i = 0; i < ERRORS_MAX + 5; i++)
        errors_add(&errors, "x.ini:%d: \"wrong\"", i);
    take("reload");
    order_reloaded(&o, &errors);
    assert_memory_equal(o.show.text.data,
                        "error: reload failed, nothing changed\nx.ini:0: \"wrong\"\n", 55);
    assert_non_null(strstr(o.show.text.data, "x.ini:99: \"wrong\"\nfurther: 5\n"));
    errors_clear(&errors);
    errors_add(&errors, "x.ini:1: \"wrong\"");
    take("reload --json");
    order_reloaded(&o, &errors);
    assert_string_equal(o.show.text.data, "error: reload failed, nothing changed\n"
                                          "{\"error\":\"reload failed, nothing changed\","
                                          "\"reasons\":[\"x.ini:1: \\\"wrong\\\"\"]}\n");
    errors_clear(&errors);
}

static int set_up(void **state)
{
    static char a[] = "a", b[] = "b";
    static struct conf_service services[] = {{.name = a}, {.name = b}};

    (void)state;
    conf = (struct conf){.service = services, .service_count = 2};
    now = (struct view){.conf = &conf, .state = "running"};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    order_clear(&o);
    return 0;
}

static void test_an_upgrade_ends_either_way(void **state)
{
    const struct upgrade_report report = {
        .pid = 77, .sessions = 5, .left = 1, .settle_ms = 12, .still_us = 3456};
    struct errors errors = {.count = 0};

    (void)state;
    take("upgrade");
    assert_int_equal(o.kind, ORDER_UPGRADE);
    assert_true(o.is_change);
    order_upgraded(&o, NULL, &report);
    assert_string_equal(o.show.text.data, "ok\nupgraded: yes\npid: 77\nsessions: 5\n"
                                          "left-behind: 1\nsettled-ms: 12\nstill-us: 3456\n");
    errors_add(&errors, "because");
    take("upgrade --json");
    order_upgraded(&o, &errors, NULL);
    assert_string_equal(o.show.text.data, "error: upgrade failed, the old process goes on\n"
                                          "{\"error\":\"upgrade failed, the old process goes on\","
                                          "\"reasons\":[\"because\"]}\n");
    errors_clear(&errors);
}

static void test_nothing_but_the_end_is_ordered_during_an_upgrade(void **state)
{
    (void)state;
    now.is_upgrading = true;
    drained = 0;
    assert_string_equal(take("drain"), "error: an upgrade is under way; try again\n");
    assert_string_equal(take("upgrade"), "error: an upgrade is under way; try again\n");
    assert_int_equal(drained, 0);
    assert_memory_equal(take("status"), "ok\n", 3);
    take("stop");
    assert_int_equal(o.kind, ORDER_STOP);
    now.is_upgrading = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_done_at_once),
        cmocka_unit_test(test_one_backend_is_drained),
        cmocka_unit_test(test_what_fails_says_so),
        cmocka_unit_test(test_nothing_is_changed_while_it_stops),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_a_walk_stops_at_its_limit),
        cmocka_unit_test(test_recent_ones_are_asked_of_all_workers),
        cmocka_unit_test(test_who_is_not_found),
        cmocka_unit_test(test_who_is_found),
        cmocka_unit_test(test_a_reload_ends_either_way),
        cmocka_unit_test(test_an_upgrade_ends_either_way),
        cmocka_unit_test(test_nothing_but_the_end_is_ordered_during_an_upgrade),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
