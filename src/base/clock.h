/*
 * clock: the two clocks. Only the worker's loop, the master and the log read one; everything else
 * is told the time, so that tests own it.
 */
#ifndef DTLSGATE_BASE_CLOCK_H
#define DTLSGATE_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds that never go back, from an arbitrary start (> 0). */
uint64_t clock_now_ms(void);
/* The same clock in microseconds, as the kernel counts them (CLOCK_MONOTONIC). */
uint64_t clock_now_us(void);

/* Seconds since 1970, UTC. */
int64_t clock_wall_s(void);

/* Milliseconds since 1970, UTC; may be set, and then jump. */
uint64_t clock_wall_ms(void);

/* "2026-11-22T13:30:40.123Z", UTC. `buf` holds CLOCK_TEXT_MAX bytes. Returns buf. */
#define CLOCK_TEXT_MAX 96 /* room for any int in each place, for the compiler's peace */
const char *clock_wall_text(char buf[CLOCK_TEXT_MAX]);
/* The same of a time that has been: ms since 1970 UTC. */
const char *clock_text(uint64_t wall_ms, char buf[CLOCK_TEXT_MAX]);

#endif
