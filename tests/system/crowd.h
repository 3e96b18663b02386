/*
 * crowd: what a program of many DTLS-PSK clients begins with; all have one identity.
 */
#ifndef DTLSGATE_TESTS_CROWD_H
#define DTLSGATE_TESTS_CROWD_H

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static const char *identity;
static unsigned char *key;
static long key_len;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s: %s (%s)\n", program_invocation_short_name, what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static unsigned on_psk(SSL *ssl, const char *hint, char *name, unsigned name_max,
                       unsigned char *secret, unsigned secret_max)
{
    (void)ssl;
    (void)hint;
    if (strlen(identity) >= name_max || (unsigned long)key_len > secret_max)
        return 0;
    strcpy(name, identity);
    memcpy(secret, key, (size_t)key_len);
    return (unsigned)key_len;
}

/* `words`: their identity and its key as hex, which last. Room for `count` sockets is made, too. */
static SSL_CTX *crowd_begin(char *words[2], const char *ciphers, size_t count)
{
    SSL_CTX *ctx = SSL_CTX_new(DTLS_client_method());
    struct rlimit limit;

    identity = words[0];
    key = OPENSSL_hexstr2buf(words[1], &key_len);
    if (key == NULL || ctx == NULL || SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
        fail("no context");
    SSL_CTX_set_psk_client_callback(ctx, on_psk);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < count + 16 || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail("too few open files are allowed");
    return ctx;
}

static struct addrinfo *crowd_address(const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *to;

    if (getaddrinfo(host, port, &hints, &to) != 0)
        fail("bad address");
    return to;
}

/* A client that is to begin its handshake, on a socket of its own. */
static SSL *crowd_open(SSL_CTX *ctx, const struct addrinfo *to, int *fd)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    SSL *ssl = SSL_new(ctx);
    BIO *bio;

    *fd = socket(to->ai_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (*fd < 0 || connect(*fd, to->ai_addr, to->ai_addrlen) != 0 ||
        getpeername(*fd, (struct sockaddr *)&name, &len) != 0)
        fail("connect");
    bio = BIO_new_dgram(*fd, BIO_NOCLOSE);
    if (ssl == NULL || bio == NULL)
        fail("out of memory");
    BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &name);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    return ssl;
}

#endif
