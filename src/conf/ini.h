/*
 * ini: INI text to (section, key, value, line), through inih, with true line numbers.
 * inih as distributions ship it tells no lines, cuts long values in silence and joins indented
 * lines; what reads for it here counts, refuses what would be joined, and hands long lines over in
 * pieces. Knows no setting.
 */
#ifndef DTLSGATE_CONF_INI_H
#define DTLSGATE_CONF_INI_H

#include "base/errors.h"

#include <stdbool.h>
#include <stddef.h>

#define INI_LINE_MAX 8191 /* bytes, without the line's end */
#define INI_NAME_MAX 48   /* of a section or a key: what inih keeps of one */

struct ini_item {
    const char *section, *key,
        *value; /* borrowed for the call; key NULL: a section header was met */
    unsigned line;
};

typedef void (*ini_fn)(const struct ini_item *item, void *arg);

/* Reads `path` and calls fn for each item in order; keys before any header have the section "".
 * Adds a line "PATH:LINE: …" to `errors` for each line that is no INI, too long, has a NUL or is
 * indented, and goes on behind it; what stands under a header that is no INI is left out. False
 * when the file could not be read at all (told in `errors`). */
bool ini_read(const char *path, ini_fn fn, void *arg, struct errors *errors)
    __attribute__((warn_unused_result));

/* The same for text in memory, which need not end with a NUL. `name` stands for the path. */
struct ini_text {
    const char *name, *data;
    size_t len;
};
void ini_read_text(const struct ini_text *text, ini_fn fn, void *arg, struct errors *errors);

#endif
