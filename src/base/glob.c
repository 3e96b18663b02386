/*
 * glob: matching by going back to the last '*' alone, so no pattern makes it slow. See the header.
 * Must never know what the bytes name.
 */
#include "base/glob.h"

#include <string.h>

/* One step of a pattern: a byte, any byte, or any number of them. */
struct step {
    bool is_star, is_any;
    char byte;
    const char *next;
};

static struct step step_at(const char *p)
{
    struct step s = {.is_star = *p == '*', .is_any = *p == '?', .byte = *p, .next = p + 1};

    if (*p == '\\' && p[1] != '\0') {
        s.byte = p[1];
        s.next = p + 2;
    }
    return s;
}

bool glob_match(const char *pattern, const void *text, size_t len)
{
    const char *bytes = text, *star = NULL; /* what follows the last '*' */
    size_t at = 0, from = 0;                /* where that one's share ends */

    while (at < len || *pattern != '\0') {
        struct step s = step_at(pattern);

        if (*pattern != '\0' && s.is_star) {
            star = pattern = s.next;
            from = at;
        } else if (*pattern != '\0' && at < len && (s.is_any || s.byte == bytes[at])) {
            pattern = s.next;
            at++;
        } else if (star != NULL && from < len) {
            pattern = star;
            at = ++from;
        } else {
            return false;
        }
    }
    return true;
}

bool glob_literal(const char *pattern, char *out, size_t *len)
{
    size_t n = 0;

    while (*pattern != '\0') {
        struct step s = step_at(pattern);

        if (s.is_star || s.is_any)
            return false;
        out[n++] = s.byte;
        pattern = s.next;
    }
    *len = n;
    return true;
}

bool glob_is_whole(const char *pattern)
{
    size_t slashes = 0;

    for (const char *p = pattern + strlen(pattern); p > pattern && p[-1] == '\\'; p--)
        slashes++;
    return slashes % 2 == 0;
}
