/*
 * policies: exact names by the table of keys, patterns one by one. See the header.
 * Must never know a session.
 */
#include "conf/policies.h"

#include "base/glob.h"
#include "base/meters.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool policies_name(struct conf_policy *p, const char *name, const struct conf *c)
{
    const char *slash = strchr(name, '/');

    p->name = strdup(name);
    if (!p->name)
        return false;
    p->pattern = p->name;
    for (size_t i = 0; slash && i < c->service_count; i++) {
        const char *service = c->service[i].name;

        if (strlen(service) != (size_t)(slash - name) ||
            memcmp(service, name, (size_t)(slash - name)) != 0)
            continue;
        p->service = strdup(service);
        p->pattern = p->name + (slash + 1 - name);
        return p->service != NULL;
    }
    return true;
}

bool policies_is_for(const struct conf_policy *p, const struct conf_service *s)
{
    return !p->service || strcmp(p->service, s->name) == 0;
}

/* Names without a wildcard; the others' numbers go to `globs`. Returns how many those are. */
static size_t take_exact(struct conf_service *s, const struct conf *c, uint16_t *globs)
{
    char literal[PSK_IDENTITY_MAX];
    size_t count = 0;

    for (size_t i = 0; i < c->policy_count; i++) {
        const struct conf_policy *p = &c->policy[i];
        const struct psk *psk;
        uint16_t *number;
        size_t len;

        assert(strlen(p->pattern) <= sizeof(literal));
        if (!policies_is_for(p, s))
            continue;
        if (!glob_literal(p->pattern, literal, &len)) {
            globs[count++] = (uint16_t)(i + 1);
            continue;
        }
        psk = psk_find(s->psk, (const uint8_t *)literal, len);
        if (!psk)
            continue;
        number = &s->policies.number[psk_index(s->psk, psk)];
        if (*number == 0)
            *number = (uint16_t)(i + 1);
    }
    return count;
}

/* The first in the order of the file wins, so one that comes behind the exact name is not asked. */
static void take_globs(struct conf_service *s, const struct conf *c, const uint16_t *globs,
                       size_t count)
{
    size_t identities = psk_count(s->psk);

    for (size_t i = 0; i < identities && count > 0; i++) {
        const struct psk *psk = psk_at(s->psk, i);
        uint16_t *number = &s->policies.number[i];

        for (size_t j = 0; j < count && (*number == 0 || globs[j] < *number); j++)
            if (glob_match(c->policy[globs[j] - 1].pattern, psk->identity, psk->identity_len))
                *number = globs[j];
    }
}

/* The second that it names is still its own. */
static uint64_t end_of(const struct conf_policy *p)
{
    return p->not_after + 1000;
}

bool policies_is_over(const struct conf_policy *p, uint64_t wall)
{
    return p->not_after > 0 && wall >= end_of(p);
}

static bool has_rate(const struct conf_policy *p)
{
    return p->rate_datagrams > 0 || p->rate_bytes > 0;
}

/* What follows from the policies that were found. */
static bool apply(struct conf_service *s, const struct conf *c)
{
    size_t identities = psk_count(s->psk);

    for (size_t i = 0; i < identities; i++) {
        const struct conf_policy *p;

        if (s->policies.number[i] == 0)
            continue;
        p = &c->policy[s->policies.number[i] - 1];
        if (p->not_after > 0 && !psk_set_end(s->psk, i, end_of(p)))
            return false;
        if (has_rate(p) && !s->policies.meters) {
            s->policies.meters = calloc(2 * identities, sizeof(*s->policies.meters));
            if (!s->policies.meters)
                return false;
        }
    }
    return true;
}

/* Rates of identities that nobody knows yet. */
static bool prepare_given(struct conf_service *s, const struct conf *c)
{
    for (size_t i = 0; i < c->policy_count && s->psk_helper && !s->policies.given; i++) {
        if (!policies_is_for(&c->policy[i], s) || !has_rate(&c->policy[i]))
            continue;
        s->policies.given = meters_new();
        if (!s->policies.given)
            return false;
    }
    return true;
}

bool policies_resolve(struct conf_service *s, const struct conf *c)
{
    uint16_t *globs;

    s->policies.list = c->policy;
    s->policies.count = c->policy_count;
    if (c->policy_count == 0 || c->policy_count > CONF_POLICY_MAX || !s->psk)
        return true;
    s->policies.number = calloc(psk_count(s->psk) + 1, sizeof(*s->policies.number));
    globs = calloc(c->policy_count, sizeof(*globs));
    if (!s->policies.number || !globs || !prepare_given(s, c)) {
        free(globs);
        return false;
    }
    take_globs(s, c, globs, take_exact(s, c, globs));
    free(globs);
    return apply(s, c);
}

void policies_clear(struct policies *p)
{
    free(p->number);
    free(p->meters);
    meters_free(p->given);
    *p = (struct policies){0};
}

static bool is_of(const struct psk_set *set, const struct psk *psk)
{
    uintptr_t at = (uintptr_t)psk, first = (uintptr_t)psk_at(set, 0);

    return at >= first && at < first + psk_count(set) * sizeof(*psk);
}

const struct conf_policy *policies_find(const struct conf_service *s, const struct psk *psk)
{
    uint16_t number;

    if (!s->policies.number || !is_of(s->psk, psk))
        return NULL;
    number = s->policies.number[psk_index(s->psk, psk)];
    return number > 0 ? &s->policies.list[number - 1] : NULL;
}

/* The first meter is for datagrams, the second for bytes. */
static bool draw(struct meter meter[2], const struct conf_policy *p, size_t len, uint64_t now)
{
    if ((p->rate_datagrams > 0 && !meter_has(&meter[0], 1, p->rate_datagrams, now)) ||
        (p->rate_bytes > 0 && !meter_has(&meter[1], len, p->rate_bytes, now)))
        return false;
    if (p->rate_datagrams > 0)
        meter_draw(&meter[0], 1, p->rate_datagrams, now);
    if (p->rate_bytes > 0)
        meter_draw(&meter[1], len, p->rate_bytes, now);
    return true;
}

bool policies_draw(const struct conf_service *s, const struct psk *psk, size_t len, uint64_t now)
{
    const struct conf_policy *p = policies_find(s, psk);

    if (!p || !s->policies.meters)
        return true;
    return draw(&s->policies.meters[2 * psk_index(s->psk, psk)], p, len, now);
}

uint16_t policies_match(const struct conf_service *s, const struct psk *named)
{
    for (size_t i = 0; i < s->policies.count; i++) {
        const struct conf_policy *p = &s->policies.list[i];

        if (policies_is_for(p, s) && glob_match(p->pattern, named->identity, named->identity_len))
            return (uint16_t)(i + 1);
    }
    return 0;
}

const struct conf_policy *policies_at(const struct conf_service *s, uint16_t number)
{
    return number > 0 && number <= s->policies.count ? &s->policies.list[number - 1] : NULL;
}

bool policies_draw_given(const struct conf_service *s, uint16_t number, const struct psk *named,
                         size_t len, uint64_t now)
{
    const struct conf_policy *p = policies_at(s, number);

    if (!p || !has_rate(p) || !s->policies.given)
        return true;
    return draw(meters_find(s->policies.given, named->identity, named->identity_len, now), p, len,
                now);
}
