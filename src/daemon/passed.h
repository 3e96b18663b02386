/*
 * passed: sockets that the service manager has bound for us and handed over, as
 * sd_listen_fds(3) tells: LISTEN_FDS of them from descriptor 3 on, meant for the process
 * LISTEN_PID.
 */
#ifndef DTLSGATE_DAEMON_PASSED_H
#define DTLSGATE_DAEMON_PASSED_H

#include "base/addr.h"
#include "base/errors.h"

#include <stdbool.h>

/* The most that are taken. */
#define PASSED_MAX 512

/* Takes them over, first of all that opens anything, and LISTEN_* out of the environment. Each that
 * is no bound UDP socket adds a line to `errors`; false when there was any. */
bool passed_init(struct errors *errors) __attribute__((warn_unused_result));
/* Closes those that nobody has claimed. */
void passed_close(void);

/* Hands over the next socket that is bound to `at`, ready for use; *dual tells whether it takes
 * IPv4 as well. The caller closes it. -1: there is none (any more). */
int passed_claim(const struct addr *at, bool *dual);
/* For those that nobody has claimed: the text names the socket ("passed socket 3 (coap) on
 * 127.0.0.1:5684"). Returns its descriptor, or -1 behind the last; begin with `after` -1. */
#define PASSED_TEXT_MAX 160
int passed_left(int after, struct addr *at, char text[PASSED_TEXT_MAX]);

#endif
