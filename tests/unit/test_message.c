/*
 * test_message: what a worker is told, while it rests and while it does not; records of other
 * workers are bounded and never lost.
 */
#include "proxy/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct messages all;

static void post(enum message_kind kind)
{
    const struct message what = {.kind = kind};

    assert_true(messages_post_copy(&all, &what));
}

static bool pass(const char *data)
{
    const struct relay_record record = {
        .listener = 3, .len = strlen(data), .data = (const uint8_t *)data};

    return messages_pass(&all, &record);
}

static void take(enum message_kind kind)
{
    struct message *m = messages_take(&all);

    assert_non_null(m);
    assert_int_equal(m->kind, kind);
    message_free(m);
}

static void take_record(struct message *m, const char *data)
{
    assert_non_null(m);
    assert_int_equal(m->kind, MESSAGE_RECORD);
    assert_int_equal(m->with.record.listener, 3);
    assert_int_equal(m->with.record.len, strlen(data));
    assert_memory_equal(m->with.record.data, data, strlen(data));
    message_free(m);
}

static int set_up(void **state)
{
    (void)state;
    assert_true(messages_init(&all));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    messages_clear(&all);
    return 0;
}

static void test_they_come_in_their_order(void **state)
{
    char text[] = "one";

    (void)state;
    post(MESSAGE_DRAIN);
    assert_true(pass(text));
    text[0] = 'x'; /* it was copied */
    post(MESSAGE_UNDRAIN);
    take(MESSAGE_DRAIN);
    take_record(messages_take(&all), "one");
    take(MESSAGE_UNDRAIN);
    assert_null(messages_take(&all));
}

static void test_what_can_wait_waits_in_its_order(void **state)
{
    struct message ping = {.kind = MESSAGE_PING};

    (void)state;
    all.is_held = true;
    post(MESSAGE_DRAIN);
    assert_true(pass("one"));
    messages_post(&all, &ping);
    post(MESSAGE_UNDRAIN);
    take(MESSAGE_PING);
    assert_null(messages_take(&all));
    assert_true(pass("two"));
    assert_null(messages_take(&all));
    assert_false(messages_have_waited(&all));
    all.is_held = false;
    assert_true(messages_have_waited(&all));
    take(MESSAGE_DRAIN);
    take_record(messages_take(&all), "one");
    take(MESSAGE_UNDRAIN);
    take_record(messages_take(&all), "two");
    assert_false(messages_have_waited(&all));
    assert_null(messages_take(&all));
}

static void test_records_can_be_taken_out_of_those_that_wait(void **state)
{
    (void)state;
    all.is_held = true;
    assert_true(pass("one"));
    post(MESSAGE_DRAIN);
    assert_true(pass("two"));
    assert_null(messages_take_record(&all)); /* nobody has looked into the mailbox */
    assert_null(messages_take(&all));
    take_record(messages_take_record(&all), "one");
    take_record(messages_take_record(&all), "two");
    assert_null(messages_take_record(&all));
    all.is_held = false;
    take(MESSAGE_DRAIN);
}

static void test_records_are_bounded_whether_they_wait_or_not(void **state)
{
    struct message *m;
    unsigned count = 0;

    (void)state;
    while (pass("x"))
        count++;
    assert_int_equal(count, MESSAGE_RECORDS_MAX);
    all.is_held = true;
    assert_null(messages_take(&all)); /* all have gone from the one list to the other */
    assert_false(pass("x"));
    take_record(messages_take_record(&all), "x");
    assert_true(pass("x"));
    assert_false(pass("x"));
    all.is_held = false;
    for (count = 0; (m = messages_take(&all)); count++)
        message_free(m);
    assert_int_equal(count, MESSAGE_RECORDS_MAX);
    assert_true(pass("x"));
}

static void test_who_is_told_when_it_is_done(void **state)
{
    (void)state;
    for (int kind = MESSAGE_SETUP; kind <= MESSAGE_STOP; kind++) {
        const struct message m = {.kind = (enum message_kind)kind};
        bool is_not = kind == MESSAGE_END_ONE || kind == MESSAGE_RECORD ||
                      kind == MESSAGE_INQUIRY || kind == MESSAGE_MOVING;
        assert_true(message_is_acknowledged(&m) != is_not);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_they_come_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_can_wait_waits_in_its_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_can_be_taken_out_of_those_that_wait, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_records_are_bounded_whether_they_wait_or_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_told_when_it_is_done, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
