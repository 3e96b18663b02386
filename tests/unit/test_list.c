/* list: order and what is left after a removal. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int number;
    struct list node;
};

/* The numbers on the list as decimal digits; walks both ways. */
static int digits(const struct list *head)
{
    int forward = 0, backward = 0, unit = 1;

    for (const struct list *n = head->next; n != head; n = n->next)
        forward = forward * 10 + list_entry(n, const struct item, node)->number;
    for (const struct list *n = head->prev; n != head; n = n->prev, unit *= 10)
        backward += unit * list_entry(n, const struct item, node)->number;
    assert_int_equal(forward, backward);
    return forward;
}

static struct item items[3];
static struct list head;

static void append_three(void)
{
    list_init(&head);
    for (int i = 0; i < 3; i++) {
        items[i] = (struct item){.number = i + 1};
        list_append(&head, &items[i].node);
    }
}

static void test_new_list_is_empty(void **state)
{
    (void)state;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head));
}

static void test_append_keeps_the_order(void **state)
{
    (void)state;
    append_three();
    assert_false(list_is_empty(&head));
    assert_ptr_equal(list_first(&head), &items[0].node);
    assert_ptr_equal(list_entry(list_first(&head), struct item, node), &items[0]);
    assert_int_equal(digits(&head), 123);
}

static void test_move_to_end(void **state)
{
    (void)state;
    append_three();
    list_move_to_end(&head, &items[0].node);
    assert_int_equal(digits(&head), 231);
    list_move_to_end(&head, &items[0].node);
    assert_int_equal(digits(&head), 231);
    list_move_to_end(&head, &items[2].node);
    assert_int_equal(digits(&head), 213);
}

static void test_remove(void **state)
{
    (void)state;
    append_three();
    list_remove(&items[1].node);
    assert_int_equal(digits(&head), 13);
    list_remove(&items[1].node);
    assert_int_equal(digits(&head), 13);
    list_remove(&items[0].node);
    list_remove(&items[2].node);
    assert_true(list_is_empty(&head));
}

static void test_prepend(void **state)
{
    (void)state;
    append_three();
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_prepend(&head, &items[i].node);
    assert_int_equal(digits(&head), 321);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_list_is_empty), cmocka_unit_test(test_append_keeps_the_order),
        cmocka_unit_test(test_move_to_end),       cmocka_unit_test(test_remove),
        cmocka_unit_test(test_prepend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
