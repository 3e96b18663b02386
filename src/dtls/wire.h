/*
 * wire: DTLS 1.0/1.2 records, handshake headers and hellos as bytes; no OpenSSL, no state.
 * Everything here reads hostile input. Views point into the datagram and live as long as it does.
 */
#ifndef DTLSGATE_DTLS_WIRE_H
#define DTLSGATE_DTLS_WIRE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_CCS = 20,
    WIRE_ALERT = 21,
    WIRE_HANDSHAKE = 22,
    WIRE_DATA = 23,
    WIRE_CID = 25, /* RFC 9146 4: the real type is inside */
    WIRE_RRC = 27, /* RFC 9853 4: only inside of those */
};

enum {
    WIRE_HELLO_REQUEST = 0,
    WIRE_CLIENT_HELLO = 1,
    WIRE_SERVER_HELLO = 2,
    WIRE_HELLO_VERIFY = 3,
    WIRE_NEW_TICKET = 4, /* RFC 5077 3.3 */
    WIRE_SERVER_KEY_EXCHANGE = 12,
    WIRE_SERVER_HELLO_DONE = 14,
    WIRE_CLIENT_KEY_EXCHANGE = 16,
    WIRE_FINISHED = 20,
};

enum {
    WIRE_ALERT_WARNING = 1,
    WIRE_ALERT_FATAL = 2,
    WIRE_CLOSE_NOTIFY = 0,
    WIRE_HANDSHAKE_FAILURE = 40,
    WIRE_DECRYPT_ERROR = 51,
    WIRE_NO_RENEGOTIATION = 100,
    WIRE_UNKNOWN_PSK_IDENTITY = 115,
};

/* Messages of WIRE_RRC: a byte, then a cookie. */
enum { WIRE_PATH_CHALLENGE = 0, WIRE_PATH_RESPONSE = 1, WIRE_PATH_DROP = 2 };
#define WIRE_RRC_COOKIE 8
#define WIRE_RRC_MESSAGE (1 + WIRE_RRC_COOKIE)

#define WIRE_DTLS10 0xfeff
#define WIRE_DTLS12 0xfefd

#define WIRE_RECORD_HEADER 13    /* type, version, epoch, sequence number, length (RFC 6347 4.1) */
#define WIRE_MESSAGE_HEADER 12   /* type, length, seq, fragment's offset and length (4.2.2) */
#define WIRE_PLAINTEXT_MAX 16384 /* RFC 5246 6.2.1 */
#define WIRE_CIPHERTEXT_MAX (WIRE_PLAINTEXT_MAX + 2048)
#define WIRE_COOKIE_MAX 255
#define WIRE_RANDOM 32
#define WIRE_SESSION_ID_MAX 32
#define WIRE_EXTENSIONS_MAX 64 /* in one hello; real ones have a dozen */
#define WIRE_SEQ_MAX ((UINT64_C(1) << 48) - 1)
#define WIRE_OWN_CID 8 /* ours have so many bytes, those of clients up to WIRE_CID_MAX */
#define WIRE_CID_MAX 255
#define WIRE_CID_AT 11 /* in a record */

struct wire_record {
    uint8_t type;
    uint16_t version;
    uint16_t epoch;
    uint64_t seq;
    const uint8_t *whole; /* header and body, as they came */
    const uint8_t *cid;   /* WIRE_CID alone: WIRE_OWN_CID bytes of its header; else NULL */
    const uint8_t *body;
    size_t len; /* of the body */
};

/* Of header and body. */
static inline size_t wire_record_size(const struct wire_record *rec)
{
    return (size_t)(rec->body - rec->whole) + rec->len;
}

/* Takes the next record off the datagram in `r`. False at the end of the datagram and for what is
 * no record: a header that is cut, a version whose major is not 0xfe, or a body that is longer than
 * what is left or than WIRE_CIPHERTEXT_MAX. r->bad tells junk from the plain end. Any content type
 * passes; WIRE_CID has a connection id of ours in its header. */
bool wire_next_record(struct reader *r, struct wire_record *out)
    __attribute__((warn_unused_result));
/* The same for records to a peer whose connection id has `cid_len` bytes. */
bool wire_next_record_to(struct reader *r, size_t cid_len, struct wire_record *out)
    __attribute__((warn_unused_result));

struct wire_message {
    uint8_t type;
    uint32_t length; /* of the whole message */
    uint16_t seq;
    uint32_t offset; /* of this fragment */
    const uint8_t *body;
    uint32_t fragment_length;
};

/* Takes the next handshake message or fragment off a record's body. False at the end and for what
 * does not fit: r->bad tells which. Checked: offset + fragment_length <= length, fragment inside
 * the record. */
bool wire_next_message(struct reader *r, struct wire_message *out)
    __attribute__((warn_unused_result));
/* True when the message is whole in this one fragment. */
bool wire_is_whole(const struct wire_message *m);

struct wire_hello {
    uint64_t record_seq;
    uint16_t message_seq;
    uint16_t version; /* client_version */
    const uint8_t *random;
    const uint8_t *session_id;
    uint8_t session_id_len;
    const uint8_t *cookie;
    uint8_t cookie_len;
    const uint8_t *suites; /* pairs of bytes */
    uint16_t suites_len;
    const uint8_t *compression;
    uint8_t compression_len;
    const uint8_t *extensions; /* without the length; NULL when the hello has none */
    uint16_t extensions_len;
};

enum wire_hello_status { WIRE_HELLO_OK, WIRE_HELLO_BAD, WIRE_HELLO_FRAGMENT };
/* Parses the ClientHello that a record holds (RFC 6347 4.2.1, RFC 5246 7.4.1.2). It must be the
 * only message of the record, fill it to its end, be in epoch 0 and no longer than
 * WIRE_PLAINTEXT_MAX, offer version 0xfeff or 0xfefd or lower-numbered (newer) 0xfe.., at least one
 * suite, null compression; session id at most 32 bytes; the extension block, when there is one,
 * must be well-formed to its end, with at most WIRE_EXTENSIONS_MAX extensions and no type twice.
 * FRAGMENT: a piece of a ClientHello, well-formed so far. `out` is only valid on OK. */
enum wire_hello_status wire_parse_hello(const struct wire_record *rec, struct wire_hello *out)
    __attribute__((warn_unused_result));

/* A client's connection id (RFC 9146 3), `len` bytes of the hello. False: the hello has none, or a
 * malformed one. */
bool wire_hello_cid(const struct wire_hello *hello, const uint8_t **cid, uint8_t *len)
    __attribute__((warn_unused_result));

/* A session ticket (RFC 5077 3.2); of 0 bytes for a client that only asks for one. False: the hello
 * says nothing about tickets. */
bool wire_hello_ticket(const struct wire_hello *hello, const uint8_t **ticket, size_t *len)
    __attribute__((warn_unused_result));

struct wire_server_hello {
    uint16_t version;
    uint16_t suite;
    const uint8_t *random;
    bool extended_master_secret; /* RFC 7627 */
    size_t max_fragment;         /* RFC 6066 4: 512 to 4096, or 0 when not negotiated */
    bool has_cid;                /* RFC 9146 */
    bool has_rrc;                /* RFC 9853 */
};
/* Parses the body of libssl's ServerHello message. False: it is not one. */
bool wire_parse_server_hello(const uint8_t *body, size_t len, struct wire_server_hello *out)
    __attribute__((warn_unused_result));

/* Writes a record header for a body of `len` bytes. */
void wire_put_record_header(uint8_t p[WIRE_RECORD_HEADER], uint8_t type, uint16_t version,
                            uint64_t epoch_and_seq, size_t len);

/* Writes the header of a message of `length` bytes that is whole in one fragment. */
void wire_put_message_header(uint8_t p[WIRE_MESSAGE_HEADER], uint8_t type, uint16_t seq,
                             uint32_t length);

#endif
