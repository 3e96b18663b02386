/*
 * mailbox: messages from one thread to another, in order, and an eventfd to wait on.
 * Posting allocates nothing, so it cannot fail: the sender brings the node. Knows no event loop and
 * not what a message says.
 */
#ifndef DTLSGATE_PROXY_MAILBOX_H
#define DTLSGATE_PROXY_MAILBOX_H

#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>

struct mailbox {
    pthread_mutex_t lock;
    struct list waiting;
    int fd;
};

/* False with errno: no eventfd is to be had. */
bool mailbox_init(struct mailbox *m) __attribute__((warn_unused_result));
/* The box is empty by then, and nobody posts any more. */
void mailbox_clear(struct mailbox *m);
/* Readable as long as something is in. */
int mailbox_fd(const struct mailbox *m);
/* From any thread. The node is the receiver's until it is taken out. */
void mailbox_post(struct mailbox *m, struct list *node);
/* For the one receiver: takes out the oldest, or returns NULL. Never blocks on the senders' work.
 */
struct list *mailbox_take(struct mailbox *m);

/* Adds one to an eventfd: the way back, where there is nothing to say but "done". */
void mailbox_ring(int fd);

#endif
