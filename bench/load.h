/*
 * load: what the parts of dtls_load share: options, sessions, counters. dtls_load.c opens the
 * sessions, load_traffic.c sends over them.
 */
#ifndef DTLSGATE_BENCH_LOAD_H
#define DTLSGATE_BENCH_LOAD_H

#include "load_client.h"

#include <signal.h>

#define LOAD_TICK_MS 20
/* Each datagram: session (4 bytes), slot (4), turn (8), then a stretch of noise. */
#define LOAD_HEADER 16

enum load_mode { LOAD_TRAFFIC, LOAD_PACED, LOAD_HANDSHAKES, LOAD_IDLE };

struct load_options {
    enum load_mode mode;
    bool wait_for_go;
    unsigned sessions;
    unsigned window;
    unsigned payload;
    unsigned seconds; /* 0: until `count` */
    uint64_t count;
    unsigned concurrent;
    uint64_t rate; /* of handshakes or datagrams, per second; 0: as `concurrent` allows */
    unsigned timeout_ms;
    struct client_setup client;
};

/* One datagram of a window. */
struct load_slot {
    uint64_t turn;
    uint64_t sent_us;
    bool flying;
};

struct load_session {
    struct client client;
    uint32_t id;
    struct load_slot *slot;
    uint64_t shaken_us; /* how long its handshake took */
};

struct load_counters {
    uint64_t opened, failed, closed;
    uint64_t sent, round_trips, lost, late, wrong;
};

struct load {
    struct load_options opt;
    struct load_counters count;
    struct load_session *session;
    int poller;
    uint64_t now_us; /* read once per turn of the loop */
    unsigned shaking;
};

/* SIGTERM has come. */
extern volatile sig_atomic_t load_terminated;

/* One round trip over each open session, so that what a proxy does for the first datagram of a
 * session is done. To be called before the two below, one of which ends the load. */
void load_warm_up(struct load *l);
/* A closed loop over the open sessions: the answer to a datagram sets off the next one. */
void load_traffic(struct load *l);
/* An open loop: opt.rate datagrams per second in all, by turns from each session, whether those
 * before have been answered or not. */
void load_paced(struct load *l);

#endif
