/*
 * spell: edit distance (Levenshtein) of short words.
 * Never decides anything but what a message suggests.
 */
#include "conf/spell.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define WORD_MAX 48

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;

    return ab < c ? ab : c;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

bool spell_near(const char *right, const char *wrong)
{
    unsigned
        row[WORD_MAX + 1]; /* distances of the letters of `right` so far to each start of `wrong` */
    size_t m = strlen(right), n = strlen(wrong);

    if (n > WORD_MAX)
        return false;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= m; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned above = row[j];

            row[j] = least(above + 1, row[j - 1] + 1,
                           diagonal + !same_letter(right[i - 1], wrong[j - 1]));
            diagonal = above;
        }
    }
    return row[n] <= (m > 4 ? 2u : 1u);
}
