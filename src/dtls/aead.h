/*
 * aead: one worker's cipher contexts, and EVP's calls that seal or open the body of a DTLS 1.2
 * record in place. A context is keyed when it meets another key; those who come often have one that
 * stays keyed for them. AEAD by EVP alone: nothing of a cipher or MAC is written here.
 */
#ifndef DTLSGATE_DTLS_AEAD_H
#define DTLSGATE_DTLS_AEAD_H

#include "dtls/suites.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AEAD_NUMBER 8 /* epoch and sequence number, as AAD and nonce have them */

/* Not for two threads at once. NULL: libcrypto lacks something, or out of memory. */
struct aead_contexts;
struct aead_contexts *aead_new(void);
/* Frees and wipes all keys. NULL is fine. */
void aead_free(struct aead_contexts *c);

/* The write side of one end. */
struct aead_side {
    const struct suite *suite;
    const uint8_t *key;
    const uint8_t *iv;
    const void *owner; /* a hint which sides are alike; the key decides */
};

/* What stands in the record's header (RFC 5246 6.2.3.3, RFC 6347 4.1.2.1). With a connection id the
 * additional data are others (RFC 9146 5.3). */
struct aead_header {
    uint8_t number[AEAD_NUMBER];
    uint8_t type;
    uint16_t version;
    uint8_t cid_len;    /* at most WIRE_CID_MAX */
    const uint8_t *cid; /* NULL: none */
};

/* `body` is the explicit nonce, which stands there (suite->explicit_len bytes), the text, then room
 * for the tag; `len` is all of it, 65535 at most. The nonce is the caller's to choose and never to
 * use twice, except that CCM wants header->number. False: libcrypto failed, and body is all zeros.
 */
bool aead_seal(struct aead_contexts *c, const struct aead_side *side,
               const struct aead_header *header, uint8_t *body, size_t len)
    __attribute__((warn_unused_result));
/* The way back; `len` is at least nonce and tag. False: it does not authenticate, and body is
 * all zeros. */
bool aead_open(struct aead_contexts *c, const struct aead_side *side,
               const struct aead_header *header, uint8_t *body, size_t len)
    __attribute__((warn_unused_result));

#endif
