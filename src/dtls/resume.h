/*
 * resume: sessions that go on by a ticket (RFC 5077): whether a hello may, the promise of a ticket
 * in a ServerHello, and the message that keeps it. Only for suites with a key exchange, which it
 * saves; and only where the extended master secret is in use (RFC 7627 5.3). Holds no state.
 */
#ifndef DTLSGATE_DTLS_RESUME_H
#define DTLSGATE_DTLS_RESUME_H

#include "dtls/greeting.h"
#include "dtls/psk.h"
#include "dtls/terms.h"
#include "dtls/ticket.h"
#include "dtls/tlsctx.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a service says about it; all is borrowed. */
struct resumption {
    const struct ticket_keys *keys; /* NULL: no tickets */
    const char *service;            /* its name */
    uint64_t lifetime;              /* ms from the first handshake on */
    /* May the identity go on under this suite? Asked once, of a ticket that is fine else. */
    bool (*may)(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall);
    const void *arg;
};

/* Who judges, and when. */
struct resume_bench {
    const struct resumption *resumption;
    const struct tlsctx *tls;
    const struct psk_set *keys; /* identities that others know are not resumed */
    uint64_t wall;              /* ms since 1970 UTC */
};

enum resume_verdict {
    RESUME_NONE,      /* the hello has no ticket, or there is no resumption */
    RESUME_REFUSED,   /* one that is no good: a full handshake */
    RESUME_FORBIDDEN, /* a good one, but the hello lacks the extended master secret (RFC 7627 5.3):
                         no handshake */
    RESUME_WELCOME,
};

/* What is resumed; to be wiped, whatever the verdict, but for RESUME_NONE. */
struct resumed {
    struct ticket ticket;
    const struct psk *psk; /* of resume_bench.keys */
    struct greeting greeting;
};

enum resume_verdict resume_judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out) __attribute__((warn_unused_result));

/* Whether the client wants a ticket, and would get one. */
bool resume_is_wanted(const struct resumption *r, const struct wire_hello *hello);

/* Adds the empty session_ticket extension to libssl's ServerHello, which leads to `terms`. Returns
 * the length of what it writes into `out`; 0: it is another record, or no ticket is to be had, and
 * the record is to be left as it is. */
#define RESUME_PROMISE 4
size_t resume_promise(const struct terms *terms, const struct wire_record *rec, uint8_t *out,
                      size_t size) __attribute__((warn_unused_result));

/* What the message is made of. */
struct resume_facts {
    const struct suite *suite;
    const struct psk *psk;
    const uint8_t *master;
    uint64_t wall;
    uint16_t max_fragment; /* bytes */
    uint16_t seq;          /* message_seq */
    size_t room; /* bytes that the record may have; of those RESUME_RECORD_MIN are there */
};

/* Writes a record with NewSessionTicket (RFC 5077 3.3). It has a ticket of 0 bytes, and *is_issued
 * is false, for identities that others know and where a ticket has no room. Returns its length. */
#define RESUME_RECORD_MIN (WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 4 + 2)
#define RESUME_RECORD_MAX (RESUME_RECORD_MIN + TICKET_MAX)
size_t resume_write_ticket(const struct resumption *r, const struct resume_facts *facts,
                           uint8_t out[RESUME_RECORD_MAX], bool *is_issued)
    __attribute__((warn_unused_result));

#endif
