/*
 * balance: which of a service's backends gets a flow, and which of them are up: one worker's view.
 * Told of refusals, answers and orders; knows no sockets, no sessions and no clock.
 *
 * A backend that leaves the list stays known as long as it has flows, so that each flow's slot
 * means the same for as long as the flow lives.
 */
#ifndef DTLSGATE_PROXY_BALANCE_H
#define DTLSGATE_PROXY_BALANCE_H

#include "conf/settings.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BALANCE_SLOTS (2 * BACKENDS_MAX)
#define BALANCE_NOBODY 255 /* the slot of what is none of these */

/* What may be told of a backend from outside. */
enum balance_order {
    BALANCE_UNDRAIN,
    BALANCE_DRAIN,  /* no new flows, those there are stay; a reload changes nothing about it */
    BALANCE_ANSWER, /* the probe was answered */
    BALANCE_SILENT, /* it was not: down until an answer comes */
};

/* How a backend stands, the better ones first. */
enum balance_state {
    BALANCE_UP,
    BALANCE_TRIED,    /* it has refused, and flows are being sent to it again to see */
    BALANCE_DOWN,     /* refuses, or does not answer the probe */
    BALANCE_DRAINING, /* gets no new flows, whatever else may be true */
    BALANCE_GONE,     /* has left the list and still has flows */
};

struct balance_slot;
struct balance {
    _Atomic(struct balance_slot *) slot[BALANCE_SLOTS]; /* NULL: never in use */
    uint8_t listed[BACKENDS_MAX];                       /* slots by the order of the list */
    unsigned count;
    enum conf_balance by;
    uint64_t retry; /* ms */
};

/* Zeroed memory is an empty one. Frees; there are no more flows. */
void balance_clear(struct balance *b);
/* Takes over a service's list. What stays in it keeps its state, and without a probe none is
 * silent. False: out of memory, or too many that left have flows; those of balance_is_gone() have
 * to go then, and as many of the list as there was room for are in. */
bool balance_set(struct balance *b, const struct conf_service *conf, uint64_t now)
    __attribute__((warn_unused_result));
/* A name that had one address has another one now. False: as above, and the old one stays. */
bool balance_move(struct balance *b, const struct addr *from, const struct addr *to, uint64_t now)
    __attribute__((warn_unused_result));
/* False: nobody in the list has this address. */
bool balance_tell(struct balance *b, const struct addr *a, enum balance_order what, uint64_t now);

/* What a session is known by, for balance_pick(): the same in each worker and after a restart. */
uint64_t balance_key(const void *identity, size_t len);
uint64_t balance_key_of(const struct addr *peer); /* its port does not count */
/* Which slot a flow goes to; *is_up tells whether any is up, for else it is the one it would be if
 * all were. By key: the same as ever, unless that one is down, drained or gone. `but`, which may be
 * BALANCE_NOBODY, is taken for down. BALANCE_NOBODY: the list is empty. */
unsigned balance_pick(struct balance *b, uint64_t key, unsigned but, uint64_t now, bool *is_up);
/* Those in the list, in its order. Returns how many. */
size_t balance_addresses(const struct balance *b, struct addr out[BACKENDS_MAX]);
/* The slot of the one in the list that has this address, or BALANCE_NOBODY. */
unsigned balance_find(const struct balance *b, const struct addr *a);
const struct addr *balance_address(const struct balance *b, unsigned slot);

/* A flow of this slot opens, and closes. */
void balance_enter(struct balance *b, unsigned slot);
void balance_leave(struct balance *b, unsigned slot);
/* Whether a flow should stay with it: it is in the list and up. */
bool balance_is_good(const struct balance *b, unsigned slot, uint64_t now);
/* Whether it has left the list and is known for its flows alone. */
bool balance_is_gone(const struct balance *b, unsigned slot);
/* Whether it has refused something, however long ago, and has sent nothing since. */
bool balance_is_failing(const struct balance *b, unsigned slot);
/* It has refused `n` datagrams: down for a while. True: that is news. */
bool balance_refused(struct balance *b, unsigned slot, unsigned n, uint64_t now);
/* It has sent something. True: it was down until then. */
bool balance_answered(struct balance *b, unsigned slot, uint64_t now);
/* A datagram of so many bytes has been handed to a socket towards it, or has come from it. */
void balance_count_sent(struct balance *b, unsigned slot, size_t len);
void balance_count_received(struct balance *b, unsigned slot, size_t len);

/* What anybody may look at while the worker goes on. */
struct balance_view {
    struct addr addr;
    unsigned weight;
    bool is_backup, is_drained, is_up;
    enum balance_state state;
    uint64_t since;                  /* when that began; 0: with the worker */
    uint64_t flows, opened, refused; /* open now; opened so far; refusals */
    uint64_t sent, sent_bytes, received, received_bytes;
};
/* False: nobody has this slot. */
bool balance_look(const struct balance *b, unsigned slot, uint64_t now, struct balance_view *out);

#endif
