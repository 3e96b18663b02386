/*
 * errors: the operator's mistakes, collected so that all are told at once.
 * Holds at most ERRORS_MAX lines and counts the rest.
 */
#ifndef DTLSGATE_BASE_ERRORS_H
#define DTLSGATE_BASE_ERRORS_H

#include <stdio.h>

#define ERRORS_MAX 100

struct errors {
    char *line[ERRORS_MAX];     /* owned */
    unsigned place[ERRORS_MAX]; /* what errors_sort() goes by */
    unsigned at;                /* the place of those that are added from now on; the caller's */
    unsigned count;             /* all that were added, also those past ERRORS_MAX */
};

/* Adds one line, without newline. */
void errors_add(struct errors *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts those that are held behind the first `from` into the order of their places, such as the
 * lines of a file; those of one place stay as they were added. */
void errors_sort(struct errors *e, unsigned from);
/* Writes each line behind `prefix`, and "... and N more" where some were cut. */
void errors_print(const struct errors *e, FILE *to, const char *prefix);
/* Frees the lines; `e` is empty and usable again. */
void errors_clear(struct errors *e);

#endif
