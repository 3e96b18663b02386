/*
 * keylog: the file with the secrets of sessions that somebody wants to read the records of, as
 * Wireshark reads it. One in a process, and none unless it was opened.
 */
#ifndef DTLSGATE_DTLS_KEYLOG_H
#define DTLSGATE_DTLS_KEYLOG_H

#include "dtls/keys.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens `path`, at the start; made with mode 0600, refused when it is open to others, or no regular
 * file. False with `why`. */
bool keylog_open(const char *path, char *why, size_t why_size) __attribute__((warn_unused_result));
void keylog_close(void);
bool keylog_is_open(void);

/* One line, in one write(2): CLIENT_RANDOM, the client's random, the master secret. From any
 * thread. False: errno, or there is no file. */
bool keylog_write(const uint8_t client_random[WIRE_RANDOM], const uint8_t master[KEYS_MASTER])
    __attribute__((warn_unused_result));

#endif
