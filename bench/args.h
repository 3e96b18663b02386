/*
 * args: the command lines of the programs that measure, and how they give up. IPv4 alone, for the
 * measurements are made over loopback. Must never know what is measured.
 */
#ifndef DTLSGATE_BENCH_ARGS_H
#define DTLSGATE_BENCH_ARGS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Says what failed and why (errno), and ends the program. */
_Noreturn void die(const char *what);

/* "ADDR:PORT"; port 0 passes. */
bool args_address(const char *text, struct sockaddr_in *out) __attribute__((warn_unused_result));
/* A whole number from `min` to `max`, or the program ends. */
uint64_t args_number(const char *text, uint64_t min, uint64_t max);
/* Returns the length; 0: no hexadecimal, or more than `size` bytes. */
size_t args_hex(const char *text, uint8_t *out, size_t size);

/* As many descriptors as the hard limit allows. */
void raise_descriptors(void);

/* Binds a UDP socket that much is to come to; tells on stdout where that is. */
void listen_at(int fd, struct sockaddr_in at);

/* Prints "ready" and waits for a line on stdin; ends the program when there is none. */
void wait_for_go(void);

uint64_t clock_ns(void);

#endif
