/*
 * text: a growing buffer. See the header. Must never know what is written into it.
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

/* Room for `more` bytes and a NUL behind what is there. */
static bool make_room(struct text *t, size_t more)
{
    size_t size = t->size > 0 ? t->size : FIRST_SIZE;
    char *larger;

    if (t->is_short || more >= SIZE_MAX / 2 - t->len) {
        t->is_short = true;
        return false;
    }
    while (size < t->len + more + 1)
        size *= 2;
    if (size == t->size)
        return true;
    larger = realloc(t->data, size);
    if (larger == NULL) {
        t->is_short = true;
        return false;
    }
    t->data = larger;
    t->size = size;
    return true;
}

void text_clear(struct text *t)
{
    free(t->data);
    *t = (struct text){0};
}

void text_empty(struct text *t)
{
    t->len = 0;
    t->is_short = false;
    if (t->data != NULL)
        t->data[0] = '\0';
}

void text_add_bytes(struct text *t, const void *data, size_t len)
{
    if (!make_room(t, len))
        return;
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
    text_add_bytes(t, s, strlen(s));
}

void text_format(struct text *t, const char *format, ...)
{
    va_list ap;
    int len;

    va_start(ap, format);
    len = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (len < 0 || !make_room(t, (size_t)len))
        return;
    va_start(ap, format);
    vsnprintf(t->data + t->len, (size_t)len + 1, format, ap);
    va_end(ap);
    t->len += (size_t)len;
}
