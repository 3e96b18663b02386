/*
 * pp2: the PROXY protocol header, version 2, for datagrams: who the client is, in front of what it
 * says, so that the backend can log and decide by it. Knows no sockets and no sessions.
 */
#ifndef DTLSGATE_PROXY_PP2_H
#define DTLSGATE_PROXY_PP2_H

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

#define PP2_NAME_MAX 256 /* of an identity; a suite's name is far shorter */
/* The longest header: the fixed part, IPv6 addresses, and all TLVs at their longest. */
#define PP2_MAX (16 + 36 + (3 + 8) + (3 + 5 + (3 + 8) + (3 + 64) + (3 + PP2_NAME_MAX)))

#define PP2_LOCAL_SIZE 16

/* What a header tells. All is borrowed for the call. */
struct pp2_facts {
    const struct addr *peer, *local; /* of one family */
    uint64_t id;                     /* of the session; PP2_TYPE_UNIQUE_ID, 8 bytes, big-endian */
    const char *version;             /* such as "1.2", told as "DTLSv1.2" */
    const char *cipher;              /* the suite's name; at most 64 bytes are told */
    const uint8_t *identity;         /* PP2_SUBTYPE_SSL_CN; at most PP2_NAME_MAX bytes are told */
    size_t identity_len;
};

/* How long the header will be: up to PP2_MAX, and the same for all datagrams of one session. */
size_t pp2_length(const struct pp2_facts *facts);
/* Writes that many bytes: the header for one datagram (command PROXY, transport DGRAM). The
 * `verify` of its SSL TLV is 0, as for a peer that has proven its key; no bit of `client` claims a
 * certificate. A `local` that is not known is all zero. */
void pp2_write(const struct pp2_facts *facts, uint8_t *out);
/* The header of a datagram that is our own and no client's (command LOCAL): receivers go by the
 * datagram's real source then. */
void pp2_write_local(uint8_t out[PP2_LOCAL_SIZE]);

#endif
