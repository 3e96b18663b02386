/*
 * cid: the extensions connection_id (RFC 9146 3) and rrc (RFC 9853 3), as libssl asks for them
 * while it writes a ServerHello. Knows no records.
 */
#ifndef DTLSGATE_DTLS_CID_H
#define DTLSGATE_DTLS_CID_H

#include "dtls/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct ssl_st;
struct ssl_ctx_st;

/* What one connection answers with. */
struct cid_offer {
    uint8_t own[1 + WIRE_OWN_CID]; /* as on the wire, its length first */
    bool is_asked;                 /* libssl's: the hello has the extension */
};

/* Lets connections of `ctx` negotiate it. False: libssl refuses. */
bool cid_enable(struct ssl_ctx_st *ctx) __attribute__((warn_unused_result));
/* A ServerHello for a suite whose records are ours answers with `own`, if it is asked, and then
 * with rrc, if it is asked for that, too. *offer has to outlive the hello. NULL: it is not
 * answered. */
void cid_offer(struct ssl_st *ssl, struct cid_offer *offer, const uint8_t own[WIRE_OWN_CID]);

#endif
