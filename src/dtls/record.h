/*
 * record: an established association's records: seal and open, sequence numbers, replay window.
 * Bytes in, bytes out. An association is keys and counters only; the cipher contexts are the
 * worker's (dtls/aead.h).
 */
#ifndef DTLSGATE_DTLS_RECORD_H
#define DTLSGATE_DTLS_RECORD_H

#include "dtls/keys.h"
#include "dtls/lease.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a record grows by at most: header, connection id, explicit nonce, inner type, tag. */
#define RECORD_OVERHEAD_MAX (WIRE_RECORD_HEADER + WIRE_CID_MAX + 8 + 1 + 16)

#define RECORD_WINDOW 64

/* RFC 6347 4.1.2.6: RECORD_WINDOW records, the newest is bit 0. All zero: nothing seen yet. */
struct record_window {
    uint64_t top; /* highest sequence number seen */
    uint64_t map; /* bit n: top - n was seen */
};

#define ASSOCIATION_FORGED_MAX ((UINT64_C(1) << 37) - 1)

struct association {
    const struct suite *suite;
    uint64_t write_seq; /* next to use, epoch 1 */
    struct record_window window;
    uint64_t forged : 37;    /* records that failed to authenticate under these keys; stays at its
                                largest, which is above all limits */
    uint64_t has_cid : 1;    /* connection ids follow what the suite uses of the keys */
    uint64_t lease : 26;     /* number of its lease (dtls/lease.h); 0: it has none */
    struct record_keys keys; /* last: whoever keeps many leaves out what the suite does not use */
};

/* The connection ids of both ends (RFC 9146 3). With an empty one the peer wants plain records. */
struct association_cid {
    uint8_t own[WIRE_OWN_CID];
    bool has_rrc; /* RFC 9853 has been negotiated, too */
    uint8_t peer_len;
    uint8_t peer[WIRE_CID_MAX]; /* last: only as long as it is */
};

/* How many bytes of an association a suite uses, connection ids apart. What was allocated by this
 * is copied by it, too, and never by value. */
static inline size_t association_size(const struct suite *suite)
{
    return offsetof(struct association, keys) + keys_length(suite);
}

/* How many bytes connection ids take behind it. */
static inline size_t association_cid_size(uint8_t peer_len)
{
    return offsetof(struct association_cid, peer) + peer_len;
}

/* Room for any association with connection ids. */
union association_room {
    struct association association;
    uint8_t bytes[sizeof(struct association) + sizeof(struct association_cid)];
};

/* Gives an association its connection ids, for which there is room behind its keys. */
void association_set_cid(struct association *a, const struct association_cid *cid);
/* Its connection ids, inside of it; NULL: it has none. */
const struct association_cid *association_cid(const struct association *a);
/* All of it, to be copied by. */
size_t association_length(const struct association *a);

/* One worker's cipher contexts, for all suites; not for two threads at once. */
struct record_crypt;
struct record_crypt *record_crypt_new(void); /* NULL: libcrypto lacks something */
void record_crypt_free(struct record_crypt *c);
/* From now on associations may have leases; borrowed. */
void record_crypt_lend(struct record_crypt *c, const struct leases *leases);

enum record_verdict {
    RECORD_OK,
    RECORD_EPOCH, /* not epoch 1 */
    RECORD_FORM,  /* type 25 without connection ids, or with: any other, or not ours (RFC 9146 3) */
    RECORD_REPLAY, /* seen, or below the window; nothing was decrypted */
    RECORD_SIZE,   /* too short for nonce and tag, or its plaintext would be over 16384 bytes */
    RECORD_FORGED, /* does not authenticate; counted in a->forged */
    RECORD_INNER,  /* authentic, but has nothing but padding in it, or type 25 once more */
};

/* Opens a record of the client (AAD and nonce by RFC 5246 6.2.3.3, 5288, 6655, 7905; 9146 5.3).
 * `plain` has room for WIRE_PLAINTEXT_MAX bytes and may not overlap the record; it and `len` are
 * only valid on RECORD_OK; on failure nothing of the plaintext is left in it. The window moves on
 * RECORD_OK and RECORD_INNER only. On RECORD_OK rec->type is the real type, which a connection id
 * hides; else it stays. rec->body is not changed; rec->whole is not looked at. */
enum record_verdict record_open(struct record_crypt *c, struct association *a,
                                struct wire_record *rec, uint8_t *plain, size_t *len)
    __attribute__((warn_unused_result));

/* How long a record with `len` bytes in it is. */
size_t record_sealed_size(const struct association *a, size_t len);
/* Seals `len` bytes (0 to WIRE_PLAINTEXT_MAX) of content `type` into `out`, which has room for
 * record_sealed_size() bytes. Returns the record's length. 0: `len` is over WIRE_PLAINTEXT_MAX or
 * the sequence numbers are used up (48 bits, never wrapped), nothing is written; or libcrypto
 * failed: the number is spent all the same, never used twice. `plain` may be NULL with `len` 0, and
 * may not overlap `out`. */
size_t record_seal(struct record_crypt *c, struct association *a, uint8_t type,
                   const uint8_t *plain, size_t len, uint8_t *out)
    __attribute__((warn_unused_result));

/* The window alone, for those who authenticate elsewhere: may this number still come? and: it has
 * come. */
bool record_window_allows(const struct record_window *w, uint64_t seq);
void record_window_mark(struct record_window *w, uint64_t seq);

#endif
