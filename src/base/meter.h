/*
 * meter: a token bucket in one word, which any thread may draw from without a lock. Zeroed memory
 * is a bucket that was never used and starts full.
 */
#ifndef DTLSGATE_BASE_METER_H
#define DTLSGATE_BASE_METER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct meter {
    _Atomic uint64_t paid_until; /* ns of the caller's clock: when all that was drawn is back */
};

/* A bucket gets `per_second` back (1 to 2^32) and holds as much as comes back in a second. Whether
 * `amount` may be drawn now; what is more than it ever holds may be drawn when it is full, and has
 * to come back before anything else. Two threads that ask at once may both hear yes. */
bool meter_has(const struct meter *m, uint64_t amount, uint64_t per_second, uint64_t now_ms);
/* Draws it. */
void meter_draw(struct meter *m, uint64_t amount, uint64_t per_second, uint64_t now_ms);

#endif
