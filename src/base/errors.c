/*
 * errors: the operator's mistakes, collected so that all are told at once.
 * Must never know where a mistake was made; the line says it.
 */
#include "base/errors.h"

#include <stdarg.h>
#include <stdlib.h>

void errors_add(struct errors *e, const char *format, ...)
{
    unsigned at = e->count++;
    va_list ap;

    if (at >= ERRORS_MAX)
        return;
    e->place[at] = e->at;
    va_start(ap, format);
    /* Without memory the mistake still counts, only its words are lost. */
    if (vasprintf(&e->line[at], format, ap) < 0)
        e->line[at] = NULL;
    va_end(ap);
}

static unsigned held_by(const struct errors *e)
{
    return e->count < ERRORS_MAX ? e->count : ERRORS_MAX;
}

void errors_sort(struct errors *e, unsigned from)
{
    for (unsigned i = from + 1; i < held_by(e); i++) {
        char *line = e->line[i];
        unsigned place = e->place[i], to = i;

        for (; to > from && e->place[to - 1] > place; to--) {
            e->line[to] = e->line[to - 1];
            e->place[to] = e->place[to - 1];
        }
        e->line[to] = line;
        e->place[to] = place;
    }
}

void errors_print(const struct errors *e, FILE *to, const char *prefix)
{
    unsigned held = held_by(e);

    for (unsigned i = 0; i < held; i++)
        fprintf(to, "%s%s\n", prefix, e->line[i] != NULL ? e->line[i] : "out of memory");
    if (e->count > held)
        fprintf(to, "%s... and %u more\n", prefix, e->count - held);
}

void errors_clear(struct errors *e)
{
    for (unsigned i = 0; i < held_by(e); i++)
        free(e->line[i]);
    *e = (struct errors){0};
}
