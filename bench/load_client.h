/*
 * load_client: one client of dtls_load on a connected socket: plaintext, a lean PSK client of our
 * own (raw_dtls), or libssl. Non-blocking; whoever owns the loop calls when the socket is readable.
 */
#ifndef DTLSGATE_BENCH_LOAD_CLIENT_H
#define DTLSGATE_BENCH_LOAD_CLIENT_H

#include "raw_dtls.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum client_kind { CLIENT_RAW, CLIENT_PLAIN, CLIENT_LIBSSL };

struct client_setup {
    enum client_kind kind;
    const char *suite;
    const char
        *identity; /* empty, with libssl: the server has a certificate, which is not checked */
    uint8_t key[64];
    size_t key_len;
    struct sockaddr_in target;
};

enum client_state { CLIENT_NEW, CLIENT_SHAKING, CLIENT_OPEN, CLIENT_CLOSED };

/* All zero: CLIENT_NEW. Must not move once it is started. */
struct client {
    enum client_state state;
    int fd;
    struct ssl_st *ssl;      /* libssl, until client_forget() */
    struct raw_shake *shake; /* while shaking */
    struct raw_keys keys;
    uint64_t begun_us, sent_us;
};

/* Once, before the first client; borrows `setup` for good. Ends the program when it cannot. */
void client_init(const struct client_setup *setup);

/* Opens the socket, watches it with the epoll `poller` under the pointer `who`, starts the
 * handshake. */
void client_start(struct client *c, int poller, void *who, uint64_t now_us);
/* Goes on with the handshake; sets CLIENT_OPEN when it is complete, CLIENT_CLOSED when it has
 * failed. */
void client_shake(struct client *c);
/* Sends the flight again when it is due, gives up after 20 s. */
void client_tick(struct client *c, uint64_t now_us);

/* One datagram. It may wait for others of the same client until client_flush(); what the kernel
 * does not take counts as lost on the way. `len` is at most RAW_PLAIN_MAX. */
void client_send(struct client *c, const void *data, size_t len);
/* Sends what waits, of whatever client. To be called before going to sleep. */
void client_flush(void);
/* The bytes of the next datagram; 0: none now, or CLIENT_CLOSED because the other end has ended it.
 * To be called until it is 0, before another client's turn. `size` is over RAW_PLAIN_MAX. */
size_t client_receive(struct client *c, void *data, size_t size);

/* Says goodbye (close_notify) and closes. */
void client_close(struct client *c);
/* Frees the association and says nothing, so that the other end goes on holding it. */
void client_forget(struct client *c);

/* ECONNREFUSED seen by all clients. */
uint64_t client_refusals(void);

#endif
