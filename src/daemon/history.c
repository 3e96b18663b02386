/*
 * history: a ring of samples, and the rates between them. See the header.
 */
#include "daemon/history.h"

#include <stddef.h>

enum kind { RATE, LEVEL };

static const struct series {
    const char *name;
    enum kind kind;
    size_t offset;
} series[] = {
#define SERIES_ROW(name, kind) {#name, kind, offsetof(struct history_sample, name)},
    HISTORY_SERIES(SERIES_ROW)
#undef SERIES_ROW
    /* of more than one counter, or of a fate */
    {"drops", RATE, offsetof(struct history_sample, drops)},
    {"hellos", RATE, offsetof(struct history_sample, hellos)},
};

/* Number 1 is the first that was ever taken. */
static const struct history_sample *sample(const struct history *h, uint64_t number)
{
    return &h->ring[number % (HISTORY_STEPS + 1)];
}

static uint64_t value_of(const struct history_sample *s, const struct series *of)
{
    return *(const uint64_t *)(const void *)((const char *)s + of->offset);
}

static void write_step(const struct history *h, uint64_t number, const struct series *of,
                       struct json *j)
{
    const struct history_sample *now = sample(h, number), *before = sample(h, number - 1);
    uint64_t a = value_of(before, of), b = value_of(now, of);

    if (of->kind == LEVEL)
        json_number(j, NULL, b);
    else
        json_real(j, NULL, (double)(b - a) * 1000 / (double)(now->at_ms - before->at_ms));
}

void history_take(struct history *h, const struct stats *sum, uint64_t drops, uint64_t now_ms)
{
    struct history_sample *s;

    if (h->taken > 0 && now_ms <= sample(h, h->taken)->at_ms)
        return;
    h->taken++;
    s = &h->ring[h->taken % (HISTORY_STEPS + 1)];
    *s = (struct history_sample){.at_ms = now_ms,
                                 .drops = drops,
                                 .hellos = sum->from_client[FATE_HELLO_ANSWERED],
#define SET(name, kind) .name = sum->name,
                                 HISTORY_SERIES(SET)
#undef SET
    };
}

void history_write(const struct history *h, uint64_t since, uint64_t now_ms, struct json *j)
{
    /* The oldest has none before it to take a rate from. */
    uint64_t first = h->taken > HISTORY_STEPS ? h->taken - HISTORY_STEPS + 1 : 2;

    if (since <= h->taken && since >= first)
        first = since + 1;
    json_open_object(j, NULL);
    json_number(j, "every_ms", HISTORY_EVERY_MS);
    json_number(j, "steps", HISTORY_STEPS);
    json_number(j, "last", h->taken);
    json_open_array(j, "age_ms");
    for (uint64_t n = first; n <= h->taken; n++)
        json_number(j, NULL, now_ms - sample(h, n)->at_ms);
    json_close(j);
    json_open_object(j, "series");
    for (size_t i = 0; i < sizeof(series) / sizeof(*series); i++) {
        json_open_array(j, series[i].name);
        for (uint64_t n = first; n <= h->taken; n++)
            write_step(h, n, &series[i], j);
        json_close(j);
    }
    json_close(j);
    json_close(j);
}
