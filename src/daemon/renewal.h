/*
 * renewal: the keys of tickets, how old they are, and when others take their place: in this process
 * or behind it. Knows neither workers nor files, and no clock.
 */
#ifndef DTLSGATE_DAEMON_RENEWAL_H
#define DTLSGATE_DAEMON_RENEWAL_H

#include "conf/settings.h"
#include "dtls/ticket.h"

#include <stdbool.h>
#include <stdint.h>

/* How often whoever runs looks, in ms: so much older than its time a key may get. */
#define RENEWAL_LOOK_MS (5 * 60 * UINT64_C(1000))

/* The keys may be older than the host has been running: so `made` may lie below 0, modulo 2^64. */
struct renewal {
    struct ticket_keys keys;
    uint64_t made;       /* ms: when the newest of them was */
    bool is_dated;       /* `made` is known: somebody has looked */
    unsigned last_turns; /* how often they were renewed since a service last gave tickets */
};

/* Fresh keys, of the time of the first look. */
void renewal_init(struct renewal *r);
/* Those of another process, the newest of which is `age` ms old. */
void renewal_take(struct renewal *r, const struct ticket_keys *keys, uint64_t age, uint64_t now);
/* For how many ms the newest has been that. */
uint64_t renewal_age(const struct renewal *r, uint64_t now);
/* Renews what has had its time, which is the longest life of a ticket of any service, and where
 * none gives tickets any more what may have sealed some. The keys are in use: what the newest has
 * sealed can be opened still. True: there are others now. */
bool renewal_is_due(struct renewal *r, const struct conf *conf, uint64_t now)
    __attribute__((warn_unused_result));
/* The same for keys that an ended process has left: of such as were in use too long ago for any
 * ticket to be good, none is kept. */
void renewal_catch_up(struct renewal *r, const struct conf *conf, uint64_t now);
void renewal_wipe(struct renewal *r);

#endif
