/*
 * notify: what the service manager is told: ready, reloading, stopping, alive, and a line on how
 * things stand. systemd's protocol, see sd_notify(3): one datagram each to the Unix socket that
 * $NOTIFY_SOCKET names. Without that variable every call does nothing.
 */
#ifndef DTLSGATE_DAEMON_NOTIFY_H
#define DTLSGATE_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOTIFY_STATUS_MAX 256

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, for nothing that the
 * process might start is meant by them. Call it with a single thread. False with `why`: they say
 * what cannot be. */
bool notify_init(char *why, size_t why_size) __attribute__((warn_unused_result));
/* The mirror; harmless before it. */
void notify_close(void);

/* Somebody listens. */
bool notify_is_wanted(void);
/* A sign of life is awaited in each such time; 0: none is. */
uint64_t notify_watchdog_us(void);

/* While `is_held` nothing is told: another process is the service's, still or already. */
void notify_hold(bool is_held);
/* The service's process is another one from now on, which must not be our child any more. */
void notify_main_process(long pid);
/* All is bound, or the reload is over. */
void notify_ready(void);
/* `now_us` is what CLOCK_MONOTONIC shows, by which the manager knows that it is told of the reload
 * that it has asked for. */
void notify_reloading(uint64_t now_us);
void notify_stopping(void);
/* A line for `systemctl status`, without line breaks. Sends nothing when it is the last one. */
void notify_status(const char *text);
void notify_alive(void);

#endif
