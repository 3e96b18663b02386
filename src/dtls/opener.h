/*
 * opener: whose keys a record is sealed with that may be the client's Finished: each candidate's
 * are derived when they are first needed. Knows nothing of what the record says.
 */
#ifndef DTLSGATE_DTLS_OPENER_H
#define DTLSGATE_DTLS_OPENER_H

#include "base/rate.h"
#include "dtls/candidate.h"
#include "dtls/engine.h"
#include "dtls/keys.h"
#include "dtls/psk.h"
#include "dtls/record.h"
#include "dtls/suites.h"

#include <stddef.h>
#include <stdint.h>

/* What is known of the handshake. */
struct opener {
    const struct psk_set *keys;
    struct record_crypt *crypt;
    struct keys_kdf *kdf;
    const struct suite *suite;
    enum suite_exchange exchange;
    struct engine *engine;         /* has the ephemeral key; NULL with plain PSK */
    struct transcript *transcript; /* to the ServerHelloDone; NULL without the extended secret */
    struct keys_randoms randoms;
    struct rate *derivations; /* bounds those of DHE */
    struct candidates *candidates;
    const struct candidate *chosen;    /* the only one that counts; NULL: all do */
    const struct association_cid *cid; /* NULL: none has been agreed on */
};

struct opened {
    uint8_t plain[WIRE_PLAINTEXT_MAX];
    size_t len;
    uint8_t type; /* which a connection id hides */
};

/* A candidate's association with all that the hellos have settled. */
void opener_equip(const struct candidate *k, const struct association_cid *cid,
                  union association_room *out);

/* The candidate under whose keys the record opens, or NULL. None whose key is awaited. */
struct candidate *opener_find(const struct opener *o, const struct wire_record *rec,
                              struct opened *out, uint64_t now);

#endif
