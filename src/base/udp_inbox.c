/*
 * udp_inbox: recvmmsg, and cutting apart what the kernel has joined.
 * Must never know what a datagram holds, nor wait, nor trust a size that came with a message.
 */
#include "base/udp_inbox.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* No message is longer, joined or not. */
#define SLOT_SIZE 65536

/* Room for a local address of either family, and the length of what was joined. */
union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
};

/* What one struct mmsghdr points to. */
struct envelope {
    struct iovec payload;
    struct sockaddr_storage peer;
    union control control;
};

struct udp_inbox {
    struct mmsghdr message[UDP_BATCH_MAX];
    struct envelope envelope[UDP_BATCH_MAX];
    bool is_connected;
    unsigned count;              /* messages of this batch */
    unsigned taken;              /* of which so many have been opened */
    size_t segment;              /* how long each datagram of the open one is, but the last */
    size_t rest;                 /* bytes of it that have not been given out */
    struct udp_datagram current; /* given out last */
    uint8_t room[UDP_BATCH_MAX][SLOT_SIZE];
};

static void arm(struct udp_inbox *in, size_t i)
{
    struct envelope *e = &in->envelope[i];

    e->payload = (struct iovec){.iov_base = in->room[i], .iov_len = SLOT_SIZE};
    in->message[i].msg_hdr = (struct msghdr){.msg_name = in->is_connected ? NULL : &e->peer,
                                             .msg_iov = &e->payload,
                                             .msg_iovlen = 1,
                                             .msg_control = &e->control};
}

/* What the kernel changes with each message. */
static void rearm(struct udp_inbox *in, size_t i)
{
    struct msghdr *m = &in->message[i].msg_hdr;

    m->msg_namelen = in->is_connected ? 0 : sizeof(in->envelope[i].peer);
    m->msg_controllen = sizeof(in->envelope[i].control);
}

/* The destination in the IP header and not ipi_spec_dst: an answer to a broadcast datagram would
 * need a source address that the kernel refuses, so one datagram cannot make many hosts answer. */
static void read_ipv4(const struct cmsghdr *c, struct addr *local)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    struct in_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof(info));
    name.sin_addr = info.ipi_addr;
    if (!addr_from_sockaddr(local, (struct sockaddr *)&name))
        local->family = 0;
}

static void read_ipv6(const struct cmsghdr *c, struct addr *local)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    struct in6_pktinfo info;

    memcpy(&info, CMSG_DATA(c), sizeof(info));
    name.sin6_addr = info.ipi6_addr;
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        name.sin6_scope_id = info.ipi6_ifindex;
    if (!addr_from_sockaddr(local, (struct sockaddr *)&name))
        local->family = 0;
}

static bool is_control(const struct cmsghdr *c, int level, int type, size_t len)
{
    return c->cmsg_level == level && c->cmsg_type == type && c->cmsg_len == CMSG_LEN(len);
}

/* A length that makes no sense is none: then the message is one datagram. */
static void read_segment(struct udp_inbox *in, const struct cmsghdr *c)
{
    int len;

    memcpy(&len, CMSG_DATA(c), sizeof(len));
    if (len > 0 && (size_t)len < in->segment)
        in->segment = (size_t)len;
}

static void read_control(struct udp_inbox *in, struct msghdr *m)
{
    in->current.local.family = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (is_control(c, IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo)))
            read_ipv4(c, &in->current.local);
        else if (is_control(c, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo)))
            read_ipv6(c, &in->current.local);
        else if (is_control(c, IPPROTO_UDP, UDP_GRO, sizeof(int)))
            read_segment(in, c);
    }
}

/* False where it is not whole, or of nobody. An empty message is one datagram, too. */
static bool open_message(struct udp_inbox *in)
{
    unsigned i = in->taken++;
    struct mmsghdr *m = &in->message[i];
    struct udp_datagram *d = &in->current;

    if (m->msg_hdr.msg_flags & MSG_TRUNC)
        return false;
    if (!in->is_connected &&
        !addr_from_sockaddr(&d->peer, (struct sockaddr *)&in->envelope[i].peer))
        return false;
    in->rest = in->segment = m->msg_len;
    read_control(in, &m->msg_hdr);
    d->data = in->room[i];
    d->len = 0;
    return true;
}

/* One alone is taken with one call, and without a second look whether there is more. */
static int receive(int fd, struct udp_inbox *in, unsigned max)
{
    ssize_t len;

    if (max > 1)
        return recvmmsg(fd, in->message, max, MSG_DONTWAIT, NULL);
    len = recvmsg(fd, &in->message[0].msg_hdr, MSG_DONTWAIT);
    if (len < 0)
        return -1;
    in->message[0].msg_len = (unsigned)len;
    return 1;
}

struct udp_inbox *udp_inbox_new(bool is_connected)
{
    struct udp_inbox *in = calloc(1, sizeof(*in));

    if (!in)
        return NULL;
    in->is_connected = is_connected;
    for (size_t i = 0; i < UDP_BATCH_MAX; i++)
        arm(in, i);
    return in;
}

void udp_inbox_free(struct udp_inbox *in)
{
    free(in);
}

enum udp_status udp_receive(int fd, struct udp_inbox *in, unsigned max)
{
    int n;

    assert(max > 0 && max <= UDP_BATCH_MAX);
    for (unsigned i = 0; i < max; i++)
        rearm(in, i);
    in->rest = in->taken = in->count = 0;
    n = receive(fd, in, max);
    if (n < 0)
        return udp_status_of(errno);
    in->count = (unsigned)n;
    return UDP_OK;
}

unsigned udp_received(const struct udp_inbox *in)
{
    return in->count;
}

struct udp_datagram *udp_next(struct udp_inbox *in)
{
    struct udp_datagram *d = &in->current;

    while (in->rest == 0) {
        if (in->taken == in->count)
            return NULL;
        if (open_message(in))
            break;
    }
    d->data += d->len;
    d->len = in->rest < in->segment ? in->rest : in->segment;
    in->rest -= d->len;
    return d;
}

bool udp_has_rest(const struct udp_inbox *in)
{
    return in->rest > 0 || in->taken < in->count;
}
