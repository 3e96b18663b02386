/*
 * pieces: a text with commas, piece by piece, and what is wrong with each.
 * Knows nothing of what a piece may be.
 */
#ifndef DTLSGATE_CONF_PIECES_H
#define DTLSGATE_CONF_PIECES_H

#include <stdbool.h>
#include <stddef.h>

/* Takes the piece up to the next comma from *text, without the blanks around it; behind the last
 * one *text is NULL. False: it was NULL already. */
bool pieces_next(const char **text, const char **piece, size_t *len);
/* Adds the line "\"PIECE\" FAULT" to `why`, which is a string of `size`; a long piece is cut short.
 * A line that there is no room for is left out whole. */
void pieces_blame(char *why, size_t size, const char *piece, size_t len, const char *fault);

#endif
