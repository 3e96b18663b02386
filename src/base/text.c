/*
 * text: a growing buffer. See the header.
 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FIRST_ROOM 1024

void text_init(struct text *t, size_t max)
{
    *t = (struct text){.max = max};
}

void text_clear(struct text *t)
{
    free(t->at);
    *t = (struct text){.max = t->max};
}

/* Room for `more` bytes and a NUL behind what is there. */
static bool make_room(struct text *t, size_t more)
{
    size_t room = t->room > 0 ? t->room : TEXT_FIRST_ROOM;
    char *at;

    t->is_cut = t->is_cut || more > t->max - t->len;
    if (t->is_cut)
        return false;
    while (room <= t->len + more)
        room *= 2;
    if (room == t->room)
        return true;
    at = realloc(t->at, room);
    t->is_cut = at == NULL;
    if (at == NULL)
        return false;
    t->at = at;
    t->room = room;
    return true;
}

void text_add(struct text *t, const void *data, size_t len)
{
    if (!make_room(t, len))
        return;
    memcpy(t->at + t->len, data, len);
    t->len += len;
    t->at[t->len] = '\0';
}

void text_put(struct text *t, const char *string)
{
    text_add(t, string, strlen(string));
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !make_room(t, (size_t)len))
        return;
    va_start(args, format);
    vsnprintf(t->at + t->len, (size_t)len + 1, format, args);
    va_end(args);
    t->len += (size_t)len;
}
