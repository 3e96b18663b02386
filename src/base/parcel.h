/*
 * parcel: one message between two processes over a Unix socket of packets, with descriptors in it.
 * Knows nothing of what is said. Never waits for longer than it is told.
 */
#ifndef DTLSGATE_BASE_PARCEL_H
#define DTLSGATE_BASE_PARCEL_H

#include "base/bytes.h"

#include <stddef.h>
#include <stdint.h>

/* A few of them fit into what the kernel queues at a time. */
#define PARCEL_BYTES 49152
#define PARCEL_FDS 128 /* the kernel takes 253 */

struct parcel {
    size_t len;
    unsigned fds;
    int fd[PARCEL_FDS]; /* of one that was received: the receiver's, -1 once it has been taken */
    uint8_t bytes[PARCEL_BYTES];
};

enum parcel_verdict {
    PARCEL_OK,
    PARCEL_END,    /* the other end is closed */
    PARCEL_LATE,   /* nothing has moved for as long as was allowed */
    PARCEL_BROKEN, /* errno tells, or it was longer than one may be */
};

/* Both wait up to `patience_ms` whenever they have to; may be called from any thread, a parcel is
 * one message. Descriptors that are sent stay open here; those received are closed on exec. */
enum parcel_verdict parcel_send(int socket, const struct parcel *p, int patience_ms)
    __attribute__((warn_unused_result));
enum parcel_verdict parcel_receive(int socket, struct parcel *p, int patience_ms)
    __attribute__((warn_unused_result));
/* Takes out descriptor `i` of one that was received, for good; -1: there is none (any more). */
int parcel_take(struct parcel *p, unsigned i);
/* Closes the descriptors that nobody has taken, and wipes all. */
void parcel_clear(struct parcel *p);

/* Empties it for writing; parcel_wrote() ends that. */
struct writer parcel_writer(struct parcel *p);
/* False: it did not fit. */
bool parcel_wrote(struct parcel *p, const struct writer *w) __attribute__((warn_unused_result));
struct reader parcel_reader(const struct parcel *p);

#endif
