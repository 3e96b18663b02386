/* sources: who has which address of a prefix, and who gets one next. */
#include "proxy/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sources make(const char *prefix, unsigned worker, unsigned workers)
{
    struct sources s;
    struct prefix p;

    assert_true(prefix_parse(&p, prefix));
    assert_true(sources_init(&s, &p, worker, workers));
    return s;
}

static struct addr addr_of(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static void assert_next(struct sources *s, struct source *source, const char *text)
{
    struct addr want = addr_of(text), got;

    assert_true(sources_take_next(s, source));
    got = sources_address(s, source);
    assert_true(addr_equal(&got, &want));
}

static void test_each_is_found_by_its_address(void **state)
{
    struct sources s = make("127.64.0.0/10", 0, 1);
    struct source a, b;
    struct addr one = addr_of("127.64.0.1:99"), two = addr_of("127.64.0.2:0");
    struct addr three = addr_of("127.64.0.3:0"), outside = addr_of("127.0.0.1:0");

    (void)state;
    assert_next(&s, &a, "127.64.0.1:0");
    assert_next(&s, &b, "127.64.0.2:0");
    assert_ptr_equal(sources_find(&s, &one), &a);
    assert_ptr_equal(sources_find(&s, &two), &b);
    assert_null(sources_find(&s, &three));
    assert_null(sources_find(&s, &outside));
    sources_give_back(&s, &a);
    assert_null(sources_find(&s, &one));
    sources_give_back(&s, &b);
    sources_clear(&s);
}

/* A late answer for the last one must not reach a stranger. */
static void test_the_one_given_back_comes_again_last(void **state)
{
    struct sources s = make("10.0.0.0/29", 0, 1);
    struct source a, b, c;

    (void)state;
    assert_next(&s, &a, "10.0.0.1:0");
    assert_next(&s, &b, "10.0.0.2:0");
    sources_give_back(&s, &a);
    for (int i = 3; i <= 6; i++) {
        char text[] = "10.0.0.x:0";
        text[7] = (char)('0' + i);
        assert_next(&s, &c, text);
        sources_give_back(&s, &c);
    }
    assert_next(&s, &a, "10.0.0.1:0");
    assert_next(&s, &c, "10.0.0.3:0"); /* 2 is in use */
    sources_give_back(&s, &a);
    sources_give_back(&s, &b);
    sources_give_back(&s, &c);
    sources_clear(&s);
}

static void test_all_can_be_taken_and_no_more(void **state)
{
    struct sources s = make("10.0.0.0/24", 0, 1);
    struct source list[254], more;

    (void)state;
    for (unsigned i = 0; i < 254; i++)
        assert_true(sources_take_next(&s, &list[i]));
    assert_false(sources_take_next(&s, &more));
    sources_give_back(&s, &list[100]);
    assert_next(&s, &more, "10.0.0.101:0");
    sources_give_back(&s, &more);
    for (unsigned i = 0; i < 254; i++)
        if (i != 100)
            sources_give_back(&s, &list[i]);
    sources_clear(&s);
}

static void test_workers_share_a_prefix(void **state)
{
    char seen[254] = {0};

    (void)state;
    for (unsigned worker = 0; worker < 3; worker++) {
        struct sources s = make("10.0.0.0/24", worker, 3);
        struct source list[84], more;

        for (unsigned i = 0; i < 84; i++) {
            assert_true(sources_take_next(&s, &list[i]));
            assert_int_equal(list[i].number % 3, worker);
            assert_int_equal(seen[list[i].number]++, 0);
        }
        assert_false(sources_take_next(&s, &more));
        for (unsigned i = 0; i < 84; i++)
            sources_give_back(&s, &list[i]);
        sources_clear(&s);
    }
}

static void test_one_by_its_number(void **state)
{
    struct sources s = make("2001:db8::/64", 1, 2);
    struct source a, b;
    struct addr far = addr_of("[2001:db8::ee6b:2801]:0");

    (void)state;
    assert_true(sources_take(&s, &a, 4000000000));
    assert_ptr_equal(sources_find(&s, &far), &a);
    assert_false(sources_take(&s, &b, 4000000000));
    assert_true(sources_take(&s, &b, 3));
    sources_give_back(&s, &a);
    assert_true(sources_take(&s, &a, 4000000000));
    sources_give_back(&s, &a);
    sources_give_back(&s, &b);
    sources_clear(&s);
}

static void test_a_large_prefix_goes_round(void **state)
{
    struct sources s = make("2001:db8::/64", 0, 1);
    struct source a;

    (void)state;
    assert_int_equal(s.count, SOURCES_MAX);
    s.next = SOURCES_MAX - 1;
    assert_next(&s, &a, "[2001:db8::100:0]:0");
    sources_give_back(&s, &a);
    assert_next(&s, &a, "[2001:db8::1]:0");
    sources_give_back(&s, &a);
    sources_clear(&s);
}

/* One that another process has handed out is not handed out again. */
static void test_one_that_was_taken_is_not_handed_out(void **state)
{
    struct sources s = make("192.0.2.0/29", 0, 2);
    struct source taken, next[2], none;

    (void)state;
    assert_true(sources_take(&s, &taken, 2));
    assert_true(sources_take_next(&s, &next[0]));
    assert_true(sources_take_next(&s, &next[1]));
    assert_int_equal(next[0].number, 0);
    assert_int_equal(next[1].number, 4);
    assert_false(sources_take_next(&s, &none));
    sources_give_back(&s, &taken);
    assert_true(sources_take_next(&s, &taken));
    assert_int_equal(taken.number, 2);
    for (int i = 0; i < 2; i++)
        sources_give_back(&s, &next[i]);
    sources_give_back(&s, &taken);
    sources_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_found_by_its_address),
        cmocka_unit_test(test_the_one_given_back_comes_again_last),
        cmocka_unit_test(test_all_can_be_taken_and_no_more),
        cmocka_unit_test(test_workers_share_a_prefix),
        cmocka_unit_test(test_one_by_its_number),
        cmocka_unit_test(test_a_large_prefix_goes_round),
        cmocka_unit_test(test_one_that_was_taken_is_not_handed_out),
    };

    return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
