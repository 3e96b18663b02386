/*
 * trace: what happens to one identity's handshakes and records, held for whoever looks at it: a
 * bounded list in each worker, which the master fetches by inquiry. It ends by itself when nobody
 * fetches. Must never hold a key, nor what is in a record.
 */
#ifndef DTLSGATE_PROXY_TRACE_H
#define DTLSGATE_PROXY_TRACE_H

#include "base/addr.h"
#include "dtls/fate.h"
#include "dtls/psk.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACES_MAX 4 /* at a time */

enum trace_what {
    TRACE_HELLO,    /* a handshake had begun then, of whom is known since */
    TRACE_IN,       /* a record of the client; `fate` tells */
    TRACE_OUT,      /* a record to it */
    TRACE_BACKEND,  /* a datagram of its backend; `back_fate` tells */
    TRACE_OPEN,     /* the session is open; `number`: ms that the handshake took */
    TRACE_END,      /* of a session or a handshake */
    TRACE_KEYS,     /* went to the key log */
    TRACE_LEFT_OUT, /* `number` events are missing here */
};

/* Fields that say nothing about an event are zero. */
struct trace_event {
    uint64_t wall; /* ms since 1970 UTC */
    uint64_t session;
    uint64_t number; /* of a record, else as above */
    struct addr peer;
    uint32_t bytes; /* a record's body, or a datagram */
    uint16_t epoch;
    uint8_t what, type;
    uint8_t message; /* of a handshake record in plaintext, its first one */
    uint8_t fate, back_fate, reason;
    char text[64]; /* TRACE_OPEN: the suite; TRACE_END: details */
};

struct trace;
struct traces {
    unsigned count; /* what the data path asks first */
    uint64_t wall0; /* ms since 1970 UTC when `now` was 0 */
    struct trace *list[TRACES_MAX];
};

struct session;

/* Who looks, and what for; and what there is to see. */
struct trace_view {
    uint64_t id; /* unique, of the trace */
    size_t identity_len;
    const uint8_t *identity;
    bool wants_keys;
    struct trace_event *event; /* room for `limit` of them */
    size_t limit, count;
    bool has_more;
};

/* Begins the trace where there is none yet, and moves events out. False: there are too many, or no
 * memory. */
bool trace_fetch(struct traces *all, struct trace_view *v, uint64_t now)
    __attribute__((warn_unused_result));
/* Ends those that nobody has fetched from for a while. */
void traces_expire(struct traces *all, uint64_t now);
void traces_clear(struct traces *all);

/* All below only while count > 0. */
/* A record is about to be judged: what it leads to stands behind it. */
void trace_mark(struct traces *all);
void trace_in(struct traces *all, const struct session *s, const struct wire_record *rec,
              enum fate fate, uint64_t now);
/* A datagram to the client; `s` may be NULL: of nobody yet. */
void trace_out(struct traces *all, const struct session *s, const uint8_t *datagram, size_t len,
               uint64_t now);
void trace_backend(struct traces *all, const struct session *s, size_t len, enum back_fate fate,
                   uint64_t now);
/* While it still has ->pending. */
void trace_open(struct traces *all, const struct session *s, uint64_t now);
/* A handshake is complete. True: somebody wants its keys. */
bool trace_keys(struct traces *all, const struct session *s, uint64_t now);
/* `reason`: of enum session_end. */
void trace_end(struct traces *all, const struct session *s, unsigned reason, uint64_t now);

#endif
