/*
 * loop_rig: an event loop that is turned until something has come, with a deadline behind it.
 */
#ifndef DTLSGATE_TESTS_LOOP_RIG_H
#define DTLSGATE_TESTS_LOOP_RIG_H

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline void loop_give_up(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    fail_msg("the time is over");
}

/* From now on the test has 20 s, until event_free() of what this returns. */
static inline struct event *loop_guard(struct event_base *base)
{
    const struct timeval limit = {.tv_sec = 20};
    struct event *guard = evtimer_new(base, loop_give_up, NULL);

    assert_int_equal(evtimer_add(guard, &limit), 0);
    return guard;
}

/* Until *count, which the loop's callbacks change, is `wanted`. */
static inline void loop_await(struct event_base *base, const size_t *count, size_t wanted)
{
    struct event *guard = loop_guard(base);

    while (*count < wanted)
        event_base_loop(base, EVLOOP_ONCE);
    event_free(guard);
    assert_int_equal(*count, wanted);
}

#endif
