/*
 * inquiry: what the master asks of a worker's open sessions, a slice at a time: to tell of them, or
 * to end them. Goes to the worker and back as one message, so nobody waits and nothing is shared.
 * Never shows a key.
 */
#ifndef DTLSGATE_PROXY_INQUIRY_H
#define DTLSGATE_PROXY_INQUIRY_H

#include "base/addr.h"
#include "base/list.h"
#include "base/prefix.h"
#include "dtls/psk.h"
#include "dtls/wire.h"
#include "proxy/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INQUIRY_ROWS 64 /* at most so many sessions a slice */

enum inquiry_kind {
    INQUIRY_LIST,   /* in no order */
    INQUIRY_RECENT, /* those used last, the latest first; a single slice */
    INQUIRY_END,    /* ends them, with goodbye */
    INQUIRY_TRACE,  /* fetches what has happened to an identity since the last time */
};

/* Which sessions: those for which all that is set holds. */
struct inquiry_filter {
    uint64_t id; /* 0: any */
    bool has_service, has_identity, has_peer;
    unsigned service; /* index */
    struct prefix peer;
    uint16_t port; /* of the peer; 0: any */
    size_t identity_len;
    uint8_t identity[PSK_IDENTITY_MAX];
};

/* One session, by value. Times in ms. */
struct inquiry_row {
    uint64_t id;
    unsigned service; /* index */
    struct addr peer, local;
    size_t identity_len;
    uint8_t identity[PSK_IDENTITY_MAX];
    char suite[48], version[8];
    bool has_ems, has_cid;
    uint8_t own_cid[WIRE_OWN_CID], peer_cid_len, peer_cid[WIRE_CID_MAX]; /* with has_cid */
    uint32_t moves;
    uint64_t age, idle;
    uint64_t in_datagrams, in_bytes, out_datagrams, out_bytes;
    uint64_t drops, refused;
    uint16_t backend_port; /* 0: none yet */
    struct addr backend;   /* where its flow goes; family 0: it has none now */
    /* The address that the backend sees, where the settings choose it,
     * else empty; "-": none yet. */
    char backend_source[PREFIX_TEXT_MAX];
};

struct mailbox;

struct inquiry {
    struct list node;
    struct mailbox *replies;            /* where the worker posts it when the slice is done */
    void *owner;                        /* the asker's, */
    void (*on_done)(struct inquiry *q); /* as is this; the worker does not look at either */
    enum inquiry_kind kind;
    struct inquiry_filter filter;
    size_t limit;    /* at most so many in this slice, 1 to INQUIRY_ROWS; not for INQUIRY_END;
                        0 with INQUIRY_TRACE: it only goes on */
    uint64_t cursor; /* 0 at first; afterwards where the next slice begins, 0: nothing is left */
    size_t count;    /* so many rows or events, or sessions ended */
    uint64_t trace;  /* its number, for INQUIRY_TRACE */
    bool wants_keys; /* the same: its handshakes go to the key log */
    bool is_refused; /* no further trace fits */
    union {
        struct inquiry_row row[INQUIRY_ROWS];
        struct trace_event event[INQUIRY_ROWS];
    };
};

struct relay;

/* Carries out one slice: looks at a bounded number of sessions. */
void relay_inquire(struct relay *r, struct inquiry *q, uint64_t now);

#endif
