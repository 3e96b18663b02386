/*
 * session: one peer's life: a handshake, then an association of our own or one that libssl keeps.
 * Knows no sockets and no clock: given a record or a plaintext and the time, it leaves what is to
 * be sent in a sink. It never frees itself: it says that it is over, and the relay ends it.
 */
#ifndef DTLSGATE_PROXY_SESSION_H
#define DTLSGATE_PROXY_SESSION_H

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/rate.h"
#include "base/timer.h"
#include "conf/conf.h"
#include "dtls/fate.h"
#include "dtls/handshake.h"
#include "dtls/record.h"
#include "proxy/gate.h"
#include "proxy/session_memory.h"
#include "proxy/session_tail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, text): why a session ended; the text is what the log says. */
#define SESSION_ENDS(X)                                                                            \
    X(NOT_YET, "alive")                                                                            \
    X(CLOSED, "closed by client")                                                                  \
    X(ALERT, "fatal alert from client")                                                            \
    X(IDLE, "idle timeout")                                                                        \
    X(EVICTED, "evicted to make room")                                                             \
    X(REPLACED, "replaced by a new handshake")                                                     \
    X(IDENTITY_REMOVED, "identity removed")                                                        \
    X(KEY_CHANGED, "key changed")                                                                  \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(LEFT_BEHIND, "not taken over by the new process")                                            \
    X(EXHAUSTED, "key used up")                                                                    \
    X(FORGERIES, "too many forged records")                                                        \
    X(PREFIX_FULL, "too many sessions of its prefix")                                              \
    X(ELSEWHERE, "identity in use elsewhere")                                                      \
    X(OPERATOR, "ended by operator")                                                               \
    X(EXPIRED, "identity expired")                                                                 \
    X(NOT_FROM_THERE, "address not allowed for the identity")                                      \
    X(SUITE, "suite not allowed for the identity")                                                 \
    X(KEPT, "kept for the next start")                                                             \
    X(BROKEN, "library failure")                                                                   \
    X(HANDSHAKE_TIMEOUT, "handshake timed out")                                                    \
    X(HANDSHAKE_FAILED, "handshake failed")                                                        \
    X(HANDSHAKE_REPLACED, "handshake replaced by a newer one")                                     \
    X(HANDSHAKE_EVICTED, "handshake evicted to make room")

enum session_end {
#define SESSION_END_ENUM(name, text) SESSION_END_##name,
    SESSION_ENDS(SESSION_END_ENUM)
#undef SESSION_END_ENUM
};

const char *session_end_text(enum session_end why);

enum session_state {
    SESSION_HANDSHAKE, /* ->pending has its handshake */
    SESSION_OPEN,      /* ->association is in use */
    SESSION_LEGACY,    /* ->legacy.engine keeps the records: CBC suites, DTLS 1.0 */
};

/* Where a session's datagrams come from and go to. `local` has the listener's port. */
struct session_route {
    struct addr peer, local;
    unsigned listener; /* its index in the worker */
};

/* What a session needs of its worker for one service; outlives the session or is swapped by
 * session_rebase(). */
struct session_service {
    const struct conf *snapshot; /* the one that `conf` is part of */
    const struct conf_service *conf;
    struct tlsctx *tls;
    struct record_crypt *crypt;
    struct keys_kdf *kdf;
    struct rate *short_tag_tries; /* the worker's bound on forgeries under CCM_8 */
    struct session_memory *memory;
    uint64_t wall0; /* ms since 1970 UTC when `now` was 0 */
};

struct flow; /* proxy/upstream.h */

/* What is there until a session has its place among the open ones. */
struct session_pending {
    struct session *session;     /* whose this is */
    struct handshake *handshake; /* NULL: it is complete */
    const struct conf *snapshot; /* a reference, as long as the handshake goes by it; or NULL */
    struct timer timer;
    struct gate_seat seat;
    uint64_t born;                      /* ms */
    uint64_t hello_print;               /* all of it */
    struct handshake_farewell farewell; /* once it is complete */
    size_t mtu;
    bool is_doubted; /* a Finished did not open, and the log has been told */
};

/* Numbers of datagrams have 48 bits, as those of the records they came in. */
#define SESSION_NUMBER_BITS 48

/* There may be a million of them, so each bit has been asked what it is for. */
struct session {
    struct table_link link; /* in the worker's peers */
    struct list idle;       /* among the open sessions of its service, longest idle first; or among
                               pending handshakes */
    struct addr peer;
    const struct psk *psk; /* of the current snapshot; NULL while the identity is not known */
    struct flow *flow;     /* the relay's; NULL while there is none */
    union {
        struct session_pending *pending; /* until is_placed */
        struct session_tail *tail;       /* from then on; NULL: there is none */
    };
    uint64_t used : 48; /* ms, as is `opened` */
    enum session_state state : 2;
    enum session_end ending : 5; /* SESSION_END_NOT_YET, or it wants to be ended with this */
    bool has_ems : 1;            /* RFC 7627 was negotiated */
    bool is_placed : 1;          /* among the open ones: the relay has seen the handshake's end */
    bool is_counted : 1;         /* among those of its identity */
    bool is_indexed : 1;         /* it can be found by its identity, too */
    uint64_t backend_source : 5; /* of the newest flow with a socket of its own: which address of
                                    the settings' list */
    uint64_t opened : 48;
    uint64_t plain_max : 15; /* largest plaintext the client takes in a record */
    bool is_metered : 1;     /* its identity has a rate */
    uint64_t id : 48;
    uint64_t backend_port : 16;                   /* of the newest flow, 0: none yet */
    uint64_t in_datagrams : SESSION_NUMBER_BITS;  /* plaintext for the backend */
    uint64_t service : 16;                        /* index */
    uint64_t out_datagrams : SESSION_NUMBER_BITS; /* plaintext of it, sealed for the client */
    uint64_t listener : 16;                       /* index in the worker */
    uint64_t in_bytes, out_bytes;
    uint32_t local;       /* the address it wrote to, by its number in the worker's peers */
    uint32_t hello_print; /* of the client random it began with, the lower half */
    uint32_t drops;       /* both ways */
    uint32_t refused;     /* ICMP refusals of its backend */
    union {
        /* Only as long as the suite needs: association_size(). */
        struct association association;
        struct {
            struct engine *engine;
            uint64_t seq; /* of the engine's next plaintext record */
        } legacy;
    };
};

/* Where a session leaves what goes out. */
struct session_sink {
    uint8_t *(*reserve)(void *arg,
                        size_t max);       /* room for one datagram to the client; never NULL */
    void (*commit)(void *arg, size_t len); /* send `len` bytes of the room reserved last */
    /* WIRE_PLAINTEXT_MAX bytes to open a record into; valid until asked again. */
    uint8_t *(*plain_room)(void *arg);
    /* `len` bytes of it to the backend; the fate of the record. */
    enum fate (*deliver)(void *arg, size_t len);
    /* May a plaintext alert be sent now? Asked once for each. */
    bool (*may_alert)(void *arg);
    void *arg;
};

/* Makes a worker's memory for sessions; session_memory_clear() is the other end. */
void session_prepare(struct session_memory *m);

/* Begins a handshake from a hello with a valid cookie, whose record is `rec`; answers through the
 * sink. The one allocation a stranger can cause. Takes a reference to the snapshot until the
 * handshake ends. NULL: out of memory. */
struct session *session_new(const struct session_service *service, const struct wire_record *rec,
                            uint64_t now, const struct session_sink *sink);
/* The relay has given a session whose handshake is complete its place among the open ones: lets go
 * of ->pending. Nothing of the client may reach it between the one and the other. */
void session_place(struct session *s, const struct session_service *service);
/* Frees, wiping the keys. Only the relay's one ending function calls this. */
void session_free(struct session *s);

/* One record from the client. Look at s->state (a handshake may be complete: the relay then makes
 * it the peer's one session) and at s->ending behind it. */
enum fate session_from_wire(struct session *s, const struct session_service *service,
                            const struct wire_record *rec, uint64_t now,
                            const struct session_sink *sink);
/* One datagram from the backend, 0 bytes included. */
enum back_fate session_from_plain(struct session *s, const struct session_service *service,
                                  const uint8_t *plain, size_t len,
                                  const struct session_sink *sink);
/* The handshake's time has come: repeats a flight or gives up (s->ending). */
void session_on_timer(struct session *s, const struct session_service *service, uint64_t now,
                      const struct session_sink *sink);
/* When session_on_timer() is to be called, or TIMER_NEVER. */
uint64_t session_next_timer(const struct session *s);
/* Tells the client goodbye (close_notify) where there are keys to do it with. */
void session_say_goodbye(struct session *s, const struct session_service *service,
                         const struct session_sink *sink);

/* A fingerprint of a hello's random, to know a late copy by. */
uint64_t session_hello_print(const uint8_t random[WIRE_RANDOM]);
/* After a reload: looks the identity up anew. Sets s->ending when it is gone or has another key;
 * then s->psk still points into the old set, for the log. */
void session_rebase(struct session *s, const struct psk_set *set);

/* Why a handshake has failed, in more words than s->ending. Borrowed until session_free(). */
const char *session_why(const struct session *s);
/* The identity that the client has named: proven once the session is open, before that a claim.
 * NULL with 0: none yet. */
const uint8_t *session_identity(const struct session *s, size_t *len);
const char *session_suite_name(const struct session *s);
const char *session_version_name(const struct session *s); /* "1.2" or "1.0" */

#endif
