/*
 * udp: sockets, and datagrams in batches of up to 32 in and 64 out.
 * All that touches struct mmsghdr is in here, so that joining a peer's datagrams into one system
 * message (UDP_SEGMENT, UDP_GRO) stays a matter of pack_group() and take_message().
 * Must never know what a datagram holds, nor wait: every call returns at once.
 */
#include "base/udp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INBOX_SLOTS 32
#define SLOT_SIZE 65536
#define OUTBOX_SLOTS 64
#define OUTBOX_BYTES (256 * 1024)

/* Pending ICMP errors that one udp_send() steps over; each costs a system call. */
#define SEND_TRIES 4

/* Room for the one control message that a datagram carries, of either family. */
union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* What one struct mmsghdr points to. */
struct envelope {
    struct iovec payload;
    struct sockaddr_storage peer;
    union control control;
};

struct udp_inbox {
    struct mmsghdr message[INBOX_SLOTS];
    struct envelope envelope[INBOX_SLOTS];
    struct udp_datagram list[INBOX_SLOTS];
    size_t count;
    uint8_t room[INBOX_SLOTS][SLOT_SIZE];
};

struct outgoing {
    uint8_t *data; /* in the arena */
    size_t len;
    int fd; /* -1: has been packed */
    int family;
    struct addr peer;
    struct addr local;
};

struct udp_outbox {
    struct outgoing queue[OUTBOX_SLOTS];
    struct mmsghdr message[OUTBOX_SLOTS];
    struct envelope envelope[OUTBOX_SLOTS];
    size_t count;
    size_t used;     /* bytes of the arena that queued datagrams take */
    size_t reserved; /* bytes behind them that the caller may fill */
    size_t refused;
    uint8_t arena[OUTBOX_BYTES];
};

/* Errors that an ICMP message leaves on a connected socket. They speak of an earlier datagram, and
 * anybody on the path can forge them, so none of them may end a socket. */
static bool is_icmp_error(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
    case EACCES:
    case EMSGSIZE:
        return true;
    default:
        return false;
    }
}

static enum udp_status status_of(int error)
{
    if (error == EAGAIN || error == EINTR || error == ENOBUFS)
        return UDP_EMPTY;
    return is_icmp_error(error) ? UDP_REFUSED : UDP_BROKEN;
}

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

static int open_socket(int family)
{
    return socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
}

static int close_failed(int fd)
{
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

static bool own_address(int fd, struct addr *out)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0)
        return false;
    return addr_from_sockaddr(out, (struct sockaddr *)&name);
}

/* Before the bind, so that not even the first datagram lacks its local address. An AF_INET6 socket
 * reports IPv4 destinations, too, as v4-mapped ones. */
static bool report_local(int fd, int family, bool dual)
{
    if (family == AF_INET)
        return set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual) &&
           set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/* A bind without SO_REUSEPORT fails when anybody holds the address, whatever options the holder
 * set. The option set afterwards lets later sockets of the same user join. */
static bool bind_socket(int fd, const struct addr *at, bool shared)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(at, at->family, &name);

    if (shared && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return false;
    if (bind(fd, (struct sockaddr *)&name, len) != 0)
        return false;
    return shared || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

static void arm_slot(struct udp_inbox *in, size_t i)
{
    struct envelope *e = &in->envelope[i];

    e->payload = (struct iovec){.iov_base = in->room[i], .iov_len = SLOT_SIZE};
    in->message[i].msg_hdr = (struct msghdr){.msg_name = &e->peer,
                                             .msg_namelen = sizeof(e->peer),
                                             .msg_iov = &e->payload,
                                             .msg_iovlen = 1,
                                             .msg_control = &e->control,
                                             .msg_controllen = sizeof(e->control)};
}

/* The destination in the IP header and not ipi_spec_dst: an answer to a broadcast datagram would
 * need a source address that the kernel refuses, so one datagram cannot make many hosts answer. */
static void read_local(struct msghdr *message, struct addr *local)
{
    struct sockaddr_storage name = {0};

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct sockaddr_in *v4 = (struct sockaddr_in *)&name;
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            v4->sin_family = AF_INET;
            v4->sin_addr = info.ipi_addr;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&name;
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            v6->sin6_family = AF_INET6;
            v6->sin6_addr = info.ipi6_addr;
            if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                v6->sin6_scope_id = info.ipi6_ifindex;
        }
    }
    if (!addr_from_sockaddr(local, (struct sockaddr *)&name))
        *local = (struct addr){0};
}

/* Lists what one system message holds; nothing when it is not whole. */
static void take_message(struct udp_inbox *in, size_t i)
{
    struct mmsghdr *m = &in->message[i];
    struct udp_datagram *d = &in->list[in->count];

    if (m->msg_hdr.msg_flags & MSG_TRUNC)
        return;
    if (!addr_from_sockaddr(&d->peer, (struct sockaddr *)&in->envelope[i].peer))
        return;
    read_local(&m->msg_hdr, &d->local);
    d->data = in->room[i];
    d->len = m->msg_len;
    in->count++;
}

/* IPv4 has its own control message also on an AF_INET6 socket, where the kernel takes both. */
static size_t write_local(union control *control, const struct addr *local)
{
    struct sockaddr_storage name;
    size_t len = local->family == AF_INET ? sizeof(struct in_pktinfo) : sizeof(struct in6_pktinfo);

    memset(control, 0, sizeof(*control));
    control->align.cmsg_len = CMSG_LEN(len);
    addr_to_sockaddr(local, local->family, &name);
    if (local->family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&name;
        struct in_pktinfo info = {.ipi_spec_dst = v4->sin_addr};
        control->align.cmsg_level = IPPROTO_IP;
        control->align.cmsg_type = IP_PKTINFO;
        memcpy(CMSG_DATA(&control->align), &info, sizeof(info));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&name;
        struct in6_pktinfo info = {.ipi6_addr = v6->sin6_addr, .ipi6_ifindex = v6->sin6_scope_id};
        control->align.cmsg_level = IPPROTO_IPV6;
        control->align.cmsg_type = IPV6_PKTINFO;
        memcpy(CMSG_DATA(&control->align), &info, sizeof(info));
    }
    return CMSG_SPACE(len);
}

static void pack_message(struct udp_outbox *out, size_t at, const struct outgoing *d)
{
    struct envelope *e = &out->envelope[at];
    struct msghdr *m = &out->message[at].msg_hdr;

    e->payload = (struct iovec){.iov_base = d->data, .iov_len = d->len};
    *m = (struct msghdr){.msg_name = &e->peer, .msg_iov = &e->payload, .msg_iovlen = 1};
    m->msg_namelen = addr_to_sockaddr(&d->peer, d->family, &e->peer);
    if (d->local.family != 0) {
        m->msg_control = &e->control;
        m->msg_controllen = write_local(&e->control, &d->local);
    }
}

/* Packs all that leaves through the socket of queue[first], in their order. Returns how many
 * messages that makes. */
static size_t pack_group(struct udp_outbox *out, size_t first)
{
    int fd = out->queue[first].fd;
    size_t packed = 0;

    for (size_t i = first; i < out->count; i++) {
        if (out->queue[i].fd != fd)
            continue;
        pack_message(out, packed++, &out->queue[i]);
        out->queue[i].fd = -1;
    }
    return packed;
}

/* Each round sends or skips at least one message, so it ends. */
static void send_group(struct udp_outbox *out, int fd, size_t packed)
{
    for (size_t at = 0; at < packed;) {
        int sent = sendmmsg(fd, &out->message[at], (unsigned)(packed - at), MSG_DONTWAIT);
        if (sent > 0) {
            at += (size_t)sent;
        } else {
            out->refused++;
            at++;
        }
    }
}

static void flush_queue(struct udp_outbox *out)
{
    for (size_t i = 0; i < out->count; i++) {
        int fd = out->queue[i].fd;
        if (fd >= 0)
            send_group(out, fd, pack_group(out, i));
    }
    out->count = 0;
    out->used = 0;
}

struct udp_inbox *udp_inbox_new(void)
{
    struct udp_inbox *in = calloc(1, sizeof(*in));

    for (size_t i = 0; in && i < INBOX_SLOTS; i++)
        arm_slot(in, i);
    return in;
}

void udp_inbox_free(struct udp_inbox *in)
{
    free(in);
}

enum udp_status udp_receive(int fd, struct udp_inbox *in, const struct udp_datagram **list,
                            size_t *count)
{
    *list = in->list;
    *count = in->count = 0;
    while (in->count == 0) {
        int n = recvmmsg(fd, in->message, INBOX_SLOTS, MSG_DONTWAIT, NULL);
        if (n < 0)
            return status_of(errno);
        for (size_t i = 0; i < (size_t)n; i++) {
            take_message(in, i);
            arm_slot(in, i);
        }
    }
    *count = in->count;
    return UDP_OK;
}

int udp_listen(const struct addr *at, bool shared, bool dual, struct addr *bound)
{
    int fd = open_socket(at->family);

    if (fd < 0)
        return -1;
    if (!report_local(fd, at->family, dual) || !bind_socket(fd, at, shared) ||
        !own_address(fd, bound))
        return close_failed(fd);
    return fd;
}

bool udp_adopt(int fd, struct addr *at, bool *dual)
{
    int type = 0, domain = 0, only = 1;
    socklen_t len = sizeof(type);

    *at = (struct addr){0};
    *dual = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &type, &len) != 0)
        return false;
    len = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0)
        return false;
    /* IPv4 on an AF_INET6 socket is another family than its address tells. */
    if (type != IPPROTO_UDP || !own_address(fd, at) || at->port == 0 || at->family != domain) {
        errno = EPROTOTYPE;
        return false;
    }
    len = sizeof(only);
    if (at->family == AF_INET6 && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) != 0)
        return false;
    *dual = only == 0;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
           set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
           (at->family == AF_INET ? set_option(fd, IPPROTO_IP, IP_PKTINFO, 1)
                                  : set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
}

int udp_connect(const struct addr *to, struct addr *local)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, to->family, &name);
    int fd = open_socket(to->family);

    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&name, len) != 0 || !own_address(fd, local))
        return close_failed(fd);
    return fd;
}

size_t udp_set_buffers(int fd, size_t bytes)
{
    int ask = bytes < INT_MAX / 2 ? (int)bytes : INT_MAX / 2;
    int granted = 0;
    socklen_t len = sizeof(granted);

    if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, ask))
        (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, ask);
    if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, ask))
        (void)set_option(fd, SOL_SOCKET, SO_SNDBUF, ask);
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &len) != 0)
        return 0;
    return (size_t)granted / 2; /* socket(7): the kernel doubles what it is asked for */
}

enum udp_status udp_send(int fd, const void *data, size_t len, unsigned *refused)
{
    for (int tries = 0; tries < SEND_TRIES; tries++) {
        if (send(fd, data, len, MSG_DONTWAIT) >= 0)
            return UDP_OK;
        if (!is_icmp_error(errno))
            break;
        if (errno == ECONNREFUSED)
            (*refused)++;
    }
    return status_of(errno);
}

struct udp_outbox *udp_outbox_new(void)
{
    return calloc(1, sizeof(struct udp_outbox));
}

void udp_outbox_free(struct udp_outbox *out)
{
    free(out);
}

uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max)
{
    assert(max <= UDP_PAYLOAD_MAX);
    if (out->count == OUTBOX_SLOTS || max > OUTBOX_BYTES - out->used)
        flush_queue(out);
    out->reserved = max;
    return out->arena + out->used;
}

void udp_outbox_commit(struct udp_outbox *out, size_t len, int fd, int family,
                       const struct addr *peer, const struct addr *local)
{
    assert(len <= out->reserved && out->count < OUTBOX_SLOTS && fd >= 0);
    out->queue[out->count++] = (struct outgoing){.data = out->arena + out->used,
                                                 .len = len,
                                                 .fd = fd,
                                                 .family = family,
                                                 .peer = *peer,
                                                 .local = *local};
    out->used += len;
    out->reserved = 0;
}

size_t udp_outbox_flush(struct udp_outbox *out)
{
    size_t refused;

    flush_queue(out);
    refused = out->refused;
    out->refused = 0;
    return refused;
}
