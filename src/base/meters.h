/*
 * meters: pairs of meters by name, for all threads without a lock, in a table of a fixed size. A
 * pair that is full again is as good as one that was never used, so its place is another name's.
 */
#ifndef DTLSGATE_BASE_METERS_H
#define DTLSGATE_BASE_METERS_H

#include "base/meter.h"

#include <stddef.h>

struct meters;

/* NULL: out of memory. Its megabytes are the kernel's until they are written to. */
struct meters *meters_new(void);
/* NULL is fine. */
void meters_free(struct meters *m);

/* The two meters of a name, for one draw: ask again for the next. The same for all threads, except
 * that where several thousand names have drawn within a second two may have to share a pair. */
struct meter *meters_find(struct meters *m, const void *name, size_t len, uint64_t now_ms);

#endif
