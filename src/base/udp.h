/*
 * udp: UDP sockets: how they are opened, bound, connected and set up, and what their errors mean.
 * Datagrams come in through base/udp_inbox and leave through base/udp_outbox. Knows nothing of what
 * is in a datagram.
 */
#ifndef DTLSGATE_BASE_UDP_H
#define DTLSGATE_BASE_UDP_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest payload a UDP datagram carries over IPv4; over IPv6 it is 20 bytes more, without jumbo.
 */
#define UDP_PAYLOAD_MAX 65527

enum udp_status {
    UDP_OK,
    UDP_EMPTY,   /* nothing (more) there now, or no room */
    UDP_REFUSED, /* an ICMP error was waiting and is now consumed; call again */
    UDP_BROKEN,  /* any other error, errno tells */
};

/* What an errno of a send or receive call means; never UDP_OK. */
enum udp_status udp_status_of(int error);

/* Opens and binds a listening socket at `at` (port 0: the kernel picks), non-blocking,
 * close-on-exec, SO_REUSEPORT, DF as the kernel does by default; at a wildcard it reports local
 * addresses.
 * `shared`: an earlier socket of our own holds the same address. When false the address must be
 * free of anybody else, a second dtlsgate included. `dual`: an IPv6 wildcard takes IPv4, too. On
 * success *bound is the real address. Returns the descriptor, or -1 with errno. */
int udp_listen(const struct addr *at, bool shared, bool dual, struct addr *bound);

/* Makes a socket that somebody else has opened and bound as good as one of udp_listen(), the
 * options that count before the bind aside. *at is where it is bound (its family is 0 where that is
 * unknown), *dual whether it takes IPv4 beside IPv6. False with errno: it is no such socket; it
 * stays open. */
bool udp_adopt(int fd, struct addr *at, bool *dual);

/* A connected non-blocking socket to `to`; never SO_REUSEADDR, so no two share a port. *local gets
 * the address it was given. Returns the descriptor, or -1 with errno. */
int udp_connect(const struct addr *to, struct addr *local);
/* The same from an address of ours, whose port is 0; NULL: the kernel chooses. Sockets of different
 * addresses may share a port. EADDRINUSE: no port of this address is left. */
int udp_connect_from(const struct addr *from, const struct addr *to, struct addr *local);
/* The same from an address that need not be ours (IP_TRANSPARENT), of the family of `to`; answers
 * reach it where a route makes them local. From its port, if it has one and that is free, else from
 * one of the kernel's choice. EPERM: CAP_NET_RAW is missing. */
int udp_connect_as(const struct addr *as, const struct addr *to, struct addr *local);
/* Whether we may do so; if not, errno tells. */
bool udp_may_connect_as(int family);
/* A non-blocking socket that is not connected, at a port of the kernel's choice on all addresses of
 * `family`, local addresses reported. It can send from each address that a route makes local, those
 * of IPv6 that no interface has, too. `loopback`: hears nothing but this host, where the kernel can
 * do that. *bound gets its address. Returns the descriptor, or -1 with errno. */
int udp_share(int family, bool loopback, struct addr *bound);

/* Where a socket is bound. False with errno: it is no UDP socket's name, or none at all. */
bool udp_own_address(int fd, struct addr *out) __attribute__((warn_unused_result));

/* Whether a socket can be bound to the address, whose port is 0: it is one of this host's. */
bool udp_is_local(const struct addr *a);

/* Asks for socket buffers of `bytes` each way, beyond the system's limit when we may. Returns what
 * the kernel granted for receiving, in the same unit as asked. */
size_t udp_set_buffers(int fd, size_t bytes);

/* Lets the kernel hand over several datagrams of one sender as one message (UDP_GRO), which
 * udp_next() cuts apart. False: it does not know how. */
bool udp_join_received(int fd);

/* Of the sockets that share an address, which are numbered in the order of their bind. */
struct udp_steering {
    uint8_t first;  /* datagrams that begin with this byte */
    unsigned at;    /* go to the one that the byte there is the number of, */
    unsigned count; /* if there are so many */
};
/* Lets the kernel choose among all that share the address of `fd`. It chooses as before for all
 * other datagrams, those that are too short included. False: it does not know how, or the socket
 * shares nothing. */
bool udp_steer(int fd, const struct udp_steering *to);
/* The instructions for that, to begin a longer program with: it goes on behind them where a
 * datagram names no socket. */
#define UDP_STEERING_CODE 7
struct sock_filter;
void udp_steering_code(const struct udp_steering *to, struct sock_filter *out);

/* What the kernel can do with many datagrams of one way at a time. */
struct udp_offload {
    bool send;    /* UDP_SEGMENT */
    bool receive; /* UDP_GRO */
};
/* Tries it over loopback, in some microseconds; for the start. */
struct udp_offload udp_probe_offload(void);

#endif
