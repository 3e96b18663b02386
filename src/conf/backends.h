/*
 * backends: the services behind a service: addresses or names, each with its weight and its part.
 * Knows nothing of which of them is up.
 */
#ifndef DTLSGATE_CONF_BACKENDS_H
#define DTLSGATE_CONF_BACKENDS_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

#define BACKENDS_MAX 32
#define BACKENDS_WEIGHT_MAX 100

struct backend {
    struct addr addr;
    char *name;      /* HOST:PORT as it was written, owned; NULL: an address was */
    unsigned weight; /* 1 to BACKENDS_WEIGHT_MAX */
    bool is_backup;  /* for when no other is up */
    bool is_drained; /* takes nothing new */
};

struct backends {
    struct backend *list; /* owned */
    size_t count;
};

/* Reads "ADDR:PORT or HOST:PORT [weight=N] [backup] [drain], …"; looks names up, which may block.
 * False with `why` as value_set() has it; *out is unchanged. */
bool backends_parse(struct backends *out, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* The same for one address or name without anything behind it; `why` goes on where the quoted text
 * ended. */
bool backends_parse_one(struct addr *out, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* As backends_parse() reads it back; names stay names. Cut where `size` is short. Returns `buf`. */
const char *backends_format(const struct backends *b, char *buf, size_t size);
void backends_clear(struct backends *b);

/* The one of this address, or NULL. */
const struct backend *backends_find(const struct backends *b, const struct addr *a);
/* The first one that is of another family, or NULL. */
const struct backend *backends_misfit(const struct backends *b, int family);

#endif
