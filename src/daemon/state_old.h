/*
 * state_old: the state file of an earlier process, read once: which sessions are in it, each by
 * itself, those used last first. Knows neither what becomes of them nor the new file.
 */
#ifndef DTLSGATE_DAEMON_STATE_OLD_H
#define DTLSGATE_DAEMON_STATE_OLD_H

#include "daemon/state_head.h"
#include "proxy/keep_entry.h"

/* Where one lies, and what decides about its turn. */
struct state_place {
    uint64_t id, generation, offset;
    uint32_t used, size;
};

struct state_old {
    int fd;
    struct vault *vault;
    uint8_t head[STATE_HEAD_SIZE];
    struct state_place *list;
    size_t count, room, next;
    size_t damaged; /* slots that do not hold what was put there */
    uint64_t highest_id;
};

/* Takes over `fd`. NULL, or why there is nothing to be had of it; clear it in either case. */
const char *state_old_open(struct state_old *o, int fd, const struct state_secret *secret,
                           const uint8_t boot[STATE_BOOT]);
/* A zeroed one is fine with fd -1. */
void state_old_clear(struct state_old *o);
/* Before any of it is used: it is not to be taken up a second time, should its folder forget that
 * it was replaced. False with errno. */
bool state_old_spend(struct state_old *o) __attribute__((warn_unused_result));

/* The next, those used last first. Whoever gets it wipes it. False: that was all. */
bool state_old_next(struct state_old *o, struct keep_entry *e) __attribute__((warn_unused_result));

#endif
