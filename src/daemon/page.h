/*
 * page: the files of the status page, which are part of the program.
 * The files themselves are in src/daemon/page; scripts/embed makes them bytes of the program.
 */
#ifndef DTLSGATE_DAEMON_PAGE_H
#define DTLSGATE_DAEMON_PAGE_H

#include <stddef.h>

struct page {
    const char *path; /* as the browser asks for it */
    const char *type; /* its media type */
    const unsigned char *data;
    size_t len;
};

/* NULL: there is no such file. */
const struct page *page_find(const char *path);

#endif
