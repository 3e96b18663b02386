/*
 * check: cross-checks of a snapshot.
 * Never changes a setting.
 */
#include "conf/check.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "base/prefix.h"
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
    const struct backends *b = &s->service->backend;
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < b->count; i++) {
        const struct conf_service *taken = listener_of(c, &b->list[i].addr);

        if (taken)
            draft_error(s->draft, place(s, "backend"),
                        "%s is where service %s listens; write the address of the plain service",
                        addr_format(&b->list[i].addr, text), taken->name);
    }
}

static unsigned width_of(const struct prefix *p)
{
    return p->base.family == AF_INET ? 32 : 128;
}

/* What nobody may send from, or what would need to name an interface as well. */
static bool has_unfit(const struct prefix *p)
{
    static const char *const unfit[] = {"0.0.0.0/8", "224.0.0.0/3", "::", "fe80::/10", "ff00::/8"};

    for (size_t i = 0; i < sizeof(unfit) / sizeof(*unfit); i++) {
        struct prefix u;
        if (prefix_parse(&u, unfit[i]) &&
            (prefix_contains(p, &u.base) || prefix_contains(&u, &p->base)))
            return true;
    }
    return false;
}

static bool holds_backend(const struct prefix *p, const struct backends *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (prefix_contains(p, &b->list[i].addr))
            return true;
    return false;
}

/* What is wrong with one address or prefix of backend-source, as draft_error() has it; NULL:
 * nothing is. */
static const char *fault_of_source(const struct conf_service *s, const struct prefix *p)
{
    bool is_address = p->bits == width_of(p);

    if (backends_misfit(&s->backend, p->base.family) != NULL)
        return "is of another family than the backend; take one of the same";
    if (has_unfit(p))
        return "holds addresses that nothing can be sent from; take others";
    if (!is_address && s->backend_source.count > 1)
        return "is a prefix, which must stand alone; give one prefix or only addresses";
    if (!is_address && holds_backend(p, &s->backend))
        return "holds the backend's address; take another prefix";
    if (!is_address && prefix_hosts(p) == 0)
        return "has no address between its first and its last; give a larger prefix";
    return NULL;
}

static bool is_repeated(const struct prefixes *list, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (list->list[i].bits == list->list[at].bits &&
            addr_equal(&list->list[i].base, &list->list[at].base))
            return true;
    return false;
}

/* False: it told of a fault. */
static bool check_each_source(const struct subject *s)
{
    const struct prefixes *list = &s->service->backend_source;
    char text[PREFIX_TEXT_MAX];
    bool is_good = true;

    for (size_t i = 0; i < list->count; i++) {
        const char *fault = is_repeated(list, i) ? "stands there twice; leave one out"
                                                 : fault_of_source(s->service, &list->list[i]);
        if (fault)
            draft_error(s->draft, place(s, "backend-source"), "%s %s",
                        prefix_format(&list->list[i], text), fault);
        is_good = is_good && !fault;
    }
    return is_good;
}

/* Each worker hands out its own share of the addresses, and may hold its share of the sessions. */
static void check_room(const struct subject *s, const struct conf_daemon *daemon)
{
    const struct prefix *p = s->service->backend_source.list;
    uint64_t each = ((uint64_t)daemon->max_sessions + daemon->workers - 1) / daemon->workers;
    char text[PREFIX_TEXT_MAX];

    if (prefix_hosts(p) / daemon->workers < each)
        draft_error(s->draft, place(s, "backend-source"),
                    "%s has %" PRIu32 " addresses, and daemon.max-sessions is %u with %u workers; "
                    "give a larger prefix or allow fewer sessions",
                    prefix_format(p, text), prefix_hosts(p), daemon->max_sessions, daemon->workers);
}

/* It was made 1 where nobody gave a value. */
static void check_identities(const struct subject *s)
{
    if (!is_wrong(s, "max-sessions-per-identity") && s->service->max_sessions_per_identity != 1)
        draft_error(s->draft, place(s, "max-sessions-per-identity"),
                    "is %u, but with source-by = identity it must be 1, for two sessions cannot "
                    "have one address; leave it out",
                    s->service->max_sessions_per_identity);
    if (s->service->psk_helper)
        draft_error(s->draft, place(s, "psk-helper"),
                    "does not go with source-by = identity, whose identities have to be known "
                    "beforehand; leave one of the two out");
}

static void check_source(const struct subject *s, const struct conf_daemon *daemon)
{
    const struct conf_service *v = s->service;
    bool by_identity = !is_wrong(s, "source-by") && v->source_by == CONF_SOURCE_BY_IDENTITY;

    if (by_identity)
        check_identities(s);
    if (is_wrong(s, "backend-source") || is_wrong(s, "backend") || !check_each_source(s))
        return;
    bool is_prefix = prefixes_range(&v->backend_source) != NULL;
    if (by_identity && !is_prefix)
        draft_error(s->draft, place(s, "source-by"),
                    "is identity, which needs one prefix as backend-source; give that, too");
    if (!by_identity && is_prefix && daemon->workers > 0)
        check_room(s, daemon);
}

/* Clients of another family than the backend's have no address that it could answer. */
static void check_families(const struct subject *s)
{
    const struct conf_service *v = s->service;
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < v->listen_count; i++)
        if (backends_misfit(&v->backend, v->listen[i].family) != NULL)
            draft_error(s->draft, place(s, "transparent"),
                        "needs clients of the backend's family, which those of %s are not; listen "
                        "on %s alone",
                        addr_format(&v->listen[i], text),
                        v->listen[i].family == AF_INET ? "IPv6" : "IPv4");
}

static void check_transparent(const struct subject *s)
{
    const struct conf_service *v = s->service;

    if (is_wrong(s, "transparent") || v->transparent == CONF_TRANSPARENT_NO)
        return;
    if (!is_wrong(s, "backend-source") && v->backend_source.count > 0)
        draft_error(s->draft, place(s, "transparent"),
                    "and backend-source exclude each other; leave one of them out");
    if (!is_wrong(s, "listen") && !is_wrong(s, "backend"))
        check_families(s);
}

static void check_policy_backend(const struct conf *c, const struct draft *d, size_t at)
{
    const struct addr *a = &c->policy[at].backend;
    const struct draft_place place = {d->identity[at], option_find(options_identity, "backend")};
    const struct conf_service *taken = listener_of(c, a);
    char text[ADDR_TEXT_MAX];

    if (a->family && taken)
        draft_error(d, place,
                    "%s is where service %s listens; write the address of the plain service",
                    addr_format(a, text), taken->name);
}

/* Against one service that it may be for, whose own mistakes have been told of. */
static void check_policy_source(const struct conf_policy *p, const struct conf_service *s,
                                const struct draft *d, struct draft_section *section)
{
    const struct draft_place backend = {section, option_find(options_identity, "backend")};
    const struct draft_place sessions = {section, option_find(options_identity, "max-sessions")};
    const struct prefixes *source = &s->backend_source;
    const struct prefix *range = prefixes_range(source);
    char text[ADDR_TEXT_MAX];

    if (s->source_by == CONF_SOURCE_BY_IDENTITY && p->max_sessions > 1)
        draft_error(d, sessions,
                    "is %u, but service %s has source-by = identity, and two sessions cannot have "
                    "one address; leave it out",
                    p->max_sessions, s->name);
    if (p->backend.family && s->transparent != CONF_TRANSPARENT_NO &&
        backends_misfit(&s->backend, p->backend.family) != NULL)
        draft_error(d, backend,
                    "%s is of another family than the backend of service %s, which is transparent; "
                    "take one of the same",
                    addr_format(&p->backend, text), s->name);
    if (!p->backend.family || source->count == 0)
        return;
    if (p->backend.family != source->list[0].base.family)
        draft_error(d, backend,
                    "%s is of another family than the backend-source of service %s; take one of "
                    "the same",
                    addr_format(&p->backend, text), s->name);
    else if (range && prefix_contains(range, &p->backend))
        draft_error(d, backend, "%s lies in the backend-source of service %s; take another address",
                    addr_format(&p->backend, text), s->name);
}

static void check_policy(const struct conf *c, const struct draft *d, size_t at)
{
    const struct conf_policy *p = &c->policy[at];
    const struct draft_place section = {d->identity[at], NULL};

    if (!*p->pattern)
        draft_error(d, section, "names no identity of service %s; write [identity %s/*]",
                    p->service, p->service);
    check_policy_backend(c, d, at);
    for (size_t i = 0; i < c->service_count; i++)
        if (!p->service || strcmp(p->service, c->service[i].name) == 0)
            check_policy_source(p, &c->service[i], d, d->identity[at]);
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

static void check_state(const struct conf *c, const struct draft *d)
{
    const struct draft_place key = {(struct draft_section *)(uintptr_t)&d->daemon,
                                    option_find(options_daemon, "state-key")};

    if (c->daemon.state_key && !c->daemon.state_dir)
        draft_error(d, key, "is set without state-dir; set both, or leave it out");
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
        check_source(&s, &c->daemon);
        check_transparent(&s);
    }
    check_policies(c, d);
    check_state(c, d);
    if (c->service_count > 0 || d->is_partial)
        return;
    d->errors->at = UINT_MAX;
    if (d->path)
        errors_add(d->errors,
                   "%s: no service; add a [service NAME] with listen, backend and psk-file",
                   d->path);
    else
        errors_add(d->errors, "command line: no service; give -c FILE, or -l, -b and -k");
}
