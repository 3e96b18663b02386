/*
 * glob: patterns of bytes as a shell has them: '*' is any number of bytes, '?' is one, a backslash
 * takes the character behind it as it stands. Nothing else is special; bytes are no letters here.
 */
#ifndef DTLSGATE_BASE_GLOB_H
#define DTLSGATE_BASE_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the whole of the `len` bytes is what the pattern says. Takes at most as many steps as the
 * product of both lengths. */
bool glob_match(const char *pattern, const void *text, size_t len);

/* What a pattern without '*' and '?' stands for, which is one text alone: into `out`, not
 * terminated, which has room for strlen(pattern) bytes. False with *len as it was: it has one. */
bool glob_literal(const char *pattern, char *out, size_t *len) __attribute__((warn_unused_result));
/* A backslash at its end has nothing to take. */
bool glob_is_whole(const char *pattern);

#endif
