/*
 * spawner: a process that can start this program anew after we no longer can: it is forked before
 * anything is read and anything given up, keeps user, limits and environment of the start, and does
 * nothing but execute what it was executed as itself, when told to. It holds no key and no socket.
 *
 * What somebody gains who has taken over the process that serves, and so may tell it to: another
 * process of the same program with the same arguments.
 */
#ifndef DTLSGATE_DAEMON_SPAWNER_H
#define DTLSGATE_DAEMON_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The variable that tells the number of the descriptor to the one that has started us. */
#define SPAWNER_VARIABLE "DTLSGATE_HANDOVER"

/* Makes it, of the arguments of main(). Call it with a single thread, before anything is opened.
 * `is_quiet`: what it starts has no terminal to speak to. False with `why`. */
bool spawner_open(char *const argv[], bool is_quiet, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* The mirror: it ends, and what it has started lives on. Waits until it is gone, but not for long.
 * Harmless without one. */
void spawner_close(void);

/* Readable when there is something to take; -1: there is no spawner. */
int spawner_fd(void);

/* Orders, which it answers; one child at a time. False: it is gone. */
bool spawner_start(void) __attribute__((warn_unused_result));
void spawner_kill(void);

enum spawner_kind {
    SPAWNER_NOTHING,
    SPAWNER_STARTED, /* `pid`, and the other end of what it has, the taker's to close */
    SPAWNER_FAILED,  /* errno in `status` */
    SPAWNER_ENDED,   /* `status` as waitpid(2) has it */
    SPAWNER_GONE,    /* the spawner itself */
};

struct spawner_news {
    enum spawner_kind kind;
    pid_t pid;
    int socket; /* a Unix socket of packets */
    int status;
};

void spawner_take(struct spawner_news *news);

#endif
