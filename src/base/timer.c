/*
 * timer: deadlines in a binary heap of intrusive nodes.
 * Must never read a clock, nor know what a deadline is for.
 */
#include "base/timer.h"

#include <stdlib.h>

#define HEAP_SIZE_MIN 64

static void place(struct timers *ts, size_t i, struct timer *t)
{
    ts->heap[i] = t;
    t->index = i + 1;
}

/* Both sifts carry `t` from the hole at `i` to where it belongs. */
static void sift_up(struct timers *ts, size_t i, struct timer *t)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;

        if (ts->heap[parent]->at <= t->at)
            break;
        place(ts, i, ts->heap[parent]);
        i = parent;
    }
    place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i, struct timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= ts->count)
            break;
        if (child + 1 < ts->count && ts->heap[child + 1]->at < ts->heap[child]->at)
            child++;
        if (t->at <= ts->heap[child]->at)
            break;
        place(ts, i, ts->heap[child]);
        i = child;
    }
    place(ts, i, t);
}

static void settle(struct timers *ts, size_t i, struct timer *t)
{
    if (i > 0 && t->at < ts->heap[(i - 1) / 2]->at)
        sift_up(ts, i, t);
    else
        sift_down(ts, i, t);
}

static bool make_room(struct timers *ts)
{
    size_t size = ts->size > 0 ? ts->size * 2 : HEAP_SIZE_MIN;
    struct timer **heap;

    if (ts->count < ts->size)
        return true;
    heap = reallocarray(ts->heap, size, sizeof *heap);
    if (heap == NULL)
        return false;
    ts->heap = heap;
    ts->size = size;
    return true;
}

void timers_init(struct timers *ts)
{
    *ts = (struct timers){0};
}

void timers_clear(struct timers *ts)
{
    free(ts->heap);
    timers_init(ts);
}

bool timer_set(struct timers *ts, struct timer *t, uint64_t at)
{
    if (t->index == 0) {
        if (!make_room(ts))
            return false;
        t->index = ++ts->count;
    }
    t->at = at;
    settle(ts, t->index - 1, t);
    return true;
}

void timer_cancel(struct timers *ts, struct timer *t)
{
    size_t hole = t->index - 1;
    struct timer *last;

    if (t->index == 0)
        return;
    t->index = 0;
    last = ts->heap[--ts->count];
    if (last != t)
        settle(ts, hole, last);
}

uint64_t timers_next(const struct timers *ts)
{
    return ts->count > 0 ? ts->heap[0]->at : TIMER_NEVER;
}

struct timer *timers_expired(struct timers *ts, uint64_t now)
{
    struct timer *first;

    if (ts->count == 0 || ts->heap[0]->at > now)
        return NULL;
    first = ts->heap[0];
    timer_cancel(ts, first);
    return first;
}
