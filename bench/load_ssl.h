/*
 * load_ssl: libssl as a client of dtls_load, for what raw_dtls does not speak: other suites,
 * certificates. A part of load_client; nobody else calls it.
 */
#ifndef DTLSGATE_BENCH_LOAD_SSL_H
#define DTLSGATE_BENCH_LOAD_SSL_H

#include "load_client.h"

/* Once; borrows `setup`. */
void load_ssl_init(const struct client_setup *setup);

/* c->fd is connected; the handshake is not begun. */
void load_ssl_start(struct client *c);

enum load_ssl_state { LOAD_SSL_WAITS, LOAD_SSL_DONE, LOAD_SSL_BROKEN };
enum load_ssl_state load_ssl_shake(struct client *c);
/* Repeats the flight when libssl thinks it is due. False: it has given up. */
bool load_ssl_tick(struct client *c);

void load_ssl_send(struct client *c, const void *data, size_t len);
/* WAITS: nothing has come; DONE: `len` bytes have. */
enum load_ssl_state load_ssl_receive(struct client *c, void *data, size_t size, size_t *len);

void load_ssl_shutdown(struct client *c);
void load_ssl_free(struct client *c);

#endif
