/*
 * worker: one thread with an event loop, its listeners, its upstream and its relay.
 * The master speaks to it through a mailbox; it answers by an acknowledgement. Nothing mutable is
 * shared but the mailbox, the counters, the sessions that can be resumed by their id, and the file
 * of those that are kept, where each has blocks of its own.
 */
#ifndef DTLSGATE_PROXY_WORKER_H
#define DTLSGATE_PROXY_WORKER_H

#include "proxy/inquiry.h"
#include "proxy/moving.h"
#include "proxy/relay.h"
#include "proxy/restore.h"

/* A public socket of one worker; the descriptor is the process's. */
struct worker_socket {
    int fd;
    unsigned service; /* index in the snapshot */
    struct addr bound;
};

struct worker_params {
    unsigned index, count; /* which of how many */
    const struct worker_socket *sockets;
    size_t socket_count;
    int acks; /* eventfd of the master: one is added for each message that was carried out, and for
                 the stop message as the thread's last act */
    const struct cookie_secrets *cookies;
    const struct ticket_keys *tickets; /* NULL: none yet */
    struct cache *cache;               /* as in proxy/parts.h */
    struct udp_offload offload;        /* what the kernel can do and the settings allow */
    const int *shared;                 /* as in proxy/parts.h */
    bool is_stopped;                   /* it begins as if told MOVING_STOP */
};

struct worker;

/* Makes all that the worker needs, in the caller's thread. Takes over *setup; of *params only the
 * descriptors are kept. NULL: out of memory or descriptors, *setup is still the caller's. */
struct worker *worker_new(const struct worker_params *params, struct relay_setup *setup);
/* Before the start: who is next in the ring of workers, which is in the order of their indices. It
 * is asked when an identity has too many sessions, and takes records of its connection ids. All of
 * a ring have ended before any is freed. */
void worker_link(struct worker *w, struct worker *next);
/* Before the start: sessions are kept in what all workers share, which outlives them, and an
 * earlier process's session is taken up, as proxy/restore.h says. False, as relay_keep(). */
bool worker_keep(struct worker *w, struct keep_shared *shared) __attribute__((warn_unused_result));
const char *worker_restore(struct worker *w, const struct restore *order);
void worker_restored(struct worker *w);
/* Starts the thread, with all signals blocked in it. False: errno. */
bool worker_start(struct worker *w) __attribute__((warn_unused_result));

/* Messages, from the thread that made the worker. Each is carried out in order and then
 * acknowledged; those posted after the stop are dropped without. False: out of memory, nothing
 * sent. */
bool worker_post_setup(struct worker *w, struct relay_setup *setup) /* takes over *setup on true */
    __attribute__((warn_unused_result));
bool worker_post_cookies(struct worker *w, const struct cookie_secrets *cookies)
    __attribute__((warn_unused_result));
bool worker_post_tickets(struct worker *w, const struct ticket_keys *tickets)
    __attribute__((warn_unused_result));
bool worker_post_backend(struct worker *w, const struct relay_order *order)
    __attribute__((warn_unused_result));
bool worker_post_drain(struct worker *w) __attribute__((warn_unused_result));
/* Changes nothing: that it is acknowledged tells that the loop turns. Needs no memory; not before
 * the last one is acknowledged. */
void worker_post_ping(struct worker *w);
bool worker_post_undrain(struct worker *w) __attribute__((warn_unused_result));
/* Not acknowledged: it comes back through q->replies, unless the worker was told to stop before. It
 * is nobody else's in between. */
bool worker_post_inquiry(struct worker *w, struct inquiry *q) __attribute__((warn_unused_result));
/* Not acknowledged: it comes back through m->replies. Needs no memory; not before the last one is
 * back. From MOVING_STOP to MOVING_GO_ON the worker touches no socket but that of MOVING_PACK, and
 * all else that is posted waits, but a ping and the stop; behind MOVING_LET_GO for ever. */
void worker_post_moving(struct worker *w, struct moving *m);
/* Before the start: what another process has sent for this worker, and its secrets. */
bool worker_unpack(struct worker *w, struct moving_arrival *a, const char **why)
    __attribute__((warn_unused_result));
void worker_use_cookies(struct worker *w, const struct cookie_secrets *cookies);
void worker_use_tickets(struct worker *w, const struct ticket_keys *tickets);
/* Ends the thread and all sessions, with goodbye but for those that are kept. Needs no memory, so
 * cannot fail; harmless when posted before. */
void worker_post_stop(struct worker *w);
/* Before that: says goodbye to those that are kept, too, and keeps none. */
void worker_forget(struct worker *w);

/* Stops the thread where it was started and not stopped yet, and waits for its end. */
void worker_join(struct worker *w);
/* The same where that was not done yet, and frees. NULL is fine. */
void worker_free(struct worker *w);
/* May be read while the thread runs; gone with the worker. */
const struct stats *worker_stats(const struct worker *w);
/* The same for what is counted by service, of those that the worker was made with. */
uint64_t worker_service_count(const struct worker *w, unsigned service, enum service_counter what);
/* The socket that flows of a service share, or -1; as long as the worker is there. */
int worker_shared_socket(const struct worker *w, unsigned service);
/* The same for the backends of a service: balance_look(). */
const struct balance *worker_balance(const struct worker *w, unsigned service);

#endif
