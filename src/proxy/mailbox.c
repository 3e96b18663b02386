/*
 * mailbox: a locked list beside an eventfd that counts what is in it.
 * Must never know who runs a loop on the descriptor, nor free what it is handed.
 */
#include "proxy/mailbox.h"

#include <assert.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

bool mailbox_init(struct mailbox *m)
{
    m->fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->fd < 0)
        return false;
    list_init(&m->waiting);
    pthread_mutex_init(&m->lock, NULL);
    return true;
}

void mailbox_clear(struct mailbox *m)
{
    assert(list_is_empty(&m->waiting));
    pthread_mutex_destroy(&m->lock);
    close(m->fd);
}

int mailbox_fd(const struct mailbox *m)
{
    return m->fd;
}

void mailbox_post(struct mailbox *m, struct list *node)
{
    pthread_mutex_lock(&m->lock);
    list_append(&m->waiting, node);
    pthread_mutex_unlock(&m->lock);
    mailbox_ring(m->fd);
}

struct list *mailbox_take(struct mailbox *m)
{
    struct list *node;
    uint64_t one;

    /* A semaphore: each read takes one of the ones that were added, each after its node. */
    if (read(m->fd, &one, sizeof(one)) != sizeof(one))
        return NULL;
    pthread_mutex_lock(&m->lock);
    node = list_first(&m->waiting);
    assert(node);
    list_remove(node);
    pthread_mutex_unlock(&m->lock);
    return node;
}

void mailbox_ring(int fd)
{
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof(one));

    assert(written == sizeof(one)); /* an eventfd has room for 2^64 - 2 */
    (void)written;
}
