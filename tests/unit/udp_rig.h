/*
 * udp_rig: a server and a client socket over loopback, with an inbox and an outbox between them; in
 * two ways: datagrams joined where the kernel can, and one by one. Waits with poll(2), never
 * sleeps. The calls that send and receive are defined in here, too, so that a test can see what
 * leaves and make the kernel's rarer answers. Include it once a program.
 */
#ifndef DTLSGATE_TESTS_UDP_RIG_H
#define DTLSGATE_TESTS_UDP_RIG_H

#include "base/udp_inbox.h"
#include "base/udp_outbox.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 5000
#define SEEN_MAX 1024

/* One message that was handed to the kernel. */
struct seen {
    int fd;
    struct addr peer;
    size_t size; /* of the segments; 0: it holds one datagram */
    size_t bytes, iovecs;
};

static struct udp_inbox *inbox;
static struct udp_outbox *outbox;
static int server, client; /* opened by the set-up over IPv4 */
static struct addr bound, local;
static uint8_t pattern[UDP_PAYLOAD_MAX];
static bool is_joined; /* the way this test runs */
static unsigned refusals;
static void *refused_owner;

static void (*spoil)(struct mmsghdr *message); /* changes the first that is received, once */
static int send_error;                         /* what the kernel says instead of sending */
static int join_error;                         /* the same, to joined messages alone */
static bool is_lost;                           /* what leaves is seen and goes nowhere */
static unsigned send_calls, receive_calls;     /* how often the kernel was asked */
static struct seen seen[SEEN_MAX];
static size_t seen_count;

static void spoil_first(struct mmsghdr *messages)
{
    void (*how)(struct mmsghdr * message) = spoil;

    spoil = NULL;
    if (how)
        how(messages);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
    long n = syscall(SYS_recvmmsg, fd, messages, count, flags, timeout);

    receive_calls++;
    if (n > 0)
        spoil_first(messages);
    return (int)n;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct mmsghdr one = {.msg_hdr = *message};
    long n = syscall(SYS_recvmsg, fd, &one.msg_hdr, flags);

    receive_calls++;
    if (n >= 0) {
        one.msg_len = (unsigned)n;
        spoil_first(&one);
        *message = one.msg_hdr;
    }
    return n;
}

static void see(int fd, const struct msghdr *m)
{
    struct seen *s = &seen[seen_count++];
    struct msghdr copy = *m;

    assert_true(seen_count <= SEEN_MAX);
    *s = (struct seen){.fd = fd, .iovecs = m->msg_iovlen};
    if (m->msg_name)
        assert_true(addr_from_sockaddr(&s->peer, m->msg_name));
    for (size_t i = 0; i < m->msg_iovlen; i++)
        s->bytes += m->msg_iov[i].iov_len;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c)) {
        if (c->cmsg_level != IPPROTO_UDP)
            continue;
        uint16_t size;
        assert_int_equal(c->cmsg_type, UDP_SEGMENT);
        assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(size)));
        memcpy(&size, CMSG_DATA(c), sizeof(size));
        s->size = size;
    }
}

static void (*on_lost)(const struct msghdr *m, size_t size);

static ssize_t pass_on(int fd, const struct msghdr *m, int flags)
{
    see(fd, m);
    errno = send_error != 0 ? send_error : seen[seen_count - 1].size > 0 ? join_error : 0;
    if (errno != 0) {
        seen_count--;
        return -1;
    }
    if (!is_lost)
        return syscall(SYS_sendmsg, fd, m, flags);
    if (on_lost)
        on_lost(m, seen[seen_count - 1].size);
    return 0;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    send_calls++;
    return pass_on(fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static uint8_t copy[UDP_PAYLOAD_MAX];
    struct iovec payload = {.iov_base = copy, .iov_len = len};
    struct msghdr m = {.msg_iov = &payload, .msg_iovlen = 1};

    assert_true(len <= sizeof(copy));
    memcpy(copy, data, len);
    send_calls++;
    return pass_on(fd, &m, flags);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    send_calls++;
    for (unsigned i = 0; i < count; i++)
        if (pass_on(fd, &messages[i].msg_hdr, flags) < 0)
            return i > 0 ? (int)i : -1;
    return (int)count;
}

static inline struct addr parse(const char *text)
{
    struct addr a;

    assert_true(addr_parse(&a, text));
    return a;
}

static inline void join_received(int fd)
{
    if (is_joined)
        assert_true(udp_join_received(fd));
}

/* Skips the test where this host has no IPv6. */
static inline int listen_at(const char *text, bool dual, struct addr *at)
{
    struct addr wanted = parse(text);
    int fd = udp_listen(&wanted, false, dual, at);

    if (fd < 0 && wanted.family == AF_INET6 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        skip();
    assert_true(fd >= 0);
    assert_true(at->port != 0);
    join_received(fd);
    return fd;
}

static inline int connect_to(const struct addr *to, struct addr *from)
{
    int fd = udp_connect(to, from);

    assert_true(fd >= 0);
    assert_true(from->port != 0);
    join_received(fd);
    return fd;
}

/* Another pair: the server listens at one address, the client writes to another of it. */
static inline struct addr open_pair(const char *listen, bool dual, const char *to)
{
    struct addr target = parse(to);

    close(server);
    close(client);
    server = client = -1;
    server = listen_at(listen, dual, &bound);
    target.port = bound.port;
    client = connect_to(&target, &local);
    return target;
}

static inline void on_refused(void *arg, void *owner, unsigned n)
{
    assert_ptr_equal(arg, &refusals);
    refused_owner = owner;
    refusals += n;
    errno = 0; /* as a log line might */
}

/* Wants joined ones where *state is true; one by one is what remains where the kernel cannot. */
static inline int set_up(void **state)
{
    spoil = NULL;
    on_lost = NULL;
    send_error = join_error = 0;
    is_lost = false;
    is_joined = *(const bool *)*state && udp_probe_offload().receive;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
    inbox = udp_inbox_new(false);
    outbox = udp_outbox_new(is_joined, on_refused, &refusals);
    server = listen_at("127.0.0.1:0", false, &bound);
    client = connect_to(&bound, &local);
    send_calls = receive_calls = refusals = 0;
    refused_owner = NULL;
    seen_count = 0;
    return inbox && outbox ? 0 : -1;
}

static inline int tear_down(void **state)
{
    (void)state;
    udp_inbox_free(inbox);
    udp_outbox_free(outbox);
    close(server);
    close(client);
    return 0;
}

static inline bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, WAIT_MS) == 1;
}

/* Past the outbox, and unseen. */
static inline void send_plain(int fd, const void *data, size_t len)
{
    assert_int_equal(syscall(SYS_sendto, fd, data, len, 0, NULL, 0), (long)len);
}

/* Queues for `peer`, to leave through `fd` from any address. */
static inline void queue(const void *data, size_t len, int fd, const struct addr *peer)
{
    const struct udp_way way = {.fd = fd, .family = peer->family, .peer = peer};

    memcpy(udp_outbox_reserve(outbox, len), data, len);
    udp_outbox_commit(outbox, len, &way);
}

/* Queues on a connected socket. */
static inline void queue_connected(const void *data, size_t len, int fd, void *owner)
{
    const struct udp_way way = {.fd = fd, .owner = owner};

    memcpy(udp_outbox_reserve(outbox, len), data, len);
    udp_outbox_commit(outbox, len, &way);
}

/* The one datagram that is expected to be waiting or on its way. */
static inline struct udp_datagram receive_one(int fd)
{
    const struct udp_datagram *next;
    struct udp_datagram d;

    assert_true(wait_for(fd, POLLIN));
    assert_int_equal(udp_receive(fd, inbox, UDP_BATCH_MAX), UDP_OK);
    next = udp_next(inbox);
    assert_non_null(next);
    d = *next;
    assert_null(udp_next(inbox));
    return d;
}

static inline void assert_received(int fd, const void *data, size_t len)
{
    struct udp_datagram d = receive_one(fd);

    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, data, len);
}

static inline void assert_silent(int fd)
{
    assert_int_equal(udp_receive(fd, inbox, UDP_BATCH_MAX), UDP_EMPTY);
    assert_null(udp_next(inbox));
}

/* Loopback delivers before send() returns, so after the last number there is nothing more to come.
 */
static inline void assert_sequence(int fd, unsigned first, unsigned step, unsigned total)
{
    unsigned seen_so_far = 0;

    while (seen_so_far < total) {
        const struct udp_datagram *d;
        assert_true(wait_for(fd, POLLIN));
        assert_int_equal(udp_receive(fd, inbox, UDP_BATCH_MAX), UDP_OK);
        for (; (d = udp_next(inbox)) != NULL; seen_so_far++) {
            unsigned number;
            assert_true(d->len >= sizeof(number));
            memcpy(&number, d->data, sizeof(number));
            assert_int_equal(number, first + seen_so_far * step);
        }
    }
    assert_silent(fd);
}

static inline void assert_seen(size_t i, size_t size, size_t bytes)
{
    assert_true(i < seen_count);
    assert_int_equal(seen[i].size, size);
    assert_int_equal(seen[i].bytes, bytes);
}

static bool joined = true, single = false;

#define RUN(name, how) cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, &(how))
#define JOINED(name) RUN(name, joined)
#define SINGLE(name) RUN(name, single)
#define BOTH(name) JOINED(name), SINGLE(name)

#endif
