/*
 * words: from a line to its words. See the header. Must never know what a word means.
 */
#include "daemon/words.h"

#include "base/bytes.h"

#include <string.h>

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static size_t word_length(const struct reader *r)
{
    size_t len = 0;

    while (len < r->left && !is_blank(r->at[len]))
        len++;
    return len;
}

/* Puts the next word, its escapes undone, at `to`, where there is room for it and a NUL: it gets no
 * longer, and a blank or the end follows it. Its length, or -1 with `why`. */
static int take_word(struct reader *rest, char *to, const char **why)
{
    size_t len = word_length(rest);
    int n = bytes_unescape(to, len, (const char *)rest->at, len);

    (void)read_bytes(rest, len);
    if (n < 0)
        *why = "a backslash must begin \\xNN; a backslash itself is \\x5c";
    else if (memchr(to, '\0', (size_t)n) != NULL)
        *why = "a word holds a NUL";
    else
        to[n] = '\0';
    return *why == NULL ? n : -1;
}

const char *words_split(struct words *w, const void *line, size_t len)
{
    struct reader rest = reader_of(line, len);
    char *to = w->text;
    const char *why = NULL;

    w->count = 0;
    if (len > WORDS_LINE_MAX)
        return "the line is too long";
    for (;;) {
        while (rest.left > 0 && is_blank(*rest.at))
            (void)read_u8(&rest);
        if (rest.left == 0)
            return NULL;
        if (w->count == WORDS_MAX)
            return "too many words";
        int n = take_word(&rest, to, &why);
        if (n < 0)
            return why;
        w->word[w->count++] = to;
        to += n + 1;
    }
}

bool words_take_out(struct words *w, const char *word)
{
    size_t kept = 0;
    bool found = false;

    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->word[i], word) == 0)
            found = true;
        else
            w->word[kept++] = w->word[i];
    }
    w->count = kept;
    return found;
}
