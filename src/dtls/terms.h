/*
 * terms: what the two hellos have settled, read from what libssl writes. Judges nothing.
 */
#ifndef DTLSGATE_DTLS_TERMS_H
#define DTLSGATE_DTLS_TERMS_H

#include "dtls/record.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct terms {
    uint16_t version; /* 0: there was no ServerHello yet */
    uint8_t server_random[WIRE_RANDOM];
    const struct suite *suite; /* NULL: the records stay with libssl */
    bool extended_master_secret;
    bool has_cid, has_rrc;
    size_t max_fragment;
    uint16_t next_message; /* message_seq of the next one that the server writes */
};

/* Before the first record. */
void terms_init(struct terms *t);
/* Takes in a plaintext record of libssl's, in order. */
void terms_learn(struct terms *t, const struct wire_record *rec);
/* Before it: whether connection ids will do, with the client's as long as it is. A datagram of
 * `mtu` bytes must have room for the end of a handshake, which may have to go again in one. */
bool terms_may_settle_cid(const struct wire_hello *hello, size_t mtu);
/* Behind the ServerHello, which answers with `own` only what the client has asked for: both ends'
 * connection ids. False: they have none, and *out is empty. */
bool terms_settle_cid(const struct terms *t, const struct wire_hello *hello,
                      const uint8_t own[WIRE_OWN_CID], struct association_cid *out);

#endif
