/*
 * account: the one line that the access log gets of each session, when it has ended.
 */
#ifndef DTLSGATE_PROXY_ACCOUNT_H
#define DTLSGATE_PROXY_ACCOUNT_H

#include "proxy/session.h"

/* Where a session was. */
struct account_way {
    const struct addr *local;   /* that the client has written to last */
    const struct addr *backend; /* of the flow that it had at its end; family 0: it had none */
    uint32_t source;            /* as report_end() has it */
};

void account_write(const struct session *s, const struct conf_service *service,
                   const struct account_way *way, enum session_end why, uint64_t now);

#endif
