/*
 * test_parcel: messages with descriptors: what goes in comes out, and nothing waits for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct parcel out, in;
static int ends[2];

static int open_pair(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int close_pair(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return 0;
}

static void fill(size_t len)
{
    struct writer w = parcel_writer(&out);

    for (size_t i = 0; i < len; i++)
        write_u8(&w, (uint8_t)i);
    assert_true(parcel_wrote(&out, &w));
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void bytes_and_descriptors_arrive(void **state)
{
    int pipes[2], fd;
    char byte;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    fill(PARCEL_BYTES);
    out.fd[out.fds++] = pipes[0];
    out.fd[out.fds++] = pipes[1];
    assert_int_equal(parcel_send(ends[0], &out, 0), PARCEL_OK);
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_OK);
    assert_int_equal(in.len, PARCEL_BYTES);
    assert_memory_equal(in.bytes, out.bytes, PARCEL_BYTES);
    assert_int_equal(in.fds, 2);
    fd = parcel_take(&in, 1);
    assert_true(fd != pipes[1] && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(parcel_take(&in, 1), -1);
    assert_int_equal(parcel_take(&in, 2), -1);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
    parcel_clear(&in);
}

static void what_nobody_takes_is_closed_and_wiped(void **state)
{
    (void)state;
    fill(100);
    out.fd[out.fds++] = ends[1];
    assert_int_equal(parcel_send(ends[0], &out, 0), PARCEL_OK);
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_OK);
    int fd = in.fd[0];
    assert_true(is_open(fd));
    parcel_clear(&in);
    assert_false(is_open(fd));
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(in.bytes[i], 0);
}

static void as_many_descriptors_as_there_may_be(void **state)
{
    (void)state;
    fill(1);
    for (unsigned i = 0; i < PARCEL_FDS; i++)
        out.fd[out.fds++] = ends[0];
    assert_int_equal(parcel_send(ends[0], &out, 0), PARCEL_OK);
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_OK);
    assert_int_equal(in.fds, PARCEL_FDS);
    parcel_clear(&in);
}

static void a_longer_one_is_refused_with_its_descriptors(void **state)
{
    static uint8_t long_one[PARCEL_BYTES + 1];
    int next = dup(0);

    (void)state;
    close(next);
    assert_int_equal(send(ends[0], long_one, sizeof long_one, 0), (ssize_t)sizeof long_one);
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_BROKEN);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(in.fds, 0);
    int again = dup(0);
    assert_int_equal(again, next); /* none was left open */
    close(again);
}

static void nobody_waits_for_ever(void **state)
{
    (void)state;
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_LATE);
    assert_int_equal(parcel_receive(ends[1], &in, 1), PARCEL_LATE);
    fill(PARCEL_BYTES);
    enum parcel_verdict verdict;
    while ((verdict = parcel_send(ends[0], &out, 1)) == PARCEL_OK)
        continue;
    assert_int_equal(verdict, PARCEL_LATE);
}

static void the_other_end_goes(void **state)
{
    (void)state;
    fill(1);
    assert_int_equal(parcel_send(ends[0], &out, 0), PARCEL_OK);
    close(ends[0]);
    ends[0] = -1;
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_OK); /* what was said is heard */
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_END);
    assert_int_equal(parcel_send(ends[1], &out, 0), PARCEL_END);
}

/* The kernel tells of what it has not read before it gives out what it has said. */
static void its_last_words_are_heard_though_it_has_not_listened(void **state)
{
    (void)state;
    fill(3);
    assert_int_equal(parcel_send(ends[1], &out, 0), PARCEL_OK);
    assert_int_equal(parcel_send(ends[0], &out, 0), PARCEL_OK);
    close(ends[0]);
    ends[0] = -1;
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_OK);
    assert_int_equal(in.len, 3);
    assert_int_equal(parcel_receive(ends[1], &in, 0), PARCEL_END);
}

static void what_does_not_fit_is_told(void **state)
{
    struct writer w = parcel_writer(&out);

    (void)state;
    for (size_t i = 0; i < PARCEL_BYTES + 1; i++)
        write_u8(&w, 0);
    assert_false(parcel_wrote(&out, &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_and_descriptors_arrive, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(what_nobody_takes_is_closed_and_wiped, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(as_many_descriptors_as_there_may_be, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(a_longer_one_is_refused_with_its_descriptors, open_pair,
                                        close_pair),
        cmocka_unit_test_setup_teardown(nobody_waits_for_ever, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(the_other_end_goes, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(its_last_words_are_heard_though_it_has_not_listened,
                                        open_pair, close_pair),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_told, open_pair, close_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
