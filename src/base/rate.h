/*
 * rate: a token bucket. Zeroed memory is a bucket that was never used and starts full.
 */
#ifndef DTLSGATE_BASE_RATE_H
#define DTLSGATE_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
    uint64_t last_ms;
    uint32_t millitokens;
    uint32_t refused; /* since the last grant; rate_take() gives it back through *skipped */
    bool started;
};

/* Takes one token of a bucket that holds `burst` and gets `per_second` back (1 to 1,000,000 each).
 * On true *skipped (may be NULL) tells how many were refused since the grant before. */
bool rate_take(struct rate *r, uint32_t per_second, uint32_t burst, uint64_t now_ms,
               uint32_t *skipped);

#endif
