/*
 * text: a growing buffer of bytes that are made piece by piece, with a cap.
 * Once something did not fit, or memory was out, it is cut and stays so; the maker looks once, at
 * the end. Knows no format.
 */
#ifndef DTLSGATE_BASE_TEXT_H
#define DTLSGATE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *at; /* `len` bytes and a NUL; NULL as long as nothing was added; owned */
    size_t len, room, max;
    bool is_cut;
};

/* An empty one that never holds more than `max` bytes. */
void text_init(struct text *t, size_t max);
/* Frees; harmless on a zeroed one. */
void text_clear(struct text *t);
/* What does not fit whole is left out whole. */
void text_add(struct text *t, const void *data, size_t len);
void text_put(struct text *t, const char *string);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
