/* request: what is a request, what is none, and for whom it is. */
#include "daemon/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct request r;

static enum request_status parse(const char *head)
{
    memset(&r, 'x', sizeof(r));
    return request_parse(&r, head, strlen(head));
}

#define HOST "Host: localhost\r\n"
#define GET(target) "GET " target " HTTP/1.1\r\n" HOST "\r\n"

static void test_a_head_ends_with_an_empty_line(void **state)
{
    (void)state;
    assert_int_equal(request_head_len("GET / HTTP/1.1\r\n", 16), 0);
    assert_int_equal(request_head_len("GET / HTTP/1.1\r\n\r", 17), 0);
    assert_int_equal(request_head_len("GET / HTTP/1.1\r\n\r\nmore", 22), 18);
    assert_int_equal(request_head_len("GET\n\n", 5), 5);
    assert_int_equal(request_head_len("", 0), 0);
    assert_int_equal(request_head_len("\r\n", 2), 0);
}

static void test_a_request_is_taken_apart(void **state)
{
    (void)state;
    assert_int_equal(
        parse("GET /a/b?c=d&e HTTP/1.1\r\nAccept: */*\r\nhOST:\t127.0.0.1:80 \r\n\r\n"),
        REQUEST_FINE);
    assert_false(r.is_head);
    assert_string_equal(r.path, "/a/b");
    assert_string_equal(r.query, "c=d&e");
    assert_string_equal(r.host, "127.0.0.1");
    assert_true(r.is_host_literal);
    assert_int_equal(parse("HEAD / HTTP/1.0\nHost: [2001:db8::1]\n\n"), REQUEST_FINE);
    assert_true(r.is_head);
    assert_string_equal(r.query, "");
    assert_string_equal(r.host, "2001:db8::1");
}

static void test_what_is_refused(void **state)
{
    static const struct {
        const char *head;
        enum request_status status;
    } rows[] = {
        {"", REQUEST_MALFORMED},
        {"\r\n\r\n", REQUEST_MALFORMED},
        {"GET /\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET / http/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET x HTTP/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"G(T / HTTP/1.1\r\n" HOST "\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", REQUEST_VERSION},
        {"GET / HTTP/1.1\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost: [localhost]\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\n" HOST " folded: x\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", REQUEST_MALFORMED},
        {"GET / HTTP/1.1\r\n" HOST "a: b\rc\r\n\r\n", REQUEST_MALFORMED},
        {"POST / HTTP/1.1\r\n" HOST "\r\n", REQUEST_METHOD},
        {"get / HTTP/1.1\r\n" HOST "\r\n", REQUEST_METHOD},
        {"GET / HTTP/1.1\r\n" HOST "content-length: 5\r\n\r\n", REQUEST_BODY},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 00\r\n\r\n", REQUEST_BODY},
        {"GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", REQUEST_FINE},
        {"GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", REQUEST_BODY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        enum request_status status = parse(rows[i].head);
        if (status != rows[i].status)
            fail_msg("%d for \"%s\"", (int)status, rows[i].head);
    }
    assert_int_equal(request_parse(&r, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29),
                     REQUEST_MALFORMED);
}

static void test_targets_have_their_length(void **state)
{
    char head[2 * REQUEST_TARGET_MAX];
    int longest = REQUEST_TARGET_MAX - 2; /* behind the '/' and before the NUL */

    (void)state;
    snprintf(head, sizeof(head), "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", longest, 0);
    assert_int_equal(parse(head), REQUEST_FINE);
    assert_int_equal(strlen(r.path), REQUEST_TARGET_MAX - 1);
    snprintf(head, sizeof(head), "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", longest + 1, 0);
    assert_int_equal(parse(head), REQUEST_TARGET);
}

static bool is_for_us(const char *host, const char *name)
{
    char head[400];

    snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    return parse(head) == REQUEST_FINE && request_is_for_us(&r, name);
}

static void test_whom_it_is_for(void **state)
{
    (void)state;
    assert_true(is_for_us("localhost", NULL));
    assert_true(is_for_us("LocalHost:9684", NULL));
    assert_true(is_for_us("192.0.2.1", NULL));
    assert_true(is_for_us("[fe80::1]:80", NULL));
    assert_false(is_for_us("evil.example", NULL));
    assert_false(is_for_us("localhost.evil.example", NULL));
    assert_false(is_for_us("127.0.0.1.evil.example", NULL));
    assert_false(is_for_us("127.1", NULL));
    assert_true(is_for_us("Gate.example:80", "gate.example"));
    assert_false(is_for_us("gate.example.org", "gate.example"));
}

static void check_argument(const char *name, const char *want)
{
    char value[8];

    assert_int_equal(request_argument(&r, name, value, sizeof(value)), want != NULL);
    assert_string_equal(value, want != NULL ? want : "");
}

static void test_arguments_are_decoded(void **state)
{
    (void)state;
    assert_int_equal(parse(GET("/?a=1&b=x%20y+z&c=&d&nul=%00&bad=%2&worse=%zz&fit=1234567&"
                               "long=12345678&a=2&%41=3")),
                     REQUEST_FINE);
    check_argument("a", "1");
    check_argument("b", "x y z");
    check_argument("c", "");
    check_argument("d", NULL);
    check_argument("e", NULL);
    check_argument("nul", NULL);
    check_argument("bad", NULL);
    check_argument("worse", NULL);
    check_argument("fit", "1234567");
    check_argument("long", NULL);
    assert_int_equal(parse(GET("/")), REQUEST_FINE);
    check_argument("a", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_ends_with_an_empty_line),
        cmocka_unit_test(test_a_request_is_taken_apart),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_targets_have_their_length),
        cmocka_unit_test(test_whom_it_is_for),
        cmocka_unit_test(test_arguments_are_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
