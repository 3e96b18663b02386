/*
 * session_image: an open session as values and as bytes, for one that outlives its process: what is
 * handed over to another one, and whatever else keeps sessions apart from their worker. The bytes
 * hold the keys in clear. Knows no sockets and no worker.
 *
 * Whoever keeps or sends them puts a version of its own in front, which changes when a field gets
 * another meaning.
 *
 * One session is a length of two bytes and as many bytes of fields; a field is a tag of one byte, a
 * length of two, and its content. All numbers are big-endian. Each field is there once at most; a
 * tag that is not known refuses the session, for it may say what must not be left out.
 *
 *   1 place     service (2), listener (2), peer (23), local (23)     2 identity  its bytes
 *   3 records   as dtls/record_state.h has them                      4 secret    its print (16)
 *   5 life      id (6), age (8), idle (8), hello print (4), largest plaintext (2), flags (1)
 *   6 counts    datagrams and bytes in, then out (8 each), drops (4), refusals (4)
 *   7 flow      flags (1), source (4), port (2), backend (23)
 *   8 farewell  Finished (24), next plaintext number (6)
 *   9 ids       ours (8), flags (1), the client's (0 to 255)         12 key  a helper's (1 to 64)
 *  10 moves     how many (4), flags (1), bytes that may go there (8); of a proof that is awaited:
 *               last proven peer (23), local (23), listener (2), who was asked (23), cookie (8),
 *               how long ago and for how long yet (8 each)
 *  11 tally     newest number, records, late ones (8 each), handshake's ms (4), too old (4), then
 *               for each reason to drop: side (1: 0 client, 1 backend), count (4), name (1 + ...)
 *  13 ticket    the record that stands in front of a farewell       14 resumed  nothing
 *
 * An address is a family (1: 4, 6 or 0 for none), 16 bytes, a scope (4) and a port (2). Flags of a
 * life: 1 extended master secret. Of a flow: 1 it is open, 2 its socket is its own, 4 it goes to
 * one of the service's backends, 8 that has refused; 16 there has been one before. Of ids: 1 RFC
 * 9853. Of moves: 1 the address is unproven, 2 there is a proof. Fields 1 to 6 are always there, 7
 * where 1 or 16 is set, 8 until the client's first data, 9 with connection ids, 10 with those that
 * have moved, 11 where the access log has been on, 12 where the files lack the identity, 13 with a
 * farewell that has one, 14 with the tally of a session that was resumed.
 */
#ifndef DTLSGATE_PROXY_SESSION_IMAGE_H
#define DTLSGATE_PROXY_SESSION_IMAGE_H

#include "dtls/record_state.h"
#include "proxy/session.h"

/* The most bytes that one takes. */
#define SESSION_IMAGE_MAX 2048

#define SESSION_SECRET_PRINT 16

/* Where its datagrams go, and from where. */
struct session_image_flow {
    bool is_open;
    bool is_lone;     /* its socket is its own: whoever hands it over hands that over, too */
    bool is_listed;   /* `backend` is one of the service's, and not a policy's alone */
    bool was_refused; /* it has refused, and not answered since */
    uint32_t source;  /* the number of its address */
    uint16_t port;    /* of the newest flow; 0: there was none yet */
    struct addr backend;
};

/* Where a session with connection ids may be, and how sure that is (proxy/roam.h). */
struct session_image_moves {
    uint32_t count;
    bool is_unproven;
    uint64_t budget;
    bool has_proof;
    struct addr home_peer, home_local;
    unsigned home_listener;
    struct addr asked; /* family 0: nobody */
    uint8_t cookie[WIRE_RRC_COOKIE];
    uint64_t asked_ago, left; /* ms */
};

struct session_image {
    unsigned service, listener; /* indexes, of the one who wrote it */
    struct addr peer, local;
    size_t identity_len;
    uint8_t identity[PSK_IDENTITY_MAX];
    uint8_t secret_print[SESSION_SECRET_PRINT]; /* session_image_print() */
    struct association association;
    uint64_t id, age, idle; /* ms */
    uint32_t hello_print;
    unsigned plain_max;
    bool has_ems;
    uint64_t in_datagrams, in_bytes, out_datagrams, out_bytes;
    uint32_t drops, refused;
    struct session_image_flow flow;
    bool has_farewell;
    struct handshake_farewell farewell; /* without its ticket */
    const uint8_t *ticket;              /* borrowed, of the session or of what was read */
    size_t ticket_len;                  /* 0: none */
    bool has_cid;                       /* and not the association's, which ends with its keys */
    struct association_cid cid;
    struct session_image_moves moves;
    bool has_tally;
    struct tally tally;
    size_t key_len; /* 0: the files have it, or had it */
    uint8_t key[PSK_KEY_MAX];
};

/* Writes one; w turns bad where it has no room for it. */
void session_image_write(struct writer *w, const struct session_image *image);
/* Reads the next one. False: it is none, and the reader is bad; nothing of a key is left in *image.
 * Whoever reads wipes *image. */
bool session_image_read(struct reader *r, struct session_image *image)
    __attribute__((warn_unused_result));

/* Tells whether two processes have the same key for an identity, without telling the key to whoever
 * has not the session's own keys. */
void session_image_print(const struct association *a, const struct psk *psk,
                         uint8_t out[SESSION_SECRET_PRINT]);

/* The rest is session_revive.c's. Of an open session with records of our own: all but where it is
 * and its flow. */
void session_image_save(struct session_image *image, const struct session *s, uint64_t now);
/* Makes it anew, placed, without a flow and with no place among the peers. `psk` is its identity of
 * service->conf, or NULL: then the caller sets s->psk, which is the keyring's. NULL: out of memory.
 */
struct session *session_image_restore(const struct session_image *image,
                                      const struct session_service *service, const struct psk *psk,
                                      uint64_t now);

#endif
