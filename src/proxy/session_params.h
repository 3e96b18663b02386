/*
 * session_params: what a service's settings mean for a handshake that begins now, and for where its
 * key comes from.
 */
#ifndef DTLSGATE_PROXY_SESSION_PARAMS_H
#define DTLSGATE_PROXY_SESSION_PARAMS_H

#include "proxy/session.h"

/* `cid` is a connection id that the session may get, or NULL. All else is borrowed of the service:
 * the snapshot must outlive the handshake. */
struct handshake_params session_params(const struct session_service *service, const uint8_t *cid);

struct key_source session_key_source(const struct session_service *service);

#endif
