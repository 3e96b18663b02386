/*
 * restore: takes up a session of an earlier process, if it may still be. Before the worker's thread
 * starts. The inside of relay, as inquiry is. Knows no files.
 */
#ifndef DTLSGATE_PROXY_RESTORE_H
#define DTLSGATE_PROXY_RESTORE_H

#include "proxy/keep_entry.h"
#include "proxy/relay.h"

struct restore {
    const struct keep_entry *entry;
    int service;        /* its index now; -1: there is none of its name and address any more */
    unsigned listener;  /* the worker's that has the address it was opened at */
    uint64_t now, wall; /* ms, the worker's clock and since 1970 UTC */
};

/* Makes the session anew behind all numbers that it may have used, and has it kept from now on.
 * NULL, or why it stays away: the identity is gone, has another key or may not come from there any
 * more, it was idle for too long, there is no room, another session of the same peer was used
 * since. So those used last are restored first. Nothing is sent. One line in the log either way. */
const char *relay_restore(struct relay *r, const struct restore *order);
/* Behind the last of them: those that share a socket and could not have their address again have
 * another, which is nobody's now. */
void relay_restored(struct relay *r, uint64_t now);

#endif
