/*
 * finished: the two messages that end a handshake (RFC 5246 7.4.9): puts the client's together,
 * checks it, makes the server's and the records it goes in. Knows nothing of flights or libssl.
 */
#ifndef DTLSGATE_DTLS_FINISHED_H
#define DTLSGATE_DTLS_FINISHED_H

#include "dtls/candidate.h"
#include "dtls/keys.h"
#include "dtls/record.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FINISHED_SIZE (WIRE_MESSAGE_HEADER + KEYS_VERIFY)

/* Adds the messages of some records, as if none were in fragments (RFC 6347 4.2.6); those must
 * stand in order. */
bool finished_hash_records(struct transcript *t, const uint8_t *records, size_t len)
    __attribute__((warn_unused_result));

/* A client's Finished, which may come in fragments. All zero: nothing has come. */
struct finished_message {
    uint8_t verify[KEYS_VERIFY];
    uint16_t have; /* one bit for each byte that has come */
};

enum finished_verdict {
    FINISHED_PARTLY, /* more must come */
    FINISHED_WHOLE,
    FINISHED_WRONG, /* something else, or numbered otherwise */
};
/* `seq` is the message_seq it must have, `plain` what one record held. */
enum finished_verdict finished_take(struct finished_message *m, uint16_t seq, const uint8_t *plain,
                                    size_t len) __attribute__((warn_unused_result));

struct finished_state {
    struct keys_kdf *kdf;
    const struct suite *suite;
    struct transcript *transcript; /* to the ServerHelloDone; takes in the rest */
    const struct candidate *chosen;
    const uint8_t *ticket; /* the NewSessionTicket in between, a whole message; NULL: none */
    size_t ticket_len;
    uint16_t client_seq, server_seq; /* message_seq that either Finished has */
};
/* Once, with a whole `m`. False: it is of another handshake (told in constant time), or libcrypto
 * failed. Else `answer` is the server's. */
bool finished_answer(const struct finished_state *s, const struct finished_message *m,
                     uint8_t answer[FINISHED_SIZE]) __attribute__((warn_unused_result));

/* Where the server speaks first, in a session that is resumed: its own, into `message`... */
bool finished_begin(const struct finished_state *s, uint8_t message[FINISHED_SIZE])
    __attribute__((warn_unused_result));
/* ... then whether the client's, which is whole, ends the same handshake. */
bool finished_ends(const struct finished_state *s, const struct finished_message *m)
    __attribute__((warn_unused_result));

/* Writes ChangeCipherSpec and the server's Finished, two records of one datagram. Returns their
 * length, 0 when the association is used up. */
#define FINISHED_FLIGHT_MAX (WIRE_RECORD_HEADER + 1 + FINISHED_SIZE + RECORD_OVERHEAD_MAX)
size_t finished_write(const uint8_t message[FINISHED_SIZE], uint64_t ccs_seq,
                      struct record_crypt *crypt, struct association *a,
                      uint8_t out[FINISHED_FLIGHT_MAX]) __attribute__((warn_unused_result));

#endif
