/*
 * text: a text that grows. Running out of memory makes it short for good instead of failing each
 * call; whoever made it looks once, at the end.
 */
#ifndef DTLSGATE_BASE_TEXT_H
#define DTLSGATE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory is an empty one. */
struct text {
    char *data; /* owned; ends with a NUL once anything was added, NULL before */
    size_t len, size;
    bool is_short; /* memory ran out: something is missing */
};

/* Frees; `t` is empty and usable again. */
void text_clear(struct text *t);
/* Empties it and keeps the memory. */
void text_empty(struct text *t);
void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const void *data, size_t len);
void text_format(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
