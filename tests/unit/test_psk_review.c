/*
 * test_psk_review: weak and shared keys are told, with their lines.
 */
#include "psk_text.h"

#include "dtls/psk_review.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct psk_review review(const char *text)
{
    struct psk_set *set = keys_of(text);
    struct psk_review found;

    psk_review(set, &found);
    psk_free(set);
    return found;
}

static void test_good_keys_are_no_finding(void **state)
{
    struct psk_review r = review("a:00112233445566778899aabbccddeeff\n"
                                 "b:10112233445566778899aabbccddeeff\n");
    (void)state;
    assert_int_equal(r.is_short.count + r.is_text.count + r.is_shared.count, 0);
}

static void test_short_keys(void **state)
{
    struct psk_review r = review("# one\na:00112233445566778899aabbccddeeff\nb:0011\nc:01\n");
    (void)state;
    assert_int_equal(r.is_short.count, 2);
    assert_int_equal(r.is_short.line, 3);
}

static void test_readable_text(void **state)
{
    struct psk_review r = review("a:00112233445566778899aabbccddeeff\n"
                                 "b:70617373776f726470617373776f7264\n");
    (void)state;
    assert_int_equal(r.is_text.count, 1);
    assert_int_equal(r.is_text.line, 2);
}

static void test_shared_keys(void **state)
{
    struct psk_review r = review("a:00112233445566778899aabbccddeeff\n"
                                 "b:10112233445566778899aabbccddeeff\n"
                                 "c:00112233445566778899aabbccddeeff\n"
                                 "d:00112233445566778899aabbccddeeff\n"
                                 "e:00112233445566778899aabbccddeeff00\n");
    (void)state;
    assert_int_equal(r.is_shared.count, 2);
    assert_int_equal(r.is_shared.line, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_keys_are_no_finding),
        cmocka_unit_test(test_short_keys),
        cmocka_unit_test(test_readable_text),
        cmocka_unit_test(test_shared_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
