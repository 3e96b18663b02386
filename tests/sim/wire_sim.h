/*
 * wire_sim: a relay with libssl clients in front of it and an echo behind it, over a wire in memory
 * that loses, repeats and reorders, on virtual time. One sim, one thread, one seed; no socket is
 * ever opened: the relay's listeners, flows and outbox are stood in for.
 */
#ifndef DTLSGATE_TESTS_SIM_WIRE_SIM_H
#define DTLSGATE_TESTS_SIM_WIRE_SIM_H

#include "proxy/relay.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_CLIENTS 4
#define SIM_MESSAGES 8

struct sim_rules {
    unsigned loss, repeat, reorder; /* percent of the datagrams on the public side */
    const char *client_ciphers;     /* OpenSSL string */
    bool old_devices;               /* the service takes DTLS 1.0 and CBC */
    bool dtls10;                    /* the clients speak it */
    unsigned clients, messages;
    unsigned reconnects; /* how often each client forgets its association and comes again */
};

struct sim_result {
    unsigned connected;  /* handshakes that the clients completed */
    unsigned echoed;     /* messages that came back right */
    unsigned crossed;    /* that came to a wrong client, or altered */
    unsigned delivered;  /* plaintexts that reached the backend */
    unsigned twice;      /* of those, seen before */
    uint64_t slowest_ms; /* the longest handshake, virtual time */
    struct stats stats;  /* the relay's, after all has ended */
};

/* Runs until every client has done its part or `limit_ms` of virtual time have passed. */
struct sim_result sim_run(const struct sim_rules *rules, uint64_t seed, uint64_t limit_ms);

#endif
