/*
 * targets: the addresses that flows on one shared socket go to, each once and by number, and those
 * that may answer there. Knows no sockets.
 */
#ifndef DTLSGATE_PROXY_TARGETS_H
#define DTLSGATE_PROXY_TARGETS_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARGETS_MAX UINT16_MAX

struct target {
    struct addr addr;
    uint32_t count; /* flows that go there */
    bool is_listed; /* may answer without any */
};

/* Zeroed memory is an empty one. */
struct targets {
    struct target *list; /* numbers stay; those with neither flows nor a listing are free */
    size_t count;
};

void targets_clear(struct targets *t);
/* These may answer from now on, also where no flow goes to them. False: out of memory, as many as
 * there was room for. */
bool targets_set(struct targets *t, const struct addr *list, size_t count)
    __attribute__((warn_unused_result));
/* A flow goes there. False: out of memory or numbers. */
bool targets_take(struct targets *t, const struct addr *a, uint16_t *number)
    __attribute__((warn_unused_result));
void targets_give_back(struct targets *t, uint16_t number);
const struct addr *targets_address(const struct targets *t, uint16_t number);
/* Whether it is one of them. */
bool targets_have(const struct targets *t, const struct addr *a);

#endif
