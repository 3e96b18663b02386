/*
 * resume: sessions that go on by a ticket (RFC 5077) or by their id (RFC 5246 7.3): whether a hello
 * may, the promise of either in a ServerHello, the message with the ticket. Only for suites with a
 * key exchange, which it saves; and only where the extended master secret is in use (RFC 7627 5.3).
 * Holds no state.
 */
#ifndef DTLSGATE_DTLS_RESUME_H
#define DTLSGATE_DTLS_RESUME_H

#include "dtls/cache.h"
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
    const struct ticket_keys *keys; /* NULL: no resumption */
    const char *service;            /* its name */
    uint64_t lifetime;              /* ms from the first handshake on */
    /* May the identity go on under this suite? Asked once, of a session that is fine else. */
    bool (*may)(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall);
    const void *arg;
    struct cache *cache; /* NULL: nothing is resumed by its id */
};

/* Who judges, and when. */
struct resume_bench {
    const struct resumption *resumption;
    const struct tlsctx *tls;
    const struct psk_set *keys; /* identities that others know are not resumed */
    uint64_t wall;              /* ms since 1970 UTC */
};

enum resume_verdict {
    RESUME_NONE,      /* the hello has neither ticket nor id, or there is no resumption */
    RESUME_REFUSED,   /* one that is no good: a full handshake */
    RESUME_FORBIDDEN, /* a good one, but the hello lacks the extended master secret (RFC 7627 5.3):
                         no handshake */
    RESUME_WELCOME,
};

/* What is resumed; to be wiped, whatever the verdict, but for RESUME_NONE. */
struct resumed {
    bool is_by_id;         /* the hello has an id and no ticket: a ticket is never overruled */
    struct ticket ticket;  /* or what is remembered, which says the same */
    const struct psk *psk; /* of resume_bench.keys */
    struct greeting greeting;
};

enum resume_verdict resume_judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out) __attribute__((warn_unused_result));

/* By what a client can come back, if the handshake leads to where anything is to be saved. */
enum resume_offer {
    RESUME_NOTHING,
    RESUME_TICKET, /* it asks for one */
    RESUME_ID,     /* it knows nothing of tickets */
};
enum resume_offer resume_offer(const struct resumption *r, const struct wire_hello *hello);

/* Adds the empty session_ticket extension to libssl's ServerHello, which leads to `terms`; or,
 * where `id` is not NULL, that of CACHE_ID bytes. Returns the length of what it writes into `out`;
 * 0: it is another record, or nothing can be promised, and the record is to be left as it is. */
size_t resume_promise(const struct terms *terms, const struct wire_record *rec, const uint8_t *id,
                      uint8_t *out, size_t size) __attribute__((warn_unused_result));

/* What a ticket is made of, and what is remembered. */
struct resume_facts {
    const struct suite *suite;
    const struct psk *psk;
    const uint8_t *master;
    uint64_t wall;
    uint16_t max_fragment; /* bytes */
    uint16_t seq;          /* of a ticket: message_seq */
    size_t room; /* the same: bytes that the record may have, at least RESUME_RECORD_MIN */
};

/* Writes a record with NewSessionTicket (RFC 5077 3.3). It has a ticket of 0 bytes, and *is_issued
 * is false, for identities that others know and where a ticket has no room. Returns its length. */
#define RESUME_RECORD_MIN (WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 4 + 2)
#define RESUME_RECORD_MAX (RESUME_RECORD_MIN + TICKET_MAX)
size_t resume_write_ticket(const struct resumption *r, const struct resume_facts *facts,
                           uint8_t out[RESUME_RECORD_MAX], bool *is_issued)
    __attribute__((warn_unused_result));

/* Remembers the session by the id that was promised. False: it is of an identity that others know.
 * *gives_way: another one was forgotten for it. */
bool resume_remember(const struct resumption *r, const struct resume_facts *facts,
                     const uint8_t id[CACHE_ID], bool *gives_way)
    __attribute__((warn_unused_result));
/* A session that was to be resumed by its id is not to be trusted any more (RFC 5246 7.2.2). */
void resume_forget(const struct resumption *r, const uint8_t id[CACHE_ID]);

#endif
