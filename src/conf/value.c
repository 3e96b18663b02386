/*
 * value: parsing and printing by type.
 * Never knows which setting it has before it, nor where its text came from.
 */
#include "conf/value.h"

#include "base/addr.h"
#include "base/prefix.h"
#include "conf/backends.h"
#include "conf/date.h"
#include "conf/pieces.h"
#include "conf/probe.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a row's field is, by type. */
union field {
    void *any;
    char **text;
    unsigned *count;
    size_t *size;
    uint64_t *time;
    bool *flag;
    int *choice;
    struct addr *addr;
    struct backends *backends;
    struct prefixes *prefixes;
};

/* An array and its count as they stand in a field; copied in and out, for the field is no such
 * struct to the compiler. */
struct addrs {
    struct addr *list;
    size_t count;
};

struct unit {
    const char *name;
    uint64_t factor;
};

struct reason {
    char *text;
    size_t size;
};

/* The largest first, as printing wants them. */
static const struct unit units_count[] = {{"", 1}, {NULL, 0}};
static const struct unit units_size[] = {
    {"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0}};
/* Printing never comes as far as the bare seconds. */
static const struct unit units_time[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000},
                                         {"ms", 1},       {"", 1000},     {NULL, 0}};

static const struct {
    const char *word;
    bool means;
} flags[] = {{"yes", true},  {"no", false},    {"on", true}, {"off", false},
             {"true", true}, {"false", false}, {"1", true},  {"0", false}};

static union field field_of(const struct option *o, void *base)
{
    return (union field){.any = (char *)base + o->offset};
}

/* For readers, which write nothing through it. */
static union field field_const(const struct option *o, const void *base)
{
    return field_of(o, (void *)(uintptr_t)base);
}

static const struct unit *units_of(const struct option *o)
{
    if (o->type == OPTION_SIZE)
        return units_size;
    return o->type == OPTION_TIME ? units_time : units_count;
}

static const char *number_text(const struct unit *unit, uint64_t v, char *buf, size_t size)
{
    while (v % unit->factor != 0)
        unit++;
    snprintf(buf, size, "%" PRIu64 "%s", v / unit->factor, v ? unit->name : "");
    return buf;
}

static void allowed_number(const struct option *o, char *buf, size_t size)
{
    static const struct {
        const char *what, *hint;
    } words[] = {[OPTION_COUNT] = {"number", ""},
                 [OPTION_SIZE] = {"size", " (k, m or g)"},
                 [OPTION_TIME] = {"time", " (ms, s, m, h or d)"}};
    const struct unit *units = units_of(o);
    char min[32], max[32];

    snprintf(buf, size, "a %s from %s to %s%s%s", words[o->type].what,
             number_text(units, o->min, min, sizeof(min)),
             number_text(units, o->max, max, sizeof(max)), o->zero ? ", or 0" : "",
             words[o->type].hint);
}

static void allowed_choice(const struct option *o, char *buf, size_t size)
{
    size_t used = 0;

    snprintf(buf, size, "%s", "one of ");
    for (size_t i = 0; o->choices[i]; i++) {
        used = strlen(buf);
        snprintf(buf + used, size - used, "%s%s", i ? ", " : "", o->choices[i]);
    }
}

const char *value_allowed(const struct option *o, char *buf, size_t size)
{
    switch (o->type) {
    case OPTION_TEXT:
        snprintf(buf, size, "a text of %" PRIu64 " to %" PRIu64 " bytes", o->min, o->max);
        break;
    case OPTION_PATH:
        snprintf(buf, size, "a path");
        break;
    case OPTION_LOG:
        snprintf(buf, size, "stderr, syslog or an absolute path%s", o->zero ? ", or empty" : "");
        break;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_TIME:
        allowed_number(o, buf, size);
        break;
    case OPTION_BOOL:
        snprintf(buf, size, "yes or no");
        break;
    case OPTION_MODE:
        snprintf(buf, size, "an octal mode from 0000 to %04o", (unsigned)o->max);
        break;
    case OPTION_CHOICE:
        allowed_choice(o, buf, size);
        break;
    case OPTION_ADDR:
        snprintf(buf, size, "numeric ADDR:PORT, or nothing");
        break;
    case OPTION_ADDRS:
        snprintf(buf, size, "numeric ADDR:PORT, up to %" PRIu64 " with commas", o->max);
        break;
    case OPTION_BACKEND:
        snprintf(buf, size, "ADDR:PORT or HOST:PORT%s", o->zero ? ", or nothing" : "");
        break;
    case OPTION_DATE:
        snprintf(buf, size, "a UTC date (2031-12-31, 2031-12-31T12:00:00Z)");
        break;
    case OPTION_BACKENDS:
        snprintf(buf, size, "ADDR:PORT or HOST:PORT, up to %" PRIu64 " with commas", o->max);
        break;
    case OPTION_PROBE:
        snprintf(buf, size, "none or udp:HEX, up to %d with commas", PROBE_DATAGRAMS_MAX);
        break;
    case OPTION_PREFIXES:
        snprintf(buf, size, "addresses or prefixes, up to %" PRIu64 " with commas", o->max);
        break;
    case OPTION_SOURCE:
        snprintf(buf, size, "up to %" PRIu64 " addresses, or one prefix", o->max);
        break;
    }
    return buf;
}

static bool not_allowed(const struct option *o, struct reason why)
{
    int n = snprintf(why.text, why.size, "is not ");

    if (n > 0 && (size_t)n < why.size)
        value_allowed(o, why.text + n, why.size - (size_t)n);
    return false;
}

/* A text must be one that a file can hold: otherwise what is printed would not be read back. */
static const char *fault_of_text(const char *text)
{
    for (const char *s = text; *s; s++) {
        if (iscntrl((unsigned char)*s))
            return "has a control character; leave it out";
        if (*s == ';' && (s == text || s[-1] == ' '))
            return "has a ';' where a file would begin a comment; leave it out";
    }
    if (*text == ' ' || (*text && text[strlen(text) - 1] == ' '))
        return "has a blank at its edge; leave it out";
    return NULL;
}

static bool is_allowed_text(const struct option *o, const char *text)
{
    size_t len = strlen(text);

    if (len < o->min || len > o->max)
        return false;
    if (o->type == OPTION_PROBE)
        return strcmp(text, "none") == 0 || probe_is_valid(text);
    return o->type != OPTION_LOG || *text == '/' || (*text == '\0' && o->zero) ||
           strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0;
}

static bool set_text(const struct option *o, char **field, const char *text, struct reason why)
{
    const char *fault = fault_of_text(text);
    char *copy = NULL;

    if (fault) {
        snprintf(why.text, why.size, "%s", fault);
        return false;
    }
    if (!is_allowed_text(o, text))
        return not_allowed(o, why);
    if (o->type == OPTION_PROBE && strcmp(text, "none") == 0)
        text = "";
    if (*text) {
        copy = strdup(text);
        if (!copy) {
            snprintf(why.text, why.size, "finds no memory");
            return false;
        }
    }
    free(*field);
    *field = copy;
    return true;
}

/* Numbers too large for 64 bits come out as the largest, which no range has. */
static bool parse_number(const struct unit *unit, const char *text, uint64_t *v)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t n = 0;

    while (unit->name && strcasecmp(unit->name, text + digits) != 0)
        unit++;
    if (digits == 0 || !unit->name)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n))
            n = UINT64_MAX;
    if (__builtin_mul_overflow(n, unit->factor, v))
        *v = UINT64_MAX;
    return true;
}

static bool set_number(const struct option *o, union field f, const char *text, struct reason why)
{
    uint64_t v;

    if (!parse_number(units_of(o), text, &v) || v > o->max || (v < o->min && !(v == 0 && o->zero)))
        return not_allowed(o, why);
    if (o->type == OPTION_COUNT)
        *f.count = (unsigned)v;
    else if (o->type == OPTION_SIZE)
        *f.size = (size_t)v;
    else
        *f.time = v;
    return true;
}

/* strtoul() would take signs and blanks as well. */
static bool set_mode(const struct option *o, unsigned *field, const char *text, struct reason why)
{
    size_t digits = strspn(text, "01234567");
    unsigned long v;

    if (digits < 3 || digits > 4 || text[digits] != '\0')
        return not_allowed(o, why);
    v = strtoul(text, NULL, 8);
    if (v > o->max)
        return not_allowed(o, why);
    *field = (unsigned)v;
    return true;
}

static bool set_flag(const struct option *o, bool *field, const char *text, struct reason why)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        if (strcasecmp(flags[i].word, text) == 0) {
            *field = flags[i].means;
            return true;
        }
    return not_allowed(o, why);
}

static bool set_choice(const struct option *o, int *field, const char *text, struct reason why)
{
    for (int i = 0; o->choices[i]; i++)
        if (strcmp(o->choices[i], text) == 0) {
            *field = i;
            return true;
        }
    return not_allowed(o, why);
}

static bool parse_addr(const char *piece, size_t len, struct addr *out, struct reason why)
{
    char one[ADDR_TEXT_MAX];

    if (len < sizeof(one)) {
        memcpy(one, piece, len);
        one[len] = '\0';
        if (addr_parse(out, one))
            return true;
    }
    pieces_blame(why.text, why.size, piece, len,
                 "is not numeric ADDR:PORT such as 0.0.0.0:5684 or [::]:5684");
    return false;
}

static bool set_addr(struct addr *field, const char *text, struct reason why)
{
    struct addr got = {.family = 0};
    const char *piece;
    size_t len;

    if (*text && pieces_next(&text, &piece, &len) && !parse_addr(piece, len, &got, why))
        return false;
    if (got.family && text) {
        snprintf(why.text, why.size, "has a comma; write one address");
        return false;
    }
    *field = got;
    return true;
}

static struct addrs load_addrs(const void *field)
{
    struct addrs a;

    memcpy(&a, field, sizeof(a));
    return a;
}

static bool set_addrs(const struct option *o, void *field, const char *text, struct reason why)
{
    struct addrs got = {NULL, 0};
    const char *piece;
    bool is_good = true;
    size_t room = 1, len;

    for (const char *s = text; *s; s++)
        room += *s == ',';
    if (room > o->max)
        return not_allowed(o, why);
    got.list = calloc(room, sizeof(*got.list));
    if (!got.list) {
        snprintf(why.text, why.size, "finds no memory");
        return false;
    }
    while (pieces_next(&text, &piece, &len)) {
        is_good &= parse_addr(piece, len, &got.list[got.count], why);
        got.count++;
    }
    if (!is_good) {
        free(got.list);
        return false;
    }
    free(load_addrs(field).list);
    memcpy(field, &got, sizeof(got));
    return true;
}

static bool set_backend(const struct option *o, struct addr *field, const char *text,
                        struct reason why)
{
    if (*text || !o->zero)
        return backends_parse_one(field, text, why.text, why.size);
    memset(field, 0, sizeof(*field));
    return true;
}

static bool set_date(const struct option *o, uint64_t *field, const char *text, struct reason why)
{
    uint64_t got = 0;

    if (*text && !date_parse(text, &got))
        return not_allowed(o, why);
    *field = got;
    return true;
}

/* All that is wrong in a list of which something is. */
static bool blame_prefixes(const char *text, struct reason why)
{
    const char *piece;
    size_t len;

    while (pieces_next(&text, &piece, &len)) {
        char one[PREFIX_TEXT_MAX];
        struct prefix ignored;

        snprintf(one, sizeof(one), "%.*s", (int)(len < sizeof(one) ? len : 0), piece);
        if (!prefix_parse(&ignored, one))
            pieces_blame(why.text, why.size, piece, len,
                         "is no address or prefix; write 10.0.0.0/8 or 2001:db8::/32");
    }
    return false;
}

static bool set_prefixes(const struct option *o, struct prefixes *field, const char *text,
                         struct reason why)
{
    struct prefixes got = {0};
    const char *fault;
    size_t len;

    if (!prefixes_parse(&got, text, &fault, &len))
        return blame_prefixes(text, why);
    if (got.count > o->max) {
        prefixes_clear(&got);
        return not_allowed(o, why);
    }
    prefixes_clear(field);
    *field = got;
    return true;
}

bool value_set(const struct option *o, void *base, const char *text, char *why, size_t why_size)
{
    union field f = field_of(o, base);
    struct reason reason = {why, why_size};

    *why = '\0';
    switch (o->type) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_LOG:
    case OPTION_PROBE:
        return set_text(o, f.text, text, reason);
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_TIME:
        return set_number(o, f, text, reason);
    case OPTION_BOOL:
        return set_flag(o, f.flag, text, reason);
    case OPTION_MODE:
        return set_mode(o, f.count, text, reason);
    case OPTION_CHOICE:
        return set_choice(o, f.choice, text, reason);
    case OPTION_ADDR:
        return set_addr(f.addr, text, reason);
    case OPTION_ADDRS:
        return set_addrs(o, f.any, text, reason);
    case OPTION_BACKEND:
        return set_backend(o, f.addr, text, reason);
    case OPTION_BACKENDS:
        return backends_parse(f.backends, text, why, why_size);
    case OPTION_DATE:
        return set_date(o, f.time, text, reason);
    case OPTION_PREFIXES:
    case OPTION_SOURCE:
        return set_prefixes(o, f.prefixes, text, reason);
    }
    assert(!"a type without a parser");
    return false;
}

static void addrs_text(struct addrs a, char *buf, size_t size)
{
    char one[ADDR_TEXT_MAX];
    size_t used = 0;

    *buf = '\0';
    for (size_t i = 0; i < a.count && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
                                 addr_format(&a.list[i], one));
}

static void prefixes_text(const struct prefixes *p, char *buf, size_t size)
{
    char one[PREFIX_TEXT_MAX];
    size_t used = 0;

    *buf = '\0';
    for (size_t i = 0; i < p->count && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
                                 prefix_format(&p->list[i], one));
}

const char *value_text(const struct option *o, const void *base, char buf[VALUE_TEXT_MAX])
{
    union field f = field_const(o, base);
    const size_t size = VALUE_TEXT_MAX;

    switch (o->type) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_LOG:
        snprintf(buf, size, "%s", *f.text ? *f.text : "");
        break;
    case OPTION_COUNT:
        number_text(units_count, *f.count, buf, size);
        break;
    case OPTION_SIZE:
        number_text(units_size, *f.size, buf, size);
        break;
    case OPTION_TIME:
        number_text(units_time, *f.time, buf, size);
        break;
    case OPTION_BOOL:
        snprintf(buf, size, "%s", *f.flag ? "yes" : "no");
        break;
    case OPTION_MODE:
        snprintf(buf, size, "%04o", *f.count);
        break;
    case OPTION_CHOICE:
        snprintf(buf, size, "%s", o->choices[*f.choice]);
        break;
    case OPTION_ADDR:
        addrs_text((struct addrs){f.addr, f.addr->family != 0}, buf, size);
        break;
    case OPTION_ADDRS:
        addrs_text(load_addrs(f.any), buf, size);
        break;
    case OPTION_PROBE:
        snprintf(buf, size, "%s", *f.text ? *f.text : "none");
        break;
    case OPTION_BACKEND:
        addrs_text((struct addrs){f.addr, f.addr->family != 0}, buf, size);
        break;
    case OPTION_DATE:
        date_text(*f.time, buf);
        break;
    case OPTION_BACKENDS:
        backends_format(f.backends, buf, size);
        break;
    case OPTION_PREFIXES:
    case OPTION_SOURCE:
        prefixes_text(f.prefixes, buf, size);
        break;
    }
    return buf;
}

bool value_same(const struct option *o, const void *a, const void *b)
{
    char text_a[VALUE_TEXT_MAX], text_b[VALUE_TEXT_MAX];

    return strcmp(value_text(o, a, text_a), value_text(o, b, text_b)) == 0;
}

void value_clear(const struct option *o, void *base)
{
    union field f = field_of(o, base);

    switch (o->type) {
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_LOG:
    case OPTION_PROBE:
        free(*f.text);
        *f.text = NULL;
        break;
    case OPTION_ADDRS:
        free(load_addrs(f.any).list);
        memset(f.any, 0, sizeof(struct addrs));
        break;
    case OPTION_BACKENDS:
        backends_clear(f.backends);
        break;
    case OPTION_PREFIXES:
    case OPTION_SOURCE:
        prefixes_clear(f.prefixes);
        break;
    default:
        break;
    }
}
