/*
 * psk_files: reads a file of keys, or a folder of them, from the disk.
 */
#ifndef DTLSGATE_DTLS_PSK_FILES_H
#define DTLSGATE_DTLS_PSK_FILES_H

#include "dtls/psk.h"

/* Loads `path` by psk_parse_all(): a file; or a folder, of which all regular files count, in the
 * order of their names, but those whose name begins with '.' or ends like that of an editor's or a
 * packager's left-over ("~", ".bak", ".dpkg-*"). A file that others can read is refused, and a
 * folder that others can write. `allow` is of psk_leniency. NULL when any error was added. */
struct psk_set *psk_load(const char *path, unsigned allow, struct errors *errors);

#endif
