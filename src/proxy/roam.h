/*
 * roam: what a session with connection ids (RFC 9146) has besides: its place in the index by our
 * id, and what may be sent to an address that it has just moved to. Knows no address itself.
 */
#ifndef DTLSGATE_PROXY_ROAM_H
#define DTLSGATE_PROXY_ROAM_H

#include "base/hash.h"
#include "dtls/record.h"

struct session;

/* So many times what came from an address that may not be the client's goes there (RFC 9146 6). */
#define ROAM_AMPLIFICATION 3

/* Behind the session's connection ids, from its beginning on. */
struct roam {
    struct table_link link; /* in the worker's peers, by our id */
    struct session *session;
    uint32_t moves;
    bool is_unproven; /* one record has come from where it is now, and it may be a copy */
    uint64_t budget;  /* bytes that may yet go there while that is so */
};

/* That of the session whose association this is. NULL: it has no connection ids. */
struct roam *roam_of(const struct association *a);

/* It has moved: an authentic record of `size` bytes, the newest, has come from elsewhere. */
void roam_move(struct roam *r, size_t size);
/* An authentic record of `size` bytes has come from where it is. */
void roam_hear(struct roam *r, size_t size, bool is_newest);
/* May a record with `len` bytes in it be sent to the client? If so it counts as sent. */
bool roam_may_send(const struct association *a, size_t len);

#endif
