/*
 * udp_relay: a plain UDP relay without DTLS, written the usual way; what dtlsgate is compared with.
 * One thread, epoll, one connected socket to the backend for each peer, one datagram per system
 * call. Peers are never forgotten: it lives for one measurement.
 *
 *     udp_relay [-g] LISTEN-ADDR:PORT BACKEND-ADDR:PORT
 *
 * -g: as good as a plain relay gets with what the kernel offers: many datagrams per call on the way
 * in (recvmmsg), and those of one peer that are of one size leave in one call (UDP_SEGMENT). Prints
 * "listening on ADDR:PORT" and then relays until a signal ends it.
 */
#include "args.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUCKETS 65536
#define EVENTS 256
/* Datagrams taken from one socket before the others get their turn. */
#define TURN 64
#define DATAGRAM_MAX 65536
/* What the kernel takes at once to be cut. */
#define SEGMENTS_BYTES 65000

struct peer {
    struct peer *next; /* in its bucket */
    struct sockaddr_in addr;
    int fd; /* connected to the backend */
};

static struct peer *bucket[BUCKETS];
static struct sockaddr_in backend;
static int poller;
static int public_fd;
static uint8_t room[DATAGRAM_MAX];

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    return fd;
}

static void watch(int fd, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static struct peer **bucket_of(const struct sockaddr_in *addr)
{
    uint32_t hash = (addr->sin_addr.s_addr ^ ((uint32_t)addr->sin_port << 16)) * 2654435761u;

    return &bucket[hash >> 16];
}

static bool same_peer(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static struct peer *find_or_make(const struct sockaddr_in *addr)
{
    struct peer **at = bucket_of(addr), *p;

    for (p = *at; p; p = p->next)
        if (same_peer(&p->addr, addr))
            return p;
    p = malloc(sizeof(*p));
    if (!p)
        die("malloc");
    *p = (struct peer){.next = *at, .addr = *addr, .fd = open_socket()};
    if (connect(p->fd, (struct sockaddr *)&backend, sizeof(backend)) != 0)
        die("connect");
    watch(p->fd, p);
    *at = p;
    return p;
}

static void from_clients(void)
{
    struct sockaddr_in addr;

    for (int i = 0; i < TURN; i++) {
        socklen_t len = sizeof(addr);
        ssize_t n = recvfrom(public_fd, room, sizeof(room), 0, (struct sockaddr *)&addr, &len);
        if (n < 0)
            return;
        (void)send(find_or_make(&addr)->fd, room, (size_t)n, 0);
    }
}

static void from_backend(const struct peer *p)
{
    for (int i = 0; i < TURN; i++) {
        ssize_t n = recv(p->fd, room, sizeof(room), 0);
        if (n < 0)
            return;
        (void)sendto(public_fd, room, (size_t)n, 0, (const struct sockaddr *)&p->addr,
                     sizeof(p->addr));
    }
}

/* --- in batches ------------------------------------------------------------------------------ */

struct batch {
    struct mmsghdr message[TURN];
    struct iovec payload[TURN];
    struct sockaddr_in peer[TURN];
    uint8_t data[TURN][DATAGRAM_MAX];
};

static struct batch in;

static unsigned take_batch(int fd)
{
    int n;

    for (int i = 0; i < TURN; i++) {
        in.payload[i] = (struct iovec){.iov_base = in.data[i], .iov_len = DATAGRAM_MAX};
        in.message[i].msg_hdr = (struct msghdr){.msg_name = &in.peer[i],
                                                .msg_namelen = sizeof(in.peer[i]),
                                                .msg_iov = &in.payload[i],
                                                .msg_iovlen = 1};
    }
    n = recvmmsg(fd, in.message, TURN, 0, NULL);
    for (int i = 0; i < n; i++)
        in.payload[i].iov_len = in.message[i].msg_len;
    return n > 0 ? (unsigned)n : 0;
}

/* How many from `first` on may leave as one: of one size, but for a shorter last one. */
static unsigned run_length(unsigned first, unsigned n)
{
    size_t size = in.payload[first].iov_len, total = size;
    unsigned at = first + 1;

    while (at < n && in.payload[at - 1].iov_len == size && in.payload[at].iov_len <= size &&
           in.payload[at].iov_len > 0 && total + in.payload[at].iov_len <= SEGMENTS_BYTES)
        total += in.payload[at++].iov_len;
    return at - first;
}

/* Sends n datagrams of the batch, cut by the kernel, to `to`, or where the socket is connected. */
static void send_run(int fd, const struct sockaddr_in *to, unsigned first, unsigned n)
{
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control = {0};
    struct sockaddr_in name = to ? *to : (struct sockaddr_in){0};
    struct msghdr m = {.msg_name = to ? &name : NULL,
                       .msg_namelen = to ? sizeof(name) : 0,
                       .msg_iov = &in.payload[first],
                       .msg_iovlen = n};
    uint16_t size = (uint16_t)in.payload[first].iov_len;

    if (n > 1) {
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof(control.bytes);
        control.head.cmsg_level = SOL_UDP;
        control.head.cmsg_type = UDP_SEGMENT;
        control.head.cmsg_len = CMSG_LEN(sizeof(size));
        memcpy(CMSG_DATA(&control.head), &size, sizeof(size));
    }
    (void)sendmsg(fd, &m, 0);
}

static void send_all(int fd, const struct sockaddr_in *to, unsigned first, unsigned end)
{
    for (unsigned n; first < end; first += n) {
        n = run_length(first, end);
        send_run(fd, to, first, n);
    }
}

/* What one peer has sent in a row goes on together. */
static void batch_from_clients(void)
{
    unsigned n = take_batch(public_fd), end;

    for (unsigned first = 0; first < n; first = end) {
        for (end = first + 1; end < n && same_peer(&in.peer[end], &in.peer[first]); end++)
            ;
        send_all(find_or_make(&in.peer[first])->fd, NULL, first, end);
    }
}

static void batch_from_backend(const struct peer *p)
{
    send_all(public_fd, &p->addr, 0, take_batch(p->fd));
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: udp_relay [-g] LISTEN-ADDR:PORT BACKEND-ADDR:PORT\n");
    exit(2);
}

static _Noreturn void serve(bool in_batches)
{
    static struct epoll_event event[EVENTS];

    for (;;) {
        int n = epoll_wait(poller, event, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            const struct peer *p = event[i].data.ptr;
            if (in_batches)
                p ? batch_from_backend(p) : batch_from_clients();
            else
                p ? from_backend(p) : from_clients();
        }
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in at;
    bool in_batches = false;
    int letter;

    while ((letter = getopt(argc, argv, "g")) != -1) {
        if (letter != 'g')
            usage();
        in_batches = true;
    }
    if (optind != argc - 2 || !args_address(argv[optind], &at) ||
        !args_address(argv[optind + 1], &backend))
        usage();
    raise_descriptors();
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1");
    public_fd = open_socket();
    listen_at(public_fd, at);
    watch(public_fd, NULL);
    serve(in_batches);
}
