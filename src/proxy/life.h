/*
 * life: the life of a worker's sessions: how they open, what they may send where, and the one place
 * where they end. The inside of relay, split off for size: only relay and inquiry include this.
 */
#ifndef DTLSGATE_PROXY_LIFE_H
#define DTLSGATE_PROXY_LIFE_H

#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/gate.h"
#include "proxy/identities.h"
#include "proxy/keep.h"
#include "proxy/parts.h"
#include "proxy/peers.h"
#include "proxy/seen.h"
#include "proxy/setup.h"
#include "proxy/trace.h"

/* What expiry goes by; zeroed it knows of no end. Wall times are ms since 1970 UTC. */
struct expiry {
    uint64_t wall0;     /* wall time when `now` was 0 */
    uint64_t next_end;  /* of those of the settings that no walk has been for; 0: there is none */
    uint64_t walked;    /* wall time of the last walk that is complete, */
    uint64_t walk;      /* of the one under way; 0: none is */
    uint64_t cursor;    /* where that stands */
    uint64_t next_walk; /* not before this, by the worker's clock */
};

struct relay {
    struct relay_parts parts;
    struct relay_setup setup;
    struct session_service *services; /* one per service of the snapshot */
    struct balance *balances;         /* the same */
    size_t service_count;
    struct cookie_secrets cookies;
    struct ticket_keys tickets; /* none before relay_set_tickets() */
    struct record_crypt *crypt;
    struct keep *keep; /* NULL: no session outlives the process */
    struct keys_kdf *kdf;
    struct session_memory memory;
    struct peers peers;
    struct identities identities;
    struct keyring *keyring;
    struct gate *gate;
    struct seen *seen; /* hellos whose cookie was used */
    struct timers timers;
    struct expiry expiry;
    struct rate short_tag_tries;
    struct traces traces;
    struct log_limit failed_lines, shortage_lines, shared_lines, forgery_lines, refused_lines,
        fate_lines, backend_lines, move_lines, unkept_lines;
    uint64_t next_id;
    uint64_t next_datagram; /* the next one of a client, among those of all workers */
    bool is_draining;
    bool is_settling; /* no handshake begins: the other process shall have it */
};

/* One step on behalf of one peer: what a sink's functions need to know. */
struct turn {
    struct relay *relay;
    const struct session_route *route; /* where what goes to the client goes */
    const struct session_route *from;  /* where a record with a connection id has come from */
    struct session *session;           /* NULL while it is being made */
    uint64_t now;
    uint64_t datagram;  /* of a client: which one it is */
    size_t heard;       /* bytes of the record from there, once it is authentic */
    bool is_newest;     /* that record */
    const uint8_t *out; /* what the client gets: the room reserved last */
    uint8_t *head;      /* what the backend gets begins here: the room reserved last */
    size_t head_len;    /* a PROXY header's, in front of the plaintext; 0: none */
};

/* The settings of a session's service. */
const struct conf_service *life_conf(const struct relay *r, const struct session *s);
/* Counts for the service of `s`. */
void life_count(struct relay *r, const struct session *s, enum service_counter what, uint64_t n);
/* The number of the address that its backend knows it by, or knew it by. */
uint32_t life_source(const struct session *s);
void life_update_gauges(struct relay *r);
void life_close_flow(struct relay *r, struct session *s);
/* Of an open session that another process has had, which is among the peers: goes on with its flow
 * as that left it. `fd` is its socket, or -1; false: it is still the caller's, and the session is
 * without a flow. */
bool life_take_flow(struct relay *r, struct session *s, const struct session_image_flow *flow,
                    int fd);
/* What there is to tell of a flow, which is there. */
struct session_image_flow life_flow_image(const struct relay *r, const struct session *s);
/* Where the flow of a session goes, which has one; and its slot in the balance. */
struct addr life_backend(const struct relay *r, const struct session *s);
unsigned life_slot(const struct session *s);
/* The backend has refused a datagram of this flow, or has sent it one. */
void life_note_refusal(struct session *s);
void life_note_answer(struct session *s);
/* The first of them, and not the second since. */
bool life_was_refused(const struct session *s);
/* Opens the flow of an open session that keeps it for as long as it lives: one that costs no
 * socket. Harmless when it is there already; where it fails, the client's next datagram tries
 * again. */
void life_keep_flow(struct relay *r, struct session *s, uint64_t now);
/* An open session is kept for the next start as it is now, if there is anything to keep it in: when
 * it opens, and whenever the address of its client changes, or who has its key. Its flow's are
 * life's own. */
void life_keep(struct relay *r, struct session *s, uint64_t now);
/* Behind a reload: closes the flow if its address has become another identity's. */
void life_leave_source(struct relay *r, struct session *s);
/* Where the session of a turn leaves what goes out; borrows `t`. */
struct session_sink life_sink(struct turn *t);

/* The fate of a record in a handshake: the first that does not open is told. */
void life_doubt(struct relay *r, struct session *s, enum fate fate, uint64_t now);
/* The one place where a session, or a handshake that became none, ends; frees it. */
void life_end(struct relay *r, struct session *s, enum session_end why, uint64_t now);
/* Takes it away without a word to anybody, for another process has it: nothing is sent, logged or
 * counted. */
void life_forget(struct relay *r, struct session *s);
/* An open session, with s->psk of its service's keys, is counted among those of its identity, and
 * its rate begins. Returns how many those are. */
unsigned life_enter_identity(struct relay *r, struct session *s);
/* Behind that, when it opens: where these are more than there may be of one identity, the longest
 * idle gives way, here or elsewhere. */
void life_limit_identity(struct relay *r, struct session *s, unsigned count, uint64_t now);
/* To be called after each step of a session: one that wants to end does, one whose handshake is
 * complete opens, one that waits is timed. False: it is gone. */
bool life_settle(struct relay *r, struct session *s, uint64_t now);

#endif
