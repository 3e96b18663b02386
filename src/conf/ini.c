/*
 * ini: lines of a file through inih, one ini_parse_stream() per line.
 * Never knows what a section or a key means.
 */
#include "conf/ini.h"

#include "base/file.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)

/* One line on its way through inih. */
struct passage {
    const char *at; /* what inih has not seen yet */
    size_t left;
    bool begun;     /* the first piece is out; what follows goes as continuation lines */
    bool stuck;     /* no place to cut was found */
    bool is_header; /* a probe follows, since inih reports no headers */
    unsigned items;
    char section[INI_NAME_MAX + 2], key[INI_NAME_MAX + 2]; /* one byte more tells too long ones */
    char value[INI_LINE_MAX + 1];
    size_t value_len;
};

struct ini_state {
    const char *name;
    unsigned line;
    bool skipping; /* under a header that is no INI */
    char section[INI_NAME_MAX + 2];
    ini_fn fn;
    void *arg;
    struct errors *errors;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Where to cut a line of more than `room` bytes: inih trims each piece, and takes one that starts
 * with a comment sign for a comment. 0: nowhere. */
static size_t cut_place(const char *s, size_t room)
{
    for (size_t n = room; n > 0; n--)
        if (!is_blank(s[n - 1]) && !is_blank(s[n]) && s[n] != ';' && s[n] != '#')
            return n;
    return 0;
}

/* inih's reader: the line, in pieces that fit its buffer, then the probe behind a header. */
static char *next_piece(char *buf, int size, void *arg)
{
    struct passage *p = arg;
    size_t room = (size_t)size - 3; /* a blank in front, line end and NUL behind */
    size_t n = p->left;
    char *to = buf;

    if (n == 0 && p->is_header) {
        p->is_header = false;
        return strcpy(buf, "probe =\n");
    }
    if (n > room)
        n = cut_place(p->at, room);
    p->stuck = n == 0 && p->left > 0;
    if (n == 0)
        return NULL;
    if (p->begun)
        *to++ = ' ';
    memcpy(to, p->at, n);
    memcpy(to + n, "\n", 2);
    p->at += n;
    p->left -= n;
    p->begun = true;
    return buf;
}

static int on_pair(void *arg, const char *section, const char *key, const char *value)
{
    struct passage *p = arg;
    size_t n = strlen(value);

    if (p->items++ == 0) {
        strncpy(p->section, section, sizeof(p->section) - 1);
        strncpy(p->key, key, sizeof(p->key) - 1);
    }
    if (*key == '\0' || strlen(key) > INI_NAME_MAX || n >= sizeof(p->value) - p->value_len)
        return 0;
    memcpy(p->value + p->value_len, value, n + 1);
    p->value_len += n;
    return 1;
}

/* The length without an inline comment (a ';' behind a blank, as inih has it) and trailing blanks.
 * Cut before inih sees it, which would not know a comment that begins in an earlier piece. */
static size_t content_len(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && !(s[n] == ';' && n > 0 && is_blank(s[n - 1])))
        n++;
    while (n > 0 && is_blank(s[n - 1]))
        n--;
    return n;
}

static bool is_comment(const char *s, size_t len)
{
    size_t n = 0;

    while (n < len && is_blank(s[n]))
        n++;
    return n == len || s[n] == '#' || s[n] == ';';
}

/* The byte order mark that some editors put in front of a file. inih would skip it in any line, and
 * take what follows for a header. */
static bool has_mark(const char *s, size_t len)
{
    return len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0;
}

static const char *fault_of_line(const char *s, size_t len)
{
    if (memchr(s, '\0', len))
        return "holds a NUL byte, which no text has; is this the right file?";
    if (is_comment(s, len))
        return NULL;
    if (len > INI_LINE_MAX)
        return "is too long; a line has at most 8191 bytes";
    if (has_mark(s, len))
        return "begins with a byte order mark, which only a whole file may; leave it out";
    if (is_blank(*s))
        return "is indented; begin it at the left edge, and write each value on one line";
    return NULL;
}

/* inih ignores what follows the first ']' and cuts long names. */
static const char *fault_of_header(const char *s, size_t len)
{
    if (memchr(s, ']', len) != s + len - 1 || len == 2)
        return "is no section; write [daemon] or [service NAME], and nothing behind it";
    if (len - 2 > INI_NAME_MAX)
        return "has too long a section name; it may have 48 bytes";
    return NULL;
}

static const char *fault_of_pair(const struct passage *p, int rc)
{
    if (p->stuck)
        return "has no place where it could be cut; write fewer blanks";
    if (rc != 0 || p->items == 0)
        return "is neither \"key = value\" nor [section]; comments begin with #";
    return NULL;
}

static const char *take_header(struct ini_state *state, struct passage *p)
{
    const char *fault = fault_of_header(p->at, p->left);
    struct ini_item item = {.section = state->section, .line = state->line};

    state->skipping = true;
    if (fault)
        return fault;
    p->is_header = true;
    fault = fault_of_pair(p, ini_parse_stream(next_piece, p, on_pair, p));
    if (fault)
        return fault;
    state->skipping = false;
    memcpy(state->section, p->section, sizeof(state->section));
    state->fn(&item, state->arg);
    return NULL;
}

static const char *take_pair(struct ini_state *state, struct passage *p)
{
    struct ini_item item = {
        .section = state->section, .key = p->key, .value = p->value, .line = state->line};
    const char *fault = fault_of_pair(p, ini_parse_stream(next_piece, p, on_pair, p));

    if (!fault && !state->skipping)
        state->fn(&item, state->arg);
    return fault;
}

static void take_line(struct ini_state *state, const char *s, size_t len)
{
    struct passage p;
    const char *fault = fault_of_line(s, len);

    if (!fault && !is_comment(s, len)) {
        memset(&p, 0, sizeof(p));
        p.at = s;
        p.left = content_len(s, len);
        fault = *s == '[' ? take_header(state, &p) : take_pair(state, &p);
    }
    if (!fault)
        return;
    state->errors->at = state->line;
    errors_add(state->errors, "%s:%u: this line %s", state->name, state->line, fault);
}

void ini_read_text(const struct ini_text *text, ini_fn fn, void *arg, struct errors *errors)
{
    struct ini_state state = {.name = text->name, .fn = fn, .arg = arg, .errors = errors};
    size_t at = has_mark(text->data, text->len) ? 3 : 0;

    while (at < text->len) {
        const char *line = text->data + at;
        const char *stop = memchr(line, '\n', text->len - at);
        size_t len = stop ? (size_t)(stop - line) : text->len - at;

        state.line++;
        take_line(&state, line, len);
        at += len + 1;
    }
}

bool ini_read(const char *path, ini_fn fn, void *arg, struct errors *errors)
{
    struct ini_text text = {.name = path};
    char *data = NULL;
    char why[256];

    if (!file_read(path, FILE_PLAIN, FILE_MAX, &data, &text.len, why, sizeof(why))) {
        errors_add(errors, "%s: %s", path, why);
        return false;
    }
    text.data = data;
    ini_read_text(&text, fn, arg, errors);
    file_free(data, text.len);
    return true;
}
