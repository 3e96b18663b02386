/*
 * metrics: the counters and gauges in the text format of Prometheus (version 0.0.4).
 * What a worker counts comes from the stats' own list, so nothing can be forgotten here.
 */
#ifndef DTLSGATE_DAEMON_METRICS_H
#define DTLSGATE_DAEMON_METRICS_H

#include "daemon/status.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void metrics_write(const struct status *s, struct text *out);

#endif
