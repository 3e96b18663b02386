/*
 * steer: which of several sockets that share an address gets a sender's datagrams, by a rule of our
 * own that a program in the kernel follows (SO_ATTACH_REUSEPORT_CBPF): the kernel's own choice is
 * another one after each start of the host. What a datagram says itself goes before.
 */
#ifndef DTLSGATE_BASE_STEER_H
#define DTLSGATE_BASE_STEER_H

#include "base/udp.h"

#include <stdbool.h>
#include <stdint.h>

/* Unknown to senders, or they could choose their ports to meet all at one socket. It is no more
 * than that: what is at stake is balance. */
struct steer {
    uint32_t key[2];
};

/* The index, in the order of their binding, of the socket that a sender's datagrams come to. */
unsigned steer_index(const struct steer *s, const struct addr *from, unsigned count);
/* Has the kernel do so for the group that `fd` is part of, `first->count` sockets of one address,
 * but for datagrams that udp_steer() would place, which go as there; it takes the place of that. A
 * sender over IPv6 with extension headers stays the kernel's to place. False with errno. */
bool steer_attach(const struct steer *s, int fd, const struct udp_steering *first)
    __attribute__((warn_unused_result));

#endif
