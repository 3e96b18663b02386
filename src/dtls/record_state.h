/*
 * record_state: an association as bytes and back, for a session that outlives its process.
 * What is written holds the keys in clear: whoever stores it seals it, whoever sends it knows to
 * whom.
 */
#ifndef DTLSGATE_DTLS_RECORD_STATE_H
#define DTLSGATE_DTLS_RECORD_STATE_H

#include "base/bytes.h"
#include "dtls/record.h"

/* Suite (2 bytes, its number on the wire), next number to send (6), highest number seen (6), window
 * (8), forgeries (8), then the key block, as long as the suite's. All big-endian. The numbers are
 * exact: whoever may still send under these keys has to stop first, or to add a gap that covers
 * whatever it may have sent since. `a` may be as short as association_size(). */
void record_state_write(struct writer *w, const struct association *a);
/* Reads one, which ends where the reader does. False: it is none, or of a suite that is not known
 * here, or has numbers that no association can have; *a is wiped then. */
bool record_state_read(struct reader *r, struct association *a) __attribute__((warn_unused_result));

#endif
