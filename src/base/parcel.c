/*
 * parcel: sendmsg and recvmsg with SCM_RIGHTS. See the header.
 * Must never leave a descriptor open that nobody knows of.
 */
#include "base/parcel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* While as many descriptors are on their way as a user may have, the kernel takes no more. */
#define RETRY_MS 1

union ancillary {
    struct cmsghdr header; /* for its alignment */
    char room[CMSG_SPACE(PARCEL_FDS * sizeof(int))];
};

static enum parcel_verdict await(int socket, short what, int patience_ms)
{
    struct pollfd p = {.fd = socket, .events = what};
    int n;

    do
        n = poll(&p, 1, patience_ms);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return PARCEL_BROKEN;
    return n == 0 ? PARCEL_LATE : PARCEL_OK;
}

static void attach(struct msghdr *m, union ancillary *a, const struct parcel *p)
{
    struct cmsghdr *c;

    if (p->fds == 0)
        return;
    memset(a, 0, sizeof(*a));
    m->msg_control = a->room;
    m->msg_controllen = CMSG_SPACE(p->fds * sizeof(int));
    c = CMSG_FIRSTHDR(m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(p->fds * sizeof(int));
    memcpy(CMSG_DATA(c), p->fd, p->fds * sizeof(int));
}

/* What to do about a call that failed; PARCEL_OK: try again. */
static enum parcel_verdict after_failure(int socket, short what, int *patience_ms)
{
    switch (errno) {
    case EINTR:
        return PARCEL_OK;
    case EAGAIN:
        return await(socket, what, *patience_ms);
    case ETOOMANYREFS:
        if (*patience_ms <= 0)
            return PARCEL_LATE;
        *patience_ms -= RETRY_MS;
        (void)poll(NULL, 0, RETRY_MS);
        return PARCEL_OK;
    case EPIPE:
    case ECONNRESET:
        return PARCEL_END;
    default:
        return PARCEL_BROKEN;
    }
}

enum parcel_verdict parcel_send(int socket, const struct parcel *p, int patience_ms)
{
    struct iovec data = {.iov_base = (void *)(uintptr_t)p->bytes, .iov_len = p->len};
    struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1};
    union ancillary a;
    enum parcel_verdict verdict;

    attach(&m, &a, p);
    do {
        if (sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return PARCEL_OK;
        verdict = after_failure(socket, POLLOUT, &patience_ms);
    } while (verdict == PARCEL_OK);
    return verdict;
}

/* Whatever else there may be is closed by the kernel with MSG_CTRUNC. */
static void detach(struct msghdr *m, struct parcel *p)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        p->fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(p->fd, CMSG_DATA(c), p->fds * sizeof(int));
    }
}

/* Of an end that has closed with something unread the kernel tells once, and first; what that one
 * has said is still there. */
static ssize_t take(int socket, struct msghdr *m)
{
    ssize_t n = recvmsg(socket, m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && errno == ECONNRESET)
        n = recvmsg(socket, m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    return n;
}

enum parcel_verdict parcel_receive(int socket, struct parcel *p, int patience_ms)
{
    union ancillary a;
    enum parcel_verdict verdict;

    p->len = 0;
    p->fds = 0;
    do {
        struct iovec data = {.iov_base = p->bytes, .iov_len = sizeof(p->bytes)};
        struct msghdr m = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = a.room,
                           .msg_controllen = sizeof(a.room)};
        ssize_t n = take(socket, &m);
        if (n >= 0) {
            detach(&m, p);
            p->len = (size_t)n;
            if (n == 0)
                return PARCEL_END;
            if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
                return PARCEL_OK;
            parcel_clear(p);
            errno = EMSGSIZE;
            return PARCEL_BROKEN;
        }
        verdict = after_failure(socket, POLLIN, &patience_ms);
    } while (verdict == PARCEL_OK);
    return verdict;
}

int parcel_take(struct parcel *p, unsigned i)
{
    int fd = i < p->fds ? p->fd[i] : -1;

    if (fd >= 0)
        p->fd[i] = -1;
    return fd;
}

void parcel_clear(struct parcel *p)
{
    for (unsigned i = 0; i < p->fds; i++)
        if (p->fd[i] >= 0)
            close(p->fd[i]);
    bytes_wipe(p->bytes, p->len);
    p->fds = 0;
    p->len = 0;
}

struct writer parcel_writer(struct parcel *p)
{
    p->fds = 0;
    p->len = 0;
    return writer_of(p->bytes, sizeof(p->bytes));
}

bool parcel_wrote(struct parcel *p, const struct writer *w)
{
    p->len = sizeof(p->bytes) - w->left;
    return !w->bad;
}

struct reader parcel_reader(const struct parcel *p)
{
    return reader_of(p->bytes, p->len);
}
