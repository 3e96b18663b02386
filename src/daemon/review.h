/*
 * review: warnings about settings and keys that are legal and still not wise.
 */
#ifndef DTLSGATE_DAEMON_REVIEW_H
#define DTLSGATE_DAEMON_REVIEW_H

#include "base/errors.h"
#include "conf/conf.h"

#include <stddef.h>

/* How many descriptors these settings may need at their caps. */
size_t review_descriptors(const struct conf *conf);

/* Adds a line to `found` when those are more than the process may have. */
void review_limits(const struct conf *conf, const char *source, size_t descriptors,
                   struct errors *found);
/* Adds a line to `found` for each setting that will do and may hurt, with its cure:
 * "SOURCE:LINE: service.NAME.key: …" with the line of the service's section, or
 * "SOURCE: daemon.key: …". */
void review_settings(const struct conf *conf, const char *source, struct errors *found);
/* Adds a line to `found` for each kind of weak key that a service has: how many, and where the
 * first one stands. */
void review_keys(const struct conf *conf, struct errors *found);

/* Settings and keys, as warnings in the log: for the start and for each reload that was taken. */
void review_log(const struct conf *conf, const char *source);
/* A warning when [identity PATTERN] sections fit nobody or come behind others that fit all of
 * theirs: how many, and which is the first. For the same times. */
void review_policies(const struct conf *conf);

#endif
