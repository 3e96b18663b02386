/*
 * conf: makes, compares, prints and ends snapshots.
 * Never asks where a value was written but to say so in a message.
 */
#include "conf/conf.h"

#include "base/bytes.h"
#include "conf/check.h"
#include "conf/draft.h"
#include "conf/options.h"
#include "conf/policies.h"
#include "conf/source_map.h"
#include "conf/value.h"
#include "dtls/psk_files.h"
#include "dtls/tlsctx.h"

#include <inttypes.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 100
#define SUITES_MAX 4096
#define PLACE_MAX 4200 /* a path and a line */

/* What `ciphers = default` stands for. Old devices of DTLS 1.0 have no AEAD suites at all. */
static const char default_ciphers[] = TLSCTX_DEFAULT_CIPHERS;
static const char old_device_ciphers[] =
    TLSCTX_DEFAULT_CIPHERS ":PSK-AES128-CBC-SHA256:PSK-AES128-CBC-SHA"
                           ":PSK-AES256-CBC-SHA384:PSK-AES256-CBC-SHA";

/* A line of its own for each; see value_set(). */
static void tell_faults(const struct draft *d, struct draft_place at, const char *text, char *why)
{
    char shown[SHOWN_MAX], *rest;

    bytes_escape(shown, sizeof(shown), text, strlen(text));
    for (char *one = strtok_r(why, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest)) {
        if (*one == '"')
            draft_error(d, at, "%s", one);
        else
            draft_error(d, at, "\"%s\" %s", shown, one);
    }
}

/* It may stand in a line that another error tells of. */
static bool was_meant(const struct draft *d, struct draft_place at)
{
    return at.section->is_partial || draft_value(at.section, at.option)->is_wrong ||
           (at.section->table == options_service && d->is_astray[at.option - options_service]);
}

static void set_one(const struct draft *d, struct draft_place at, void *base)
{
    const struct draft_value *v = draft_value(at.section, at.option);
    const char *text = v->text ? v->text : at.option->initial;
    char why[VALUE_WHY_MAX], allowed[VALUE_WHY_MAX];

    if (!text && !was_meant(d, at))
        draft_error(d, at, "is missing; give it %s",
                    value_allowed(at.option, allowed, sizeof(allowed)));
    else if (text && !value_set(at.option, base, text, why, sizeof(why)))
        tell_faults(d, at, text, why);
}

static void set_all(const struct draft *d, struct draft_section *s, void *base,
                    struct conf_lines *lines)
{
    for (const struct option *o = s->table; o->key; o++) {
        const struct draft_value *v = draft_value(s, o);

        set_one(d, (struct draft_place){s, o}, base);
        if (lines)
            lines->at[o - s->table] = v->text ? v->line : s->line;
    }
}

/* The cores that we may run on, which in a container are fewer than there are. */
static unsigned count_cores(void)
{
    const struct option *workers = option_find(options_daemon, "workers");
    cpu_set_t set;
    unsigned n = 1;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = (unsigned)CPU_COUNT(&set);
    return n < workers->max ? n : (unsigned)workers->max;
}

/* Spells out the cipher list that "default" means. False: out of memory. */
static bool settle_ciphers(struct conf_service *s)
{
    if (!s->ciphers || strcmp(s->ciphers, "default") != 0)
        return true;
    free(s->ciphers);
    s->ciphers = strdup(s->min_version == CONF_DTLS10 ? old_device_ciphers : default_ciphers);
    return s->ciphers != NULL;
}

/* Two sessions of one identity could not both have its address. */
static void settle_identities(struct conf_service *s, struct draft_section *section)
{
    const struct option *o = option_find(options_service, "max-sessions-per-identity");

    if (s->source_by == CONF_SOURCE_BY_IDENTITY && !draft_value(section, o)->text)
        s->max_sessions_per_identity = 1;
}

/* The suites that its string selects, of those that any service could offer. */
static bool settle_suites(const struct draft *d, struct draft_section *section,
                          struct conf_policy *p)
{
    const struct tlsctx_params params = {.ciphers = p->ciphers, .old_devices = true};
    const struct draft_place at = {section, option_find(options_identity, "ciphers")};
    char suites[SUITES_MAX], why[VALUE_WHY_MAX], shown[SHOWN_MAX];

    if (!p->ciphers)
        return true;
    if (tlsctx_select(&params, suites, sizeof(suites), why, sizeof(why))) {
        p->suites = strdup(suites);
        return p->suites != NULL;
    }
    draft_error(d, at, "\"%s\" %s",
                bytes_escape(shown, sizeof(shown), p->ciphers, strlen(p->ciphers)), why);
    return true;
}

/* Behind the services, whose names its own may begin with. */
static bool fill_policies(struct conf *c, struct draft *d)
{
    c->policy = calloc(d->identity_count + 1, sizeof(*c->policy));
    if (!c->policy)
        return false;
    for (size_t i = 0; i < d->identity_count; i++) {
        struct conf_policy *p = &c->policy[c->policy_count++];

        set_all(d, d->identity[i], p, NULL);
        if (!policies_name(p, d->identity[i]->name, c) || !settle_suites(d, d->identity[i], p))
            return false;
    }
    return true;
}

static bool fill(struct conf *c, struct draft *d)
{
    c->service = calloc(d->service_count + 1, sizeof(*c->service));
    if (!c->service)
        return false;
    set_all(d, &d->daemon, &c->daemon, &c->daemon.lines);
    if (c->daemon.workers == 0)
        c->daemon.workers = count_cores();
    for (size_t i = 0; i < d->service_count; i++) {
        struct conf_service *s = &c->service[c->service_count++];

        set_all(d, &d->service[i], s, &s->lines);
        s->line = d->service[i].line;
        s->name = strdup(d->service[i].name);
        if (!s->name || !settle_ciphers(s))
            return false;
        settle_identities(s, &d->service[i]);
    }
    return fill_policies(c, d);
}

/* With a helper the files may well be empty. */
static unsigned leniency_of(const struct conf_service *s)
{
    return (s->allow_weak_keys ? PSK_ALLOW_WEAK : 0u) | (s->psk_helper ? PSK_ALLOW_EMPTY : 0u);
}

/* The key file's own mistakes name its lines; the last word is where the file was named. */
static void load_keys(struct conf *c, const struct draft *d)
{
    for (size_t i = 0; i < c->service_count; i++) {
        const struct draft_place at = {&d->service[i], option_find(options_service, "psk-file")};
        struct conf_service *s = &c->service[i];
        char shown[SHOWN_MAX];

        if (!s->psk_file)
            continue;
        d->errors->at = draft_value(at.section, at.option)->line;
        s->psk = psk_load(s->psk_file, leniency_of(s), d->errors);
        if (!s->psk)
            draft_error(d, at, "\"%s\" cannot be used; cure what is said of it above",
                        bytes_escape(shown, sizeof(shown), s->psk_file, strlen(s->psk_file)));
    }
}

/* Each identity's address, where identities have them. A prefix that is too small, or none at all,
 * has been told of; here only the number of identities is new. */
static void place_identities(struct conf *c, const struct draft *d)
{
    for (size_t i = 0; i < c->service_count; i++) {
        struct conf_service *s = &c->service[i];
        const struct prefix *prefix = prefixes_range(&s->backend_source);
        const struct draft_place at = {&d->service[i],
                                       option_find(options_service, "backend-source")};
        char text[PREFIX_TEXT_MAX];

        if (s->source_by != CONF_SOURCE_BY_IDENTITY || !s->psk || !prefix)
            continue;
        if (prefix_hosts(prefix) < psk_count(s->psk)) {
            draft_error(d, at,
                        "%s has %" PRIu32 " addresses, and psk-file has %zu identities; give a "
                        "larger prefix",
                        prefix_format(prefix, text), prefix_hosts(prefix), psk_count(s->psk));
            continue;
        }
        s->identity_source = source_map_new(prefix, s->psk, s->name);
        if (!s->identity_source)
            draft_error(d, at, "finds no memory for the addresses of the identities");
    }
}

static void clear_service(struct conf_service *s)
{
    for (const struct option *o = options_service; o->key; o++)
        value_clear(o, s);
    free(s->name);
    psk_free(s->psk);
    free(s->identity_source);
    policies_clear(&s->policies);
}

static void clear_policy(struct conf_policy *p)
{
    for (const struct option *o = options_identity; o->key; o++)
        value_clear(o, p);
    free(p->name);
    free(p->service);
    free(p->suites);
}

static void conf_free(struct conf *c)
{
    for (const struct option *o = options_daemon; o->key; o++)
        value_clear(o, &c->daemon);
    for (size_t i = 0; i < c->service_count; i++)
        clear_service(&c->service[i]);
    free(c->service);
    for (size_t i = 0; i < c->policy_count; i++)
        clear_policy(&c->policy[i]);
    free(c->policy);
    free(c);
}

/* Holders see a snapshot as const; its count of references is what they share all the same. */
static struct conf *shared(const struct conf *c)
{
    return (struct conf *)(uintptr_t)c;
}

static const struct conf_service *find_service(const struct conf *c, const char *name)
{
    for (size_t i = 0; i < c->service_count; i++)
        if (strcmp(c->service[i].name, name) == 0)
            return &c->service[i];
    return NULL;
}

/* One section, now and next. */
struct change {
    const struct option *table;
    const char *kind, *name; /* "service.", "coap"; or "daemon", "" */
    const void *now, *next;
    const char *source;
    const struct conf_lines *lines; /* of the next */
};

/* "FILE:LINE", or the file alone, or "command line". */
static const char *place_of(const char *source, unsigned line, char buf[PLACE_MAX])
{
    int n = snprintf(buf, PLACE_MAX, "%s", source);

    if (line > 0 && n < PLACE_MAX)
        snprintf(buf + n, (size_t)(PLACE_MAX - n), ":%u", line);
    return buf;
}

static const char *or_empty(const char *text)
{
    return *text ? text : "empty";
}

static void compare(const struct change *c, struct errors *errors)
{
    char now[VALUE_TEXT_MAX], next[VALUE_TEXT_MAX], place[PLACE_MAX];

    for (const struct option *o = c->table; o->key; o++)
        if (!o->reloadable && !value_same(o, c->now, c->next))
            errors_add(
                errors,
                "%s: %s%s.%s: cannot change while running (now %s, new %s); restart dtlsgate",
                place_of(c->source, c->lines->at[o - c->table], place), c->kind, c->name, o->key,
                or_empty(value_text(o, c->now, now)), or_empty(value_text(o, c->next, next)));
}

void conf_check_reload(const struct conf *running, const struct conf *next, const char *source,
                       struct errors *errors)
{
    char place[PLACE_MAX];

    compare(&(struct change){options_daemon, "daemon", "", &running->daemon, &next->daemon, source,
                             &next->daemon.lines},
            errors);
    for (size_t i = 0; i < running->service_count; i++) {
        const struct conf_service *s = &running->service[i];
        const struct conf_service *other = find_service(next, s->name);

        if (other)
            compare(&(struct change){options_service, "service.", s->name, s, other, source,
                                     &other->lines},
                    errors);
        else
            errors_add(errors, "%s: service.%s: cannot go while running; restart dtlsgate", source,
                       s->name);
    }
    for (size_t i = 0; i < next->service_count; i++)
        if (!find_service(running, next->service[i].name))
            errors_add(errors, "%s: service.%s: cannot be added while running; restart dtlsgate",
                       place_of(source, next->service[i].line, place), next->service[i].name);
}

/* What calls a conf_fn, and for which section. */
struct telling {
    conf_fn fn;
    void *arg;
    char section[64];
};

static void tell_section(const struct telling *t, const struct option *o, const void *base)
{
    char text[VALUE_TEXT_MAX];

    for (; o->key; o++)
        t->fn(t->arg, t->section, o->key, value_text(o, base, text));
}

void conf_each(const struct conf *c, conf_fn fn, void *arg)
{
    struct telling t = {.fn = fn, .arg = arg, .section = "daemon"};

    tell_section(&t, options_daemon, &c->daemon);
    for (size_t i = 0; i < c->service_count; i++) {
        snprintf(t.section, sizeof(t.section), "service %s", c->service[i].name);
        tell_section(&t, options_service, &c->service[i]);
    }
    for (size_t i = 0; i < c->policy_count; i++) {
        snprintf(t.section, sizeof(t.section), "identity %s", c->policy[i].name);
        tell_section(&t, options_identity, &c->policy[i]);
    }
}

/* As INI: a header each time that the section changes. */
struct printing {
    FILE *to;
    char section[64];
};

static void print_key(void *arg, const char *section, const char *key, const char *value)
{
    struct printing *p = arg;

    if (strcmp(p->section, section) != 0) {
        fprintf(p->to, "%s[%s]\n", *p->section ? "\n" : "", section);
        snprintf(p->section, sizeof(p->section), "%s", section);
    }
    fprintf(p->to, "%s =%s%s\n", key, *value ? " " : "", value);
}

void conf_print(const struct conf *c, FILE *to)
{
    struct printing p = {.to = to};

    conf_each(c, print_key, &p);
}

struct conf *conf_ref(const struct conf *c)
{
    __atomic_add_fetch(&shared(c)->references, 1, __ATOMIC_RELAXED);
    return shared(c);
}

void conf_unref(const struct conf *c)
{
    if (c && __atomic_sub_fetch(&shared(c)->references, 1, __ATOMIC_ACQ_REL) == 0)
        conf_free(shared(c));
}

static int by_name(const void *a, const void *b)
{
    const struct conf_service *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static struct conf *build(struct draft *d)
{
    struct conf *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->references = 1;
    if (!fill(c, d)) {
        conf_unref(c);
        return NULL;
    }
    check_settings(c, d);
    load_keys(c, d);
    place_identities(c, d);
    qsort(c->service, c->service_count, sizeof(*c->service), by_name);
    for (size_t i = 0; i < c->service_count; i++)
        if (!policies_resolve(&c->service[i], c)) {
            conf_unref(c);
            return NULL;
        }
    return c;
}

struct conf *conf_load(const struct conf_source *source, struct errors *errors)
{
    unsigned before = errors->count;
    struct conf *c = NULL;
    struct draft d;

    draft_init(&d, source->path, errors);
    if (source->path && !draft_read(&d))
        goto out;
    for (size_t i = 0; i < source->override_count; i++)
        draft_override(&d, source->overrides[i]);
    c = build(&d);
    if (!c)
        errors_add(errors, "out of memory for the settings");
    errors_sort(errors, before);
    if (errors->count != before) {
        conf_unref(c);
        c = NULL;
    }
out:
    draft_clear(&d);
    return c;
}
