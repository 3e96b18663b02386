/*
 * review: warnings about settings that are legal and still not wise.
 */
#ifndef DTLSGATE_DAEMON_REVIEW_H
#define DTLSGATE_DAEMON_REVIEW_H

#include "conf/conf.h"

/* Writes a warning to the log for each kind of weak key that a service has: how many, and where the
 * first one stands. For the start and for each reload that was taken. */
void review_keys(const struct conf *conf);
/* The same for a status page that more than this host can reach; for the start and for -t. */
void review_http(const struct conf *conf);

#endif
