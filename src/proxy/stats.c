/*
 * stats: the counters' sum and their names, all made from the lists in the header.
 * Must never know who counts what, or how the figures are shown.
 */
#include "proxy/stats.h"

#define CLIENT_NAME(name, text) "client." text,
static const char *const client_names[FATE_COUNT] = {FATES_FROM_CLIENT(CLIENT_NAME)};
#undef CLIENT_NAME

#define BACKEND_NAME(name, text) "backend." text,
static const char *const backend_names[BACK_COUNT] = {FATES_FROM_BACKEND(BACKEND_NAME)};
#undef BACKEND_NAME

static uint64_t value_of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void stats_sum(struct stats *sum, const struct stats *one)
{
#define ADD(name, text) stats_add(&sum->name, value_of(&one->name));
    STATS_COUNTERS(ADD)
    STATS_GAUGES(ADD)
#undef ADD
    for (size_t i = 0; i < FATE_COUNT; i++)
        stats_add(&sum->from_client[i], value_of(&one->from_client[i]));
    for (size_t i = 0; i < BACK_COUNT; i++)
        stats_add(&sum->from_backend[i], value_of(&one->from_backend[i]));
}

void stats_each(const struct stats *s, stats_fn fn, void *arg)
{
#define TELL(name, text) fn(arg, #name, value_of(&s->name));
    STATS_COUNTERS(TELL)
    for (size_t i = 0; i < FATE_COUNT; i++)
        fn(arg, client_names[i], value_of(&s->from_client[i]));
    for (size_t i = 0; i < BACK_COUNT; i++)
        fn(arg, backend_names[i], value_of(&s->from_backend[i]));
    STATS_GAUGES(TELL)
#undef TELL
}
