/*
 * inspect: what a start would say, without one; and the settings as they take effect.
 */
#ifndef DTLSGATE_DAEMON_INSPECT_H
#define DTLSGATE_DAEMON_INSPECT_H

#include "daemon/cmdline.h"

#include <stdbool.h>

/* -t: every mistake to stderr, and false; or warnings there, and a line to stdout. */
bool inspect_test(const struct cmdline *c) __attribute__((warn_unused_result));
/* -T: the settings to stdout; or every mistake to stderr, and false. */
bool inspect_show(const struct cmdline *c) __attribute__((warn_unused_result));

#endif
