/*
 * psk: reads files of identities and keys into one arena and one table.
 * It must never know who asks or why, and never let a key into a message.
 */
#include "dtls/psk.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/secret.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A device's EUI-64 has 16 hex digits; what has more in a row may be a key in the wrong place.
     */
    SHOWN_HEX_MAX = 16,
    WHY_SIZE = 128,
    PLACE_SIZE = 512,
};

/* A file, and how many lines stand before its first. */
struct source {
    char *name;
    uint32_t before;
};

struct psk_set {
    struct psk *entries;
    _Atomic uint32_t *sessions; /* of each entry; the one thing here that changes */
    size_t count;
    uint64_t *ends;  /* of each entry, ms since 1970; 0: none. NULL: none has one */
    uint32_t *slots; /* open addressing, linear probing; an entry's index + 1, or 0 */
    size_t slot_mask;
    struct secret arena; /* identities and keys, end to end */
    size_t arena_used;
    struct source *sources;
    size_t source_count;
    struct hash_key table_key;
    struct hash_key decoy_key[2]; /* one for each half of a decoy */
};

struct span {
    const char *at;
    size_t len;
};

struct loader {
    struct psk_set *set;
    const char *name;
    uint32_t line;   /* of this file */
    uint32_t before; /* lines of those before */
    size_t key_min;
    struct errors *errors;
};

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Also finds a key written as 00:11:22... */
static bool may_hold_key(struct span text)
{
    size_t run = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (is_hex(text.at[i]))
            run++;
        else if (text.at[i] != ':' && text.at[i] != '-' && !is_blank(text.at[i]))
            run = 0;
        if (run > SHOWN_HEX_MAX)
            return true;
    }
    return false;
}

static void complain(struct loader *l, struct span identity, const char *what)
{
    char shown[4 * PSK_IDENTITY_MAX + 1];

    if (may_hold_key(identity)) {
        errors_add(l->errors, "%s:%u: identity (not shown, it may hold a key): %s", l->name,
                   l->line, what);
        return;
    }
    bytes_escape(shown, sizeof shown, identity.at, identity.len);
    errors_add(l->errors, "%s:%u: identity \"%s\": %s", l->name, l->line, shown, what);
}

static void complain_of_key(struct loader *l, struct span identity, struct span hex)
{
    char what[WHY_SIZE];
    const char *even = hex.len % 2 != 0 ? "an even number, " : "";
    size_t digits = 0;

    while (digits < hex.len && is_hex(hex.at[digits]))
        digits++;
    if (digits < hex.len)
        snprintf(what, sizeof what,
                 "key has a character that is no hex digit; write %zu to %d hex digits",
                 2 * l->key_min, 2 * PSK_KEY_MAX);
    else
        snprintf(what, sizeof what, "key has %zu hex digits; write %s%zu to %d", digits, even,
                 2 * l->key_min, 2 * PSK_KEY_MAX);
    complain(l, identity, what);
}

static bool is_identity_fit(struct loader *l, struct span identity)
{
    char what[WHY_SIZE];

    if (identity.len == 0) {
        errors_add(l->errors, "%s:%u: no identity before the colon; write 1 to %d bytes", l->name,
                   l->line, PSK_IDENTITY_MAX);
        return false;
    }
    if (identity.len > PSK_IDENTITY_MAX) {
        snprintf(what, sizeof what, "has %zu bytes; write 1 to %d", identity.len, PSK_IDENTITY_MAX);
        complain(l, identity, what);
        return false;
    }
    if (memchr(identity.at, 0, identity.len) != NULL) {
        complain(l, identity, "has a NUL byte; write it without");
        return false;
    }
    return true;
}

/* The slot that holds the identity, or the empty one where it belongs. At most half are taken. */
static uint32_t *find_slot(const struct psk_set *set, const void *identity, size_t len)
{
    size_t i = siphash64(&set->table_key, identity, len) & set->slot_mask;

    while (set->slots[i] != 0) {
        const struct psk *entry = &set->entries[set->slots[i] - 1];
        if (entry->identity_len == len && memcmp(entry->identity, identity, len) == 0)
            break;
        i = (i + 1) & set->slot_mask;
    }
    return &set->slots[i];
}

static void complain_of_double(struct loader *l, struct span identity, const struct psk *other)
{
    char what[WHY_SIZE + PLACE_SIZE];
    unsigned line;
    const char *name = psk_place(l->set, other->line, &line);

    if (other->line > l->before)
        snprintf(what, sizeof what, "is on line %u already; remove one of the two", line);
    else
        snprintf(what, sizeof what, "is in %.*s:%u already; remove one of the two", PLACE_SIZE,
                 name, line);
    complain(l, identity, what);
}

static void add(struct loader *l, struct span identity, struct span hex)
{
    struct psk_set *set = l->set;
    uint32_t *slot = find_slot(set, identity.at, identity.len);
    uint8_t *to = set->arena.at + set->arena_used;
    int key_len;

    if (*slot != 0)
        return complain_of_double(l, identity, &set->entries[*slot - 1]);
    key_len = hex_decode(to + identity.len, PSK_KEY_MAX, hex.at, hex.len);
    if (key_len < (int)l->key_min) {
        bytes_wipe(to + identity.len, hex.len < 2 * PSK_KEY_MAX ? hex.len / 2 : PSK_KEY_MAX);
        complain_of_key(l, identity, hex);
        return;
    }
    memcpy(to, identity.at, identity.len);
    set->entries[set->count] = (struct psk){.identity = to,
                                            .key = to + identity.len,
                                            .line = l->before + l->line,
                                            .identity_len = (uint16_t)identity.len,
                                            .key_len = (uint8_t)key_len};
    set->arena_used += identity.len + (size_t)key_len;
    *slot = (uint32_t)++set->count;
}

static struct span trim(struct span s)
{
    while (s.len > 0 && is_blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

static void read_line(struct loader *l, struct span line)
{
    struct span identity, hex;
    const char *colon;

    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    if (trim(line).len == 0 || line.at[0] == '#')
        return;
    colon = memrchr(line.at, ':', line.len);
    if (colon == NULL) {
        errors_add(l->errors, "%s:%u: no colon; write IDENTITY:HEXKEY", l->name, l->line);
        return;
    }
    identity = (struct span){line.at, (size_t)(colon - line.at)};
    hex = trim((struct span){colon + 1, line.len - identity.len - 1});
    if (is_identity_fit(l, identity))
        add(l, identity, hex);
}

static void read_lines(struct loader *l, struct span text)
{
    while (text.len > 0) {
        const char *end = memchr(text.at, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.at) : text.len;
        size_t step = end != NULL ? len + 1 : len;

        l->line++;
        read_line(l, (struct span){text.at, len});
        text.at += step;
        text.len -= step;
    }
}

/* No entry is shorter than "a:00" and its newline, and the last may lack that one. */
static size_t most_entries(struct span text)
{
    size_t lines = 1;

    for (size_t i = 0; i < text.len; i++)
        lines += text.at[i] == '\n';
    return lines < text.len / 5 + 1 ? lines : text.len / 5 + 1;
}

/* Takes room for `most` entries in `bytes` of text; what it does not need is never touched, so it
 * costs addresses and no memory. */
static struct psk_set *set_new(size_t most, size_t bytes, size_t files)
{
    size_t slots = 2;
    struct psk_set *set = calloc(1, sizeof *set);

    if (set == NULL)
        return NULL;
    while (slots < 2 * most)
        slots *= 2;
    set->slot_mask = slots - 1;
    set->entries = malloc((most + 1) * sizeof *set->entries);
    set->sessions = calloc(most + 1, sizeof *set->sessions);
    set->slots = calloc(slots, sizeof *set->slots);
    set->sources = calloc(files + 1, sizeof *set->sources);
    if (!secret_init(&set->arena, bytes + 1) || set->entries == NULL || set->sessions == NULL ||
        set->slots == NULL || set->sources == NULL) {
        psk_free(set);
        return NULL;
    }
    hash_key_init(&set->table_key);
    hash_key_init(&set->decoy_key[0]);
    hash_key_init(&set->decoy_key[1]);
    return set;
}

static bool add_source(struct loader *l)
{
    struct source *s = &l->set->sources[l->set->source_count];

    s->name = strdup(l->name);
    s->before = l->before;
    l->set->source_count += s->name != NULL;
    return s->name != NULL;
}

static bool read_all(struct loader *l, const struct psk_text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        l->name = texts[i].name;
        l->before += l->line;
        l->line = 0;
        if (!add_source(l))
            return false;
        read_lines(l, (struct span){texts[i].data, texts[i].len});
    }
    return true;
}

static struct psk_set *set_for(const struct psk_text *texts, size_t count)
{
    size_t most = 0, bytes = 0;

    for (size_t i = 0; i < count; i++) {
        most += most_entries((struct span){texts[i].data, texts[i].len});
        bytes += texts[i].len;
    }
    return set_new(most, bytes, count);
}

struct psk_set *psk_parse_all(const char *name, const struct psk_text *texts, size_t count,
                              unsigned allow, struct errors *errors)
{
    struct loader l = {.key_min = allow & PSK_ALLOW_WEAK ? 1 : PSK_KEY_MIN, .errors = errors};
    unsigned errors_before = errors->count;

    l.set = set_for(texts, count);
    if (l.set == NULL || !read_all(&l, texts, count)) {
        errors_add(errors, "%s: out of memory for its identities", name);
        psk_free(l.set);
        return NULL;
    }
    secret_shrink(&l.set->arena, l.set->arena_used);
    if (l.set->count == 0 && errors->count == errors_before && !(allow & PSK_ALLOW_EMPTY))
        errors_add(errors, "%s: holds no identity; write lines of IDENTITY:HEXKEY", name);
    if (errors->count != errors_before) {
        psk_free(l.set);
        return NULL;
    }
    return l.set;
}

void psk_free(struct psk_set *set)
{
    if (set == NULL)
        return;
    secret_clear(&set->arena);
    free(set->slots);
    free(set->entries);
    free(set->sessions);
    free(set->ends);
    for (size_t i = 0; i < set->source_count; i++)
        free(set->sources[i].name);
    free(set->sources);
    bytes_wipe(set, sizeof *set);
    free(set);
}

size_t psk_count(const struct psk_set *set)
{
    return set->count;
}

bool psk_is_locked(const struct psk_set *set)
{
    return set->arena.is_locked;
}

const struct psk *psk_at(const struct psk_set *set, size_t index)
{
    return &set->entries[index];
}

size_t psk_index(const struct psk_set *set, const struct psk *psk)
{
    return (size_t)(psk - set->entries);
}

const char *psk_place(const struct psk_set *set, uint32_t entry_line, unsigned *line)
{
    size_t low = 0, high = set->source_count;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (set->sources[middle].before < entry_line)
            low = middle;
        else
            high = middle;
    }
    *line = entry_line - set->sources[low].before;
    return set->sources[low].name;
}

const struct psk *psk_find(const struct psk_set *set, const uint8_t *identity, size_t len)
{
    uint32_t slot;

    if (len == 0 || len > PSK_IDENTITY_MAX)
        return NULL;
    slot = *find_slot(set, identity, len);
    return slot != 0 ? &set->entries[slot - 1] : NULL;
}

bool psk_set_end(struct psk_set *set, size_t index, uint64_t end)
{
    if (set->ends == NULL)
        set->ends = calloc(set->count, sizeof *set->ends);
    if (set->ends == NULL)
        return false;
    set->ends[index] = end;
    return true;
}

uint64_t psk_end(const struct psk_set *set, const struct psk *psk)
{
    uint64_t end = set->ends != NULL ? set->ends[psk_index(set, psk)] : 0;

    return end != 0 ? end : PSK_NO_END;
}

const struct psk *psk_find_valid(const struct psk_set *set, const uint8_t *identity, size_t len,
                                 uint64_t wall)
{
    const struct psk *psk = psk_find(set, identity, len);

    return psk != NULL && wall < psk_end(set, psk) ? psk : NULL;
}

size_t psk_decoy(const struct psk_set *set, const uint8_t *identity, size_t len,
                 uint8_t key[PSK_KEY_MAX])
{
    siphash128(&set->decoy_key[0], identity, len, key);
    siphash128(&set->decoy_key[1], identity, len, key + 16);
    siphash128(&set->decoy_key[0], key, 32, key + 32);
    siphash128(&set->decoy_key[1], key, 32, key + 48);
    if (set->count == 0)
        return PSK_KEY_MIN;
    uint64_t pick = siphash64(&set->decoy_key[0], key, PSK_KEY_MAX);
    return set->entries[pick % set->count].key_len;
}

unsigned psk_take(const struct psk_set *set, const struct psk *psk)
{
    return atomic_fetch_add_explicit(&set->sessions[psk - set->entries], 1, memory_order_relaxed) +
           1;
}

void psk_leave(const struct psk_set *set, const struct psk *psk)
{
    atomic_fetch_sub_explicit(&set->sessions[psk - set->entries], 1, memory_order_relaxed);
}

bool psk_same_key(const struct psk *a, const struct psk *b)
{
    return a->key_len == b->key_len && bytes_equal_secret(a->key, b->key, a->key_len);
}

/* Without NUL and line feed, which a key passed as text would lose: half a bit of 256. */
static void make_key(uint8_t *key, size_t len)
{
    bytes_random(key, len);
    for (size_t i = 0; i < len; i++)
        while (key[i] == '\0' || key[i] == '\n')
            bytes_random(&key[i], 1);
}

bool psk_generate_line(const char *identity, char out[PSK_LINE_MAX], char *why, size_t why_size)
{
    uint8_t key[32];
    size_t len = strlen(identity);

    if (len == 0 || len > PSK_IDENTITY_MAX) {
        snprintf(why, why_size, "has %zu bytes; give 1 to %d", len, PSK_IDENTITY_MAX);
        return false;
    }
    if (strpbrk(identity, "\r\n") != NULL) {
        snprintf(why, why_size, "has a line break; give it without");
        return false;
    }
    if (identity[0] == '#') {
        snprintf(why, why_size, "starts with '#', which makes its line a comment; give another");
        return false;
    }
    make_key(key, sizeof key);
    memcpy(out, identity, len);
    out[len] = ':';
    hex_encode(out + len + 1, key, sizeof key);
    bytes_wipe(key, sizeof key);
    return true;
}
