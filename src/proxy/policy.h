/*
 * policy: what the [identity PATTERN] sections mean for a session whose identity is proven. Only
 * answers; whoever asks acts on it. Knows no sockets and no clock.
 */
#ifndef DTLSGATE_PROXY_POLICY_H
#define DTLSGATE_PROXY_POLICY_H

#include "proxy/session.h"

/* All of them: `conf` is the session's service of the snapshot that s->psk is part of, or that
 * the keyring goes by which it is in. For a
 * session that ends because it is no part of it, the service's own settings count. */

/* Why a session may not open or go on at `wall` (ms since 1970 UTC), or SESSION_END_NOT_YET. */
enum session_end policy_fault(const struct conf_service *conf, const struct session *s,
                              uint64_t wall);
/* May an identity whose key is of `service`'s files go on under this suite, at `wall`? What this
 * does not ask, policy_fault() does. `service` is a struct conf_service. */
bool policy_may_resume(const void *service, const struct psk *psk, const struct suite *suite,
                       uint64_t wall);
/* May its identity come from there? */
bool policy_allows(const struct conf_service *conf, const struct session *s,
                   const struct addr *peer);
/* Its identity's time is over. */
bool policy_is_over(const struct conf_service *conf, const struct session *s, uint64_t wall);
/* Where its datagrams go, or NULL: to one of the service's backends. */
const struct addr *policy_backend(const struct conf_service *conf, const struct session *s);
/* How many sessions its identity may have; 0: no cap. */
unsigned policy_session_cap(const struct conf_service *conf, const struct session *s);
/* Its datagrams are to be asked for with policy_draw(). */
bool policy_has_rate(const struct conf_service *conf, const struct session *s);
/* Draws one datagram of `len` bytes from its identity's rate. False: that is too much. */
bool policy_draw(const struct conf_service *conf, const struct session *s, size_t len,
                 uint64_t now);

#endif
