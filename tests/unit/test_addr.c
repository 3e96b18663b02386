/* addr: spellings that are taken and refused, v4-mapped addresses, scopes, the way back to text. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void assert_reads_back(const char *text, const char *expected)
{
    char buf[ADDR_TEXT_MAX];
    struct addr a, b;

    if (!addr_parse(&a, text))
        fail_msg("not taken: %s", text);
    assert_ptr_equal(addr_format(&a, buf), buf);
    assert_string_equal(buf, expected);
    assert_true(addr_parse(&b, buf));
    assert_true(addr_equal(&a, &b));
}

static void test_parse_takes_ipv4(void **state)
{
    struct addr a;

    (void)state;
    assert_true(addr_parse(&a, "192.0.2.1:5684"));
    assert_int_equal(a.family, AF_INET);
    assert_int_equal(a.port, 5684);
    assert_memory_equal(a.ip, "\xc0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(a.scope, 0);
    assert_reads_back("192.0.2.1:5684", "192.0.2.1:5684");
    assert_reads_back("0.0.0.0:0", "0.0.0.0:0");
    assert_reads_back("255.255.255.255:65535", "255.255.255.255:65535");
}

static void test_parse_takes_ipv6(void **state)
{
    struct addr a;

    (void)state;
    assert_true(addr_parse(&a, "[2001:db8::1]:5684"));
    assert_int_equal(a.family, AF_INET6);
    assert_int_equal(a.port, 5684);
    assert_memory_equal(a.ip, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    assert_reads_back("[2001:DB8:0::1]:5684", "[2001:db8::1]:5684");
    assert_reads_back("[::]:0", "[::]:0");
    assert_reads_back("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_parse_turns_v4_mapped_into_ipv4(void **state)
{
    (void)state;
    assert_reads_back("[::ffff:192.0.2.1]:1", "192.0.2.1:1");
    assert_reads_back("[::ffff:c000:201]:1", "192.0.2.1:1");
}

static void test_parse_takes_scope_by_name_and_number(void **state)
{
    unsigned lo = if_nametoindex("lo");
    char expected[ADDR_TEXT_MAX];

    (void)state;
    assert_reads_back("[fe80::1%7]:1", "[fe80::1%7]:1");
    assert_reads_back("[fe80::1]:1", "[fe80::1]:1");
    assert_reads_back("[fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535",
                      "[fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
    if (lo == 0)
        skip();
    snprintf(expected, sizeof expected, "[fe80::1%%%u]:1", lo);
    assert_reads_back("[fe80::1%lo]:1", expected);
}

static void test_parse_refuses(void **state)
{
    static const char *const wrong[] = {
        "",
        ":",
        ":5684",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:+5",
        "1.2.3.4: 5",
        "1.2.3.4:5 ",
        "1.2.3.4:-1",
        "1.2.3.4:0x10",
        "1.2.3.4:65536",
        "1.2.3.4:4294967297",
        "1.2.3.4:99999999999999999999",
        "1.2.3.4:5:6",
        "1.2.3.4.5:1",
        "1.2.3:1",
        "127.1:1",
        "1.2.3.256:1",
        "01.2.3.4:1",
        " 1.2.3.4:1",
        "localhost:1",
        "[1.2.3.4]:1",
        "[::1",
        "[::1]",
        "[::1]5",
        "[::1]x5",
        "[::1]:",
        "[::1]:+5",
        "[]:5",
        "::1:5",
        "::1",
        "[::1]]:5",
        "[[::1]]:5",
        "[:::1]:5",
        "[::1%lo]:5",
        "[::ffff:1.2.3.4%1]:5",
        "[fe80::1%]:5",
        "[fe80::1%0]:5",
        "[fe80::1%4294967296]:5",
        "[fe80::1%no-such-interface]:5",
    };
    struct addr a, before;

    (void)state;
    memset(&before, 0x5a, sizeof before);
    a = before;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (addr_parse(&a, wrong[i]))
            fail_msg("taken: %s", wrong[i]);
        assert_memory_equal(&a, &before, sizeof a);
    }
}

static void test_parse_refuses_long_host(void **state)
{
    char text[600];
    struct addr a;

    (void)state;
    memset(text, '1', sizeof text);
    strcpy(text + sizeof text - 3, ":1");
    assert_false(addr_parse(&a, text));
}

static void test_resolve_takes_numbers(void **state)
{
    char why[200] = "", buf[ADDR_TEXT_MAX];
    struct addr a;

    (void)state;
    assert_true(addr_resolve(&a, "[2001:db8::1]:5684", why, sizeof why));
    assert_string_equal(addr_format(&a, buf), "[2001:db8::1]:5684");
    assert_true(addr_resolve(&a, "192.0.2.7:1", why, sizeof why));
    assert_string_equal(addr_format(&a, buf), "192.0.2.7:1");
    assert_string_equal(why, "");
}

static void test_resolve_asks_for_a_name(void **state)
{
    char why[200] = "";
    struct addr a;

    (void)state;
    if (!addr_resolve(&a, "localhost:5684", why, sizeof why))
        fail_msg("%s", why);
    assert_true(a.family == AF_INET || a.family == AF_INET6);
    assert_int_equal(a.port, 5684);
    assert_false(addr_is_wildcard(&a));
}

static void assert_unresolved(const char *text, const char *reason)
{
    char why[200] = "";
    struct addr a;

    if (addr_resolve(&a, text, why, sizeof why))
        fail_msg("taken: %s", text);
    if (strstr(why, reason) == NULL)
        fail_msg("%s: \"%s\" does not tell \"%s\"", text, why, reason);
    assert_null(strchr(why, '\n'));
}

static void test_resolve_says_what_is_wrong(void **state)
{
    (void)state;
    assert_unresolved("", "HOST:PORT");
    assert_unresolved("localhost", "HOST:PORT");
    assert_unresolved(":5", "HOST:PORT");
    assert_unresolved("::1:5", "HOST:PORT");
    assert_unresolved("[::1", "HOST:PORT");
    assert_unresolved("localhost:", "port");
    assert_unresolved("localhost:+5", "port");
    assert_unresolved("localhost: 5", "port");
    assert_unresolved("localhost:65536", "port");
    assert_unresolved("localhost:coaps", "port");
    assert_unresolved("[localhost]:5", "IPv6");
    assert_unresolved("1.2.3.4.5:1", "IPv4");
    assert_unresolved("127.1:1", "IPv4");
    assert_unresolved("0x7f000001:1", "IPv4");
    assert_unresolved("010.0.0.1:1", "IPv4");
}

static void test_resolve_reports_unknown_name(void **state)
{
    char text[200];

    (void)state;
    /* A label of more than 63 bytes can be no name in the DNS, so nothing is sent out. */
    memset(text, 'a', 100);
    strcpy(text + 100, ":1");
    assert_unresolved(text, "cannot be resolved");
}

static void test_sockaddr_round_trip(void **state)
{
    static const char *const texts[] = {"192.0.2.1:5684", "[2001:db8::1]:1", "[fe80::1%3]:65535"};
    struct sockaddr_storage ss;
    struct addr a, b;

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_true(addr_parse(&a, texts[i]));
        memset(&ss, 0xff, sizeof ss);
        assert_int_equal(addr_to_sockaddr(&a, a.family, &ss), a.family == AF_INET
                                                                  ? sizeof(struct sockaddr_in)
                                                                  : sizeof(struct sockaddr_in6));
        assert_int_equal(ss.ss_family, a.family);
        assert_true(addr_from_sockaddr(&b, (const struct sockaddr *)&ss));
        assert_true(addr_equal(&a, &b));
    }
}

static void test_ipv4_for_an_ipv6_socket_is_mapped(void **state)
{
    struct sockaddr_storage ss;
    struct sockaddr_in6 in6;
    struct addr a, b;

    (void)state;
    assert_true(addr_parse(&a, "192.0.2.1:5684"));
    assert_int_equal(addr_to_sockaddr(&a, AF_INET6, &ss), sizeof in6);
    memcpy(&in6, &ss, sizeof in6);
    assert_int_equal(in6.sin6_family, AF_INET6);
    assert_int_equal(ntohs(in6.sin6_port), 5684);
    assert_memory_equal(&in6.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01", 16);
    assert_true(addr_from_sockaddr(&b, (const struct sockaddr *)&ss));
    assert_true(addr_equal(&a, &b));
}

static void test_scope_of_a_global_address_is_dropped(void **state)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = 3};
    struct addr a;

    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr), 1);
    assert_true(addr_from_sockaddr(&a, (const struct sockaddr *)&in6));
    assert_int_equal(a.scope, 0);
}

static void test_other_families_are_refused(void **state)
{
    struct sockaddr sa = {.sa_family = AF_UNIX};
    struct addr a;

    (void)state;
    assert_false(addr_from_sockaddr(&a, &sa));
}

static void test_equal_looks_at_every_part(void **state)
{
    struct addr a, b;

    (void)state;
    assert_true(addr_parse(&a, "[fe80::1%3]:5"));
    b = a;
    assert_true(addr_equal(&a, &b));
    b.port = 6;
    assert_false(addr_equal(&a, &b));
    b = a;
    b.scope = 4;
    assert_false(addr_equal(&a, &b));
    b = a;
    b.ip[15] = 2;
    assert_false(addr_equal(&a, &b));
    b = a;
    b.family = AF_INET;
    assert_false(addr_equal(&a, &b));
}

static void test_wildcard(void **state)
{
    struct addr a = {0};

    (void)state;
    assert_false(addr_is_wildcard(&a));
    assert_true(addr_parse(&a, "0.0.0.0:5"));
    assert_true(addr_is_wildcard(&a));
    assert_true(addr_parse(&a, "[::]:5"));
    assert_true(addr_is_wildcard(&a));
    assert_true(addr_parse(&a, "[::1]:5"));
    assert_false(addr_is_wildcard(&a));
}

static void test_no_address_prints_as_dash(void **state)
{
    struct addr a = {0};
    char buf[ADDR_TEXT_MAX];

    (void)state;
    assert_string_equal(addr_format(&a, buf), "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_takes_ipv4),
        cmocka_unit_test(test_parse_takes_ipv6),
        cmocka_unit_test(test_parse_turns_v4_mapped_into_ipv4),
        cmocka_unit_test(test_parse_takes_scope_by_name_and_number),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_parse_refuses_long_host),
        cmocka_unit_test(test_resolve_takes_numbers),
        cmocka_unit_test(test_resolve_asks_for_a_name),
        cmocka_unit_test(test_resolve_says_what_is_wrong),
        cmocka_unit_test(test_resolve_reports_unknown_name),
        cmocka_unit_test(test_sockaddr_round_trip),
        cmocka_unit_test(test_ipv4_for_an_ipv6_socket_is_mapped),
        cmocka_unit_test(test_scope_of_a_global_address_is_dropped),
        cmocka_unit_test(test_other_families_are_refused),
        cmocka_unit_test(test_equal_looks_at_every_part),
        cmocka_unit_test(test_wildcard),
        cmocka_unit_test(test_no_address_prints_as_dash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
