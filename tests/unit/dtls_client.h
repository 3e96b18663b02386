/*
 * dtls_client: a libssl client with a pre-shared key, joined to no socket: datagrams are taken out
 * of it and handed to it. Its timers never run by themselves, so a test owns the time.
 */
#ifndef DTLSGATE_TESTS_DTLS_CLIENT_H
#define DTLSGATE_TESTS_DTLS_CLIENT_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_QUEUE 16
#define CLIENT_KEY "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"

struct client_datagram {
    size_t len;
    uint8_t data[16384 + 64];
};

struct client_options {
    const char *ciphers;  /* NULL: PSK-AES128-GCM-SHA256 */
    const char *identity; /* NULL: "me" */
    const char *key;      /* 16 bytes; NULL: CLIENT_KEY */
    uint8_t max_fragment; /* libssl's TLSEXT_max_fragment_length_...; 0: none */
    bool is_old;          /* DTLS 1.0 */
};

struct dtls_client {
    struct client_options options;
    SSL_CTX *ctx;
    SSL *ssl;
    const uint8_t *in;
    size_t in_len;
    unsigned first, count; /* of what waits in `out` */
    struct client_datagram out[CLIENT_QUEUE];
    bool is_open, is_closed; /* close_notify has come */
    bool is_dead;            /* libssl reported a failure */
    unsigned answers;        /* plaintexts that have come; the last one: */
    size_t plain_len;
    uint8_t plain[16384];
};

static inline int client_bio_write(BIO *bio, const char *data, int len)
{
    struct dtls_client *c = BIO_get_data(bio);
    struct client_datagram *d = &c->out[(c->first + c->count) % CLIENT_QUEUE];

    if (c->count == CLIENT_QUEUE || (size_t)len > sizeof d->data)
        abort();
    memcpy(d->data, data, (size_t)len);
    d->len = (size_t)len;
    c->count++;
    return len;
}

static inline int client_bio_read(BIO *bio, char *out, int size)
{
    struct dtls_client *c = BIO_get_data(bio);
    size_t n = c->in_len;

    BIO_clear_retry_flags(bio);
    if (c->in == NULL || n > (size_t)size) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, c->in, n);
    c->in = NULL;
    return (int)n;
}

static inline long client_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* One for all clients, freed by the process's end. */
static inline BIO_METHOD *client_method(void)
{
    static BIO_METHOD *method;

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "client");
        BIO_meth_set_write(method, client_bio_write);
        BIO_meth_set_read(method, client_bio_read);
        BIO_meth_set_ctrl(method, client_bio_ctrl);
    }
    return method;
}

static inline unsigned client_on_psk(SSL *ssl, const char *hint, char *identity,
                                     unsigned identity_size, unsigned char *key, unsigned size)
{
    const struct dtls_client *c = SSL_get_app_data(ssl);
    size_t len = strlen(c->options.identity);

    (void)hint;
    if (len >= identity_size || size < 16)
        return 0;
    memcpy(identity, c->options.identity, len + 1);
    memcpy(key, c->options.key, 16);
    return 16;
}

/* Forgets its association and begins anew. */
static inline void client_restart(struct dtls_client *c)
{
    BIO *bio = BIO_new(client_method());

    SSL_free(c->ssl);
    c->ssl = SSL_new(c->ctx);
    if (c->ssl == NULL || bio == NULL)
        abort();
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    SSL_set_connect_state(c->ssl);
    SSL_set_options(c->ssl, SSL_OP_NO_QUERY_MTU);
    DTLS_set_link_mtu(c->ssl, 1400);
    if (c->options.max_fragment != 0)
        SSL_set_tlsext_max_fragment_length(c->ssl, c->options.max_fragment);
    c->in = NULL;
    c->first = c->count = c->answers = 0;
    c->is_open = c->is_closed = c->is_dead = false;
}

static inline struct dtls_client *client_new(const struct client_options *options)
{
    struct dtls_client *c = calloc(1, sizeof *c);
    int version = options->is_old ? DTLS1_VERSION : DTLS1_2_VERSION;

    if (c == NULL)
        abort();
    c->options = *options;
    if (c->options.ciphers == NULL)
        c->options.ciphers = "PSK-AES128-GCM-SHA256";
    if (c->options.identity == NULL)
        c->options.identity = "me";
    if (c->options.key == NULL)
        c->options.key = CLIENT_KEY;
    c->ctx = SSL_CTX_new(DTLS_client_method());
    if (c->ctx == NULL || SSL_CTX_set_cipher_list(c->ctx, c->options.ciphers) != 1)
        abort();
    SSL_CTX_set_psk_client_callback(c->ctx, client_on_psk);
    SSL_CTX_set_min_proto_version(c->ctx, version);
    SSL_CTX_set_max_proto_version(c->ctx, version);
    client_restart(c);
    return c;
}

static inline void client_free(struct dtls_client *c)
{
    if (c == NULL)
        return;
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    free(c);
}

static inline void client_note(struct dtls_client *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_NONE:
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN:
        c->is_closed = true;
        return;
    case SSL_ERROR_SYSCALL: /* an empty record */
        if (ERR_peek_error() == 0)
            return;
        /* fall through */
    default:
        c->is_dead = true;
    }
}

/* Lets it take in what it was given and say what it has to say. */
static inline void client_step(struct dtls_client *c)
{
    int n;

    ERR_clear_error();
    if (!c->is_open) {
        n = SSL_do_handshake(c->ssl);
        client_note(c, n);
        c->is_open = n == 1;
    }
    if (!c->is_open)
        return;
    while ((n = SSL_read(c->ssl, c->plain, sizeof c->plain)) > 0) {
        c->plain_len = (size_t)n;
        c->answers++;
    }
    client_note(c, n);
}

/* One datagram for it. */
static inline void client_give(struct dtls_client *c, const void *data, size_t len)
{
    c->in = data;
    c->in_len = len;
    client_step(c);
    c->in = NULL;
}

/* The oldest of what it wants to send, valid until it sends more; NULL: nothing. */
static inline const struct client_datagram *client_take(struct dtls_client *c)
{
    const struct client_datagram *d = &c->out[c->first];

    if (c->count == 0)
        return NULL;
    c->first = (c->first + 1) % CLIENT_QUEUE;
    c->count--;
    return d;
}

static inline bool client_say(struct dtls_client *c, const void *data, size_t len)
{
    ERR_clear_error();
    return SSL_write(c->ssl, data, (int)len) == (int)len;
}

#endif
