/*
 * draft: sorts what is given into sections and rows; finds what is unknown or given twice.
 * Never knows what a value means.
 */
#include "conf/draft.h"

#include "base/bytes.h"
#include "base/glob.h"
#include "conf/ini.h"
#include "conf/spell.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_NAME_MAX 32
#define SHOWN_MAX 200        /* of a foreign word in a message */
#define IDENTITY_NAME_MAX 39 /* what a header has room for */
#define LABEL_MAX (4 * IDENTITY_NAME_MAX + INI_NAME_MAX + 16)
#define MESSAGE_MAX 1024

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

_Static_assert(sizeof("identity ") - 1 + IDENTITY_NAME_MAX == INI_NAME_MAX, "a header's room");

/* Where reading a file stands. */
struct cursor {
    struct draft *draft;
    struct draft_section *section; /* NULL: under a header that was wrong */
    unsigned told;                 /* errors that are ours, and not the file's form */
};

void draft_init(struct draft *d, const char *path, struct errors *errors)
{
    memset(d, 0, sizeof(*d));
    d->path = path;
    d->errors = errors;
    d->daemon.table = options_daemon;
    hash_key_init(&d->key);
}

static void clear_section(struct draft_section *s)
{
    for (size_t i = 0; i < OPTIONS_MAX; i++)
        free(s->value[i].text);
    free(s->name);
}

void draft_clear(struct draft *d)
{
    clear_section(&d->daemon);
    for (size_t i = 0; i < d->service_count; i++)
        clear_section(&d->service[i]);
    free(d->service);
    for (size_t i = 0; i < d->identity_count; i++) {
        clear_section(d->identity[i]);
        free(d->identity[i]);
    }
    free(d->identity);
    table_clear(&d->identities);
}

struct draft_value *draft_value(struct draft_section *s, const struct option *o)
{
    return &s->value[o - s->table];
}

/* "FILE:LINE: " or "command line: ". */
static void add_error(const struct draft *d, unsigned line, const char *subject, const char *text)
{
    d->errors->at = line;
    if (line > 0)
        errors_add(d->errors, "%s:%u: %s: %s", d->path, line, subject, text);
    else
        errors_add(d->errors, "command line: %s: %s", subject, text);
}

static const char *kind_of(const struct draft_section *s)
{
    if (s->table == options_daemon)
        return "daemon";
    return s->table == options_service ? "service." : "identity.";
}

/* Of "service.coap.mtu" all but what is asked for. An identity may be made of any bytes. */
static const char *label_of(const struct draft_section *s, const char *key, char buf[LABEL_MAX])
{
    const char *name = s->name ? s->name : "";
    char shown[4 * IDENTITY_NAME_MAX + 1];

    snprintf(buf, LABEL_MAX, "%s%s%s%s", kind_of(s),
             bytes_escape(shown, sizeof(shown), name, strlen(name)), key ? "." : "",
             key ? key : "");
    return buf;
}

void draft_error(const struct draft *d, struct draft_place at, const char *format, ...)
{
    struct draft_value *v = at.option ? draft_value(at.section, at.option) : NULL;
    char label[LABEL_MAX], text[MESSAGE_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (v)
        v->is_wrong = true;
    add_error(d, v && v->text ? v->line : at.section->line,
              label_of(at.section, at.option ? at.option->key : NULL, label), text);
}

static struct draft_section *find_service(const struct draft *d, const char *name)
{
    for (size_t i = 0; i < d->service_count; i++)
        if (strcmp(d->service[i].name, name) == 0)
            return &d->service[i];
    return NULL;
}

static struct draft_section *add_service(struct draft *d, const char *name, unsigned line)
{
    struct draft_section *grown =
        reallocarray(d->service, d->service_count + 1, sizeof(*d->service));
    char *copy = strdup(name);

    if (grown)
        d->service = grown;
    if (!grown || !copy) {
        free(copy);
        add_error(d, line, name, "finds no memory");
        return NULL;
    }
    grown += d->service_count++;
    *grown = (struct draft_section){.table = options_service, .name = copy, .line = line};
    return grown;
}

static bool is_service_name(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= SERVICE_NAME_MAX && strspn(name, name_letters) == len;
}

static struct draft_section *service_of(struct draft *d, const char *name, unsigned line,
                                        const char *shown)
{
    struct draft_section *s;

    if (!is_service_name(name)) {
        add_error(d, line, shown,
                  "needs a name of 1 to 32 letters, digits, '-' or '_', as in [service coap]");
        return NULL;
    }
    s = find_service(d, name);
    return s ? s : add_service(d, name, line);
}

/* What a header of a file can hold, so that what is printed can be read back. */
static bool is_identity_name(const char *name)
{
    size_t len = strlen(name);

    for (const char *s = name; *s; s++)
        if (iscntrl((unsigned char)*s) || *s == ']' || (*s == ';' && s > name && s[-1] == ' '))
            return false;
    return len >= 1 && len <= IDENTITY_NAME_MAX && name[len - 1] != ' ' && glob_is_whole(name);
}

static bool has_name(const struct table_link *link, const void *arg)
{
    return strcmp(table_entry(link, const struct draft_section, link)->name, arg) == 0;
}

static struct draft_section *make_identity(struct draft *d, const char *name, unsigned line)
{
    struct draft_section **grown =
        reallocarray(d->identity, d->identity_count + 1, sizeof(struct draft_section *));
    struct draft_section *s = calloc(1, sizeof(*s));

    if (grown)
        d->identity = grown;
    if (grown && s && (d->identities.size > 0 || table_init(&d->identities, 0)))
        s->name = strdup(name);
    if (!s || !s->name) {
        free(s);
        add_error(d, line, "identity", "finds no memory");
        return NULL;
    }
    s->table = options_identity;
    s->line = line;
    d->identity[d->identity_count++] = s;
    table_insert(&d->identities, &s->link, siphash64(&d->key, name, strlen(name)));
    return s;
}

static struct draft_section *identity_of(struct draft *d, const char *name, unsigned line,
                                         const char *shown)
{
    struct table_link *link;

    if (!is_identity_name(name)) {
        add_error(d, line, shown,
                  "needs a pattern of 1 to 39 bytes, as in [identity meter-*]; '*' stands for any "
                  "bytes, '?' for one, a backslash takes the next as it is");
        return NULL;
    }
    link = d->identities.size == 0
               ? NULL
               : table_find(&d->identities, siphash64(&d->key, name, strlen(name)), has_name, name);
    return link ? table_entry(link, struct draft_section, link) : make_identity(d, name, line);
}

static void unknown_section(const struct draft *d, const char *kind, unsigned line,
                            const char *shown)
{
    if (spell_near("daemon", kind))
        add_error(d, line, shown, "unknown section; did you mean [daemon]?");
    else if (spell_near("service", kind))
        add_error(d, line, shown, "unknown section; did you mean [service NAME]?");
    else if (spell_near("identity", kind))
        add_error(d, line, shown, "unknown section; did you mean [identity PATTERN]?");
    else
        add_error(d, line, shown,
                  "unknown section; there are [daemon], [service NAME] and [identity PATTERN]");
}

static bool is_word(const char *title, size_t len, const char *word)
{
    return len == strlen(word) && strncmp(title, word, len) == 0;
}

/* The section that `title` ("daemon", or "service" or "identity" with `divider` and a name) stands
 * for, made when it is new. NULL: an error told why. */
static struct draft_section *section_of(struct draft *d, const char *title, char divider,
                                        unsigned line)
{
    const char *name = strchrnul(title, divider);
    size_t word = (size_t)(name - title);
    char shown[SHOWN_MAX], kind[16];

    bytes_escape(shown, sizeof(shown), title, strlen(title));
    if (strcmp(title, "daemon") == 0)
        return &d->daemon;
    name += strspn(name, (char[]){divider, '\0'});
    if (is_word(title, word, "service"))
        return service_of(d, name, line, shown);
    if (is_word(title, word, "identity"))
        return identity_of(d, name, line, shown);
    snprintf(kind, sizeof(kind), "%.*s", (int)(word < sizeof(kind) ? word : 0), title);
    unknown_section(d, kind, line, shown);
    return NULL;
}

/* Where a key belongs that is none of its section's, or NULL. */
static const char *home_of(const char *key)
{
    if (option_find(options_daemon, key))
        return "[daemon]";
    if (option_find(options_service, key))
        return "a [service NAME]";
    return option_find(options_identity, key) ? "an [identity PATTERN]" : NULL;
}

/* The row that is meant, if any is: that of the key's first word, where a '=' may be missing. */
static const struct option *near_to(const struct draft_section *s, const char *key)
{
    char word[INI_NAME_MAX + 1];
    const struct option *first;

    snprintf(word, sizeof(word), "%.*s", (int)strcspn(key, " \t"), key);
    first = option_find(s->table, word);
    return first ? first : option_near(s->table, key);
}

static void unknown_key(struct draft *d, struct draft_section *s, const char *key, unsigned line)
{
    const struct option *near = near_to(s, key);
    const struct option *astray = option_find(options_service, key);
    const char *home = home_of(key);
    char shown[INI_NAME_MAX * 4 + 1], label[sizeof(shown) + LABEL_MAX], text[MESSAGE_MAX];
    char section[LABEL_MAX];

    bytes_escape(shown, sizeof(shown), key, strlen(key));
    snprintf(label, sizeof(label), "%s.%s", label_of(s, NULL, section), shown);
    if (home)
        snprintf(text, sizeof(text), "unknown key here; it belongs into %s", home);
    else if (near)
        snprintf(text, sizeof(text), "unknown key; did you mean %s?", near->key);
    else
        snprintf(text, sizeof(text), "unknown key; dtlsgate.ini(5) tells which there are");
    add_error(d, line, label, text);
    if (astray)
        d->is_astray[astray - options_service] = true;
    if (near && !home)
        draft_value(s, near)->is_wrong = true;
}

static void put(const struct draft *d, struct draft_place at, const char *text, unsigned line)
{
    struct draft_value *v = draft_value(at.section, at.option);
    char *copy = strdup(text);

    if (!copy) {
        draft_error(d, at, "finds no memory");
        return;
    }
    free(v->text);
    v->text = copy;
    v->line = line;
}

static void on_header(struct cursor *c, const struct ini_item *item)
{
    struct draft *d = c->draft;
    struct draft_section *s = section_of(d, item->section, ' ', item->line);
    char text[MESSAGE_MAX], label[LABEL_MAX];

    c->section = s;
    if (!s)
        return;
    if (s->line == 0)
        s->line = item->line;
    if (s->line == item->line)
        return;
    snprintf(text, sizeof(text), "second section of this name, the first is in line %u; join them",
             s->line);
    add_error(d, item->line, label_of(s, NULL, label), text);
    s->is_partial = true;
    c->section = NULL;
}

static void on_key(struct cursor *c, const struct ini_item *item)
{
    struct draft_place at = {.section = c->section};
    struct draft *d = c->draft;
    struct draft_value *v;
    char text[MESSAGE_MAX], label[LABEL_MAX];

    if (*item->section == '\0' && !c->section) {
        d->errors->at = item->line;
        errors_add(d->errors,
                   "%s:%u: this line stands before the first section; write [daemon] or "
                   "[service NAME] above it",
                   d->path, item->line);
        return;
    }
    if (!c->section)
        return;
    at.option = option_find(at.section->table, item->key);
    if (!at.option) {
        unknown_key(d, at.section, item->key, item->line);
        return;
    }
    v = draft_value(at.section, at.option);
    if (!v->text) {
        put(d, at, item->value, item->line);
        return;
    }
    snprintf(text, sizeof(text), "given twice, first in line %u; keep one", v->line);
    add_error(d, item->line, label_of(at.section, item->key, label), text);
}

static void take_item(struct cursor *c, const struct ini_item *item)
{
    if (item->key)
        on_key(c, item);
    else
        on_header(c, item);
}

static void on_item(const struct ini_item *item, void *arg)
{
    struct cursor *c = arg;
    unsigned before = c->draft->errors->count;

    take_item(c, item);
    c->told += c->draft->errors->count - before;
    if (!c->section)
        c->draft->is_partial = true;
}

bool draft_read(struct draft *d)
{
    struct cursor c = {.draft = d};
    unsigned before = d->errors->count;

    if (!ini_read(d->path, on_item, &c, d->errors))
        return false;
    d->is_partial |= d->errors->count - before > c.told; /* lines that were none */
    return true;
}

void draft_override(struct draft *d, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    const char *dot = equals ? memrchr(assignment, '.', (size_t)(equals - assignment)) : NULL;
    struct draft_place at = {NULL, NULL};
    char shown[SHOWN_MAX], section[SHOWN_MAX], key[INI_NAME_MAX + 1];

    if (!dot || (size_t)(dot - assignment) >= sizeof(section) ||
        (size_t)(equals - dot) > sizeof(key)) {
        bytes_escape(shown, sizeof(shown), assignment, strlen(assignment));
        d->errors->at = 0;
        errors_add(d->errors,
                   "command line: \"%s\" is not SECTION.KEY=VALUE, such as daemon.workers=2",
                   shown);
        return;
    }
    snprintf(section, sizeof(section), "%.*s", (int)(dot - assignment), assignment);
    snprintf(key, sizeof(key), "%.*s", (int)(equals - dot - 1), dot + 1);
    at.section = section_of(d, section, '.', 0);
    if (!at.section)
        return;
    at.option = option_find(at.section->table, key);
    if (at.option)
        put(d, at, equals + 1, 0);
    else
        unknown_key(d, at.section, key, 0);
}
