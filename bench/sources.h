/*
 * sources: datagrams from very many addresses of 127/8 over a few sockets. A socket bound to any
 * address may name any address of 127/8 as its source (IP_PKTINFO), so this needs no privileges.
 * Must never know what the datagrams mean.
 */
#ifndef DTLSGATE_BENCH_SOURCES_H
#define DTLSGATE_BENCH_SOURCES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define SOURCES_PORTS 16
#define SOURCES_BATCH 64
#define SOURCES_DATAGRAM 2048
/* 127.128.0.0/9, away from where anybody listens. */
#define SOURCES_FIRST 0x7f800000u
#define SOURCES_BITS 23

/* A datagram in a batch, with room for the address it comes from or went to. */
struct sources_parcel {
    uint8_t data[SOURCES_DATAGRAM];
    struct iovec payload;
    struct sockaddr_in peer;
    union {
        struct cmsghdr head; /* aligns it */
        uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control;
};

struct sources_batch {
    struct mmsghdr message[SOURCES_BATCH];
    struct sources_parcel parcel[SOURCES_BATCH];
    unsigned count;
};

/* Opens the sockets; ends the program when it cannot. With `deaf` all that comes is dropped, which
 * costs least. Returns an array of SOURCES_PORTS. */
const int *sources_open(bool deaf);

/* Where the next datagram of a batch is to be written. There is room for SOURCES_BATCH of them. */
uint8_t *sources_room(struct sources_batch *b);
/* Adds what was written there. */
void sources_add(struct sources_batch *b, size_t len, struct in_addr from,
                 const struct sockaddr_in *to);
/* Sends them and empties the batch. Returns how many the kernel took. */
unsigned sources_send(struct sources_batch *b, int fd);

/* Fills the batch with what has come; does not wait. */
void sources_receive(struct sources_batch *b, int fd);
/* The address a received datagram was sent to. */
bool sources_destination(struct sources_batch *b, unsigned at, struct in_addr *out);

#endif
