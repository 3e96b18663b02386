/*
 * pages: memory straight from the kernel, in blocks of one size: zeroed, aligned to their size, and
 * gone from the process when they are given back, which the heap does not promise.
 */
#ifndef DTLSGATE_BASE_PAGES_H
#define DTLSGATE_BASE_PAGES_H

#define PAGES_BLOCK 65536

/* A block of PAGES_BLOCK bytes. It costs memory only where it has been written. NULL: none left. */
void *pages_new(void);
/* Gives it back. NULL is fine. */
void pages_free(void *block);

#endif
