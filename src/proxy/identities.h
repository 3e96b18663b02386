/*
 * identities: which of a worker's open sessions belong to one identity. Counts over all workers
 * stand with the keys (psk_take); this finds the session that has to give way. Owns no session.
 */
#ifndef DTLSGATE_PROXY_IDENTITIES_H
#define DTLSGATE_PROXY_IDENTITIES_H

#include "base/slab.h"
#include "proxy/session.h"

struct identities {
    struct hash_key key;
    struct table table;
    struct slab entries; /* what the table holds: one for each session that can be found */
};

/* It must stay where it is. False: out of memory, nothing is left then. */
bool identities_init(struct identities *ids) __attribute__((warn_unused_result));
/* All sessions have left. */
void identities_clear(struct identities *ids);

/* An open session is there, with s->psk of conf's keys. Returns how many its identity has now, over
 * all workers that use the same snapshot; over this one alone where its key is a helper's. It can
 * be found only where the settings cap the sessions of an identity: without a cap there may be any
 * number of one, too many for a chain of the table.
 */
unsigned identities_enter(struct identities *ids, struct session *s,
                          const struct conf_service *conf);
/* It is gone, or s->psk is about to change; `conf` is what it entered with. Harmless on one that
 * did not enter. */
void identities_leave(struct identities *ids, struct session *s, const struct conf_service *conf);
/* Sessions of an identity in a service that have opened until then, in ms. */
struct identities_of {
    unsigned service;
    const uint8_t *identity;
    size_t len;
    uint64_t until;
};

/* How many of this worker's can be found. */
unsigned identities_count(const struct identities *ids, const struct identities_of *of);
/* The longest idle of them, other than `except`; or NULL. */
struct session *identities_idlest(const struct identities *ids, const struct identities_of *of,
                                  const struct session *except);

#endif
