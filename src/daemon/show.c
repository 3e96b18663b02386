/*
 * show: text and JSON, written by hand. See the header. Must never know what is shown.
 */
#include "daemon/show.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_json(const struct show *s)
{
    return s->form == SHOW_JSON;
}

/* One character of a value; `is_quoted`: between quotes that it must not end. */
static void add_char(struct text *to, char c, bool is_quoted)
{
    if (c < 0x20 || c > 0x7e)
        text_format(to, is_quoted ? "\\\\x%02x" : "\\x%02x", (unsigned char)c);
    else if (is_quoted && (c == '"' || c == '\\'))
        text_format(to, "\\%c", c);
    else
        text_add_bytes(to, &c, 1);
}

static void add_value(struct text *to, const char *value, bool is_quoted)
{
    if (is_quoted)
        text_add(to, "\"");
    for (; *value != '\0'; value++)
        add_char(to, *value, is_quoted);
    if (is_quoted)
        text_add(to, "\"");
}

/* What stands between this member or item and the one before it. */
static void add_separator(struct show *s)
{
    if (s->has_before)
        text_add(&s->text, is_json(s) ? "," : s->is_inside ? " " : "");
    s->has_before = true;
}

static void add_key(struct show *s, const char *key)
{
    add_separator(s);
    if (is_json(s))
        text_format(&s->text, "\"%s\":", key);
    else
        text_format(&s->text, s->is_inside ? "%s=" : "%s: ", key);
}

static void end_member(struct show *s)
{
    if (!is_json(s) && !s->is_inside)
        text_add(&s->text, "\n");
}

/* As log_event() does it; what is the last of its line needs no quotes. */
static bool needs_quotes(const struct show *s, const char *value)
{
    return is_json(s) || (s->is_inside && (*value == '\0' || strpbrk(value, " \"=") != NULL));
}

void show_clear(struct show *s)
{
    text_clear(&s->text);
    *s = (struct show){.form = s->form};
}

void show_begin(struct show *s)
{
    if (is_json(s))
        text_add(&s->text, "{");
    s->has_before = false;
}

void show_end(struct show *s)
{
    if (is_json(s))
        text_add(&s->text, "}\n");
}

void show_number(struct show *s, const char *key, uint64_t value)
{
    add_key(s, key);
    text_format(&s->text, "%" PRIu64, value);
    end_member(s);
}

void show_flag(struct show *s, const char *key, bool value)
{
    add_key(s, key);
    if (is_json(s))
        text_add(&s->text, value ? "true" : "false");
    else
        text_add(&s->text, value ? "yes" : "no");
    end_member(s);
}

void show_word(struct show *s, const char *key, const char *value)
{
    add_key(s, key);
    add_value(&s->text, value, needs_quotes(s, value));
    end_member(s);
}

void show_bytes(struct show *s, const char *key, const void *value, size_t len)
{
    size_t size = 4 * len + 1;
    char *escaped = malloc(size);

    if (escaped == NULL) {
        s->text.is_short = true;
        return;
    }
    show_word(s, key, bytes_escape(escaped, size, value, len));
    free(escaped);
}

void show_open(struct show *s, const char *key)
{
    if (!is_json(s))
        return;
    add_key(s, key);
    text_add(&s->text, "{");
    s->has_before = false;
}

void show_close(struct show *s)
{
    if (is_json(s))
        text_add(&s->text, "}");
    s->has_before = true;
}

void show_list(struct show *s, const char *key, const char *item)
{
    if (is_json(s)) {
        add_key(s, key);
        text_add(&s->text, "[");
    }
    s->item = item;
    s->has_before = false;
}

void show_list_end(struct show *s)
{
    if (is_json(s))
        text_add(&s->text, "]");
    s->item = NULL;
    s->has_before = true;
}

static void add_item_start(struct show *s)
{
    add_separator(s);
    if (!is_json(s) && *s->item != '\0')
        text_format(&s->text, "%s: ", s->item);
}

void show_item(struct show *s)
{
    add_item_start(s);
    if (is_json(s))
        text_add(&s->text, "{");
    s->is_inside = true;
    s->has_before = false;
}

void show_item_end(struct show *s)
{
    text_add(&s->text, is_json(s) ? "}" : "\n");
    s->is_inside = false;
    s->has_before = true;
}

void show_item_word(struct show *s, const char *value)
{
    add_item_start(s);
    add_value(&s->text, value, is_json(s));
    if (!is_json(s))
        text_add(&s->text, "\n");
}
