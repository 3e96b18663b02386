/*
 * show: the lines of text; JSON is json's. See the header. Must never know what is shown.
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

/* `key` is NULL for an item. */
static void add_json_word(struct show *s, const char *key, const char *value)
{
    struct text ascii = {0};

    add_value(&ascii, value, false);
    json_bytes(&s->json, key, ascii.data, ascii.len);
    s->text.is_short |= ascii.is_short;
    text_clear(&ascii);
}

/* What stands between this member and the one before it. */
static void add_key(struct show *s, const char *key)
{
    if (s->is_inside && s->has_before)
        text_add(&s->text, " ");
    s->has_before = true;
    text_format(&s->text, s->is_inside ? "%s=" : "%s: ", key);
}

static void end_member(struct show *s)
{
    if (!s->is_inside)
        text_add(&s->text, "\n");
}

/* As log_event() does it; what is the last of its line needs no quotes. */
static bool needs_quotes(const struct show *s, const char *value)
{
    return s->is_inside && (*value == '\0' || strpbrk(value, " \"=") != NULL);
}

void show_clear(struct show *s)
{
    text_clear(&s->text);
    *s = (struct show){.form = s->form};
}

void show_begin(struct show *s)
{
    if (!is_json(s))
        return;
    json_init(&s->json, &s->text);
    json_open_object(&s->json, NULL);
}

void show_end(struct show *s)
{
    if (!is_json(s))
        return;
    json_close(&s->json);
    text_add(&s->text, "\n");
}

void show_number(struct show *s, const char *key, uint64_t value)
{
    if (is_json(s)) {
        json_number(&s->json, key, value);
        return;
    }
    add_key(s, key);
    text_format(&s->text, "%" PRIu64, value);
    end_member(s);
}

void show_flag(struct show *s, const char *key, bool value)
{
    if (is_json(s)) {
        json_bool(&s->json, key, value);
        return;
    }
    add_key(s, key);
    text_add(&s->text, value ? "yes" : "no");
    end_member(s);
}

void show_word(struct show *s, const char *key, const char *value)
{
    if (is_json(s)) {
        add_json_word(s, key, value);
        return;
    }
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
    if (is_json(s))
        json_open_object(&s->json, key);
}

void show_close(struct show *s)
{
    if (is_json(s))
        json_close(&s->json);
}

void show_list(struct show *s, const char *key, const char *item)
{
    if (is_json(s))
        json_open_array(&s->json, key);
    s->item = item;
}

void show_list_end(struct show *s)
{
    if (is_json(s))
        json_close(&s->json);
    s->item = NULL;
}

static void add_item_start(struct show *s)
{
    if (*s->item != '\0')
        text_format(&s->text, "%s: ", s->item);
}

void show_item(struct show *s)
{
    if (is_json(s)) {
        json_open_object(&s->json, NULL);
        return;
    }
    add_item_start(s);
    s->is_inside = true;
    s->has_before = false;
}

void show_item_end(struct show *s)
{
    if (is_json(s)) {
        json_close(&s->json);
        return;
    }
    text_add(&s->text, "\n");
    s->is_inside = false;
}

void show_item_word(struct show *s, const char *value)
{
    if (is_json(s)) {
        add_json_word(s, NULL, value);
        return;
    }
    add_item_start(s);
    add_value(&s->text, value, false);
    text_add(&s->text, "\n");
}
