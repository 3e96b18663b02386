/*
 * check: what no single value can tell: settings that do not go together.
 */
#ifndef DTLSGATE_CONF_CHECK_H
#define DTLSGATE_CONF_CHECK_H

#include "conf/draft.h"
#include "conf/settings.h"

/* Adds a line to the draft's errors for each mistake; leaves values alone that are known to be
 * wrong. The services of both stand in the same order. */
void check_settings(const struct conf *c, const struct draft *d);

#endif
