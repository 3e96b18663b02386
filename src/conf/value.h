/*
 * value: one setting, from text to its field and back, by its row in the table.
 * Knows types and ranges, no setting by name.
 */
#ifndef DTLSGATE_CONF_VALUE_H
#define DTLSGATE_CONF_VALUE_H

#include "conf/options.h"

#include <stdbool.h>
#include <stddef.h>

#define VALUE_TEXT_MAX 4352 /* room for any value as text: a path, or 64 addresses */
#define VALUE_WHY_MAX 2048  /* room for any reasons */

/* Parses `text` into the field of `base`; frees what an owned field held before. False with `why`:
 * a line for each thing that is wrong, without the last newline. It goes on where the quoted text
 * ended ("is not a time from 50ms to 10s …"), or begins with a quote and the part of the text that
 * it is about. The field is unchanged then. May block on OPTION_BACKEND names. */
bool value_set(const struct option *o, void *base, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* The value as value_set() reads it back. Returns `buf`. */
const char *value_text(const struct option *o, const void *base, char buf[VALUE_TEXT_MAX]);
bool value_same(const struct option *o, const void *a, const void *b);
/* Frees what the field owns. */
void value_clear(const struct option *o, void *base);

/* What may stand there, in words: "a time from 50ms to 10s (ms, s, m, h or d)". Returns `buf`. */
const char *value_allowed(const struct option *o, char *buf, size_t size);

#endif
