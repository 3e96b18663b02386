/*
 * process: what the kernel says that this process uses.
 * Must never know what the process does with it.
 */
#ifndef DTLSGATE_DAEMON_PROCESS_H
#define DTLSGATE_DAEMON_PROCESS_H

#include <stdint.h>

/* What could not be learnt is 0. */
struct process_usage {
    double cpu_seconds; /* user and system, of all threads */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_descriptors, max_descriptors;
};

/* Reads /proc/self; takes a millisecond or so for each ten thousand open descriptors. */
void process_measure(struct process_usage *usage);

#endif
