/*
 * stats: the table of all counters, their sum and their names, made from the lists in the header.
 * Must never know who counts what, or how the figures are shown.
 */
#include "proxy/stats.h"

#include <string.h>

#define COUNTER_ITEM(field, words)                                                                 \
    {.name = #field, .text = words, .kind = STATS_COUNTER, .offset = offsetof(struct stats, field)},
#define GAUGE_ITEM(field, words)                                                                   \
    {.name = #field, .text = words, .kind = STATS_GAUGE, .offset = offsetof(struct stats, field)},
#define CLIENT_ITEM(fate, words)                                                                   \
    {.name = "client." words,                                                                      \
     .text = words,                                                                                \
     .kind = STATS_FROM_CLIENT,                                                                    \
     .offset = offsetof(struct stats, from_client) + FATE_##fate * sizeof(_Atomic uint64_t)},
#define BACKEND_ITEM(fate, words)                                                                  \
    {.name = "backend." words,                                                                     \
     .text = words,                                                                                \
     .kind = STATS_FROM_BACKEND,                                                                   \
     .offset = offsetof(struct stats, from_backend) + BACK_##fate * sizeof(_Atomic uint64_t)},

const struct stats_item stats_items[] = {STATS_COUNTERS(COUNTER_ITEM) FATES_FROM_CLIENT(
    CLIENT_ITEM) FATES_FROM_BACKEND(BACKEND_ITEM) STATS_GAUGES(GAUGE_ITEM){.name = NULL}};

_Static_assert(sizeof(stats_items) / sizeof(*stats_items) ==
                   sizeof(struct stats) / sizeof(_Atomic uint64_t) + 1,
               "each counter has its item");

static const _Atomic uint64_t *counter_of(const struct stats *s, const struct stats_item *item)
{
    return (const _Atomic uint64_t *)(const void *)((const char *)s + item->offset);
}

bool stats_is_drop(const struct stats_item *item)
{
    bool is_fate = item->kind == STATS_FROM_CLIENT || item->kind == STATS_FROM_BACKEND;

    return is_fate && strncmp(item->text, "drop_", 5) == 0;
}

uint64_t stats_value(const struct stats *s, const struct stats_item *item)
{
    return atomic_load_explicit(counter_of(s, item), memory_order_relaxed);
}

bool stats_take_over(struct stats *s, const char *name, size_t len, uint64_t value)
{
    for (const struct stats_item *item = stats_items; item->name; item++) {
        if (strlen(item->name) != len || memcmp(item->name, name, len) != 0)
            continue;
        if (item->kind != STATS_GAUGE)
            stats_add((_Atomic uint64_t *)(void *)((char *)s + item->offset), value);
        return item->kind != STATS_GAUGE;
    }
    return false;
}

void stats_sum(struct stats *sum, const struct stats *one)
{
    for (const struct stats_item *item = stats_items; item->name; item++)
        stats_add((_Atomic uint64_t *)(void *)((char *)sum + item->offset), stats_value(one, item));
}

void stats_each(const struct stats *s, stats_fn fn, void *arg)
{
    for (const struct stats_item *item = stats_items; item->name; item++)
        fn(arg, item->name, stats_value(s, item));
}
