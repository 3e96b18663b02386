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
#include "proxy/key_source.h"
#include "proxy/session_end.h"
#include "proxy/session_memory.h"
#include "proxy/session_tail.h"
#include "proxy/tally.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

struct session;

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
    struct keyring *keyring;      /* the worker's, of keys that helpers know; NULL: there is none */
    struct resumption resumption; /* by the worker's ticket keys; all zero: there is none */
    uint64_t wall0;               /* ms since 1970 UTC when `now` was 0 */
    /* Called when a handshake is complete, for a key log; `keys` is wiped behind it. */
    void (*on_keys)(void *arg, const struct session *s, const struct handshake_result *keys);
    void *arg;
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
    struct handshake_farewell farewell; /* once it is complete; owned */
    struct handshake_tickets tickets;   /* the same */
    size_t mtu;
    struct key_questions questions;
    bool is_traced;  /* somebody who looks has been told of its hello */
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
    const struct psk *psk; /* of the current snapshot, or the keyring's (is_given); NULL while the
                              identity is not known */
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
    uint64_t opened : 47;
    bool has_tally : 1;      /* in front of it: session_tally() */
    uint64_t plain_max : 15; /* largest plaintext the client takes in a record */
    bool is_metered : 1;     /* its identity has a rate */
    uint64_t id : 47;
    bool is_given : 1;                            /* `psk` is a helper's: keyring_leave() */
    uint64_t backend_port : 16;                   /* of the newest flow, 0: none yet */
    uint64_t in_datagrams : SESSION_NUMBER_BITS;  /* plaintext for the backend */
    uint64_t service : 16;                        /* index */
    uint64_t out_datagrams : SESSION_NUMBER_BITS; /* plaintext of it, sealed for the client */
    uint64_t listener : 16;                       /* index in the worker */
    uint64_t in_bytes, out_bytes;
    uint32_t local;       /* the address it wrote to, by its number in the worker's peers */
    uint32_t hello_print; /* of the hello it began with, the lower half */
    uint32_t drops;       /* both ways */
    uint32_t refused;     /* ICMP refusals of its backend */
    union {
        /* Only as long as the suite and the connection ids need: association_length(). Of the
         * other kind all but the first bytes stay zero, so that has no ids. */
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
    /* May a helper be asked for one more identity of this handshake? Asked once for each. */
    bool (*may_ask)(void *arg);
    /* For a session with connection ids: a record of `size` bytes is authentic, and newer than all
     * before it or not. What is sent from then on goes to where the session then is. */
    void (*hear)(void *arg, size_t size, bool is_newest);
    /* The same: what a record about routes says (RFC 9853). False: none was to be expected. */
    bool (*check)(void *arg, const uint8_t *message, size_t len);
    void *arg;
};

/* Makes a worker's memory for sessions; session_memory_clear() is the other end. */
void session_prepare(struct session_memory *m);

/* A session's piece of that memory (session_room.c), zeroed, with its suite (NULL: libssl keeps the
 * records) and its connection ids (NULL: none), with a tally in front or without. NULL: out of
 * memory. */
struct session *session_take_room(struct session_memory *m, const struct suite *suite,
                                  const struct association_cid *cid, bool has_tally);
/* Wipes it; what it points to has gone before. */
void session_give_room(struct session *s);

/* Begins a handshake from a hello with a valid cookie, whose record is `rec`; answers through the
 * sink. The one allocation a stranger can cause. Takes a reference to the snapshot until the
 * handshake ends. `cid` is a connection id that no session has, which this one may get, or NULL.
 * NULL: out of memory. */
struct session *session_new(const struct session_service *service, const struct wire_record *rec,
                            const uint8_t *cid, uint64_t now, const struct session_sink *sink);
/* The relay has given a session whose handshake is complete its place among the open ones: lets go
 * of ->pending. Nothing of the client may reach it between the one and the other. */
void session_place(struct session *s, const struct session_service *service);
/* Frees what a session has until then, which is ->pending. */
void session_pending_free(struct session_pending *p);
/* Frees, wiping the keys. Only the relay's one ending function calls this. */
void session_free(struct session *s);

/* One record from the client. Look at s->state (a handshake may be complete: the relay then makes
 * it the peer's one session) and at s->ending behind it. */
enum fate session_from_wire(struct session *s, const struct session_service *service,
                            const struct wire_record *rec, uint64_t now,
                            const struct session_sink *sink);
/* The same for one whose handshake is under way: follows what comes of the record. */
enum fate session_feed(struct session *s, const struct session_service *service,
                       const struct wire_record *rec, uint64_t now,
                       const struct session_sink *sink);
/* Sends the client of an open session a message about routes, if one may be sent to it. */
void session_send_check(struct session *s, const struct session_service *service,
                        const uint8_t message[WIRE_RRC_MESSAGE], const struct session_sink *sink);
/* One datagram from the backend, 0 bytes included. */
enum back_fate session_from_plain(struct session *s, const struct session_service *service,
                                  const uint8_t *plain, size_t len,
                                  const struct session_sink *sink);
/* A seat of the handshake waits no more: keyring_hooks has what this is. Returns what has become of
 * a record that was held for it. */
enum fate session_set_key(struct session *s, const struct session_service *service,
                          enum keyring_verdict verdict, const struct psk *named, uint64_t now,
                          const struct session_sink *sink);
/* The handshake's time has come: repeats a flight or gives up (s->ending). */
void session_on_timer(struct session *s, const struct session_service *service, uint64_t now,
                      const struct session_sink *sink);
/* When session_on_timer() is to be called, or TIMER_NEVER. */
uint64_t session_next_timer(const struct session *s);
/* Tells the client goodbye (close_notify) where there are keys to do it with. */
void session_say_goodbye(struct session *s, const struct session_service *service,
                         const struct session_sink *sink);

/* After a reload: looks the identity up anew. Sets s->ending when it is gone or has another key;
 * then s->psk still points to where it did, for the log. What the files lack is left to the helper,
 * whose answer comes later. */
void session_rebase(struct session *s, const struct session_service *service);

/* It wants to be ended; the first reason counts. */
static inline void session_want_end(struct session *s, enum session_end why)
{
    if (s->ending == SESSION_END_NOT_YET)
        s->ending = why;
}
/* Why a handshake has failed, in more words than s->ending. Borrowed until session_free(). */
const char *session_why(const struct session *s);
/* The identity that the client has named: proven once the session is open, before that a claim.
 * NULL with 0: none yet. */
const uint8_t *session_identity(const struct session *s, size_t *len);
/* What the access log will tell of it; NULL: it began when there was none. */
static inline struct tally *session_tally(const struct session *s)
{
    return s->has_tally ? (struct tally *)(uintptr_t)s - 1 : NULL;
}
const char *session_suite_name(const struct session *s);
const char *session_version_name(const struct session *s); /* "1.2" or "1.0" */

#endif
