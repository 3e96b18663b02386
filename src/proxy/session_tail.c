/*
 * session_tail: all of a worker's in the order they were made in, which is that of their ends, so
 * nothing is searched and none has a timer. See the header.
 */
#include "proxy/session_tail.h"

#include "base/timer.h"

#include <stddef.h>

#define PER_TURN 256

void session_tail_make(struct session_tail **holder, struct session_memory *m,
                       struct handshake_farewell *farewell, uint64_t now)
{
    struct session_tail *tail = slab_take(&m->tails);

    *holder = tail;
    if (tail == NULL)
        return;
    tail->holder = holder;
    tail->made = now;
    if (farewell != NULL) {
        tail->farewell = *farewell;
        *farewell = (struct handshake_farewell){0};
    }
    list_init(&tail->age);
    list_append(&m->tails_by_age, &tail->age);
}

void session_tail_drop(struct session_tail **holder)
{
    if (*holder == NULL)
        return;
    list_remove(&(*holder)->age);
    handshake_farewell_clear(&(*holder)->farewell);
    slab_give(*holder);
    *holder = NULL;
}

bool session_tail_has_farewell(const struct session_tail *tail)
{
    return tail != NULL && tail->farewell.finished[0] == WIRE_FINISHED;
}

uint64_t session_tails_expire(struct session_memory *m, uint64_t now)
{
    struct list *node;

    for (unsigned n = 0; (node = list_first(&m->tails_by_age)) != NULL; n++) {
        struct session_tail *tail = list_entry(node, struct session_tail, age);
        if (tail->made + SESSION_TAIL_MS > now)
            return tail->made + SESSION_TAIL_MS;
        if (n == PER_TURN)
            return now;
        session_tail_drop(tail->holder);
    }
    return TIMER_NEVER;
}
