/*
 * keep: a worker's sessions in memory that outlives the process: written when they open, wiped when
 * they end, and told before their numbers go farther than was told before. Only those whose records
 * are our own. How the next process takes them up is proxy/restore's.
 *
 * Numbers to be sent are told in blocks; what a crash leaves of one is skipped, which costs nobody
 * anything. Numbers received are told one by one, by a single store.
 */
#ifndef DTLSGATE_PROXY_KEEP_H
#define DTLSGATE_PROXY_KEEP_H

#include "base/mapped.h"
#include "proxy/keep_entry.h"

/* What all workers share. */
struct keep_shared {
    struct mapped file; /* its first block is not for sessions */
    struct vault_keys keys;
    _Atomic uint64_t generation; /* the last that was used */
    uint64_t highest_id;         /* of all sessions that were there before */
};

struct keep;

/* `shared` is borrowed. NULL: out of memory, or libcrypto lacks something. */
struct keep *keep_new(struct keep_shared *shared);
/* What is there stays in the file. NULL is fine. */
void keep_free(struct keep *k);
/* For record_crypt_lend(). */
const struct leases *keep_leases(const struct keep *k);

/* The time, with each step of the worker before it touches a session; `wall0` is ms since 1970 UTC
 * when `now` was 0. NULL is fine. */
void keep_set_time(struct keep *k, uint64_t now, uint64_t wall0);
/* Writes a session, of which *image tells all, anew where it is kept already: it opens, its address
 * or that of its flow or its backend has changed, or who has its key. False: there is no room for
 * it; where it was kept it is as before. */
bool keep_store(struct keep *k, struct session *s, const char *service,
                const struct session_image *image) __attribute__((warn_unused_result));
/* It ends: wipes what there is. Harmless when there is nothing, or k is NULL. */
void keep_drop(struct keep *k, struct session *s);
/* It will be silent from now on: leaves the numbers as they stand. Harmless as above. */
void keep_settle(struct keep *k, struct session *s);

/* Where slots lie in a block, for whoever reads a file: the size of those in it, 0 for a block that
 * holds none or is none. */
size_t keep_block_slots(const uint8_t *block, size_t *size);
/* One of them, and its number in the file. */
const uint8_t *keep_block_slot(const uint8_t *block, size_t size, size_t i);
uint64_t keep_place(unsigned block, size_t i);
/* The number of the slot of this size at an offset of the file. */
uint64_t keep_place_at(uint64_t offset, size_t size);
/* No block for sessions has a higher number. */
#define KEEP_BLOCK_MAX ((1u << LEASE_BLOCK_BITS) - 1)

#endif
