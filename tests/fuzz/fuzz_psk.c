/*
 * fuzz_psk: any text as a file of keys.
 * Checked: a set holds just the lines that a simpler reading of the text finds, each mistake is one
 * printable line, and what passes with strong keys only passes with weak ones allowed, too.
 */
#include "../unit/psk_text.h"

#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool is_skipped(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
        len--;
    return len == 0 || line[0] == '#';
}

/* A line of a set without mistakes: its identity must be found as it stands. */
static void check_line(const struct psk_set *set, const char *line, size_t len, bool allow_weak)
{
    const char *colon = memrchr(line, ':', len);
    const struct psk *p;

    require(colon != NULL);
    p = psk_find(set, (const uint8_t *)line, (size_t)(colon - line));
    require(p != NULL && p->identity_len == colon - line);
    require(memcmp(p->identity, line, p->identity_len) == 0);
    require(memchr(p->identity, 0, p->identity_len) == NULL);
    require(p->key_len >= (allow_weak ? 1 : PSK_KEY_MIN) && p->key_len <= PSK_KEY_MAX);
    require((size_t)2 * p->key_len <= len - p->identity_len - 1);
    require(psk_same_key(p, p));
}

static void check_set(const struct psk_set *set, const char *text, size_t len, bool allow_weak)
{
    size_t lines = 0;

    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line_len = end != NULL ? (size_t)(end - text) : len;
        size_t step = line_len + (end != NULL);

        if (!is_skipped(text, line_len)) {
            check_line(set, text, line_len, allow_weak);
            lines++;
        }
        text += step;
        len -= step;
    }
    require(lines > 0 && lines == psk_count(set));
}

static void check_errors(const struct errors *errors)
{
    require(errors->count > 0);
    for (unsigned i = 0; i < errors->count && i < ERRORS_MAX; i++) {
        const char *line = errors->line[i];

        require(line != NULL && strncmp(line, "keys:", 5) == 0);
        for (; *line != '\0'; line++)
            require(*line >= 0x20 && *line <= 0x7e);
    }
}

static bool check_parse(const char *text, size_t len, bool allow_weak)
{
    struct errors errors = {0};
    struct psk_set *set = psk_parse("keys", text, len, allow_weak, &errors);
    bool good = set != NULL;

    if (good) {
        require(errors.count == 0);
        check_set(set, text, len, allow_weak);
    } else {
        check_errors(&errors);
    }
    errors_clear(&errors);
    psk_free(set);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    bool strong = check_parse(text, size, false);
    bool weak = check_parse(text, size, true);

    require(weak || !strong);
    return 0;
}
