/*
 * sample: lines into figures, and figures into rates. See the header.
 * Must never know a terminal.
 */
#include "ctl/sample.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A stretch of a text. */
struct part {
    const char *at;
    size_t len;
};

/* The next line of *text, or false at its end. */
static bool next_line(const char **text, struct part *line)
{
    if (**text == '\0')
        return false;
    *line = (struct part){*text, strcspn(*text, "\n")};
    *text += line->len + ((*text)[line->len] == '\n');
    return true;
}

static bool is(const struct part *p, const char *word)
{
    return p->len == strlen(word) && memcmp(p->at, word, p->len) == 0;
}

/* Cut where it does not fit; a terminal must not get anything but characters to show. */
static void copy(char *to, size_t size, const struct part *p)
{
    size_t len = p->len < size ? p->len : size - 1;

    for (size_t i = 0; i < len; i++)
        to[i] = p->at[i] >= 0x20 && p->at[i] < 0x7f ? p->at[i] : '?';
    to[len] = '\0';
}

static uint64_t number(const struct part *p)
{
    char digits[24];

    copy(digits, sizeof(digits), p);
    return strtoull(digits, NULL, 10);
}

/* "key: rest". */
static bool split_member(const struct part *line, struct part *key, struct part *rest)
{
    const char *colon = memmem(line->at, line->len, ": ", 2);

    if (colon == NULL)
        return false;
    *key = (struct part){line->at, (size_t)(colon - line->at)};
    *rest = (struct part){colon + 2, line->len - key->len - 2};
    return true;
}

/* Takes "key=value" or "key=\"value\"" from the front of `rest`. A value never holds a quote. */
static bool next_pair(struct part *rest, struct part *key, struct part *value)
{
    const char *equals = memchr(rest->at, '=', rest->len);
    const char *start, *end, *all = rest->at + rest->len;

    if (equals == NULL)
        return false;
    *key = (struct part){rest->at, (size_t)(equals - rest->at)};
    start = equals + 1;
    if (start < all && *start == '"') {
        start++;
        end = memchr(start, '"', (size_t)(all - start));
    } else {
        end = memchr(start, ' ', (size_t)(all - start));
    }
    end = end != NULL ? end : all;
    *value = (struct part){start, (size_t)(end - start)};
    while (end < all && (*end == '"' || *end == ' '))
        end++;
    *rest = (struct part){end, (size_t)(all - end)};
    return true;
}

static void read_session(struct sample *s, struct part rest)
{
    struct sample_session *one = &s->session[s->sessions];
    struct part key, value;

    if (s->sessions == SAMPLE_SESSIONS_MAX)
        return;
    s->sessions++;
    while (next_pair(&rest, &key, &value)) {
        if (is(&key, "id"))
            one->id = number(&value);
        else if (is(&key, "identity"))
            copy(one->identity, sizeof(one->identity), &value);
        else if (is(&key, "peer"))
            copy(one->peer, sizeof(one->peer), &value);
        else if (is(&key, "in-datagrams") || is(&key, "out-datagrams"))
            one->datagrams += number(&value);
        else if (is(&key, "in-bytes") || is(&key, "out-bytes"))
            one->bytes += number(&value);
    }
}

static void read_member(struct sample *s, const struct part *key, const struct part *value)
{
    struct sample_figure *figure = &s->figure[s->figures];

    if (is(key, "version")) {
        copy(s->version, sizeof(s->version), value);
    } else if (is(key, "state")) {
        copy(s->state, sizeof(s->state), value);
    } else if (is(key, "draining")) {
        copy(s->draining, sizeof(s->draining), value);
    } else if (s->figures < SAMPLE_FIGURES_MAX && value->len > 0 && *value->at >= '0' &&
               *value->at <= '9') {
        copy(figure->name, sizeof(figure->name), key);
        figure->value = number(value);
        s->figures++;
    }
}

void sample_read_status(struct sample *s, const char *text)
{
    struct part line, key, rest;

    while (next_line(&text, &line))
        if (split_member(&line, &key, &rest))
            read_member(s, &key, &rest);
}

void sample_read_sessions(struct sample *s, const char *text)
{
    struct part line, key, rest;

    while (next_line(&text, &line))
        if (split_member(&line, &key, &rest) && is(&key, "session"))
            read_session(s, rest);
}

uint64_t sample_value(const struct sample *s, const char *name)
{
    for (size_t i = 0; i < s->figures; i++)
        if (strcmp(s->figure[i].name, name) == 0)
            return s->figure[i].value;
    return 0;
}

static double per_second(uint64_t now, uint64_t before, uint64_t ms)
{
    return now > before && ms > 0 ? (double)(now - before) * 1000.0 / (double)ms : 0.0;
}

double sample_rate(const struct sample *now, const struct sample *before, const char *name)
{
    return per_second(sample_value(now, name), sample_value(before, name),
                      now->at_ms - before->at_ms);
}

static const struct sample_session *find_session(const struct sample *s, uint64_t id)
{
    for (size_t i = 0; i < s->sessions; i++)
        if (s->session[i].id == id)
            return &s->session[i];
    return NULL;
}

static struct sample_busy *find_busy(struct sample_busy *list, size_t *count, const char *identity)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(list[i].identity, identity) == 0)
            return &list[i];
    list[*count] = (struct sample_busy){.identity = identity};
    return &list[(*count)++];
}

static int by_rate(const void *a, const void *b)
{
    const struct sample_busy *x = a, *y = b;

    if (x->datagrams != y->datagrams)
        return x->datagrams < y->datagrams ? 1 : -1;
    return strcmp(x->identity, y->identity);
}

size_t sample_busiest(const struct sample *now, const struct sample *before,
                      struct sample_busy *list, size_t size)
{
    struct sample_busy *all = calloc(SAMPLE_SESSIONS_MAX, sizeof(*all));
    uint64_t ms = now->at_ms - before->at_ms;
    size_t count = 0;

    if (all == NULL)
        return 0;
    for (size_t i = 0; i < now->sessions; i++) {
        const struct sample_session *one = &now->session[i];
        const struct sample_session *old = find_session(before, one->id);
        struct sample_busy *busy = find_busy(all, &count, one->identity);
        busy->peer = one->peer;
        busy->sessions++;
        if (old == NULL)
            continue;
        busy->datagrams += per_second(one->datagrams, old->datagrams, ms);
        busy->bytes += per_second(one->bytes, old->bytes, ms);
    }
    qsort(all, count, sizeof(*all), by_rate);
    count = count < size ? count : size;
    memcpy(list, all, count * sizeof(*all));
    free(all);
    return count;
}
