/*
 * worker_state: what a worker has in hand. The inside of worker, split off for size: only worker
 * and worker_post include this.
 */
#ifndef DTLSGATE_PROXY_WORKER_STATE_H
#define DTLSGATE_PROXY_WORKER_STATE_H

#include "proxy/message.h"

#include <event2/event_struct.h>
#include <pthread.h>

struct worker {
    struct event_base *base;
    struct udp_inbox *inbox;
    struct udp_outbox *outbox;
    struct upstream *upstream;
    struct helpers *helpers;
    struct listener **listeners;
    size_t listener_count;
    struct listener *unfinished; /* the rest of its batch waits for the next turn; or NULL */
    struct relay *relay;
    struct worker *next;   /* of the ring of workers; NULL: alone */
    unsigned index, count; /* in the ring */
    struct event mail_event, tick_event;
    uint64_t tick_at; /* what tick_event is armed for */
    uint64_t now;     /* the turn's time; 0: nobody has asked */
    uint64_t wall_at; /* when to look at the wall clock again */
    int acks;
    bool is_over;            /* the thread's: leave the loop */
    struct moving *stopping; /* to be stopped once the turn is over; or NULL */
    struct messages messages;
    struct message stop, ping, moving;
    bool is_started, is_stop_posted; /* the master's */
    bool forgets;                    /* the master's until it posts the stop */
    pthread_t thread;
    struct stats stats;
    struct service_stats *services; /* by index */
};

#endif
