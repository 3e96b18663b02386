/*
 * helper_health: when a helper that failed may be asked again, and what the log says of it.
 * Knows no socket and no clock.
 */
#ifndef DTLSGATE_PROXY_HELPER_HEALTH_H
#define DTLSGATE_PROXY_HELPER_HEALTH_H

#include "base/log.h"
#include "conf/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: nothing is held against it. */
struct helper_health {
    uint64_t retry_at, back_off; /* ms */
    bool is_down;                /* and the log says so */
    struct log_limit lines;
};

/* It is not left alone for having failed. */
bool helper_health_may_ask(const struct helper_health *h, uint64_t now);
/* It could not be reached, or has not answered, or not as it should. It is left alone for a while,
 * longer each time; failures in that while count as one. */
void helper_health_fail(struct helper_health *h, const struct conf_service *conf, const char *why,
                        uint64_t now);
/* It has answered. */
void helper_health_answer(struct helper_health *h, const struct conf_service *conf);

#endif
