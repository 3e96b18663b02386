/*
 * secret: memory for keys. It is in no core dump, not on swap where the limit allows, not in a
 * forked child, and wiped when it is given back.
 */
#ifndef DTLSGATE_BASE_SECRET_H
#define DTLSGATE_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret {
    uint8_t *at; /* NULL: none */
    size_t size;
    bool is_locked; /* false: RLIMIT_MEMLOCK was too small, so it may come to lie on swap */
};

/* `size` bytes of zeros, at least 1. What is never touched costs addresses and no memory. On false
 * *s is empty and errno tells. Clear it in either case. */
bool secret_init(struct secret *s, size_t size) __attribute__((warn_unused_result));
/* Keeps the first `size` bytes, at least one, where they are. The others, which hold no secrets any
 * more, are given back as far as they fill pages; what was too large to be locked is tried again.
 */
void secret_shrink(struct secret *s, size_t size);
/* Wipes and gives back; *s is empty then. An empty one is fine. */
void secret_clear(struct secret *s);

#endif
