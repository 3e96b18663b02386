/*
 * backends: from text to a list and back. See the header.
 * Never knows what the list is for.
 */
#include "conf/backends.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t"
#define ENTRY_MAX 320  /* a name of 253 bytes, a port and all that may follow */
#define ENTRY_SHOWN 80 /* of one that is wrong */
#define TEXT_MAX 4096  /* of all; the longest text that a list becomes is a blank each longer */
#define WHY_MAX 256

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

/* One more line of what is wrong; what there is no room for is left out whole. */
static bool blame(char *why, size_t why_size, const char *entry, const char *reason)
{
    char shown[4 * ENTRY_SHOWN + 1];
    size_t used = strlen(why);
    int n =
        snprintf(why + used, why_size - used, "%s\"%s\" %s", used > 0 ? "\n" : "",
                 bytes_escape(shown, sizeof(shown), entry, strnlen(entry, ENTRY_SHOWN)), reason);

    if (used > 0 && (size_t)n >= why_size - used)
        why[used] = '\0';
    return false;
}

/* One entry of `len` bytes. */
static bool add_entry(struct backends *to, const char *text, size_t len, char *why, size_t why_size)
{
    char entry[ENTRY_MAX], whole[ENTRY_MAX], reason[WHY_MAX];
    struct backend *b = &to->list[to->count];

    while (len > 0 && strchr(BLANKS, *text) != NULL) {
        text++;
        len--;
    }
    while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
        len--;
    snprintf(whole, sizeof(whole), "%.*s", (int)(len < ENTRY_MAX ? len : ENTRY_MAX), text);
    if (len >= sizeof(entry))
        return blame(why, why_size, whole, "is too long for HOST:PORT");
    memcpy(entry, whole, len + 1);
    if (!parse_entry(b, entry, reason, sizeof(reason)))
        return blame(why, why_size, whole, reason);
    if (backends_find(to, &b->addr) == NULL) {
        to->count++;
        return true;
    }
    free(b->name);
    return blame(why, why_size, whole, "stands there twice; leave one out");
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
    struct backends got = {0};
    size_t room = 1;
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
    for (const char *next = text; next != NULL;) {
        size_t len = strcspn(next, ",");
        ok = add_entry(&got, next, len, why, why_size) && ok;
        next = next[len] == ',' ? next + len + 1 : NULL;
    }
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
