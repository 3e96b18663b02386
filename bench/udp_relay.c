/*
 * udp_relay: a plain UDP relay without DTLS, written the usual way; what dtlsgate is compared with.
 * One thread, epoll, one connected socket to the backend for each peer, one datagram per system
 * call. Peers are never forgotten: it lives for one measurement.
 *
 *     udp_relay LISTEN-ADDR:PORT BACKEND-ADDR:PORT
 *
 * Prints "listening on ADDR:PORT" and then relays until a signal ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUCKETS 65536
#define EVENTS 256
/* Datagrams taken from one socket before the others get their turn. */
#define TURN 64
#define DATAGRAM_MAX 65536
#define BUFFER_BYTES (4 * 1024 * 1024)

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

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "udp_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* IPv4 alone: the measurements are made over loopback. */
static bool parse(const char *text, struct sockaddr_in *out)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN], *end;

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    unsigned long port = strtoul(colon + 1, &end, 10);
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return end != colon + 1 && *end == '\0' && port <= 65535 &&
           inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

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

static int listen_at(struct sockaddr_in at)
{
    int fd = open_socket(), bytes = BUFFER_BYTES;
    socklen_t len = sizeof(at);
    char host[INET_ADDRSTRLEN];

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        die("bind");
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        die("getsockname");
    printf("listening on %s:%u\n", inet_ntop(AF_INET, &at.sin_addr, host, sizeof(host)),
           ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static struct peer **bucket_of(const struct sockaddr_in *addr)
{
    uint32_t hash = (addr->sin_addr.s_addr ^ ((uint32_t)addr->sin_port << 16)) * 2654435761u;

    return &bucket[hash >> 16];
}

static struct peer *find_or_make(const struct sockaddr_in *addr)
{
    struct peer **at = bucket_of(addr), *p;

    for (p = *at; p; p = p->next)
        if (p->addr.sin_port == addr->sin_port && p->addr.sin_addr.s_addr == addr->sin_addr.s_addr)
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

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
}

int main(int argc, char **argv)
{
    static struct epoll_event event[EVENTS];
    struct sockaddr_in at;

    if (argc != 3 || !parse(argv[1], &at) || !parse(argv[2], &backend)) {
        fprintf(stderr, "usage: udp_relay LISTEN-ADDR:PORT BACKEND-ADDR:PORT\n");
        return 2;
    }
    raise_descriptors();
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1");
    public_fd = listen_at(at);
    watch(public_fd, NULL);
    for (;;) {
        int n = epoll_wait(poller, event, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (event[i].data.ptr)
                from_backend(event[i].data.ptr);
            else
                from_clients();
        }
    }
}
