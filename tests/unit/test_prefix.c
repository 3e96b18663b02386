/*
 * test_prefix: ranges of addresses.
 */
#include "base/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct addr addr_of(const char *ip_and_port)
{
    struct addr a;
    assert_true(addr_parse(&a, ip_and_port));
    return a;
}

static struct prefix range(const char *text)
{
    struct prefix p;
    assert_true(prefix_parse(&p, text));
    return p;
}

static void test_text_is_read_back(void **state)
{
    static const char *const texts[] = {"10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32",
                                        "::/0",       "::1",       "fe80::/10", "203.0.113.128/25"};
    char buf[PREFIX_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct prefix p = range(texts[i]);
        assert_string_equal(prefix_format(&p, buf), texts[i]);
    }
}

static void test_nonsense_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "10.0.0.0/",
                                        "10.0.0.0/33",
                                        "10.0.0.1/8",
                                        "2001:db8::/129",
                                        "10.0.0/8",
                                        "host/24",
                                        "10.0.0.0/-1",
                                        "10.0.0.0/+8",
                                        "10.0.0.0/8 ",
                                        " 10.0.0.0/8",
                                        "::ffff:10.0.0.1/95",
                                        "[::1]/64",
                                        "10.0.0.0/0008"};
    struct prefix p;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(prefix_parse(&p, texts[i]));
}

static void test_v4_mapped_is_ipv4(void **state)
{
    char buf[PREFIX_TEXT_MAX];
    struct prefix p = range("::ffff:10.0.0.0/104");
    struct addr mapped = addr_of("[::ffff:10.1.2.3]:1"), plain = addr_of("10.1.2.3:1");

    (void)state;
    assert_string_equal(prefix_format(&p, buf), "10.0.0.0/8");
    assert_true(prefix_contains(&p, &mapped));
    assert_true(prefix_contains(&p, &plain));
}

static void test_contains_to_the_bit(void **state)
{
    struct prefix p = range("192.0.2.128/25"), all = range("0.0.0.0/0"),
                  six = range("2001:db8::/33");
    struct addr in = addr_of("192.0.2.128:5"), last = addr_of("192.0.2.255:5");
    struct addr out = addr_of("192.0.2.127:5"), v6 = addr_of("[2001:db8:7fff::1]:5");
    struct addr v6_out = addr_of("[2001:db8:8000::1]:5");

    (void)state;
    assert_true(prefix_contains(&p, &in));
    assert_true(prefix_contains(&p, &last));
    assert_false(prefix_contains(&p, &out));
    assert_true(prefix_contains(&all, &out));
    assert_false(prefix_contains(&all, &v6));
    assert_true(prefix_contains(&six, &v6));
    assert_false(prefix_contains(&six, &v6_out));
}

static void test_prefix_of_an_address(void **state)
{
    char buf[PREFIX_TEXT_MAX];
    struct addr four = addr_of("192.0.2.77:9"), six = addr_of("[2001:db8:1:2:3::9]:9");
    struct prefix p = prefix_of(&four, 24);

    (void)state;
    assert_string_equal(prefix_format(&p, buf), "192.0.2.0/24");
    p = prefix_of(&six, 56);
    assert_string_equal(prefix_format(&p, buf), "2001:db8:1::/56");
    p = prefix_of(&four, 56);
    assert_string_equal(prefix_format(&p, buf), "192.0.2.77");
}

static void test_hosts_by_number(void **state)
{
    static const struct {
        const char *prefix;
        uint32_t hosts;
        const char *first, *last;
    } cases[] = {
        {"192.0.2.8/30", 2, "192.0.2.9:0", "192.0.2.10:0"},
        {"127.64.0.0/10", 4194302, "127.64.0.1:0", "127.127.255.254:0"},
        {"0.0.0.0/0", UINT32_MAX - 1, "0.0.0.1:0", "255.255.255.254:0"},
        {"2001:db8::/96", UINT32_MAX - 1, "[2001:db8::1]:0", "[2001:db8::ffff:fffe]:0"},
        {"2001:db8::/32", UINT32_MAX - 1, "[2001:db8::1]:0", "[2001:db8::ffff:fffe]:0"},
        {"2001:db8::c0:0/108", 1048574, "[2001:db8::c0:1]:0", "[2001:db8::cf:fffe]:0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prefix p = range(cases[i].prefix);
        struct addr first = addr_of(cases[i].first), last = addr_of(cases[i].last);
        struct addr got = prefix_host(&p, 0);
        uint32_t n = 7;

        assert_int_equal(prefix_hosts(&p), cases[i].hosts);
        assert_true(addr_equal(&got, &first));
        got = prefix_host(&p, cases[i].hosts - 1);
        assert_true(addr_equal(&got, &last));
        first.port = last.port = 99; /* of no account */
        assert_true(prefix_host_number(&p, &first, &n));
        assert_int_equal(n, 0);
        assert_true(prefix_host_number(&p, &last, &n));
        assert_int_equal(n, cases[i].hosts - 1);
    }
}

static void test_no_host_at_the_edges_and_outside(void **state)
{
    static const struct {
        const char *prefix, *addr;
    } cases[] = {
        {"192.0.2.8/30", "192.0.2.8:0"},          {"192.0.2.8/30", "192.0.2.11:0"},
        {"192.0.2.8/30", "192.0.2.12:0"},         {"192.0.2.8/30", "192.0.3.9:0"},
        {"192.0.2.8/30", "[2001:db8::9]:0"},      {"2001:db8::/64", "[2001:db8::]:0"},
        {"2001:db8::/64", "[2001:db8::1:0:1]:0"}, {"2001:db8::/64", "[2001:db8::ffff:ffff]:0"},
        {"2001:db8::/64", "192.0.2.8:0"},
    };
    struct prefix single = range("192.0.2.1"), pair = range("192.0.2.2/31");

    (void)state;
    assert_int_equal(prefix_hosts(&single), 0);
    assert_int_equal(prefix_hosts(&pair), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct prefix p = range(cases[i].prefix);
        struct addr a = addr_of(cases[i].addr);
        uint32_t n;

        assert_false(prefix_host_number(&p, &a, &n));
    }
}

static void test_lists(void **state)
{
    struct prefixes list = {0};
    const char *fault;
    size_t len;
    struct addr in = addr_of("198.51.100.9:1"), out = addr_of("198.51.101.9:1");

    (void)state;
    assert_true(prefixes_parse(&list, " 10.0.0.0/8 , 198.51.100.0/24,::1", &fault, &len));
    assert_int_equal(list.count, 3);
    assert_true(prefixes_contain(&list, &in));
    assert_false(prefixes_contain(&list, &out));
    assert_false(prefixes_parse(&list, "10.0.0.0/8, nonsense , ::1", &fault, &len));
    assert_int_equal(len, 8);
    assert_memory_equal(fault, "nonsense", 8);
    assert_int_equal(list.count, 3);
    assert_false(prefixes_parse(&list, "10.0.0.0/8,", &fault, &len));
    assert_false(prefixes_parse(&list, ",10.0.0.0/8", &fault, &len));
    assert_true(prefixes_parse(&list, "", &fault, &len));
    assert_int_equal(list.count, 0);
    assert_false(prefixes_contain(&list, &in));
    prefixes_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_read_back),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_v4_mapped_is_ipv4),
        cmocka_unit_test(test_contains_to_the_bit),
        cmocka_unit_test(test_prefix_of_an_address),
        cmocka_unit_test(test_hosts_by_number),
        cmocka_unit_test(test_no_host_at_the_edges_and_outside),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
