/*
 * wear: when a session's keys have done what they may (RFC 9325 4.4, RFC 9147 4.5.3).
 */
#ifndef DTLSGATE_PROXY_WEAR_H
#define DTLSGATE_PROXY_WEAR_H

#include "conf/conf.h"
#include "dtls/record.h"
#include "proxy/session_end.h"

/* Why a session of this service has to end because of what its keys have been used for, or
 * SESSION_END_NOT_YET. */
enum session_end wear_fault(const struct conf_service *conf, const struct association *a);

#endif
