/*
 * rate: a token bucket, counted in thousandths so that a refill per millisecond is exact.
 * Must never read a clock, nor know what is limited.
 */
#include "base/rate.h"

#include <assert.h>
#include <stddef.h>

#define RATE_MAX 1000000
#define TOKEN 1000

/* One token per second is one millitoken per millisecond. A clock that went back refills nothing.
 */
static void refill(struct rate *r, uint32_t per_second, uint32_t full, uint64_t now_ms)
{
    uint64_t elapsed = now_ms > r->last_ms ? now_ms - r->last_ms : 0;

    if (!r->started || r->millitokens >= full ||
        elapsed >= (full - r->millitokens) / per_second + 1)
        r->millitokens = full;
    else
        r->millitokens += (uint32_t)elapsed * per_second;
    if (!r->started || elapsed > 0)
        r->last_ms = now_ms;
    r->started = true;
}

bool rate_take(struct rate *r, uint32_t per_second, uint32_t burst, uint64_t now_ms,
               uint32_t *skipped)
{
    assert(per_second >= 1 && per_second <= RATE_MAX && burst >= 1 && burst <= RATE_MAX);
    refill(r, per_second, burst * TOKEN, now_ms);
    if (r->millitokens < TOKEN) {
        if (r->refused < UINT32_MAX)
            r->refused++;
        return false;
    }
    r->millitokens -= TOKEN;
    if (skipped != NULL)
        *skipped = r->refused;
    r->refused = 0;
    return true;
}
