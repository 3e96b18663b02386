/*
 * revival: takes up the sessions that the state file has of an earlier process, each where its
 * client's datagrams come; or, where a running process hands its own over, makes ready to keep
 * those. Knows no bytes of the file.
 */
#ifndef DTLSGATE_DAEMON_REVIVAL_H
#define DTLSGATE_DAEMON_REVIVAL_H

#include "daemon/fleet.h"

struct revival {
    struct fleet *fleet;
    const struct conf *conf;
    const struct sockets *sockets;
    struct state_dir *state; /* NULL: no session outlives the process */
};

/* Before the start of the workers: sessions are kept from now on. Where there is no running process
 * to take them from, clients are shared out among the workers by the rule of the state's key, and
 * what the file has is taken up. False with `why`. */
bool revival_begin(const struct revival *r, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* All that the running process has is here, and it may still go on: what our file lacks is put into
 * it. False with `why`: that process has to. */
bool revival_prepare(const struct fleet *f, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* The running process has left all to us, and none of it was used yet: from now on our file is the
 * one that counts. Does as little as can be, for nobody is there to go on in our place. False with
 * `why`: nothing may be used, the process must end. */
bool revival_confirm(const struct fleet *f, char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
