/*
 * farewell: what answers a client that repeats its Finished, for it has not got the end of the
 * handshake. Knows no session and no time.
 */
#ifndef DTLSGATE_DTLS_FAREWELL_H
#define DTLSGATE_DTLS_FAREWELL_H

#include "dtls/record.h"
#include "dtls/resume.h"
#include "dtls/wire.h"

#include <stddef.h>
#include <stdint.h>

/* What a repeated client Finished is answered with (RFC 6347 4.2.4): CCS and Finished as new
 * records, until the client's first data. */
struct handshake_farewell {
    uint8_t finished[WIRE_MESSAGE_HEADER + 12];
    uint64_t ccs_seq; /* next plaintext sequence number */
    uint8_t *ticket;  /* the record in front of both; NULL: none. See handshake_farewell_clear() */
    uint16_t ticket_len; /* 0 without */
};
#define HANDSHAKE_FAREWELL_MAX                                                                     \
    (RESUME_RECORD_MAX + WIRE_RECORD_HEADER + 1 + WIRE_MESSAGE_HEADER + 12 + RECORD_OVERHEAD_MAX)
/* Frees what it has; it is all zero from then on, and says nothing. */
void handshake_farewell_clear(struct handshake_farewell *f);
/* Writes one datagram with all of it. Returns its length, 0 when the association is used up. */
size_t handshake_repeat_farewell(struct handshake_farewell *f, struct record_crypt *crypt,
                                 struct association *a, uint8_t out[HANDSHAKE_FAREWELL_MAX]);

#endif
