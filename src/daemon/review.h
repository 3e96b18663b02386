/*
 * review: warnings about settings that are legal and still not wise.
 */
#ifndef DTLSGATE_DAEMON_REVIEW_H
#define DTLSGATE_DAEMON_REVIEW_H

#include "conf/conf.h"

/* Writes a warning to the log for each kind of weak key that a service has: how many, and where the
 * first one stands. For the start and for each reload that was taken. */
void review_keys(const struct conf *conf);
/* A warning when [identity PATTERN] sections fit nobody or come behind others that fit all of
 * theirs: how many, and which is the first. For the same times. */
void review_policies(const struct conf *conf);

#endif
