/*
 * check: cross-checks of a snapshot.
 * Never changes a setting.
 */
#include "conf/check.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "conf/value.h"
#include "dtls/tlsctx.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#define SUITES_MAX 4096
#define SHOWN_MAX 100

/* One service with its draft. */
struct subject {
    const struct draft *draft;
    struct draft_section *section;
    const struct conf_service *service;
};

static struct draft_place place(const struct subject *s, const char *key)
{
    return (struct draft_place){s->section, option_find(s->section->table, key)};
}

static bool is_wrong(const struct subject *s, const char *key)
{
    return draft_value(s->section, place(s, key).option)->is_wrong;
}

static const char *text_of(const struct subject *s, const char *key, char buf[VALUE_TEXT_MAX])
{
    return value_text(place(s, key).option, s->service, buf);
}

/* Blames the larger one when only that is given. */
static void check_order(const struct subject *s, const char *less, const char *more)
{
    char less_text[VALUE_TEXT_MAX], more_text[VALUE_TEXT_MAX];
    struct draft_place at = place(s, more);

    if (!draft_value(s->section, at.option)->text)
        at = place(s, less);
    draft_error(s->draft, at, "%s (%s) is longer than %s (%s); the other way round would be right",
                less, text_of(s, less, less_text), more, text_of(s, more, more_text));
}

static void check_times(const struct subject *s)
{
    const struct conf_service *v = s->service;
    const struct {
        const char *less, *more;
        uint64_t less_value, more_value;
    } pairs[] = {
        {"retransmit-first", "retransmit-cap", v->retransmit_first, v->retransmit_cap},
        {"retransmit-first", "retransmit-total", v->retransmit_first, v->retransmit_total},
        {"flow-timeout", "idle-timeout", v->flow_timeout, v->idle_timeout},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        if (pairs[i].less_value > pairs[i].more_value && !is_wrong(s, pairs[i].less) &&
            !is_wrong(s, pairs[i].more))
            check_order(s, pairs[i].less, pairs[i].more);
}

static void check_ciphers(const struct subject *s)
{
    const struct tlsctx_params params = {.ciphers = s->service->ciphers,
                                         .old_devices = s->service->min_version == CONF_DTLS10,
                                         .hint = s->service->identity_hint};
    char suites[SUITES_MAX], why[VALUE_WHY_MAX], shown[SHOWN_MAX];

    if (is_wrong(s, "ciphers") || is_wrong(s, "min-version") ||
        tlsctx_select(&params, suites, sizeof(suites), why, sizeof(why)))
        return;
    draft_error(s->draft, place(s, "ciphers"), "\"%s\" %s",
                bytes_escape(shown, sizeof(shown), params.ciphers, strlen(params.ciphers)), why);
}

static bool takes(const struct conf_service *s, size_t count, const struct addr *a)
{
    for (size_t i = 0; i < count; i++)
        if (addr_equal(&s->listen[i], a))
            return true;
    return false;
}

static const struct addr *find_overlap(const struct conf_service *s, size_t count,
                                       const struct addr *a)
{
    for (size_t i = 0; i < count; i++)
        if (addr_overlap(&s->listen[i], a))
            return &s->listen[i];
    return NULL;
}

/* Against what stands before it: addresses of its own list, then those of earlier services. */
static void check_listen(const struct subject *s, const struct conf *c, size_t at)
{
    const struct addr *a = &s->service->listen[at];
    char text[ADDR_TEXT_MAX], taken_text[ADDR_TEXT_MAX];

    for (const struct conf_service *other = c->service; other <= s->service; other++) {
        size_t count = other == s->service ? at : other->listen_count;
        const struct addr *taken = find_overlap(other, count, a);

        if (!taken)
            continue;
        addr_format(a, text);
        if (addr_equal(taken, a) && other == s->service)
            draft_error(s->draft, place(s, "listen"), "%s stands there twice; leave one out", text);
        else if (addr_equal(taken, a))
            draft_error(s->draft, place(s, "listen"),
                        "%s is taken by service %s; choose another port or address", text,
                        other->name);
        else
            draft_error(s->draft, place(s, "listen"),
                        "%s overlaps %s of service %s; keep one of the two", text,
                        addr_format(taken, taken_text), other->name);
    }
}

static const struct conf_service *listener_of(const struct conf *c, const struct addr *a)
{
    for (size_t i = 0; i < c->service_count; i++)
        if (takes(&c->service[i], c->service[i].listen_count, a))
            return &c->service[i];
    return NULL;
}

static void check_backend(const struct subject *s, const struct conf *c)
{
    const struct conf_service *taken = listener_of(c, &s->service->backend);
    char text[ADDR_TEXT_MAX];

    if (taken)
        draft_error(s->draft, place(s, "backend"),
                    "%s is where service %s listens; write the address of the plain service",
                    addr_format(&s->service->backend, text), taken->name);
}

static void check_policy(const struct conf *c, const struct draft *d, size_t at)
{
    const struct conf_policy *p = &c->policy[at];
    const struct draft_place section = {d->identity[at], NULL};
    const struct draft_place backend = {d->identity[at], option_find(options_identity, "backend")};
    const struct conf_service *s = listener_of(c, &p->backend);
    char text[ADDR_TEXT_MAX];

    if (!*p->pattern)
        draft_error(d, section, "names no identity of service %s; write [identity %s/*]",
                    p->service, p->service);
    if (p->backend.family && s)
        draft_error(d, backend,
                    "%s is where service %s listens; write the address of the plain service",
                    addr_format(&p->backend, text), s->name);
}

static void check_policies(const struct conf *c, const struct draft *d)
{
    if (c->policy_count > CONF_POLICY_MAX) {
        d->errors->at = UINT_MAX;
        errors_add(d->errors, "%s: %zu [identity PATTERN] sections; at most %d can be",
                   d->path ? d->path : "command line", c->policy_count, CONF_POLICY_MAX);
        return;
    }
    for (size_t i = 0; i < c->policy_count; i++)
        check_policy(c, d, i);
}

static bool has_too_many(const struct conf *c, const struct draft *d)
{
    size_t count = 0;

    for (size_t i = 0; i < c->service_count; i++)
        count += c->service[i].listen_count;
    if (count <= CONF_LISTEN_MAX)
        return false;
    errors_add(d->errors, "%s: %zu addresses to listen on in all; at most %d can be",
               d->path ? d->path : "command line", count, CONF_LISTEN_MAX);
    return true;
}

void check_settings(const struct conf *c, const struct draft *d)
{
    if (has_too_many(c, d))
        return;
    for (size_t i = 0; i < c->service_count; i++) {
        const struct subject s = {d, &d->service[i], &c->service[i]};

        check_times(&s);
        check_ciphers(&s);
        for (size_t j = 0; j < s.service->listen_count; j++)
            check_listen(&s, c, j);
        check_backend(&s, c);
    }
    check_policies(c, d);
    if (c->service_count > 0)
        return;
    d->errors->at = UINT_MAX;
    if (d->path)
        errors_add(d->errors,
                   "%s: no service; add a [service NAME] with listen, backend and psk-file",
                   d->path);
    else
        errors_add(d->errors, "command line: no service; give -c FILE, or -l, -b and -k");
}
