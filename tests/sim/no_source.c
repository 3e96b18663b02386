/*
 * no_source: the stand-in for what upstream.c does about sources, which a sim's flows do not have.
 */
#include "proxy/upstream.h"

bool upstream_add(struct upstream *u, const struct upstream_service *service)
{
    (void)u;
    (void)service;
    return true;
}

void upstream_set_backend(struct upstream *u, unsigned service, const struct addr *backend)
{
    (void)u;
    (void)service;
    (void)backend;
}

bool upstream_is_shared(const struct flow *f)
{
    (void)f;
    return false;
}

uint32_t upstream_source(const struct flow *f)
{
    (void)f;
    return 0;
}
