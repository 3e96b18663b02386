/*
 * control: the control socket's clients: a line in, an answer out, the end.
 * In the main thread, on the master's loop. At most eight at a time, and none of them can make it
 * wait, or hold more than some ten kilobytes of an answer that it does not read.
 */
#ifndef DTLSGATE_DAEMON_CONTROL_H
#define DTLSGATE_DAEMON_CONTROL_H

#include "base/errors.h"
#include "daemon/fleet.h"
#include "daemon/order.h"
#include "daemon/unixsock.h"

struct control;
struct event_base;

struct control_params {
    struct event_base *base;
    const struct unixsock *socket;
    struct fleet *fleet;
    struct order_hooks hooks;
    /* All with hooks.arg. A reload may begin and end within the call, or later. */
    void (*reload)(void *arg);
    void (*upgrade)(void *arg); /* the same */
    void (*stop)(void *arg);
};

/* NULL: out of memory. What `params` points to must outlive it. */
struct control *control_new(const struct control_params *params);

/* A reload begins: it answers for all orders to reload that have come so far. NULL is fine here and
 * below. */
void control_reload_begins(struct control *c);
/* It is done, or was refused for these errors (NULL: none). */
void control_reload_ended(struct control *c, const struct errors *errors);

/* An upgrade is over: answers those that wait for it. One of the two is not NULL. */
void control_upgraded(struct control *c, const struct errors *errors,
                      const struct upgrade_report *report);
/* Whether new clients are taken; those that are not wait for us, or for another process. */
void control_listen(struct control *c, bool is_on);
/* No client has an answer that is not sent yet. */
bool control_is_quiet(const struct control *c);
/* Leaves the loop, with all clients, which must be before the loop goes. */
void control_close(struct control *c);
/* Frees, when all workers have ended: one may still be looking for an answer before. */
void control_free(struct control *c);

#endif
