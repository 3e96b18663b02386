/* ticket: what is sealed opens as it was, and nothing else opens. */
#include "dtls/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct psk known = {.identity = (const uint8_t *)"known",
                                 .key = (const uint8_t *)"0123456789abcdef",
                                 .key_len = 16};

static struct ticket sample(size_t identity_len)
{
    struct ticket t = {.suite = suite_find(0xccac),
                       .born = 1234567890123,
                       .max_fragment = 4096,
                       .identity_len = identity_len};

    memset(t.master, 7, sizeof t.master);
    for (size_t i = 0; i < identity_len; i++)
        t.identity[i] = (uint8_t)(i + 1);
    assert_non_null(t.suite);
    assert_true(ticket_prove(&known, t.master, t.proof));
    return t;
}

static size_t seal(const struct ticket_keys *keys, size_t identity_len, uint8_t out[TICKET_MAX])
{
    const struct ticket t = sample(identity_len);
    size_t len = ticket_seal(keys, "coap", &t, out);

    assert_int_equal(len, ticket_size(identity_len));
    return len;
}

static void assert_opens(const struct ticket_keys *keys, const uint8_t *sealed, size_t len,
                         size_t identity_len)
{
    const struct ticket t = sample(identity_len);
    struct ticket back;

    assert_true(ticket_open(keys, "coap", sealed, len, &back));
    assert_ptr_equal(back.suite, t.suite);
    assert_int_equal(back.born, t.born);
    assert_memory_equal(back.master, t.master, sizeof t.master);
    assert_memory_equal(back.proof, t.proof, sizeof t.proof);
    assert_int_equal(back.identity_len, identity_len);
    assert_int_equal(back.max_fragment, t.max_fragment);
    assert_memory_equal(back.identity, t.identity, identity_len);
}

static void assert_shut(const struct ticket_keys *keys, const char *service, const uint8_t *sealed,
                        size_t len)
{
    struct ticket back, zero = {0};

    memset(&back, 0, sizeof back);
    assert_false(ticket_open(keys, service, sealed, len, &back));
    assert_memory_equal(&back, &zero, sizeof back);
}

static void test_each_length_comes_back(void **state)
{
    struct ticket_keys keys;
    uint8_t sealed[TICKET_MAX];

    (void)state;
    ticket_keys_init(&keys);
    for (size_t n = 1; n <= PSK_IDENTITY_MAX; n++) {
        size_t len = seal(&keys, n, sealed);
        assert_opens(&keys, sealed, len, n);
    }
    assert_int_equal(ticket_size(PSK_IDENTITY_MAX), TICKET_MAX);
}

static void test_each_bit_counts(void **state)
{
    struct ticket_keys keys;
    uint8_t sealed[TICKET_MAX];

    (void)state;
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, sealed);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_shut(&keys, "coap", sealed, len);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_opens(&keys, sealed, len, 5);
}

static void test_no_other_length_opens(void **state)
{
    struct ticket_keys keys;
    uint8_t sealed[2 * TICKET_MAX] = {0};

    (void)state;
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, sealed);
    for (size_t n = 0; n < sizeof sealed; n++) {
        if (n != len)
            assert_shut(&keys, "coap", sealed, n);
    }
}

static void test_another_service_has_no_way_in(void **state)
{
    struct ticket_keys keys;
    uint8_t sealed[TICKET_MAX];

    (void)state;
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, sealed);
    assert_shut(&keys, "coa", sealed, len);
    assert_shut(&keys, "coaps", sealed, len);
    assert_shut(&keys, "", sealed, len);
}

static void test_the_key_before_opens_and_older_ones_are_gone(void **state)
{
    struct ticket_keys keys;
    uint8_t sealed[TICKET_MAX];

    (void)state;
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, sealed);
    ticket_keys_rotate(&keys);
    assert_opens(&keys, sealed, len, 5);
    ticket_keys_rotate(&keys);
    assert_shut(&keys, "coap", sealed, len);
}

static void test_without_keys_there_is_nothing(void **state)
{
    struct ticket_keys keys = {0};
    const struct ticket t = sample(5);
    uint8_t sealed[TICKET_MAX];

    (void)state;
    assert_int_equal(ticket_seal(&keys, "coap", &t, sealed), 0);
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, sealed);
    ticket_keys_wipe(&keys);
    assert_shut(&keys, "coap", sealed, len);
    memset(sealed, 0, TICKET_NAME); /* as the names of none are */
    assert_shut(&keys, "coap", sealed, len);
}

static void test_no_two_are_alike(void **state)
{
    struct ticket_keys keys;
    uint8_t one[TICKET_MAX], two[TICKET_MAX];

    (void)state;
    ticket_keys_init(&keys);
    size_t len = seal(&keys, 5, one);
    (void)seal(&keys, 5, two);
    assert_memory_equal(one, two, TICKET_NAME);
    assert_memory_not_equal(one + TICKET_NAME, two + TICKET_NAME, 12);
    assert_memory_not_equal(one + len - 16, two + len - 16, 16);
}

static void test_another_key_has_another_proof(void **state)
{
    const struct psk changed = {.key = (const uint8_t *)"0123456789abcdeF", .key_len = 16};
    const struct psk longer = {.key = (const uint8_t *)"0123456789abcdef", .key_len = 17};
    const struct ticket t = sample(5);
    uint8_t proof[16];

    (void)state;
    assert_true(ticket_prove(&changed, t.master, proof));
    assert_memory_not_equal(proof, t.proof, sizeof proof);
    assert_true(ticket_prove(&longer, t.master, proof)); /* by a NUL */
    assert_memory_not_equal(proof, t.proof, sizeof proof);
    assert_true(ticket_prove(&known, t.master, proof));
    assert_memory_equal(proof, t.proof, sizeof proof);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_length_comes_back),
        cmocka_unit_test(test_each_bit_counts),
        cmocka_unit_test(test_no_other_length_opens),
        cmocka_unit_test(test_another_service_has_no_way_in),
        cmocka_unit_test(test_the_key_before_opens_and_older_ones_are_gone),
        cmocka_unit_test(test_without_keys_there_is_nothing),
        cmocka_unit_test(test_no_two_are_alike),
        cmocka_unit_test(test_another_key_has_another_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
