/*
 * test_report: the lines about a session's life, word by word, and that strangers cannot flood
 * them.
 */
#include "conf_text.h"
#include "log_text.h"

#include "proxy/report.h"

static char name[] = "coap";
static struct conf_service service = {.name = name};
static struct addr local;
/* Where a flow is that nobody chose anything of. */
static struct report_way usual_way;
static const uint8_t identity[] = "dev \"1\"\n\x1b[31m";

/* An open session of a client with an awkward identity. */
static struct session session(void)
{
    static const struct suite *suite;
    static struct psk psk = {.identity = identity, .identity_len = sizeof identity - 1};
    static struct backend one = {.weight = 1};
    static struct session_pending pending = {.born = 1000};
    struct session s = {.id = 7, .state = SESSION_OPEN, .psk = &psk, .pending = &pending};

    suite = suite_find(0x00a8);
    assert_non_null(suite);
    s.association.suite = suite;
    assert_true(addr_parse(&s.peer, "[2001:db8::1]:40000"));
    assert_true(addr_parse(&local, "192.0.2.1:5684"));
    assert_true(addr_parse(&one.addr, "127.0.0.1:5683"));
    service.backend = (struct backends){&one, 1};
    usual_way.backend = one.addr;
    s.opened = s.used = 1250;
    return s;
}

static int set_up(void **state)
{
    (void)state;
    log_capture();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    log_release();
    return 0;
}

#define IDENTITY_TEXT "identity=\"dev \\\\x221\\\\x22\\\\x0a\\\\x1b[31m\""

static void test_an_opened_session_tells_who_and_how(void **state)
{
    struct session s = session();

    (void)state;
    report_open(&s, &local, &service);
    s.has_ems = true;
    report_open(&s, &local, &service);
    assert_int_equal(log_count("info session open: id=7 service=coap peer=[2001:db8::1]:40000 "
                               "local=192.0.2.1:5684 " IDENTITY_TEXT
                               " suite=PSK-AES128-GCM-SHA256 version=1.2 ems=no resumed=no "
                               "backend=127.0.0.1:5683 handshake-ms=250\n"),
                     1);
    assert_int_equal(log_count("ems=yes"), 1);
}

static void test_an_ended_session_tells_why_and_how_much(void **state)
{
    struct session s = session();

    (void)state;
    s.in_datagrams = 3;
    s.in_bytes = 30;
    s.out_datagrams = 2;
    s.out_bytes = 2000;
    s.drops = 1;
    s.backend_port = 50001;
    report_end(&s, &service, 0, SESSION_END_IDLE, 61250);
    assert_int_equal(
        log_count("info session end: id=7 service=coap peer=[2001:db8::1]:40000 " IDENTITY_TEXT
                  " reason=\"idle timeout\" age-ms=60000 "
                  "in-datagrams=3 in-bytes=30 out-datagrams=2 out-bytes=2000 drops=1 refused=0 "
                  "backend-port=50001\n"),
        1);
}

static void test_a_flow_tells_its_port(void **state)
{
    struct session s = session();

    (void)state;
    s.backend_port = 50001;
    for (int i = 0; i < 20; i++)
        report_flow(&s, &service, &usual_way, NULL, 0);
    assert_int_equal(log_count("info session flow: id=7 service=coap backend-port=50001\n"), 20);

    struct report_way other = {.source = 0};
    assert_true(addr_parse(&other.backend, "127.0.0.1:9")); /* as a policy has it */
    report_flow(&s, &service, &other, NULL, 0);
    assert_int_equal(log_count("info session flow: id=7 service=coap backend-port=50001 "
                               "backend=127.0.0.1:9\n"),
                     1);
}

static void test_an_address_towards_the_backend_is_told(void **state)
{
    struct session s = session();
    struct prefix list[2];
    struct conf_service chosen = service;
    struct log_limit limit = {0};
    const struct report_way second = {1, usual_way.backend}, fifth = {4, usual_way.backend};

    (void)state;
    assert_true(prefix_parse(&list[0], "2001:db8::/64"));
    chosen.backend_source = (struct prefixes){list, 1};
    report_end(&s, &chosen, 4, SESSION_END_IDLE, 61250);
    assert_int_equal(log_count(" backend-port=0 backend-source=-\n"), 1);
    s.backend_port = 50001;
    report_flow(&s, &chosen, &fifth, NULL, 0);
    report_end(&s, &chosen, 4, SESSION_END_IDLE, 61250);
    assert_int_equal(log_count(" backend-port=50001 backend-source=2001:db8::5\n"), 2);
    assert_true(prefix_parse(&list[0], "127.0.0.2"));
    assert_true(prefix_parse(&list[1], "127.0.0.3"));
    chosen.backend_source.count = 2;
    report_flow(&s, &chosen, &second, &limit, 1000);
    assert_int_equal(log_count(" backend-port=50001 backend-source=127.0.0.3 left-out=0\n"), 1);
}

static void test_flows_of_a_shortage_are_limited(void **state)
{
    struct session s = session();
    struct log_limit limit = {0};
    unsigned lines;

    (void)state;
    for (int i = 0; i < 100; i++)
        report_flow(&s, &service, &usual_way, &limit, 1000);
    lines = log_count("session flow");
    assert_in_range(lines, 1, 20);
    report_flow(&s, &service, &usual_way, &limit, 3000);
    assert_int_equal(log_count("session flow"), lines + 1);
    char left_out[32];
    snprintf(left_out, sizeof left_out, " left-out=%u\n", 100 - lines);
    assert_int_equal(log_count(left_out), 1);
}

static void test_failed_handshakes_are_limited(void **state)
{
    struct session s = session();
    struct log_limit limit = {0};
    char left_out[32];
    unsigned lines;

    (void)state;
    s.state = SESSION_HANDSHAKE;
    s.psk = NULL;
    for (int i = 0; i < 1000; i++)
        report_failed(&s, &service, SESSION_END_HANDSHAKE_TIMEOUT, &limit, 2000);
    lines = log_count("handshake failed: id=7 service=coap peer=[2001:db8::1]:40000 identity=\"\" "
                      "reason=\"handshake timed out\" detail=\"\" age-ms=1000 left-out=0\n");
    assert_in_range(lines, 1, 20);
    report_failed(&s, &service, SESSION_END_HANDSHAKE_TIMEOUT, &limit, 5000);
    snprintf(left_out, sizeof left_out, " left-out=%u\n", 1000 - lines);
    assert_int_equal(log_count(left_out), 1);
}

/* What nobody reads does not use up the limit. */
static void test_a_quiet_log_says_nothing(void **state)
{
    struct session s = session();
    struct log_limit limit = {0};

    (void)state;
    log_set_level(LOG_LEVEL_WARNING);
    for (int i = 0; i < 1000; i++)
        report_failed(&s, &service, SESSION_END_HANDSHAKE_TIMEOUT, &limit, 2000);
    report_open(&s, &local, &service);
    for (int i = 0; i < 100; i++)
        report_flow(&s, &service, &usual_way, &limit, 2000);
    report_end(&s, &service, 0, SESSION_END_IDLE, 2000);
    assert_int_equal(log_count(""), 0);
    log_set_level(LOG_LEVEL_INFO);
    report_failed(&s, &service, SESSION_END_HANDSHAKE_TIMEOUT, &limit, 2000);
    assert_int_equal(log_count("left-out=0"), 1);
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void test_the_backend_is_told_where_there_is_a_choice(void **state)
{
    struct session s = session();
    struct backend list[2] = {{.weight = 1}, {.weight = 1}};
    struct conf_service chosen = service;
    struct report_way to = {0};
    char host_text[] = "echo.test:7";

    (void)state;
    assert_true(addr_parse(&to.backend, "127.0.0.2:7"));
    chosen.backend = (struct backends){list, 2};
    report_open(&s, &local, &chosen);
    assert_int_equal(log_count(" backend=- handshake-ms=250\n"), 1);
    report_flow(&s, &chosen, &to, NULL, 0);
    assert_int_equal(log_count(" backend-port=0 backend=127.0.0.2:7\n"), 1);
    list[0].name = host_text;
    chosen.backend.count = 1;
    report_open(&s, &local, &chosen);
    assert_int_equal(log_count(" backend=echo.test:7 handshake-ms=250\n"), 1);
    report_flow(&s, &chosen, &to, NULL, 0);
    assert_int_equal(log_count(" backend-port=0 backend=127.0.0.2:7\n"), 2);
}

static void test_a_backend_goes_down_and_up(void **state)
{
    struct session s = session();
    struct log_limit limit = {0};
    const struct report_news down = {&usual_way.backend, false, "refused"};
    const struct report_news up = {&usual_way.backend, true, "answers"};

    (void)state;
    (void)s;
    report_backend(&service, &down, &limit, 0);
    report_backend(&service, &up, &limit, 0);
    assert_int_equal(log_count("warning backend down: service=coap backend=127.0.0.1:5683 "
                               "reason=refused left-out=0\n"),
                     1);
    assert_int_equal(log_count("info backend up: service=coap backend=127.0.0.1:5683 "
                               "reason=answers left-out=0\n"),
                     1);
    for (int i = 0; i < 100; i++)
        report_backend(&service, &down, &limit, 0);
    assert_true(log_count("backend down") <= 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(test_an_opened_session_tells_who_and_how),
        WITH_LOG(test_an_ended_session_tells_why_and_how_much),
        WITH_LOG(test_a_flow_tells_its_port),
        WITH_LOG(test_an_address_towards_the_backend_is_told),
        WITH_LOG(test_flows_of_a_shortage_are_limited),
        WITH_LOG(test_failed_handshakes_are_limited),
        WITH_LOG(test_a_quiet_log_says_nothing),
        cmocka_unit_test_setup_teardown(test_the_backend_is_told_where_there_is_a_choice, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_backend_goes_down_and_up, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
