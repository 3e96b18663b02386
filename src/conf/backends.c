/*
 * backends: from text to a list and back. See the header.
 * Never knows what the list is for.
 */
#include "conf/backends.h"

#include "conf/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"
#define ENTRY_MAX 320 /* a name of 253 bytes, a port and all that may follow */
#define TEXT_MAX 4096 /* of all; the longest text that a list becomes is a blank each longer */
#define WHY_MAX 256

/* What is wrong, a line each; room for `size` bytes. */
struct reasons {
    char *why;
    size_t size;
};

static bool fail(char *why, size_t size, const char *text)
{
    snprintf(why, size, "%s", text);
    return false;
}

bool backends_parse_one(struct addr *out, const char *text, char *why, size_t why_size)
{
    struct addr got = {0};

    if (!addr_resolve(&got, text, why, why_size))
        return false;
    if (got.port == 0)
        return fail(why, why_size, "has port 0; write the port that the service listens on");
    if (addr_is_wildcard(&got))
        return fail(why, why_size, "is no address to send to; write 127.0.0.1 for this host");
    *out = got;
    return true;
}

static bool parse_weight(unsigned *out, const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned n = 0;

    if (digits == 0 || digits > 3 || text[digits] != '\0')
        return false;
    for (size_t i = 0; i < digits; i++)
        n = 10 * n + (unsigned)(text[i] - '0');
    *out = n;
    return n >= 1 && n <= BACKENDS_WEIGHT_MAX;
}

static bool parse_word(struct backend *b, const char *word)
{
    if (strcmp(word, "backup") == 0)
        b->is_backup = true;
    else if (strcmp(word, "drain") == 0)
        b->is_drained = true;
    else
        return strncmp(word, "weight=", 7) == 0 && parse_weight(&b->weight, word + 7);
    return true;
}

/* Everything behind the address is read first: a slip there must not wait for a name's lookup. */
static bool parse_entry(struct backend *b, char *entry, char *why, size_t why_size)
{
    struct addr numeric;
    char *rest, *word;
    char *place = strtok_r(entry, BLANKS, &rest);

    *b = (struct backend){.weight = 1};
    if (place == NULL)
        return fail(why, why_size, "is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT");
    while ((word = strtok_r(NULL, BLANKS, &rest)) != NULL)
        if (!parse_word(b, word))
            return fail(why, why_size,
                        "has a word that is none of weight=1 to weight=100, backup and drain");
    if (!backends_parse_one(&b->addr, place, why, why_size))
        return false;
    if (addr_parse(&numeric, place))
        return true;
    b->name = strdup(place);
    return b->name != NULL || fail(why, why_size, "finds no memory");
}

static bool blame(struct reasons *r, const char *piece, size_t len, const char *fault)
{
    pieces_blame(r->why, r->size, piece, len, fault);
    return false;
}

/* One entry of `len` bytes. */
static bool add_entry(struct backends *to, const char *text, size_t len, struct reasons *r)
{
    char entry[ENTRY_MAX], fault[WHY_MAX];
    struct backend *b = &to->list[to->count];

    if (len >= sizeof(entry))
        return blame(r, text, len, "is too long for HOST:PORT");
    memcpy(entry, text, len);
    entry[len] = '\0';
    if (!parse_entry(b, entry, fault, sizeof(fault)))
        return blame(r, text, len, fault);
    if (backends_find(to, &b->addr) == NULL) {
        to->count++;
        return true;
    }
    free(b->name);
    return blame(r, text, len, "stands there twice; leave one out");
}

static bool has_a_first(const struct backends *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (!b->list[i].is_backup)
            return true;
    return false;
}

bool backends_parse(struct backends *out, const char *text, char *why, size_t why_size)
{
    struct reasons reasons = {why, why_size};
    struct backends got = {0};
    const char *entry;
    size_t room = 1, len;
    bool ok = true;

    for (const char *s = text; *s != '\0'; s++)
        room += *s == ',';
    if (room > BACKENDS_MAX || strlen(text) > TEXT_MAX) {
        snprintf(why, why_size, "has too many entries; give up to %d", BACKENDS_MAX);
        return false;
    }
    got.list = calloc(room, sizeof(*got.list));
    if (got.list == NULL)
        return fail(why, why_size, "finds no memory");
    *why = '\0';
    while (pieces_next(&text, &entry, &len))
        ok = add_entry(&got, entry, len, &reasons) && ok;
    if (ok && !has_a_first(&got))
        ok = fail(why, why_size, "has backups alone; leave the word out behind one");
    if (!ok) {
        backends_clear(&got);
        return false;
    }
    backends_clear(out);
    *out = got;
    return true;
}

const char *backends_format(const struct backends *b, char *buf, size_t size)
{
    char text[ADDR_TEXT_MAX], weight[24];
    size_t used = 0;

    *buf = '\0';
    for (size_t i = 0; i < b->count && used < size; i++) {
        const struct backend *one = &b->list[i];
        snprintf(weight, sizeof(weight), " weight=%u", one->weight);
        used += (size_t)snprintf(buf + used, size - used, "%s%s%s%s%s", i > 0 ? ", " : "",
                                 one->name != NULL ? one->name : addr_format(&one->addr, text),
                                 one->weight != 1 ? weight : "", one->is_backup ? " backup" : "",
                                 one->is_drained ? " drain" : "");
    }
    return buf;
}

void backends_clear(struct backends *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->list[i].name);
    free(b->list);
    *b = (struct backends){0};
}

const struct backend *backends_find(const struct backends *b, const struct addr *a)
{
    for (size_t i = 0; i < b->count; i++)
        if (addr_equal(&b->list[i].addr, a))
            return &b->list[i];
    return NULL;
}

const struct backend *backends_misfit(const struct backends *b, int family)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->list[i].addr.family != family)
            return &b->list[i];
    return NULL;
}
