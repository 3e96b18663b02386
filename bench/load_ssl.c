/*
 * load_ssl: libssl on a connected socket, by a BIO of its own that costs one system call per
 * datagram and none for timers.
 */
#include "load_ssl.h"

#include "args.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define LINK_MTU 1400

static const struct client_setup *setup;
static SSL_CTX *context;
static BIO_METHOD *method;

static _Noreturn void die_of_libssl(const char *what)
{
    ERR_print_errors_fp(stderr);
    die(what);
}

static int fd_of(BIO *bio)
{
    return ((const struct client *)BIO_get_data(bio))->fd;
}

static int on_bio_read(BIO *bio, char *data, int size)
{
    ssize_t n = recv(fd_of(bio), data, (size_t)size, 0);

    BIO_clear_retry_flags(bio);
    if (n < 0)
        BIO_set_retry_read(bio);
    return (int)n;
}

/* What the kernel does not take is lost on the way. */
static int on_bio_write(BIO *bio, const char *data, int len)
{
    (void)send(fd_of(bio), data, (size_t)len, 0);
    return len;
}

static long on_bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static unsigned on_psk(SSL *ssl, const char *hint, char *identity, unsigned identity_size,
                       unsigned char *key, unsigned key_size)
{
    size_t len = strlen(setup->identity);

    (void)ssl;
    (void)hint;
    if (len >= identity_size || setup->key_len > key_size)
        return 0;
    memcpy(identity, setup->identity, len + 1);
    memcpy(key, setup->key, setup->key_len);
    return (unsigned)setup->key_len;
}

void load_ssl_init(const struct client_setup *new_setup)
{
    setup = new_setup;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connected socket");
    if (!method || !BIO_meth_set_read(method, on_bio_read) ||
        !BIO_meth_set_write(method, on_bio_write) || !BIO_meth_set_ctrl(method, on_bio_control))
        die_of_libssl("BIO_meth_new");
    context = SSL_CTX_new(DTLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(context, setup->suite))
        die_of_libssl(setup->suite);
    if (setup->identity[0])
        SSL_CTX_set_psk_client_callback(context, on_psk);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
}

void load_ssl_start(struct client *c)
{
    BIO *bio = BIO_new(method);

    c->ssl = SSL_new(context);
    if (!c->ssl || !bio)
        die_of_libssl("SSL_new");
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_connect_state(c->ssl);
    DTLS_set_link_mtu(c->ssl, LINK_MTU);
}

static enum load_ssl_state state_after(struct client *c, int n)
{
    if (n > 0)
        return LOAD_SSL_DONE;
    return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ ? LOAD_SSL_WAITS : LOAD_SSL_BROKEN;
}

enum load_ssl_state load_ssl_shake(struct client *c)
{
    return state_after(c, SSL_do_handshake(c->ssl));
}

bool load_ssl_tick(struct client *c)
{
    return DTLSv1_handle_timeout(c->ssl) >= 0;
}

void load_ssl_send(struct client *c, const void *data, size_t len)
{
    SSL_write(c->ssl, data, (int)len);
}

enum load_ssl_state load_ssl_receive(struct client *c, void *data, size_t size, size_t *len)
{
    int n = SSL_read(c->ssl, data, (int)size);

    *len = n > 0 ? (size_t)n : 0;
    return state_after(c, n);
}

void load_ssl_shutdown(struct client *c)
{
    SSL_shutdown(c->ssl);
}

void load_ssl_free(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    ERR_clear_error();
}
