/*
 * wear: the settings' limits or the suite's. See the header.
 */
#include "proxy/wear.h"

/* A record number stands for how many the client has sealed: an honest one skips none. */
enum session_end wear_fault(const struct conf_service *conf, const struct association *a)
{
    uint64_t usage = conf->usage_limit, forgeries = conf->forgery_limit;

    if (usage == 0)
        usage = suite_usage_limit(a->suite);
    if (forgeries == 0)
        forgeries = suite_forgery_limit(a->suite);
    if (a->write_seq >= usage || a->window.top >= usage)
        return SESSION_END_EXHAUSTED;
    return a->forged >= forgeries ? SESSION_END_FORGERIES : SESSION_END_NOT_YET;
}
