/*
 * test_pp2: PROXY protocol headers, byte by byte.
 */
#include "proxy/pp2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct addr at(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static void test_ipv4_header_byte_by_byte(void **state)
{
    static const uint8_t want[] =
        "\r\n\r\n\0\r\nQUIT\n"
        "\x21\x12\x00\x4e"                                 /* PROXY, INET DGRAM, 78 follow */
        "\xc0\x00\x02\x01\xc6\x33\x64\x02\xd9\x03\x16\x34" /* addresses, ports */
        "\x05\x00\x08\x00\x00\x00\x00\x00\x00\x01\x02"     /* session 258 */
        "\x20\x00\x34\x01\x00\x00\x00\x00"                 /* client, verify */
        "\x21\x00\x08"
        "DTLSv1.2"
        "\x23\x00\x19"
        "PSK-AES128-GCM-SHA256 etc"
        "\x22\x00\x05"
        "dev-1";
    const struct addr peer = at("192.0.2.1:55555"), local = at("198.51.100.2:5684");
    const struct pp2_facts facts = {.peer = &peer,
                                    .local = &local,
                                    .id = 258,
                                    .version = "1.2",
                                    .cipher = "PSK-AES128-GCM-SHA256 etc",
                                    .identity = (const uint8_t *)"dev-1",
                                    .identity_len = 5};
    uint8_t out[PP2_MAX];
    size_t len = pp2_length(&facts);

    (void)state;
    pp2_write(&facts, out);
    assert_int_equal(len, sizeof(want) - 1);
    assert_memory_equal(out, want, len);
}

static void test_ipv6_header_has_both_addresses(void **state)
{
    const struct addr peer = at("[2001:db8::1]:1"), local = at("[2001:db8::2]:2");
    const struct pp2_facts facts = {&peer, &local, 1, "1.0", "X", (const uint8_t *)"i", 1};
    uint8_t out[PP2_MAX];
    size_t len = pp2_length(&facts);

    (void)state;
    pp2_write(&facts, out);
    assert_int_equal(out[13], 0x22);
    assert_int_equal(len, 16 + (size_t)(out[14] << 8 | out[15]));
    assert_memory_equal(out + 16, peer.ip, 16);
    assert_memory_equal(out + 32, local.ip, 16);
    assert_memory_equal(out + 48, "\0\1\0\2", 4);
}

static void test_longest_facts_fit(void **state)
{
    const struct addr peer = at("[2001:db8::1]:1"), local = at("[2001:db8::2]:2");
    char cipher[200];
    uint8_t identity[2 * PP2_NAME_MAX], out[PP2_MAX];
    const struct pp2_facts facts = {&peer,  &local,   UINT64_MAX,      "a version that is long",
                                    cipher, identity, sizeof(identity)};

    (void)state;
    memset(cipher, 'c', sizeof(cipher));
    cipher[sizeof(cipher) - 1] = '\0';
    memset(identity, 'i', sizeof(identity));
    assert_int_equal(pp2_length(&facts), PP2_MAX);
    pp2_write(&facts, out);
    assert_memory_equal(out + 16 + 36 + 11 + 8 + 3, "DTLSva v", 8);
    assert_int_equal(out[PP2_MAX - 1], 'i');
}

static void test_our_own_says_no_more(void **state)
{
    uint8_t out[PP2_LOCAL_SIZE];

    (void)state;
    pp2_write_local(out);
    assert_memory_equal(out, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", sizeof(out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4_header_byte_by_byte),
        cmocka_unit_test(test_ipv6_header_has_both_addresses),
        cmocka_unit_test(test_longest_facts_fit),
        cmocka_unit_test(test_our_own_says_no_more),
    };

    return cmocka_run_group_tests_name("pp2", tests, NULL, NULL);
}
