/*
 * keep_entry: one session in its slot of a file that outlives the process. What it is lies sealed
 * and is written once; how far its numbers may have gone changes often, is no secret, and stands
 * beside it twice with a mark of its own: whichever of the two a crash has torn, the other is
 * whole. Knows neither the file nor a session.
 *
 *    0  lease, twice: next number to send (6), second it was used (4), zeros (6), mark (16)
 *   64  generation (8): 0 is an empty slot; of the body's bytes (2); zeros (6)
 *   80  highest number delivered (8, as lease_word() and the processor have it)
 *   88  body, sealed: service print (8), when it was written (8, ms since 1970 UTC), a session
 *       image without a ticket; then the tag
 */
#ifndef DTLSGATE_PROXY_KEEP_ENTRY_H
#define DTLSGATE_PROXY_KEEP_ENTRY_H

#include "dtls/vault.h"
#include "proxy/session_image.h"

/* Changes with the layout above, and when a field of session_image.h gets another meaning. */
#define KEEP_ENTRY_VERSION 1

/* A slot's sizes: the smallest that fits is taken. */
#define KEEP_SLOT_SMALL 448
#define KEEP_SLOT_LARGE 1152 /* whatever is long */

struct keep_lease {
    uint64_t write_end; /* all records that were sent have lower numbers */
    uint64_t read_end;  /* no record that was delivered has a higher number */
    uint32_t used;      /* about when it was used last, s since 1970 UTC */
};

struct keep_entry {
    uint64_t generation;
    uint64_t service_print; /* of its name: keep_entry_print() */
    uint64_t written;       /* ms since 1970 UTC */
    struct keep_lease lease;
    struct session_image image;
};

enum keep_verdict { KEEP_EMPTY, KEEP_FINE, KEEP_DAMAGED };

/* How large a slot it needs; 0: it fits into none. */
size_t keep_entry_size(const struct keep_entry *e);
/* Fills a slot of that size. The generation is written last: until then the slot is empty. False:
 * libcrypto failed, it is empty. `place`: the slot's number, which it cannot be read without. */
bool keep_entry_write(struct vault *v, uint64_t place, const struct keep_entry *e, uint8_t *slot)
    __attribute__((warn_unused_result));
/* Changes the lease of a slot that is in use, but for what was delivered. At each moment of it one
 * of the two is whole. */
void keep_entry_renew(const struct vault *v, uint64_t place, const struct keep_lease *lease,
                      uint8_t *slot);
/* Where the highest number delivered stands in a slot, and what it is known by. */
_Atomic uint64_t *keep_entry_top(uint8_t *slot);
uint64_t keep_entry_check(const struct vault *v, uint64_t place, uint64_t generation);
/* What is in a slot of `size` bytes; whoever reads it wipes *e. */
enum keep_verdict keep_entry_read(struct vault *v, uint64_t place, const uint8_t *slot, size_t size,
                                  struct keep_entry *e) __attribute__((warn_unused_result));
/* Empties it. */
void keep_entry_wipe(uint8_t *slot, size_t size);

/* A name as a number that stays the same from start to start. */
uint64_t keep_entry_print(const char *name);

#endif
