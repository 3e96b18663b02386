/*
 * ssl_pair: a libssl client and a libssl server of one PSK suite, joined by datagram queues in
 * memory, for tests that need libssl's own word. Keeps the handshake's records in the order sent.
 */
#ifndef DTLSGATE_TESTS_SSL_PAIR_H
#define DTLSGATE_TESTS_SSL_PAIR_H

#include "dtls/keys.h"
#include "dtls/record.h"
#include "dtls/suites.h"
#include "dtls/wire.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIR_QUEUE 16
#define PAIR_LOG 16384

struct pair_datagram {
    size_t len;
    uint8_t data[WIRE_PLAINTEXT_MAX + 128];
};

struct pair_queue {
    unsigned first, count;
    struct pair_datagram slot[PAIR_QUEUE];
};

struct pair_psk {
    uint8_t key[64];
    size_t len;
};

struct ssl_pair;
struct pair_end {
    struct ssl_pair *pair;
    struct pair_queue *in, *out;
};

struct ssl_pair {
    SSL_CTX *ctx;
    SSL *client, *server;
    BIO_METHOD *method;
    struct pair_queue to_client, to_server;
    struct pair_end client_end, server_end;
    struct pair_psk psk;
    uint8_t log[PAIR_LOG]; /* all records of the handshake, both ways */
    size_t log_len;
};

static inline void pair_push(struct pair_queue *q, const void *data, size_t len)
{
    struct pair_datagram *d = &q->slot[(q->first + q->count) % PAIR_QUEUE];

    if (q->count == PAIR_QUEUE || len > sizeof d->data)
        abort();
    memcpy(d->data, data, len);
    d->len = len;
    q->count++;
}

/* The oldest datagram, valid until the next push; NULL when there is none. */
static inline const struct pair_datagram *pair_pop(struct pair_queue *q)
{
    const struct pair_datagram *d = &q->slot[q->first];

    if (q->count == 0)
        return NULL;
    q->first = (q->first + 1) % PAIR_QUEUE;
    q->count--;
    return d;
}

static inline int pair_bio_write(BIO *bio, const char *data, int len)
{
    struct pair_end *end = BIO_get_data(bio);
    struct ssl_pair *pair = end->pair;

    pair_push(end->out, data, (size_t)len);
    if (!SSL_is_init_finished(pair->server) && pair->log_len + (size_t)len <= PAIR_LOG) {
        memcpy(pair->log + pair->log_len, data, (size_t)len);
        pair->log_len += (size_t)len;
    }
    return len;
}

static inline int pair_bio_read(BIO *bio, char *data, int size)
{
    struct pair_end *end = BIO_get_data(bio);
    const struct pair_datagram *d = pair_pop(end->in);
    size_t len;

    BIO_clear_retry_flags(bio);
    if (!d) {
        BIO_set_retry_read(bio);
        return -1;
    }
    len = d->len < (size_t)size ? d->len : (size_t)size;
    memcpy(data, d->data, len);
    return (int)len;
}

static inline long pair_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static inline SSL *pair_ssl_new(struct ssl_pair *pair, struct pair_end *end)
{
    SSL *ssl = SSL_new(pair->ctx);
    BIO *bio = BIO_new(pair->method);

    if (!ssl || !bio)
        abort();
    BIO_set_data(bio, end);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, pair);
    SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
    DTLS_set_link_mtu(ssl, 1400);
    return ssl;
}

static inline unsigned pair_on_server_psk(SSL *ssl, const char *identity, unsigned char *key,
                                          unsigned size)
{
    const struct ssl_pair *pair = SSL_get_app_data(ssl);

    (void)identity;
    if (pair->psk.len > size)
        return 0;
    memcpy(key, pair->psk.key, pair->psk.len);
    return (unsigned)pair->psk.len;
}

static inline unsigned pair_on_client_psk(SSL *ssl, const char *hint, char *identity,
                                          unsigned identity_size, unsigned char *key, unsigned size)
{
    (void)hint;
    if (identity_size < 5)
        return 0;
    memcpy(identity, "pair", 5);
    return pair_on_server_psk(ssl, identity, key, size);
}

static inline SSL_CTX *pair_ctx_new(const char *suite, bool extended_master)
{
    SSL_CTX *ctx = SSL_CTX_new(DTLS_method());
    char list[128];

    (void)snprintf(list, sizeof list, "%s:@SECLEVEL=0", suite);
    if (!ctx || !SSL_CTX_set_cipher_list(ctx, list) ||
        !SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION))
        abort();
    SSL_CTX_set_dh_auto(ctx, 1);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (!extended_master)
        SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_psk_server_callback(ctx, pair_on_server_psk);
    SSL_CTX_set_psk_client_callback(ctx, pair_on_client_psk);
    return ctx;
}

static inline void pair_free(struct ssl_pair *pair)
{
    if (!pair)
        return;
    SSL_free(pair->client);
    SSL_free(pair->server);
    SSL_CTX_free(pair->ctx);
    BIO_meth_free(pair->method);
    free(pair);
}

/* A pair whose handshake is complete, nothing waiting either way; NULL when it fails. */
static inline struct ssl_pair *pair_new(const char *suite, const struct pair_psk *psk,
                                        bool extended_master)
{
    struct ssl_pair *pair = calloc(1, sizeof *pair);

    if (!pair)
        abort();
    pair->psk = *psk;
    pair->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pair");
    BIO_meth_set_write(pair->method, pair_bio_write);
    BIO_meth_set_read(pair->method, pair_bio_read);
    BIO_meth_set_ctrl(pair->method, pair_bio_ctrl);
    pair->ctx = pair_ctx_new(suite, extended_master);
    pair->client_end = (struct pair_end){pair, &pair->to_client, &pair->to_server};
    pair->server_end = (struct pair_end){pair, &pair->to_server, &pair->to_client};
    pair->server = pair_ssl_new(pair, &pair->server_end);
    pair->client = pair_ssl_new(pair, &pair->client_end);
    SSL_set_connect_state(pair->client);
    SSL_set_accept_state(pair->server);
    for (int turn = 0; turn < 8; turn++) {
        int client_done = SSL_do_handshake(pair->client);

        if (SSL_do_handshake(pair->server) == 1 && client_done == 1)
            return pair;
    }
    pair_free(pair);
    return NULL;
}

/* The association that dtlsgate would hold in the server's place. */
static inline bool pair_association(const struct ssl_pair *pair, struct keys_kdf *kdf,
                                    struct association *a)
{
    uint8_t client[WIRE_RANDOM], server[WIRE_RANDOM], master[KEYS_MASTER];
    struct keys_randoms randoms = {client, server};
    struct reader r = reader_of(pair->log, pair->log_len);
    struct wire_record rec;

    memset(a, 0, sizeof *a);
    a->suite = suite_find(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(pair->server)));
    if (!a->suite || SSL_get_client_random(pair->server, client, WIRE_RANDOM) != WIRE_RANDOM ||
        SSL_get_server_random(pair->server, server, WIRE_RANDOM) != WIRE_RANDOM ||
        SSL_SESSION_get_master_key(SSL_get_session(pair->server), master, KEYS_MASTER) !=
            KEYS_MASTER)
        return false;
    while (wire_next_record(&r, &rec)) { /* the last one is the server's Finished */
        if (rec.epoch == 1)
            a->write_seq = rec.seq + 1;
    }
    return keys_expand(kdf, a->suite, master, &randoms, &a->keys);
}

#endif
