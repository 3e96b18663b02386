/*
 * events: what a trace has seen, as items of an answer. Must never show a key.
 */
#ifndef DTLSGATE_DAEMON_EVENTS_H
#define DTLSGATE_DAEMON_EVENTS_H

#include "daemon/show.h"
#include "proxy/trace.h"

/* The members of an item. */
void event_show(struct show *s, const struct trace_event *e);

#endif
