/*
 * json: an emitter with the depth as its only memory. See the header.
 */
#include "daemon/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void begin(struct json *j, const char *key)
{
    bool is_array = (j->arrays >> j->depth & 1) != 0;

    assert((key == NULL) == (is_array || j->depth == 0));
    if (j->has_before)
        text_add(j->out, ",");
    j->has_before = true;
    if (key != NULL)
        text_format(j->out, "\"%s\":", key);
    (void)is_array;
}

static void open_level(struct json *j, const char *key, bool is_array)
{
    begin(j, key);
    assert(j->depth < JSON_DEPTH_MAX);
    j->depth++;
    j->arrays &= ~(UINT32_C(1) << j->depth);
    j->arrays |= (uint32_t)is_array << j->depth;
    j->has_before = false;
    text_add(j->out, is_array ? "[" : "{");
}

/* How many bytes the UTF-8 character at `s` has (Unicode 15, table 3-7); 0: it is none. */
static size_t utf8_len(const uint8_t *s, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (len == 1)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || left < len)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* not overlong */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xed)
        high = 0x9f; /* no surrogate */
    else if (s[0] == 0xf4)
        high = 0x8f; /* not past U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return len;
}

static bool wants_escape(uint8_t c)
{
    return c < 0x20 || c == 0x7f || c == '<' || c == '>' || c == '&';
}

/* One character; returns how many bytes it took. */
static size_t add_character(struct text *out, const uint8_t *s, size_t left)
{
    size_t len = utf8_len(s, left);

    if (len == 0)
        text_add(out, "\\ufffd");
    else if (*s == '"' || *s == '\\')
        text_format(out, "\\%c", *s);
    else if (len == 1 && wants_escape(*s))
        text_format(out, "\\u%04x", (unsigned)*s);
    else
        text_add_bytes(out, s, len);
    return len == 0 ? 1 : len;
}

void json_init(struct json *j, struct text *out)
{
    *j = (struct json){.out = out};
}

void json_open_object(struct json *j, const char *key)
{
    open_level(j, key, false);
}

void json_open_array(struct json *j, const char *key)
{
    open_level(j, key, true);
}

void json_close(struct json *j)
{
    bool is_array = (j->arrays >> j->depth & 1) != 0;

    assert(j->depth > 0);
    text_add(j->out, is_array ? "]" : "}");
    j->depth--;
    j->has_before = true;
}

void json_bytes(struct json *j, const char *key, const void *data, size_t len)
{
    const uint8_t *s = data;

    begin(j, key);
    text_add(j->out, "\"");
    for (size_t i = 0; i < len;)
        i += add_character(j->out, s + i, len - i);
    text_add(j->out, "\"");
}

void json_text(struct json *j, const char *key, const char *text)
{
    if (text != NULL) {
        json_bytes(j, key, text, strlen(text));
        return;
    }
    begin(j, key);
    text_add(j->out, "null");
}

void json_number(struct json *j, const char *key, uint64_t value)
{
    begin(j, key);
    text_format(j->out, "%" PRIu64, value);
}

void json_real(struct json *j, const char *key, double value)
{
    char number[400];
    size_t len;

    begin(j, key);
    if (!isfinite(value)) {
        text_add(j->out, "null");
        return;
    }
    snprintf(number, sizeof(number), "%.3f", value);
    len = strlen(number);
    while (number[len - 1] == '0')
        len--;
    text_add_bytes(j->out, number, number[len - 1] == '.' ? len - 1 : len);
}

void json_bool(struct json *j, const char *key, bool value)
{
    begin(j, key);
    text_add(j->out, value ? "true" : "false");
}
