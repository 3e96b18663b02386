/*
 * gate: one worker's admission: who may begin a handshake, how many at once, how often. Counts by
 * source prefix and by address, and only for peers that have shown a valid cookie, so spoofed
 * addresses leave no trace. Established sessions are never its business to end. Knows no sockets
 * and no clock.
 */
#ifndef DTLSGATE_PROXY_GATE_H
#define DTLSGATE_PROXY_GATE_H

#include "base/addr.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct gate_rules {
    unsigned prefix_v4, prefix_v6;  /* bits that make a prefix */
    unsigned pending_per_prefix;    /* handshakes under way; 0: no cap */
    unsigned sessions_per_prefix;   /* open sessions; 0: no cap */
    unsigned rate, rate_per_prefix; /* handshakes begun per second; 0: no limit */
};

struct gate;
struct gate_place;

/* The seat of a handshake under way: zeroed it is none. Embedded in whatever is admitted. An open
 * session needs none: it is only counted, and found again by its address. */
struct gate_seat {
    struct gate_place *place;
    struct list node; /* among the pending of its prefix, oldest first */
};

enum gate_verdict {
    GATE_WELCOME,
    GATE_RATE,  /* too many handshakes per second */
    GATE_FULL,  /* the prefix has all the sessions it may have, or memory is short */
    GATE_STORM, /* the address has failed too often of late */
};

/* NULL: out of memory. */
struct gate *gate_new(const struct gate_rules *rules);
/* All seats have been left. */
void gate_free(struct gate *g);
/* Forgets the open sessions, for their prefixes may be others now: gate_enter() for each then. */
void gate_set_rules(struct gate *g, const struct gate_rules *rules);

/* The seat that has to be left before `peer` can be admitted, because its prefix holds as many
 * handshakes as it may; NULL: there is room. */
struct gate_seat *gate_oldest(struct gate *g, const struct addr *peer);
/* May a handshake of `peer` begin? `replaces`: it has an open session, whose place it would take.
 */
enum gate_verdict gate_admit(struct gate *g, const struct addr *peer, bool replaces, uint64_t now);
/* Takes a seat for a handshake that was admitted. False: out of memory. */
bool gate_sit(struct gate *g, struct gate_seat *seat, const struct addr *peer)
    __attribute__((warn_unused_result));
/* May a handshake that is complete become a session? Those that began together were all admitted
 * before any of them was open. `replaces` as above. */
bool gate_may_open(const struct gate *g, const struct addr *peer, bool replaces);
/* The handshake has ended, one way or the other. Harmless on a seat that is none. */
void gate_leave(struct gate *g, struct gate_seat *seat);
/* A session of `peer` is open, and is no more. Counted only where the rules cap the sessions of a
 * prefix. When memory is short for a prefix, its sessions go uncounted. */
void gate_enter(struct gate *g, const struct addr *peer);
void gate_exit(struct gate *g, const struct addr *peer);

/* May a plaintext alert be sent to `peer`? At most one per second and address. */
bool gate_may_alert(struct gate *g, const struct addr *peer, uint64_t now);
/* May a helper be asked for one more identity that a handshake of `peer` names? It counts like a
 * handshake that begins. */
bool gate_may_ask(struct gate *g, const struct addr *peer, uint64_t now);
/* A handshake of `peer` ended because its key was wrong or unknown. An address that does this often
 * is refused for as long as it goes on; a few are forgiven. */
void gate_note_failure(struct gate *g, const struct addr *peer, uint64_t now);

#endif
