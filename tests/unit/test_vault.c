/*
 * test_vault: what was sealed opens where it was sealed for, and nowhere else.
 */
#include "keep_rig.h"

#include "dtls/vault.h"

#define LEN 20

static const uint8_t plain[LEN] = "nineteen characters";

static void seal(struct vault *v, uint64_t place, uint64_t generation, uint8_t out[LEN + VAULT_TAG])
{
    const struct vault_label label = {place, generation};

    memcpy(out, plain, LEN);
    assert_true(vault_seal(v, &label, out, LEN));
    assert_memory_not_equal(out, plain, LEN);
}

static bool opens(struct vault *v, uint64_t place, uint64_t generation,
                  uint8_t data[LEN + VAULT_TAG])
{
    static const uint8_t nothing[LEN + VAULT_TAG];
    const struct vault_label label = {place, generation};
    bool is_open = vault_open(v, &label, data, LEN);

    if (is_open)
        assert_memory_equal(data, plain, LEN);
    else
        assert_memory_equal(data, nothing, sizeof nothing);
    return is_open;
}

static void it_opens_under_its_label_alone(void **unused)
{
    struct vault *v = keep_vault("one"), *other = keep_vault("two");
    uint8_t data[LEN + VAULT_TAG];

    (void)unused;
    for (int round = 0; round < 2; round++) { /* the context goes to and fro */
        seal(v, 5, 7, data);
        assert_true(opens(v, 5, 7, data));
    }
    seal(v, 5, 7, data);
    assert_false(opens(v, 6, 7, data));
    seal(v, 5, 7, data);
    assert_false(opens(v, 5, 8, data));
    seal(v, 5, 7, data);
    assert_false(opens(other, 5, 7, data));
    vault_free(v);
    vault_free(other);
}

static void each_changed_bit_is_seen(void **unused)
{
    struct vault *v = keep_vault("one");
    uint8_t data[LEN + VAULT_TAG];

    (void)unused;
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        seal(v, 5, 7, data);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(opens(v, 5, 7, data));
    }
    vault_free(v);
}

static void generations_have_nothing_in_common(void **unused)
{
    struct vault *v = keep_vault("one");
    uint8_t a[LEN + VAULT_TAG], b[LEN + VAULT_TAG];

    (void)unused;
    seal(v, 5, 7, a);
    seal(v, 5, UINT64_C(7) << 32, b);
    assert_memory_not_equal(a, b, LEN);
    vault_free(v);
}

static void another_salt_or_secret_leads_to_other_keys(void **unused)
{
    const uint8_t secret[] = "a secret of 32 bytes or more....";
    struct vault_keys a, b;

    (void)unused;
    assert_true(vault_derive(&a, secret, 32, (const uint8_t *)"x", 1));
    assert_true(vault_derive(&b, secret, 32, (const uint8_t *)"x", 1));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(vault_derive(&b, secret, 32, (const uint8_t *)"y", 1));
    assert_memory_not_equal(a.seal, b.seal, sizeof a.seal);
    assert_memory_not_equal(a.print, b.print, sizeof a.print);
    assert_memory_not_equal(a.mark.bytes, b.mark.bytes, sizeof a.mark.bytes);
    assert_memory_not_equal(a.seal, a.print, sizeof a.print);
    assert_true(vault_derive(&b, secret, 31, (const uint8_t *)"x", 1));
    assert_memory_not_equal(a.seal, b.seal, sizeof a.seal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_under_its_label_alone),
        cmocka_unit_test(each_changed_bit_is_seen),
        cmocka_unit_test(generations_have_nothing_in_common),
        cmocka_unit_test(another_salt_or_secret_leads_to_other_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
