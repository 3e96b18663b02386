/*
 * load_client: libssl on a connected socket, by a BIO of its own that costs one system call per
 * datagram and none for timers. Must never know what it is measured for.
 */
#include "load_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define HANDSHAKE_LIMIT_US 20000000
#define LINK_MTU 1400

static const struct client_setup *setup;
static SSL_CTX *context;
static BIO_METHOD *method;
static uint64_t refusals;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "dtls_load: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static ssize_t receive_counted(int fd, void *data, size_t size)
{
    ssize_t n = recv(fd, data, size, 0);

    if (n < 0 && errno == ECONNREFUSED)
        refusals++;
    return n;
}

static void send_counted(int fd, const void *data, size_t len)
{
    if (send(fd, data, len, 0) < 0 && errno == ECONNREFUSED)
        refusals++;
}

static int fd_of(BIO *bio)
{
    return ((const struct client *)BIO_get_data(bio))->fd;
}

static int on_bio_read(BIO *bio, char *data, int size)
{
    ssize_t n = receive_counted(fd_of(bio), data, (size_t)size);

    BIO_clear_retry_flags(bio);
    if (n < 0)
        BIO_set_retry_read(bio);
    return (int)n;
}

static int on_bio_write(BIO *bio, const char *data, int len)
{
    send_counted(fd_of(bio), data, (size_t)len);
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

static SSL *new_ssl(struct client *c)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = BIO_new(method);

    if (!ssl || !bio)
        die("SSL_new");
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    DTLS_set_link_mtu(ssl, LINK_MTU);
    return ssl;
}

static void end(struct client *c)
{
    SSL_free(c->ssl);
    ERR_clear_error();
    close(c->fd);
    *c = (struct client){.state = CLIENT_CLOSED, .fd = -1};
}

void client_init(const struct client_setup *new_setup)
{
    setup = new_setup;
    if (setup->plain)
        return;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connected socket");
    if (!method || !BIO_meth_set_read(method, on_bio_read) ||
        !BIO_meth_set_write(method, on_bio_write) || !BIO_meth_set_ctrl(method, on_bio_control))
        die("BIO_meth_new");
    context = SSL_CTX_new(DTLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(context, setup->suite))
        die(setup->suite);
    SSL_CTX_set_psk_client_callback(context, on_psk);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
}

void client_shake(struct client *c)
{
    int n = SSL_do_handshake(c->ssl);

    if (n == 1)
        c->state = CLIENT_OPEN;
    else if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
        end(c);
}

void client_start(struct client *c, int poller, void *who, uint64_t now_us)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};

    c->begun_us = now_us;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (const struct sockaddr *)&setup->target, sizeof(setup->target)) != 0)
        die("connect");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
    c->state = setup->plain ? CLIENT_OPEN : CLIENT_SHAKING;
    if (setup->plain)
        return;
    c->ssl = new_ssl(c);
    client_shake(c);
}

void client_tick(struct client *c, uint64_t now_us)
{
    if (now_us - c->begun_us > HANDSHAKE_LIMIT_US || DTLSv1_handle_timeout(c->ssl) < 0)
        end(c);
}

void client_send(struct client *c, const void *data, size_t len)
{
    if (c->ssl)
        SSL_write(c->ssl, data, (int)len);
    else
        send_counted(c->fd, data, len);
}

size_t client_receive(struct client *c, void *data, size_t size)
{
    if (!c->ssl) {
        ssize_t n = receive_counted(c->fd, data, size);
        return n < 0 ? 0 : (size_t)n;
    }
    int n = SSL_read(c->ssl, data, (int)size);
    if (n > 0)
        return (size_t)n;
    if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
        end(c);
    return 0;
}

void client_close(struct client *c)
{
    if (c->ssl)
        SSL_shutdown(c->ssl);
    end(c);
}

void client_forget(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}

uint64_t client_refusals(void)
{
    return refusals;
}
