/*
 * line: values into text, up to where the room ends. See the header.
 */
#include "base/line.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <string.h>

/* What closes a line that was cut always fits: a quote, a brace, a newline (or NUL). */
#define LINE_LIMIT (LINE_SIZE - 3)

/* One that is being written, in room for LINE_SIZE bytes. */
struct line {
    size_t len;
    char *text;
};

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

/* All of `text`, which is ours and clean, or nothing. */
static bool put(struct line *l, const char *text)
{
    size_t len = strlen(text);

    if (l->len + len > LINE_LIMIT)
        return false;
    memcpy(l->text + l->len, text, len);
    l->len += len;
    return true;
}

/* As much of a foreign text as fits. ASCII only: a line is then valid in any encoding, cut or not.
 */
static void put_foreign(struct line *l, const char *text, bool escape)
{
    char *at = l->text + l->len;
    const char *end = l->text + LINE_LIMIT;

    for (; *text != '\0'; text++) {
        char c = *text >= 0x20 && *text < 0x7f ? *text : '?';
        bool escaped = escape && (c == '"' || c == '\\');

        if (at + (escaped ? 2 : 1) > end)
            break;
        if (escaped)
            *at++ = '\\';
        *at++ = c;
    }
    l->len = (size_t)(at - l->text);
}

/* False when not even the opening quote fits; the closing one always does. */
static bool put_quoted(struct line *l, const char *text)
{
    if (!put(l, "\""))
        return false;
    put_foreign(l, text, true);
    l->text[l->len++] = '"';
    return true;
}

static bool put_number(struct line *l, long long number)
{
    char text[1 + DECIMAL_MAX + 1] = "-";
    bool is_negative = number < 0;
    uint64_t size = is_negative ? 0 - (uint64_t)number : (uint64_t)number;

    text[1 + decimal_encode(text + 1, size)] = '\0';
    return put(l, is_negative ? text : text + 1);
}

static bool put_value(struct line *l, const struct log_field *f, bool json)
{
    if (f->text == NULL)
        return put_number(l, f->number);
    if (json || f->text[0] == '\0' || strpbrk(f->text, " \"=") != NULL)
        return put_quoted(l, f->text);
    put_foreign(l, f->text, false);
    return true;
}

/* The fields that fit, in order; one whose key is cut off is left out with all that follow. */
static void put_fields(struct line *l, const struct log_field *f, bool json)
{
    for (; f != NULL && f->key != NULL; f++) {
        size_t start = l->len;

        if (!put(l, json ? ",\"" : " ") || !put(l, f->key) || !put(l, json ? "\":" : "=") ||
            !put_value(l, f, json)) {
            l->len = start;
            return;
        }
    }
}

/* The heads below are far shorter than a line, so what put() returns needs no look there. */
static void build_json(struct line *l, const struct line_head *head, const struct log_field *fields)
{
    char time_text[CLOCK_TEXT_MAX];

    put(l, "{\"time\":\"");
    put(l, clock_wall_text(time_text));
    put(l, "\",\"level\":\"");
    put(l, level_names[head->level]);
    put(l, "\",\"message\":");
    put_quoted(l, head->message);
    put_fields(l, fields, true);
    l->text[l->len++] = '}';
}

static void build_text(struct line *l, const struct line_head *head, const struct log_field *fields)
{
    char time_text[CLOCK_TEXT_MAX];

    if (!head->is_untimed) {
        put(l, clock_wall_text(time_text));
        put(l, " ");
    }
    put(l, level_names[head->level]);
    put(l, " ");
    put_foreign(l, head->message, false);
    if (fields != NULL && fields->key != NULL)
        put(l, ":");
    put_fields(l, fields, false);
}

size_t line_build(char text[LINE_SIZE], const struct line_head *head,
                  const struct log_field *fields)
{
    struct line l = {.text = text};

    if (head->format == LOG_FORMAT_JSON)
        build_json(&l, head, fields);
    else
        build_text(&l, head, fields);
    return l.len;
}
