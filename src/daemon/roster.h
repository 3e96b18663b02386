/*
 * roster: some of the open sessions, for whoever wants to look: those used last, the newest, the
 * busiest, or those that a word is found in. Walks the workers' tables a slice at a time and keeps
 * the best; bounded in what it keeps, in how far it walks and in how many ask at once.
 * Must never know an event loop nor a connection.
 */
#ifndef DTLSGATE_DAEMON_ROSTER_H
#define DTLSGATE_DAEMON_ROSTER_H

#include "daemon/fleet.h"
#include "daemon/json.h"

#include <stddef.h>

#define ROSTER_ROWS_MAX 100
#define ROSTER_SEARCH_MAX 128
#define ROSTER_ASKERS_MAX 4
/* A walk ends, incomplete, behind so many slices: some 100,000 sessions. */
#define ROSTER_SLICES_MAX 2000

enum roster_order { ROSTER_ACTIVE, ROSTER_NEWEST, ROSTER_BUSIEST };

struct roster_question {
    enum roster_order order;
    size_t limit; /* 1 to ROSTER_ROWS_MAX */
    /* Found in the identity, the peer's address, the service's name or the id; letters of either
     * case. Empty: all. */
    char search[ROSTER_SEARCH_MAX];
};

struct roster;
struct census; /* one asker's walk */

/* `fleet` and `conf` are borrowed: the latter is read at each turn. NULL: out of memory or
 * descriptors. */
struct roster *roster_new(struct fleet *fleet, const struct conf *const *conf);
/* Behind the end of all workers, which may hold what askers wait for. NULL is fine. */
void roster_free(struct roster *r);
/* Readable when roster_turn() has something to do. */
int roster_fd(const struct roster *r);
void roster_turn(struct roster *r);

/* Calls `done` once, from roster_turn(): the census is told then, and gone afterwards. NULL: too
 * many ask, or out of memory, or the workers are about to end. */
typedef void (*roster_done)(void *arg, const struct census *c);
struct census *roster_ask(struct roster *r, const struct roster_question *q, roster_done done,
                          void *arg);
/* Nobody waits for it any more: `done` will not be called. */
void roster_forget(struct census *c);
/* What was found, as one JSON object. */
void roster_write(const struct census *c, struct json *j);

#endif
