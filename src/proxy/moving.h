/*
 * moving: a worker's sessions on their way from one process to the next: packed by the old one,
 * unpacked by the new one, let go by the old one. The inside of relay: knows no event loop. Whoever
 * packs has stopped: nothing may be sent or taken between the first parcel and the verdict.
 *
 * A parcel is MOVING_PARCEL (1), the worker's index (2), what it holds (1), and that up to its end.
 */
#ifndef DTLSGATE_PROXY_MOVING_H
#define DTLSGATE_PROXY_MOVING_H

#include "base/list.h"
#include "base/parcel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mailbox;
struct relay;
struct session;
struct session_image;

#define MOVING_PARCEL 'W'
/* How long a full queue may hold up whoever packs; the master's deadline is behind it. */
#define MOVING_PATIENCE_MS 5000

enum moving_step {
    MOVING_SETTLE, /* begin no more handshakes, but for those under way */
    MOVING_STOP,   /* send all that waits, then neither read nor send until further notice */
    MOVING_PACK,   /* send all sessions to the other process */
    MOVING_GO_ON,  /* as if nothing had been; it ends the first two */
    MOVING_LET_GO, /* they are the other process's; tell the rest goodbye */
};

/* One step of one worker, on its way there and back. It is the worker's in between. */
struct moving {
    struct list node;
    struct mailbox *replies; /* where it comes back */
    enum moving_step step;
    int socket;          /* for MOVING_PACK */
    const uint64_t *ids; /* for MOVING_LET_GO: sessions that were not taken, in ascending order */
    size_t id_count;
    /* What became of it. */
    bool is_done;    /* false: the other process did not take it all */
    size_t sessions; /* packed, or told goodbye */
    size_t rest;     /* not packed, for libssl keeps them */
};

/* Carries out a step; with MOVING_LET_GO what waits has to be sent afterwards. */
void moving_carry_out(struct relay *r, struct moving *m, uint64_t now);

/* For the new process, before its worker's first turn: what one parcel for it brings. `left` is
 * called with the id of each session that the old process has to tell goodbye. */
struct moving_arrival {
    struct parcel *parcel;
    struct reader content; /* of it, behind the worker's index */
    void (*left)(void *arg, uint64_t id);
    void *arg;
    size_t sessions; /* taken so far; the caller's to begin with */
};
/* False with `why`: it is not what moving_carry_out() sends. */
bool moving_unpack(struct relay *r, struct moving_arrival *a, uint64_t now, const char **why)
    __attribute__((warn_unused_result));

/* What any session of another process has to pass that is to go on here: makes it, behind all that
 * are here already by its last use, without a flow. Its service and listener are ours. NULL, or why
 * it has no place. Nothing is sent. */
const char *moving_admit(struct relay *r, const struct session_image *image, uint64_t now,
                         struct session **out);

#endif
