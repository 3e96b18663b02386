/*
 * hash: SipHash-2-4 and a keyed, intrusive hash table.
 * The key makes the table safe against chosen input. The table grows and shrinks by a slot or two
 * with each insert and remove, so no call ever pauses for the whole table, and it holds 8 to 11
 * bytes of slots per entry at any size. It owns no entries.
 */
#ifndef DTLSGATE_BASE_HASH_H
#define DTLSGATE_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_key {
    uint8_t bytes[16];
};

/* A fresh random key. */
void hash_key_init(struct hash_key *key);
uint64_t siphash64(const struct hash_key *key, const void *data, size_t len);
/* SipHash-2-4 with 128 bits of output, as the reference implementation orders them. */
void siphash128(const struct hash_key *key, const void *data, size_t len, uint8_t out[16]);

/* Embed one of these in whatever the table shall hold; see table_entry(). */
struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link ***segments; /* blocks of pages, each with as many slots as it can hold */
    size_t segment_room;           /* of that array */
    size_t size;                   /* slots in use */
    size_t least;                  /* of them, however few entries there are */
    size_t count;
    bool is_walked; /* table_each() is under way: the slots stay as they are */
};

/* By way of an integer, so that a const link can become a pointer to const without a warning. */
#define table_entry(link, type, member) ((type *)((uintptr_t)(link)-offsetof(type, member)))

/* An empty table with room for about `expect` entries. False: out of memory. */
bool table_init(struct table *t, size_t expect) __attribute__((warn_unused_result));
/* Frees the slots, not the entries. */
void table_clear(struct table *t);
/* Finds the first entry with `hash` for which equal(link, arg) holds, or NULL. */
struct table_link *table_find(const struct table *t, uint64_t hash,
                              bool (*equal)(const struct table_link *link, const void *arg),
                              const void *arg);
/* Inserts; the caller has made sure that it is not in yet. Never fails once table_init() worked:
 * when memory for growing is short the chains just get longer. */
void table_insert(struct table *t, struct table_link *link, uint64_t hash);
/* Removes an entry that is in. */
void table_remove(struct table *t, struct table_link *link);
/* Calls fn for each entry; fn may remove the entry it is given, and no other change is allowed. */
void table_each(struct table *t, void (*fn)(struct table_link *link, void *arg), void *arg);
/* One step of a walk that others may change the table between: calls fn, which may change nothing,
 * for the entries of one slot. Begin with 0, go on with what it returns, end when that is 0. What
 * is in for the whole of the walk is met, however the table grows and shrinks; when it shrinks,
 * some of it more than once. */
uint64_t table_scan(const struct table *t, uint64_t cursor,
                    void (*fn)(struct table_link *link, void *arg), void *arg);

#endif
