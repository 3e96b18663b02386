/*
 * psk_review: weak and shared keys. See the header.
 * Must never tell a key, nor keep one.
 */
#include "dtls/psk_review.h"

#include "base/hash.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void note(struct psk_finding *finding, const struct psk *psk)
{
    if (finding->count++ == 0)
        finding->line = psk->line;
}

static bool is_text(const struct psk *psk)
{
    for (size_t i = 0; i < psk->key_len; i++) {
        if (!isprint(psk->key[i]))
            return false;
    }
    return true;
}

/* Finds the place of a key, or the empty one where it belongs: an index + 1, or 0. */
static size_t probe(const struct psk_set *set, const uint32_t *slots, size_t mask, uint64_t hash,
                    const struct psk *psk)
{
    size_t at = hash & mask;

    while (slots[at] != 0 && !psk_same_key(psk_at(set, slots[at] - 1), psk))
        at = (at + 1) & mask;
    return at;
}

static void find_shared(const struct psk_set *set, struct psk_finding *out)
{
    size_t size = 2;
    struct hash_key key;

    while (size < 2 * psk_count(set))
        size *= 2;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return;
    hash_key_init(&key);
    for (size_t i = 0; i < psk_count(set); i++) {
        const struct psk *psk = psk_at(set, i);
        size_t at = probe(set, slots, size - 1, siphash64(&key, psk->key, psk->key_len), psk);
        if (slots[at] != 0)
            note(out, psk);
        else
            slots[at] = (uint32_t)i + 1;
    }
    free(slots);
}

void psk_review(const struct psk_set *set, struct psk_review *out)
{
    *out = (struct psk_review){0};
    for (size_t i = 0; i < psk_count(set); i++) {
        const struct psk *psk = psk_at(set, i);
        if (psk->key_len < PSK_KEY_MIN)
            note(&out->is_short, psk);
        if (is_text(psk))
            note(&out->is_text, psk);
    }
    find_shared(set, &out->is_shared);
}
