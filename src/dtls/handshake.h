/*
 * handshake: one peer's handshake from a verified ClientHello to keys. Everything a stranger sends
 * is parsed and judged here before libssl sees any of it, which for plain PSK is never: there the
 * first flight is written by dtls/greeting. Else libssl negotiates: it takes the hello and writes
 * that flight. For AEAD suites that is all; the client's second flight is judged by keys derived
 * here, one of which must open its Finished, so a forged datagram changes nothing. For suites whose
 * records stay with libssl it gets that flight, too, where a forged ClientKeyExchange can spoil the
 * handshake, and with `alert_unknown` one that names nobody ends any. A hello with a ticket or a
 * session id of ours begins a shorter one, in which the server's Finished comes first. Owns the
 * flights, their timer and the numbers of plaintext records. Knows no sockets and no clock.
 */
#ifndef DTLSGATE_DTLS_HANDSHAKE_H
#define DTLSGATE_DTLS_HANDSHAKE_H

#include "dtls/candidate.h"
#include "dtls/engine.h"
#include "dtls/farewell.h"
#include "dtls/fate.h"
#include "dtls/handshake_parts.h"
#include "dtls/keys.h"
#include "dtls/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The caller refuses a hello whose record number is higher: those of the answer must not run out.
 */
#define HANDSHAKE_SEQ_LIMIT (WIRE_SEQ_MAX / 2)

struct handshake;

/* Begins with the record of a hello that wire_parse_hello() and cookie_check() have passed. It may
 * have failed at once, with an alert to take. NULL: out of memory. */
struct handshake *handshake_new(const struct handshake_params *params,
                                const struct wire_record *hello, uint64_t now);
/* Frees, wiping all secrets. */
void handshake_free(struct handshake *h);

/* One record of the peer, of any kind. Returns its fate. */
enum fate handshake_feed(struct handshake *h, const struct wire_record *rec, uint64_t now);
/* An identity whose key is to be asked for elsewhere, the one named last; NULL: none. Until
 * somebody says what has become of it by handshake_set_key(), it counts as unknown. */
const uint8_t *handshake_asks(const struct handshake *h, size_t *len);
/* What has: CANDIDATE_ASKED: an answer is under way; what can only be judged with it is held.
 * CANDIDATE_TO_ASK: there was none; it may be asked for again when the client repeats itself.
 * CANDIDATE_SETTLED: its key is that of `named`, which is copied; none when that is of 0 bytes.
 * Returns what has become of a record that was held: FATE_DROP_FORGED, or FATE_HANDSHAKE. */
enum fate handshake_set_key(struct handshake *h, const struct psk *named, enum candidate_key asking,
                            uint64_t now);
/* Its timer has come. */
void handshake_on_timer(struct handshake *h, uint64_t now);
/* When handshake_on_timer() wants to be called. */
uint64_t handshake_next_timer(const struct handshake *h);

/* Takes the next datagram to send, whole records up to the mtu, into `out` (mtu bytes). 0: none
 * left. */
size_t handshake_take(struct handshake *h, uint8_t *out);

enum handshake_state handshake_state(const struct handshake *h);
/* One line for the log, with the identity's state but no secret. */
const char *handshake_why(const struct handshake *h);
/* The suite of the ServerHello, known from the first flight on: what the records are sealed with
 * once it is done. NULL: libssl keeps them, or it has failed before. */
const struct suite *handshake_suite(const struct handshake *h);
/* The connection ids of both ends, known from then on, too. NULL: they have agreed on none. */
const struct association_cid *handshake_cid(const struct handshake *h);
/* The identity the client has named last, escaped by nobody; NULL with 0 before it did. */
const uint8_t *handshake_identity(const struct handshake *h, size_t *len);

/* What has become of tickets and session ids in it. */
const struct handshake_tickets *handshake_tickets(const struct handshake *h);

struct handshake_result {
    const struct psk *psk; /* whom we talk to: borrowed from params->keys; or from the handshake,
                              where it came by handshake_set_key() */
    size_t max_fragment;   /* 512 to WIRE_PLAINTEXT_MAX */
    bool extended_master_secret;
    bool own_records; /* AEAD: association and farewell are set; else `engine` is */
    union {           /* to be copied by association_length(): the ids follow the keys */
        struct association association;
        union association_room room;
    };
    struct handshake_farewell farewell; /* the caller's from now on; all zero where the client has
                                           spoken last */
    struct engine *engine;              /* the caller's from now on */
    uint8_t client_random[WIRE_RANDOM], master[KEYS_MASTER]; /* for a key log; to be wiped */
};
/* Once, in HANDSHAKE_DONE. All datagrams must have been taken before. The handshake can then only
 * be freed. */
void handshake_finish(struct handshake *h, struct handshake_result *out);

#endif
