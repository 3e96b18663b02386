/*
 * timer: deadlines in a binary heap of intrusive nodes. Knows no clock; time is passed in.
 */
#ifndef DTLSGATE_BASE_TIMER_H
#define DTLSGATE_BASE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_NEVER UINT64_MAX

struct timer {
    uint64_t at;  /* milliseconds, the caller's clock */
    size_t index; /* place in the heap plus one; 0 = not armed. Zeroed memory is a valid timer */
};

struct timers {
    struct timer **heap;
    size_t count, size;
};

/* By way of an integer, so that a const timer can become a pointer to const without a warning. */
#define timer_entry(t, type, member) ((type *)((uintptr_t)(t)-offsetof(type, member)))

void timers_init(struct timers *ts);
/* Frees the heap; armed timers must not be used with it again. */
void timers_clear(struct timers *ts);
/* Arms or moves. False: out of memory, the timer is not armed then. */
bool timer_set(struct timers *ts, struct timer *t, uint64_t at) __attribute__((warn_unused_result));
/* Disarms; harmless when not armed. */
void timer_cancel(struct timers *ts, struct timer *t);
/* When the earliest is due, or TIMER_NEVER. */
uint64_t timers_next(const struct timers *ts);
/* Takes out and returns one timer that is due at `now`, or NULL. */
struct timer *timers_expired(struct timers *ts, uint64_t now);

#endif
