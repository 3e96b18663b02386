/*
 * file: read a whole file, with the checks a file of secrets needs.
 */
#ifndef DTLSGATE_BASE_FILE_H
#define DTLSGATE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

enum file_kind {
    FILE_PLAIN,
    FILE_SECRET, /* refused when others can read, write or execute it; checked on the descriptor */
};

/* Reads a regular file of at most `max` bytes. On true *data is malloc'ed, *len long and followed
 * by a NUL; the caller frees it with file_free(). On false `why` holds one line that names what is
 * wrong and what would be right ("is readable by others (mode 0644); chmod o-rwx it"), without the
 * path. */
bool file_read(const char *path, enum file_kind kind, size_t max, char **data, size_t *len,
               char *why, size_t why_size) __attribute__((warn_unused_result));
/* Wipes, then frees. NULL is fine. */
void file_free(char *data, size_t len);

#endif
