/*
 * meter: one time instead of a count and a time (the generic cell rate algorithm). See the header.
 * Must never read a clock, nor know what is limited.
 */
#include "base/meter.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S (1000 * NS_PER_MS)

/* How long it takes to come back. */
static uint64_t price(uint64_t amount, uint64_t per_second)
{
    return amount * NS_PER_S / per_second;
}

bool meter_has(const struct meter *m, uint64_t amount, uint64_t per_second, uint64_t now_ms)
{
    uint64_t now = now_ms * NS_PER_MS;
    uint64_t until = atomic_load_explicit(&m->paid_until, memory_order_relaxed);

    return until <= now || until + price(amount, per_second) <= now + NS_PER_S;
}

void meter_draw(struct meter *m, uint64_t amount, uint64_t per_second, uint64_t now_ms)
{
    uint64_t now = now_ms * NS_PER_MS;
    uint64_t until = atomic_load_explicit(&m->paid_until, memory_order_relaxed), next;

    do
        next = (until > now ? until : now) + price(amount, per_second);
    while (!atomic_compare_exchange_weak_explicit(&m->paid_until, &until, next,
                                                  memory_order_relaxed, memory_order_relaxed));
}
