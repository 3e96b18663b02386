/*
 * pieces: cuts, and blames. See the header.
 */
#include "conf/pieces.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 80 /* bytes of a piece */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool pieces_next(const char **text, const char **piece, size_t *len)
{
    const char *from = *text, *end;

    if (from == NULL)
        return false;
    end = strchrnul(from, ',');
    *text = *end != '\0' ? end + 1 : NULL;
    while (from < end && is_blank(*from))
        from++;
    while (end > from && is_blank(end[-1]))
        end--;
    *piece = from;
    *len = (size_t)(end - from);
    return true;
}

void pieces_blame(char *why, size_t size, const char *piece, size_t len, const char *fault)
{
    char shown[4 * SHOWN_MAX + 1];
    bool is_cut = len > SHOWN_MAX;
    size_t used = strlen(why);
    int n;

    bytes_escape(shown, sizeof(shown), piece, is_cut ? SHOWN_MAX : len);
    n = snprintf(why + used, size - used, "%s\"%s%s\" %s", used > 0 ? "\n" : "", shown,
                 is_cut ? "..." : "", fault);
    if (used > 0 && (size_t)n >= size - used)
        why[used] = '\0';
}
