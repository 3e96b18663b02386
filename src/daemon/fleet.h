/*
 * fleet: all workers as one: made, started, told the same things, counted together.
 * Counts what the workers still have to acknowledge; must never wait for them.
 */
#ifndef DTLSGATE_DAEMON_FLEET_H
#define DTLSGATE_DAEMON_FLEET_H

#include "conf/conf.h"
#include "daemon/sockets.h"
#include "daemon/state.h"
#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/inquiry.h"
#include "proxy/moving.h"
#include "proxy/parts.h"
#include "proxy/restore.h"
#include "proxy/stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fleet;

/* Makes one worker for each row of `sockets`, which must outlive them. NULL with `why`. */
struct fleet *fleet_new(const struct conf *conf, const struct sockets *sockets, char *why,
                        size_t why_size);
/* Before the start: sessions are kept in `state`, which is borrowed for the fleet's life. False
 * with `why`. */
bool fleet_keep(struct fleet *f, struct state_dir *state, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* The same; NULL: nothing outlives the process. */
struct state_dir *fleet_state(const struct fleet *f);
/* Behind that: has a worker take up a session of an earlier process, as proxy/restore.h says. */
const char *fleet_restore(struct fleet *f, unsigned worker, const struct restore *order);
/* Behind the last of all. */
void fleet_restored(struct fleet *f);
/* Starts the threads. False with `why`: some may run, which fleet_free() ends. */
bool fleet_start(struct fleet *f, char *why, size_t why_size) __attribute__((warn_unused_result));

/* Readable when workers have acknowledged something; then call fleet_take_acks(). */
int fleet_acks(const struct fleet *f);
void fleet_take_acks(struct fleet *f);
/* Everything that was posted has been carried out. */
bool fleet_is_settled(const struct fleet *f);

/* A reload in two steps: all that can fail comes first. NULL with `why`. */
struct fleet_settings;
struct fleet_settings *fleet_prepare(const struct fleet *f, const struct conf *conf, char *why,
                                     size_t why_size);
/* Posts them, frees what is left. Returns how many workers could not be told, for want of memory.
 * Not behind fleet_stop(). */
unsigned fleet_commit(struct fleet *f, struct fleet_settings *settings);
void fleet_discard(struct fleet_settings *settings);

/* Tells all workers of one backend: news, or an order of the operator's. Returns how many could not
 * be told. Not behind fleet_stop(). */
unsigned fleet_tell_backend(struct fleet *f, const struct relay_order *order);
/* One backend of a service, all workers together. */
struct fleet_backend {
    struct addr addr;
    unsigned weight;
    bool is_backup, is_drained;
    enum balance_state
        state;      /* the worst that a worker knows: the others may just not have asked */
    uint64_t since; /* when that began; 0: with the workers */
    unsigned up;    /* workers that send it flows for up */
    uint64_t flows, opened, refused;
    uint64_t sent, sent_bytes, received, received_bytes;
};
/* The backends of a service: those of its list, behind them those that have left it and still have
 * flows. Returns how many. At any time. */
size_t fleet_backends(const struct fleet *f, unsigned service, uint64_t now,
                      struct fleet_backend out[BALANCE_SLOTS]);
/* "up", "trying", "down", "draining", "gone". */
const char *fleet_backend_state(const struct fleet_backend *b);
/* Gives all workers a fresh cookie secret beside the last one. Not behind fleet_stop(). */
void fleet_rotate_cookies(struct fleet *f);
/* Renews the keys of tickets when it is time, by the longest life of one, or as no service gives
 * any now. Each RENEWAL_LOOK_MS; not behind fleet_stop(). */
void fleet_age_tickets(struct fleet *f, const struct conf *conf, uint64_t now);
/* Forgets the sessions that could be resumed by their id and are too old for that at `wall`, ms
 * since 1970 UTC. */
void fleet_expire_ids(struct fleet *f, uint64_t wall);
/* Asks all workers for a sign of life, which is that they acknowledge it. Only while they are
 * settled, and not behind fleet_stop(). */
void fleet_ping(struct fleet *f);
/* Open sessions of all workers, about now. */
uint64_t fleet_sessions(const struct fleet *f);
/* No new handshakes from now on, or again (`is_on` false). Returns how many workers could not be
 * told, for want of memory. Not behind fleet_stop(). */
unsigned fleet_drain(struct fleet *f, bool is_on);

/* Posts one slice of an inquiry to one worker; q->owner, what is asked and the cursor are set. It
 * comes back by fleet_take_reply(), or to q->replies where that is set, unless fleet_stop() comes
 * before. False: out of memory, or
 * stopping. */
bool fleet_inquire(struct fleet *f, unsigned worker, struct inquiry *q)
    __attribute__((warn_unused_result));
/* Readable when there is a reply; whoever takes it calls its on_done(). */
int fleet_replies(const struct fleet *f);
/* NULL: there is none. */
struct inquiry *fleet_take_reply(struct fleet *f);

unsigned fleet_count(const struct fleet *f);
/* One worker's counters, which go on while they are read. */
const struct stats *fleet_stats(const struct fleet *f, unsigned worker);

/* One step of the way to another process, for all workers; not before the last one is over. `ids`
 * as in struct moving, for MOVING_LET_GO; borrowed until it is over. */
void fleet_move(struct fleet *f, enum moving_step step, int socket, const uint64_t *ids,
                size_t count);
/* Readable when workers have taken it; then call fleet_take_moves(). */
int fleet_moves(const struct fleet *f);
/* True: all have. */
bool fleet_take_moves(struct fleet *f);
/* Of the last step: whether all could, and what struct moving tells of sessions, all together. */
bool fleet_has_moved(const struct fleet *f, size_t *sessions, size_t *rest);
/* Before fleet_start(): what another process has sent for a worker. */
bool fleet_unpack(struct fleet *f, unsigned worker, struct moving_arrival *a, const char **why)
    __attribute__((warn_unused_result));
const struct cookie_secrets *fleet_cookies(const struct fleet *f);
void fleet_use_cookies(struct fleet *f, const struct cookie_secrets *cookies);
/* The keys of tickets, and for how many ms the newest has been that. */
const struct ticket_keys *fleet_tickets(const struct fleet *f, uint64_t now, uint64_t *age);
/* Before fleet_start(): another process' keys, which are renewed when they would have been there.
 */
void fleet_use_tickets(struct fleet *f, const struct ticket_keys *keys, uint64_t age, uint64_t now);
/* The socket that flows of a service share in a worker, or -1. */
int fleet_shared_socket(const struct fleet *f, unsigned worker, unsigned service);

/* Lets every worker end itself and its sessions, those that are kept without a word; harmless when
 * called before. */
void fleet_stop(struct fleet *f);
/* Before that: keeps none, but says goodbye to all. */
void fleet_forget(struct fleet *f);

/* What all workers have counted for one service. */
uint64_t fleet_service_count(const struct fleet *f, unsigned service, enum service_counter what);
/* All of them added up. */
void fleet_sum(const struct fleet *f, struct stats *sum);
/* One line with every counter that is not zero, exact once all workers have ended. */
void fleet_log_totals(const struct fleet *f);
/* Ends the threads that have not ended yet, waits for them, and frees. NULL is fine. */
void fleet_free(struct fleet *f);

#endif
