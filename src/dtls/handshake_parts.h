/*
 * handshake_parts: what a handshake is given, how it stands, and what is told of it. Types alone.
 */
#ifndef DTLSGATE_DTLS_HANDSHAKE_PARTS_H
#define DTLSGATE_DTLS_HANDSHAKE_PARTS_H

#include "dtls/keys.h"
#include "dtls/psk.h"
#include "dtls/record.h"
#include "dtls/resume.h"
#include "dtls/tlsctx.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handshake_params {
    struct tlsctx *tls;         /* the worker's */
    const struct psk_set *keys; /* must outlive the handshake */
    struct record_crypt *crypt; /* the worker's */
    struct keys_kdf *kdf;       /* the worker's */
    size_t mtu;                 /* bytes of UDP payload */
    bool require_ems;           /* refuse clients that do not offer it (RFC 7627 5.2) */
    bool may_ask;       /* identities that `keys` lacks may be known elsewhere: handshake_asks() */
    bool alert_unknown; /* tell a client that its identity is unknown; else it looks like a wrong
                           key */
    uint64_t retransmit_first, retransmit_cap, retransmit_total; /* ms (RFC 6347 4.2.4.1) */
    uint64_t timeout;                                            /* ms, for the whole handshake */
    uint64_t wall0;  /* ms since 1970 UTC when `now` was 0: keys may be over */
    bool offers_cid; /* connection ids (RFC 9146), where the context and the client want them, */
    uint8_t own_cid[WIRE_OWN_CID]; /* this one for us */
    struct resumption resumption;  /* what it points to must outlive the handshake, too */
};

enum handshake_state {
    HANDSHAKE_PENDING,
    HANDSHAKE_DONE,    /* take the result */
    HANDSHAKE_FAILED,  /* cannot be completed; handshake_why() */
    HANDSHAKE_EXPIRED, /* its time is over; handshake_why() tells what it waited for */
};

/* What has become of tickets and session ids in one. */
struct handshake_tickets {
    bool is_refused; /* the hello had a ticket that is no good: hence a full handshake */
    bool is_resumed; /* by either, without a key exchange */
    bool is_issued;  /* the client has got a ticket */
    bool is_id_refused, is_id_issued;
    bool id_gave_way; /* the session of another id was forgotten for it */
};

#endif
