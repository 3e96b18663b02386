/*
 * udp: UDP sockets and batched I/O; the only place that calls recvmmsg, sendmmsg and their kin.
 * Datagrams come in as views into a shared inbox and leave through an outbox, so a caller neither
 * copies nor counts system calls. Knows nothing of what is in a datagram.
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

struct udp_datagram {
    const uint8_t *data;
    size_t len;
    struct addr peer;
    struct addr local; /* the address it was sent to, with the port 0; family 0 when unknown */
};

/* One batch of received datagrams; may serve many sockets in turn. */
struct udp_inbox;
struct udp_inbox *udp_inbox_new(void); /* NULL: out of memory */
void udp_inbox_free(struct udp_inbox *in);

enum udp_status {
    UDP_OK,      /* *count > 0 */
    UDP_EMPTY,   /* nothing (more) there now */
    UDP_REFUSED, /* an ICMP error was waiting and is now consumed; call again */
    UDP_BROKEN,  /* any other error, errno tells */
};

/* Receives what is waiting, at most one batch. *list stays valid until the next call on this inbox.
 */
enum udp_status udp_receive(int fd, struct udp_inbox *in, const struct udp_datagram **list,
                            size_t *count);

/* Opens and binds a listening socket at `at` (port 0: the kernel picks), non-blocking,
 * close-on-exec, SO_REUSEPORT, local addresses reported, DF as the kernel does by default.
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

/* Asks for socket buffers of `bytes` each way, beyond the system's limit when we may. Returns what
 * the kernel granted for receiving, in the same unit as asked. */
size_t udp_set_buffers(int fd, size_t bytes);

/* Sends one datagram on a connected socket, 0 bytes included. A refusal of an earlier datagram that
 * is reported now is counted in *refused and this one is sent all the same. Anything but UDP_OK: it
 * was dropped, errno tells why. UDP_EMPTY: no room in the kernel; UDP_REFUSED: no way there now, or
 * too large; UDP_BROKEN: any other reason, a local firewall's EPERM among them, and the socket may
 * still be good. */
enum udp_status udp_send(int fd, const void *data, size_t len, unsigned *refused);

/* What leaves from a shared socket. One per worker; flush before the socket closes. */
struct udp_outbox;
struct udp_outbox *udp_outbox_new(void); /* NULL: out of memory */
void udp_outbox_free(struct udp_outbox *out);
/* Room for one datagram of up to `max` bytes (at most 65527); flushes by itself when full. Never
 * NULL. The room is valid until the next call. */
uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max);
/* Queues `len` bytes of the room reserved last, to leave through `fd` (a socket of udp_listen()
 * with the family `family`) for `peer` from the address `local` (family 0: any). The order of one
 * peer's is kept. */
void udp_outbox_commit(struct udp_outbox *out, size_t len, int fd, int family,
                       const struct addr *peer, const struct addr *local);
/* Sends all that is queued. Returns how many the kernel has refused since the last flush call. */
size_t udp_outbox_flush(struct udp_outbox *out);

#endif
