/*
 * psk: identities and their keys, immutable once loaded; wiped when freed.
 * Made for a million identities: one arena, one table. No OpenSSL here.
 */
#ifndef DTLSGATE_DTLS_PSK_H
#define DTLSGATE_DTLS_PSK_H

#include "base/errors.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PSK_IDENTITY_MAX 256
#define PSK_KEY_MIN 16 /* RFC 9257 6 */
#define PSK_KEY_MAX 64

struct psk {
    const uint8_t *identity; /* not terminated */
    const uint8_t *key;
    uint32_t line;         /* over all files of its set, for psk_place(); 0: of no file */
    uint16_t identity_len; /* 1 to PSK_IDENTITY_MAX; never a NUL inside */
    uint8_t key_len;
};

struct psk_set;

/* What else is let in; 0: nothing. */
enum psk_leniency {
    PSK_ALLOW_WEAK = 1,  /* keys of 1 to 15 bytes */
    PSK_ALLOW_EMPTY = 2, /* a set without any identity */
};

/* A file's content; `name` stands for its path. */
struct psk_text {
    char *name;
    char *data;
    size_t len;
};

/* Makes a set of such files: "identity:hexkey" a line, the last colon separates; '#' at a line's
 * start is a comment, blank lines are skipped; CR LF is fine. Blanks around the key are cut, the
 * identity is taken as it stands. Adds one line "NAME:LINE: ..." to `errors` for each mistake
 * (duplicate: names both places; bad hex, key length, empty or over-long identity, NUL, no colon),
 * with the identity escaped and never the key; an identity that may hold a key, as it does when
 * someone writes the line the wrong way round, is not shown either. `allow` is of psk_leniency; a
 * set without identities is told of by `name`. The texts stay the caller's. NULL when any error was
 * added. */
struct psk_set *psk_parse_all(const char *name, const struct psk_text *texts, size_t count,
                              unsigned allow, struct errors *errors);
/* Wipes and frees. NULL is fine. */
void psk_free(struct psk_set *set);

size_t psk_count(const struct psk_set *set);
/* Entry `index` below the count, in the order of the files. */
const struct psk *psk_at(const struct psk_set *set, size_t index);
/* The index of an entry of this set. */
size_t psk_index(const struct psk_set *set, const struct psk *psk);
/* Where it was written: the name of the file, and which line of that. */
const char *psk_place(const struct psk_set *set, uint32_t entry_line, unsigned *line);
/* False: the keys may come to lie on swap, for RLIMIT_MEMLOCK is too small. */
bool psk_is_locked(const struct psk_set *set);
/* The identity's entry, compared byte by byte (RFC 7925 4.2), or NULL. Borrowed from the set. */
const struct psk *psk_find(const struct psk_set *set, const uint8_t *identity, size_t len);
/* The same at a time, ms since 1970 UTC: NULL also when the identity's own is over. */
const struct psk *psk_find_valid(const struct psk_set *set, const uint8_t *identity, size_t len,
                                 uint64_t wall);
/* Entry `index` is over from `end` on, ms since 1970 UTC. To be called before others see the set.
 * False: out of memory. */
bool psk_set_end(struct psk_set *set, size_t index, uint64_t end)
    __attribute__((warn_unused_result));
/* When an entry of this set is over; PSK_NO_END: never. */
#define PSK_NO_END UINT64_MAX
uint64_t psk_end(const struct psk_set *set, const struct psk *psk);
/* A key for an identity that is unknown: the same each time for the same identity in one set, known
 * to nobody, so that it behaves like a wrong key. As long as the key of one of the set, for the
 * time it takes goes by its length; 16 bytes where the set is empty. Writes PSK_KEY_MAX bytes,
 * returns how many to use. */
size_t psk_decoy(const struct psk_set *set, const uint8_t *identity, size_t len,
                 uint8_t key[PSK_KEY_MAX]);
/* Sessions that an identity has, counted by whoever opens and ends them, from any thread. Take
 * returns the count with the new one. */
unsigned psk_take(const struct psk_set *set, const struct psk *psk);
void psk_leave(const struct psk_set *set, const struct psk *psk);
/* True when both have the same key, told in constant time. */
bool psk_same_key(const struct psk *a, const struct psk *b);

/* "identity:hex" with a fresh key of 32 bytes, none of them NUL or a line feed, for --genpsk; the
 * caller wipes `out`. False when the
 * identity is not one a file can hold (empty, too long, a line break, '#' first); `why` then says
 * what is wrong and what would be right, without the identity. */
#define PSK_LINE_MAX (PSK_IDENTITY_MAX + 1 + 2 * PSK_KEY_MAX + 1)
bool psk_generate_line(const char *identity, char out[PSK_LINE_MAX], char *why, size_t why_size)
    __attribute__((warn_unused_result));

#endif
