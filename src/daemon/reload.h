/*
 * reload: new settings for the running process: read, checked whole, posted to all workers. The
 * inside of master: whoever calls it keeps the states apart.
 */
#ifndef DTLSGATE_DAEMON_RELOAD_H
#define DTLSGATE_DAEMON_RELOAD_H

#include "base/log.h"

struct master;

/* Reads the settings anew. It is over within the call, or the state is RELOADING until all workers
 * have acknowledged. */
void reload_now(struct master *m);
void reload_set_log_level(struct master *m, enum log_level level);
/* Backends are probed and looked up as the settings in effect have it. */
void reload_watch_backends(struct master *m);

#endif
