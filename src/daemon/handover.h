/*
 * handover: what two processes of dtlsgate say to each other when one takes over from the other:
 * the kinds of parcels, in their order, and how those are written that are more than a byte.
 *
 *   old                                   new
 *   HELLO, LISTEN..., SHARED..., THINGS
 *                                         reads its settings, makes all that it needs: ABLE
 *                                         (or UNABLE with reasons, at any time; or it just ends)
 *   stops, then COOKIES, TICKETS, BACKEND...,
 *   worker parcels..., DONE
 *                                         takes them all: LEFT..., TAKEN
 *   GO
 *                                         RUNNING: from here on the sessions are its own
 *   tells the rest goodbye, ends
 *
 * The old one goes on by itself only while no RUNNING can come any more; the new one neither sends
 * nor reads a datagram before it has said so. Each side refuses what it does not know.
 */
#ifndef DTLSGATE_DAEMON_HANDOVER_H
#define DTLSGATE_DAEMON_HANDOVER_H

#include "base/addr.h"
#include "base/parcel.h"
#include "base/prefix.h"
#include "dtls/cookie.h"
#include "dtls/ticket.h"

#include <stdbool.h>
#include <stdint.h>

/* Of all that is said, the sessions included. */
#define HANDOVER_VERSION 1
#define HANDOVER_NAME_MAX 255

enum handover_kind {
    HANDOVER_HELLO = 'H',
    HANDOVER_LISTEN = 'L',
    HANDOVER_SHARED = 'F',
    HANDOVER_THINGS = 'E',
    HANDOVER_ABLE = 'A',
    HANDOVER_UNABLE = 'N', /* lines of text up to its end */
    HANDOVER_COOKIES = 'K',
    HANDOVER_TICKETS = 'T',
    HANDOVER_BACKEND = 'B', /* one that the operator drains */
    HANDOVER_DONE = 'D',
    HANDOVER_LEFT = 'X', /* ids of sessions that were not taken, 8 bytes each */
    HANDOVER_TAKEN = 'Y',
    HANDOVER_GO = 'G',
    HANDOVER_RUNNING = 'R',
};

/* Flags of THINGS; those that have a descriptor in its order. */
#define HANDOVER_HAS_CONTROL 1
#define HANDOVER_HAS_HTTP 2
#define HANDOVER_HAS_PIDFILE 4
#define HANDOVER_IS_DRAINING 8
#define HANDOVER_HAS_STATE 16 /* the lock of its state-dir */

struct handover_hello {
    uint32_t version;
    unsigned workers, services;
    uint32_t pid; /* who speaks */
};

/* One socket, which is the parcel's next descriptor. */
struct handover_socket {
    unsigned worker;
    uint8_t name_len;
    char name[HANDOVER_NAME_MAX + 1]; /* of its service; with a NUL */
    struct addr at, bound;            /* as the settings have it, and as it is */
    struct prefix range;              /* of a shared one, instead */
};

/* Begins a parcel. */
struct writer handover_begin(struct parcel *p, enum handover_kind kind);

void handover_write_hello(struct writer *w, const struct handover_hello *hello);
/* False: it is none. What follows the version is read only where that is ours. */
bool handover_read_hello(struct reader *r, struct handover_hello *hello)
    __attribute__((warn_unused_result));

/* The most bytes that one takes. */
#define HANDOVER_SOCKET_MAX 512
void handover_write_socket(struct writer *w, const struct handover_socket *s);
bool handover_read_socket(struct reader *r, struct handover_socket *s)
    __attribute__((warn_unused_result));

void handover_write_cookies(struct writer *w, const struct cookie_secrets *s);
bool handover_read_cookies(struct reader *r, struct cookie_secrets *s)
    __attribute__((warn_unused_result));

/* Both keys, and for how many ms the newest has been that. */
void handover_write_tickets(struct writer *w, const struct ticket_keys *keys, uint64_t age);
bool handover_read_tickets(struct reader *r, struct ticket_keys *keys, uint64_t *age)
    __attribute__((warn_unused_result));

void handover_write_addr(struct writer *w, const struct addr *a);
struct addr handover_read_addr(struct reader *r); /* r turns bad where it is none */

#endif
