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

/* The keys may be older than the host has been running: so `made` may lie below 0, modulo 2^64. */
struct renewal {
    struct ticket_keys keys;
    uint64_t made; /* ms: when the newest of them was */
    bool is_dated; /* `made` is known: somebody has looked */
};

/* Fresh keys, of the time of the first look. */
void renewal_init(struct renewal *r);
/* Those of another process, the newest of which is `age` ms old. */
void renewal_take(struct renewal *r, const struct ticket_keys *keys, uint64_t age, uint64_t now);
/* For how many ms the newest has been that. */
uint64_t renewal_age(const struct renewal *r, uint64_t now);
/* Renews what has had its time, which is the longest life of a ticket of any service; nothing where
 * none gives tickets. True: there are others now. */
bool renewal_is_due(struct renewal *r, const struct conf *conf, uint64_t now)
    __attribute__((warn_unused_result));
void renewal_wipe(struct renewal *r);

#endif
