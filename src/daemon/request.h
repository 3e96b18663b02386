/*
 * request: reads the head of an HTTP request, all of which may be a stranger's malice.
 * Bytes in, values out; must never know a socket, nor what there is to be had.
 */
#ifndef DTLSGATE_DAEMON_REQUEST_H
#define DTLSGATE_DAEMON_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#define REQUEST_HEAD_MAX 8192
#define REQUEST_TARGET_MAX 512
#define REQUEST_HOST_MAX 256

enum request_status {
    REQUEST_FINE = 200,
    REQUEST_MALFORMED = 400,
    REQUEST_METHOD = 405,
    REQUEST_BODY = 413,
    REQUEST_TARGET = 414,
    REQUEST_HEAD = 431,
    REQUEST_VERSION = 505,
};

struct request {
    bool is_head;                   /* HEAD; GET otherwise */
    char path[REQUEST_TARGET_MAX];  /* as it came, up to the '?' */
    char query[REQUEST_TARGET_MAX]; /* behind it; empty where there is none */
    char host[REQUEST_HOST_MAX];    /* of the Host field, without port and brackets */
    bool is_host_literal;           /* an IP address, and nothing else */
};

/* Where the head ends in the first `len` bytes: the count of bytes up to and with the empty line,
 * or 0 while it has not come. */
size_t request_head_len(const char *bytes, size_t len);
/* Reads a whole head (RFC 9112): GET or HEAD, origin form, exactly one Host, no body. Anything but
 * REQUEST_FINE is the status to refuse it with, and *r may be half filled then; r->is_head holds as
 * soon as the method is known. */
enum request_status request_parse(struct request *r, const char *head, size_t len)
    __attribute__((warn_unused_result));
/* Whether the client asked for this host: by an address, as localhost, or by `name`, which may be
 * NULL. Others were led here by a name that somebody else owns (DNS rebinding). */
bool request_is_for_us(const struct request *r, const char *name);
/* The value of `name=` in the query, decoded. False: it is not there, does not decode, holds a NUL,
 * or does not fit; *out is empty then. */
bool request_argument(const struct request *r, const char *name, char *out, size_t size);

#endif
