/*
 * udp: opens UDP sockets and finds out what the kernel can do with them.
 * Must never know what a datagram holds, nor wait, but for the probe at the start.
 */
#include "base/udp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long the probe waits for what loopback delivers at once or never. */
#define PROBE_WAIT_MS 200

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

bool udp_own_address(int fd, struct addr *out)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0)
        return false;
    return addr_from_sockaddr(out, (struct sockaddr *)&name);
}

/* An AF_INET6 socket reports IPv4 destinations, too, as v4-mapped ones. */
static bool report_local(int fd, const struct addr *at)
{
    if (!addr_is_wildcard(at))
        return true; /* what comes in is for this address, and it costs to be told */
    return at->family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                                  : set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

/* Before the bind, so that not even the first datagram lacks its local address. */
static bool prepare(int fd, const struct addr *at, bool dual)
{
    if (at->family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual))
        return false;
    return report_local(fd, at);
}

static bool bind_to(int fd, const struct addr *at)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(at, at->family, &name);

    return bind(fd, (struct sockaddr *)&name, len) == 0;
}

/* A bind without SO_REUSEPORT fails when anybody holds the address, whatever options the holder
 * set. The option set afterwards lets later sockets of the same user join. */
static bool bind_socket(int fd, const struct addr *at, bool shared)
{
    if (shared && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return false;
    if (!bind_to(fd, at))
        return false;
    return shared || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

enum udp_status udp_status_of(int error)
{
    if (error == EAGAIN || error == EINTR || error == ENOBUFS)
        return UDP_EMPTY;
    return is_icmp_error(error) ? UDP_REFUSED : UDP_BROKEN;
}

int udp_listen(const struct addr *at, bool shared, bool dual, struct addr *bound)
{
    int fd = open_socket(at->family);

    if (fd < 0)
        return -1;
    if (!prepare(fd, at, dual) || !bind_socket(fd, at, shared) || !udp_own_address(fd, bound))
        return close_failed(fd);
    return fd;
}

int udp_share(int family, bool loopback, struct addr *bound)
{
    static const char device[] = "lo";
    const struct addr any = {.family = (uint16_t)family};
    int fd = open_socket(family);

    if (fd < 0)
        return -1;
    if (loopback) /* older kernels want a privilege for it, and then it is one wall less */
        (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof(device));
    if (!prepare(fd, &any, false) ||
        (family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)) ||
        !bind_to(fd, &any) || !udp_own_address(fd, bound))
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
    if (type != IPPROTO_UDP || !udp_own_address(fd, at) || at->port == 0 || at->family != domain) {
        errno = EPROTOTYPE;
        return false;
    }
    len = sizeof(only);
    if (at->family == AF_INET6 && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len) != 0)
        return false;
    *dual = only == 0;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
           set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) && report_local(fd, at);
}

int udp_connect_from(const struct addr *from, const struct addr *to, struct addr *local)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, to->family, &name);
    int fd = open_socket(to->family);

    if (fd < 0)
        return -1;
    if ((from && !bind_to(fd, from)) || connect(fd, (struct sockaddr *)&name, len) != 0 ||
        !udp_own_address(fd, local))
        return close_failed(fd);
    return fd;
}

int udp_connect(const struct addr *to, struct addr *local)
{
    return udp_connect_from(NULL, to, local);
}

static bool take_any_source(int fd, int family)
{
    return family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
                              : set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

/* Another socket may have the very port: of another session, or the client's own on this host. */
static bool bind_as(int fd, const struct addr *as)
{
    struct addr any_port = *as;

    if (bind_to(fd, as))
        return true;
    any_port.port = 0;
    return as->port != 0 && errno == EADDRINUSE && bind_to(fd, &any_port);
}

int udp_connect_as(const struct addr *as, const struct addr *to, struct addr *local)
{
    struct sockaddr_storage name;
    socklen_t len = addr_to_sockaddr(to, to->family, &name);
    int fd = open_socket(to->family);

    if (fd < 0)
        return -1;
    if (as->family != to->family) {
        errno = EAFNOSUPPORT;
        return close_failed(fd);
    }
    if (!take_any_source(fd, to->family) || !bind_as(fd, as) ||
        connect(fd, (struct sockaddr *)&name, len) != 0 || !udp_own_address(fd, local))
        return close_failed(fd);
    return fd;
}

bool udp_may_connect_as(int family)
{
    int fd = open_socket(family);

    if (fd >= 0 && !take_any_source(fd, family))
        fd = close_failed(fd);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

bool udp_is_local(const struct addr *a)
{
    int fd = open_socket(a->family);
    bool is_bound = fd >= 0 && bind_to(fd, a);

    if (fd >= 0)
        close(fd);
    return is_bound;
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

/* A pair of sockets over loopback. Returns the one that hears what *from says; -1: there is none.
 */
static int open_probe(int family, int *from)
{
    struct addr at = {.family = (uint16_t)family}, bound, local;
    int to;

    at.ip[family == AF_INET ? 3 : 15] = 1;
    if (family == AF_INET)
        at.ip[0] = 127;
    to = udp_listen(&at, false, false, &bound);
    if (to < 0)
        return -1;
    *from = udp_connect(&bound, &local);
    return *from >= 0 ? to : close_failed(to);
}

/* Whether the next datagram is that long. */
static bool arrives(int fd, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char data[8];

    return poll(&p, 1, PROBE_WAIT_MS) == 1 && recv(fd, data, sizeof(data), 0) == (ssize_t)len;
}

/* A load past the end would mean the first socket, so the length is asked before. */
void udp_steering_code(const struct udp_steering *to, struct sock_filter *out)
{
    const struct sock_filter code[UDP_STEERING_CODE] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, to->at, 0, 5),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, to->first, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, to->at),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, to->count, 1, 0),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };

    memcpy(out, code, sizeof(code));
}

bool udp_steer(int fd, const struct udp_steering *to)
{
    struct sock_filter code[UDP_STEERING_CODE + 1] = {
        [UDP_STEERING_CODE] = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX), /* by the hash, as without */
    };
    const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

    udp_steering_code(to, code);
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

bool udp_join_received(int fd)
{
    return set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
}

struct udp_offload udp_probe_offload(void)
{
    struct udp_offload found = {false, false};
    int from = -1, to = open_probe(AF_INET, &from);

    if (to < 0)
        to = open_probe(AF_INET6, &from);
    if (to < 0)
        return found;
    found.send = set_option(from, IPPROTO_UDP, UDP_SEGMENT, 2) && send(from, "abc", 3, 0) == 3 &&
                 arrives(to, 2) && arrives(to, 1);
    /* What was sent as one has to come as one. */
    found.receive =
        found.send && udp_join_received(to) && send(from, "abc", 3, 0) == 3 && arrives(to, 3);
    close(from);
    close(to);
    return found;
}
