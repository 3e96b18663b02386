/*
 * succession: the master's part in an upgrade, on either side. The inside of master: what the
 * upgrade and the heir report becomes states, log lines and answers here.
 */
#ifndef DTLSGATE_DAEMON_SUCCESSION_H
#define DTLSGATE_DAEMON_SUCCESSION_H

#include <stdbool.h>

struct master;

/* Makes what it takes. False: out of memory. */
bool succession_open(struct master *m) __attribute__((warn_unused_result));
/* Before the fleet and the loop go, and behind them. */
void succession_close(struct master *m);
void succession_free(struct master *m);

/* Somebody asks for an upgrade; `arg` is the master. */
void succession_begin(void *arg);
/* The end was asked for while an upgrade is under way: it is taken back where it can be. False:
 * there is none. */
bool succession_stop(struct master *m);

/* Without another process both do nothing. Around the start of the workers: what cannot be taken
 * over ends us. */
void succession_take(struct master *m);
void succession_confirm(struct master *m);

#endif
