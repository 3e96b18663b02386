/*
 * words: a line of the control socket, taken apart.
 * Words are separated by blanks; in each of them \xNN stands for a byte, as bytes_escape() writes
 * it, so a word may hold blanks and bytes of any kind but NUL. Must never know what a word means.
 */
#ifndef DTLSGATE_DAEMON_WORDS_H
#define DTLSGATE_DAEMON_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define WORDS_LINE_MAX 4096 /* bytes of a line, without its end */
#define WORDS_MAX 32

struct words {
    char text[WORDS_LINE_MAX + 2];
    const char *word[WORDS_MAX]; /* in `text`, each with its NUL */
    size_t count;
};

/* Splits `len` bytes, which need not end with a NUL. What is wrong is returned, NULL is fine. */
const char *words_split(struct words *w, const void *line, size_t len)
    __attribute__((warn_unused_result));
/* Takes out each word that is `word`. True: there was one. */
bool words_take_out(struct words *w, const char *word);

#endif
