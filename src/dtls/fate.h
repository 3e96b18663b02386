/*
 * fate: what became of one record or datagram. Everything that comes in meets exactly one fate, so
 * the books balance: received = sum of all fates, for each side.
 */
#ifndef DTLSGATE_DTLS_FATE_H
#define DTLSGATE_DTLS_FATE_H

#include <stdbool.h>

/* X(name, text): records from clients; a datagram that holds no record at all counts as one. */
#define FATES_FROM_CLIENT(X)                                                                       \
    X(FORWARDED, "forwarded")           /* application data, handed to the backend */              \
    X(HELLO_ANSWERED, "hello_answered") /* ClientHello answered with a cookie, nothing kept */     \
    X(HELLO_ACCEPTED, "hello_accepted") /* a valid cookie: a handshake began */                    \
    X(HANDSHAKE, "handshake")           /* taken in by a handshake */                              \
    X(CONTROL, "control")               /* authenticated alert or handshake record */              \
    X(DROP_JUNK, "drop_junk")           /* not a DTLS record, or a cut one */                      \
    X(DROP_HELLO_BAD, "drop_hello_bad") /* ClientHello that does not parse */                      \
    X(DROP_HELLO_FRAGMENT, "drop_hello_fragment") /* ClientHello in fragments: not taken */        \
    X(DROP_HELLO_COPY, "drop_hello_copy")   /* late or repeated copy of a hello already used */    \
    X(DROP_STRANGER, "drop_stranger")       /* a record of a peer that has no session */           \
    X(DROP_EPOCH, "drop_epoch")             /* an epoch that is not in use, plaintext included */  \
    X(DROP_TYPE, "drop_type")               /* a content type that is not awaited here */          \
    X(DROP_ORDER, "drop_order")             /* handshake message out of its turn or malformed */   \
    X(DROP_REPEAT, "drop_repeat")           /* handshake message seen before */                    \
    X(DROP_EARLY, "drop_early")             /* application data before the handshake's end */      \
    X(DROP_REPLAY, "drop_replay")           /* seen before, or older than the replay window */     \
    X(DROP_FORGED, "drop_forged")           /* does not authenticate */                            \
    X(DROP_SIZE, "drop_size")               /* longer than a record may be */                      \
    X(DROP_DENIED, "drop_denied")           /* an address that the access lists keep out */        \
    X(DROP_RATE, "drop_rate")               /* too many handshakes or failures of late */          \
    X(DROP_CAP, "drop_cap")                 /* a cap of the settings is reached */                 \
    X(DROP_POLICY_RATE, "drop_policy_rate") /* over the rate of its identity */                    \
    X(DROP_WORKER, "drop_worker")           /* of another worker, which has too much waiting */    \
    X(DROP_DRAINING, "drop_draining")       /* new handshakes are refused while stopping */        \
    X(DROP_BACKEND, "drop_backend")         /* no socket towards the backend could be opened */    \
    X(DROP_MEMORY, "drop_memory")           /* out of memory */

/* X(name, text): datagrams from backends. */
#define FATES_FROM_BACKEND(X)                                                                      \
    X(SEALED, "sealed")                     /* encrypted and queued for the client */              \
    X(DROP_TOO_BIG, "drop_too_big")         /* over 16384 bytes, or the client's fragment limit */ \
    X(DROP_EMPTY, "drop_empty")             /* 0 bytes for an association that libssl keeps */     \
    X(DROP_EXHAUSTED, "drop_exhausted")     /* the session has used up its sequence numbers */     \
    X(DROP_SEAL_FAILED, "drop_seal_failed") /* the crypto library refused: out of memory */        \
    X(DROP_UNPROVEN, "drop_unproven")       /* over what an address just moved to may get */       \
    X(DROP_STRANGER, "drop_stranger")       /* on a shared socket: of somebody else, or to nobody */

#define FATE_ENUM(name, text) FATE_##name,
enum fate { FATES_FROM_CLIENT(FATE_ENUM) FATE_COUNT };
#undef FATE_ENUM

#define BACK_FATE_ENUM(name, text) BACK_##name,
enum back_fate { FATES_FROM_BACKEND(BACK_FATE_ENUM) BACK_COUNT };
#undef BACK_FATE_ENUM

/* Nothing came of it but a count. */
static inline bool fate_is_drop(enum fate fate)
{
    return fate >= FATE_DROP_JUNK;
}

#endif
