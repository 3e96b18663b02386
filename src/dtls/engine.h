/*
 * engine: libssl for one peer, fed record by record and read record by record through memory; no
 * policy. What libssl may see is decided by whoever feeds it. Sequence numbers of plaintext records
 * are not libssl's business either way: the caller renumbers what goes out.
 */
#ifndef DTLSGATE_DTLS_ENGINE_H
#define DTLSGATE_DTLS_ENGINE_H

#include "dtls/keys.h"
#include "dtls/suites.h"
#include "dtls/tlsctx.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

#define ENGINE_KEY_MAX 64

/* Called for every record libssl writes, in order. */
typedef void (*engine_fn)(void *arg, const uint8_t *record, size_t len);

/* A server end. `mtu`: no datagram's worth of records is longer. NULL: out of memory. */
struct engine *engine_new(struct tlsctx *ctx, size_t mtu, engine_fn on_record, void *arg);
void engine_free(struct engine *e);
/* Before the hello: a connection id of ours, for a client that asks for one. */
void engine_offer_cid(struct engine *e, const uint8_t own[WIRE_OWN_CID]);
/* From now on records go there: to be set anew when `arg` goes and the engine stays. */
void engine_set_sink(struct engine *e, engine_fn on_record, void *arg);
/* The key of the identity that the client has named, at most ENGINE_KEY_MAX bytes; set it before
 * the ClientKeyExchange is fed. Wiped when the handshake is complete. */
void engine_set_key(struct engine *e, const uint8_t *key, size_t len);

enum engine_status {
    ENGINE_WAIT, /* wants more records */
    ENGINE_DONE, /* the handshake is complete */
    ENGINE_DEAD, /* failed for good; engine_why() tells */
};

/* Hands in the one record with the ClientHello whose cookie has been verified; must come first. */
enum engine_status engine_hello(struct engine *e, const uint8_t *record, size_t len);
/* Hands in one record and lets the handshake go on. */
enum engine_status engine_feed(struct engine *e, const uint8_t *record, size_t len);
/* One line; "" while nothing failed. */
const char *engine_why(const struct engine *e);

/* The secret that libssl's ephemeral key pair and a client's public value (point or Yc) share, as
 * libssl itself would compute it; only before a ClientKeyExchange has been fed. Returns its length,
 * 0: it is no public value, or there is no key pair. */
size_t engine_shared_secret(const struct engine *e, const uint8_t *public_value, size_t len,
                            uint8_t out[KEYS_SHARED_MAX]);

enum engine_read_status {
    ENGINE_READ_DATA,
    ENGINE_READ_NOTHING, /* dropped, or taken in without a plaintext */
    ENGINE_READ_CLOSED,  /* close_notify of the client */
    ENGINE_READ_DEAD,
};
/* After ENGINE_DONE, for associations that stay with libssl: one record in, one plaintext out. */
enum engine_read_status engine_read(struct engine *e, const uint8_t *record, size_t len,
                                    uint8_t plain[WIRE_PLAINTEXT_MAX], size_t *plain_len);
/* Sends 1 to engine_max_fragment() bytes (libssl sends nothing for none and would kill the
 * association for more). False: refused. */
bool engine_write(struct engine *e, const uint8_t *plain, size_t len)
    __attribute__((warn_unused_result));
/* Sends close_notify. */
void engine_close(struct engine *e);
/* Of the suite that the ServerHello has named. */
enum suite_exchange engine_exchange(const struct engine *e);
const char *engine_suite_name(const struct engine *e);
/* WIRE_DTLS10 or WIRE_DTLS12. */
/* The master secret, which is all zero while there is none. */
void engine_master(const struct engine *e, uint8_t master[KEYS_MASTER]);
uint16_t engine_version(const struct engine *e);
/* The largest plaintext the client takes in one record (RFC 6066 4). */
size_t engine_max_fragment(const struct engine *e);

#endif
