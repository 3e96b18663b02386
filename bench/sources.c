/*
 * sources: batches of datagrams, each with its own local address.
 */
#include "sources.h"

#include "args.h"

#include <linux/filter.h>
#include <string.h>

#define BUFFER_BYTES (4 * 1024 * 1024)

static int port_fd[SOURCES_PORTS];

/* What is not wanted costs least when it is dropped at the door. */
static void drop_answers(int fd)
{
    struct sock_filter drop = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog program = {.len = 1, .filter = &drop};

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0)
        die("SO_ATTACH_FILTER");
}

const int *sources_open(bool deaf)
{
    const struct sockaddr_in any = {.sin_family = AF_INET};
    int on = 1, bytes = BUFFER_BYTES;

    for (int i = 0; i < SOURCES_PORTS; i++) {
        int fd = port_fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any)) != 0)
            die("socket");
        if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0)
            die("IP_PKTINFO");
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
        if (deaf)
            drop_answers(fd);
    }
    return port_fd;
}

static void prepare(struct sources_batch *b, unsigned at, size_t len)
{
    struct sources_parcel *p = &b->parcel[at];

    p->payload = (struct iovec){.iov_base = p->data, .iov_len = len};
    b->message[at].msg_hdr = (struct msghdr){.msg_name = &p->peer,
                                             .msg_namelen = sizeof(p->peer),
                                             .msg_iov = &p->payload,
                                             .msg_iovlen = 1,
                                             .msg_control = p->control.bytes,
                                             .msg_controllen = sizeof(p->control.bytes)};
}

uint8_t *sources_room(struct sources_batch *b)
{
    return b->parcel[b->count].data;
}

void sources_add(struct sources_batch *b, size_t len, struct in_addr from,
                 const struct sockaddr_in *to)
{
    unsigned at = b->count++;
    struct in_pktinfo info = {.ipi_spec_dst = from};
    struct cmsghdr *c;

    prepare(b, at, len);
    b->parcel[at].peer = *to;
    c = CMSG_FIRSTHDR(&b->message[at].msg_hdr);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(info));
    memcpy(CMSG_DATA(c), &info, sizeof(info));
}

unsigned sources_send(struct sources_batch *b, int fd)
{
    unsigned sent = 0;

    for (unsigned at = 0; at < b->count;) {
        int n = sendmmsg(fd, b->message + at, b->count - at, 0);
        sent += n > 0 ? (unsigned)n : 0;
        at += n > 0 ? (unsigned)n : 1;
    }
    b->count = 0;
    return sent;
}

void sources_receive(struct sources_batch *b, int fd)
{
    int n;

    for (unsigned i = 0; i < SOURCES_BATCH; i++)
        prepare(b, i, SOURCES_DATAGRAM);
    n = recvmmsg(fd, b->message, SOURCES_BATCH, MSG_DONTWAIT, NULL);
    b->count = n > 0 ? (unsigned)n : 0;
}

bool sources_destination(struct sources_batch *b, unsigned at, struct in_addr *out)
{
    struct msghdr *m = &b->message[at].msg_hdr;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct in_pktinfo info;
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
            continue;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        *out = info.ipi_addr;
        return true;
    }
    return false;
}
