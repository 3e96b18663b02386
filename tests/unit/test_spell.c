/* spell: what counts as a slip of the pen. */
#include "conf/spell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_same_word_is_near(void **state)
{
    (void)state;
    assert_true(spell_near("psk-file", "psk-file"));
    assert_true(spell_near("psk-file", "PSK-File"));
}

static void test_one_letter_added_dropped_or_changed_is_near(void **state)
{
    (void)state;
    assert_true(spell_near("backend", "backends"));
    assert_true(spell_near("backend", "backnd"));
    assert_true(spell_near("psk-file", "psk_file"));
}

static void test_two_letters_are_near_in_long_words_only(void **state)
{
    (void)state;
    assert_true(spell_near("workers", "wrokers"));
    assert_true(spell_near("log", "lot"));
    assert_false(spell_near("log", "lag-"));
    assert_false(spell_near("user", "suer"));
}

static void test_other_words_are_not_near(void **state)
{
    (void)state;
    assert_false(spell_near("backend", "listen"));
    assert_false(spell_near("backend", ""));
    assert_false(spell_near("workers", "wxyzers"));
}

static void test_endless_word_is_not_near(void **state)
{
    static const char endless[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    (void)state;
    assert_false(spell_near("backend", endless));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_word_is_near),
        cmocka_unit_test(test_one_letter_added_dropped_or_changed_is_near),
        cmocka_unit_test(test_two_letters_are_near_in_long_words_only),
        cmocka_unit_test(test_other_words_are_not_near),
        cmocka_unit_test(test_endless_word_is_not_near),
    };

    return cmocka_run_group_tests_name("spell", tests, NULL, NULL);
}
