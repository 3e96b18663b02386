/* mailbox: order, the descriptor that tells, and many senders at once. */
#include "proxy/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SENDERS 4
#define LETTERS 500

struct letter {
    struct list node;
    unsigned sender, number;
};

struct sender {
    struct mailbox *mailbox;
    struct letter letter[LETTERS];
};

static int set_up(void **state)
{
    static struct mailbox m;

    assert_true(mailbox_init(&m));
    *state = &m;
    return 0;
}

static int tear_down(void **state)
{
    mailbox_clear(*state);
    return 0;
}

static bool is_readable(int fd, int wait_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, wait_ms) == 1 && (p.revents & POLLIN);
}

static void test_empty_gives_nothing(void **state)
{
    assert_false(is_readable(mailbox_fd(*state), 0));
    assert_null(mailbox_take(*state));
}

static void test_oldest_comes_first(void **state)
{
    struct letter a, b, c;

    mailbox_post(*state, &a.node);
    mailbox_post(*state, &b.node);
    assert_ptr_equal(mailbox_take(*state), &a.node);
    mailbox_post(*state, &c.node);
    assert_ptr_equal(mailbox_take(*state), &b.node);
    assert_ptr_equal(mailbox_take(*state), &c.node);
    assert_null(mailbox_take(*state));
}

static void test_readable_while_something_is_in(void **state)
{
    struct letter a, b;

    mailbox_post(*state, &a.node);
    mailbox_post(*state, &b.node);
    assert_true(is_readable(mailbox_fd(*state), 0));
    assert_non_null(mailbox_take(*state));
    assert_true(is_readable(mailbox_fd(*state), 0));
    assert_non_null(mailbox_take(*state));
    assert_false(is_readable(mailbox_fd(*state), 0));
}

static void *send_all(void *arg)
{
    struct sender *s = arg;

    for (unsigned i = 0; i < LETTERS; i++)
        mailbox_post(s->mailbox, &s->letter[i].node);
    return NULL;
}

static void test_all_of_many_senders_arrive_in_their_order(void **state)
{
    static struct sender sender[SENDERS];
    pthread_t thread[SENDERS];
    unsigned next[SENDERS] = {0};

    for (unsigned i = 0; i < SENDERS; i++) {
        sender[i].mailbox = *state;
        for (unsigned k = 0; k < LETTERS; k++)
            sender[i].letter[k] = (struct letter){.sender = i, .number = k};
        assert_int_equal(pthread_create(&thread[i], NULL, send_all, &sender[i]), 0);
    }
    for (unsigned got = 0; got < SENDERS * LETTERS; got++) {
        struct list *node;
        struct letter *letter;
        assert_true(is_readable(mailbox_fd(*state), 5000));
        node = mailbox_take(*state);
        assert_non_null(node);
        letter = list_entry(node, struct letter, node);
        assert_int_equal(letter->number, next[letter->sender]++);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_null(mailbox_take(*state));
}

static void test_ring_adds_one(void **state)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t count;

    (void)state;
    assert_true(fd >= 0);
    mailbox_ring(fd);
    mailbox_ring(fd);
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 2);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty_gives_nothing),
        TEST(test_oldest_comes_first),
        TEST(test_readable_while_something_is_in),
        TEST(test_all_of_many_senders_arrive_in_their_order),
        cmocka_unit_test(test_ring_adds_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
