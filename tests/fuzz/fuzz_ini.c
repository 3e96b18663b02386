/*
 * fuzz_ini: any text as a settings file.
 * Checked: each item is what a simpler reading finds in the line it names, lines only grow, and
 * each value that a setting takes is printed in a form that it takes again.
 */
#include "conf/ini.h"
#include "conf/settings.h"
#include "conf/value.h"

#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLANKS " \t\r\v\f"

struct walk {
    const char *at, *end; /* behind the line last seen */
    unsigned line;
};

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Goes on to line `number` and copies it, without comment and blanks at its end. */
static void copy_line(struct walk *w, unsigned number, char line[INI_LINE_MAX + 1])
{
    size_t len = 0;

    require(number > w->line);
    for (; w->line < number; w->line++) {
        const char *stop = memchr(w->at, '\n', (size_t)(w->end - w->at));

        require(w->at < w->end);
        len = (size_t)((stop ? stop : w->end) - w->at);
        require(w->line + 1 < number || len <= INI_LINE_MAX);
        if (w->line + 1 == number)
            memcpy(line, w->at, len);
        w->at += len + (stop != NULL);
    }
    line[len] = '\0';
    require(strlen(line) == len);
    for (size_t i = 1; i < len; i++)
        if (line[i] == ';' && strchr(BLANKS, line[i - 1]))
            line[i] = '\0';
    for (len = strlen(line); len > 0 && strchr(BLANKS, line[len - 1]); len--)
        line[len - 1] = '\0';
}

static void check_header(const char *line, const char *section)
{
    size_t len = strlen(section);

    require(len > 0 && len <= INI_NAME_MAX && len + 2 == strlen(line));
    require(line[0] == '[' && memcmp(line + 1, section, len) == 0 && line[len + 1] == ']');
}

static void check_pair(const char *line, const char *key, const char *value)
{
    size_t key_len = strcspn(line, "=:");
    const char *rest = line + key_len;

    require(*rest != '\0');
    rest += 1 + strspn(rest + 1, BLANKS);
    require(strcmp(rest, value) == 0);
    while (key_len > 0 && strchr(BLANKS, line[key_len - 1]))
        key_len--;
    require(key_len > 0 && key_len <= INI_NAME_MAX && strlen(key) == key_len);
    require(memcmp(line, key, key_len) == 0);
}

/* Names of backends are left out: they would be asked of the resolver. */
static void check_value(const struct option *table, const char *key, const char *text)
{
    const struct option *o = option_find(table, key);
    struct conf_service base, again; /* the larger one of both tables' structs */
    char why[VALUE_WHY_MAX], printed[VALUE_TEXT_MAX];

    if (!o || (o->type == OPTION_BACKEND && strspn(text, "0123456789.:[]") < strlen(text)))
        return;
    memset(&base, 0, sizeof(base));
    memset(&again, 0, sizeof(again));
    if (value_set(o, &base, text, why, sizeof(why))) {
        require(value_set(o, &again, value_text(o, &base, printed), why, sizeof(why)));
        require(value_same(o, &base, &again));
        value_clear(o, &again);
    }
    value_clear(o, &base);
}

static void on_item(const struct ini_item *item, void *arg)
{
    static char line[INI_LINE_MAX + 1];

    copy_line(arg, item->line, line);
    if (!item->key) {
        check_header(line, item->section);
        return;
    }
    check_pair(line, item->key, item->value);
    check_value(options_daemon, item->key, item->value);
    check_value(options_service, item->key, item->value);
}

_Static_assert(sizeof(struct conf_service) >= sizeof(struct conf_daemon),
               "check_value() fits both");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ini_text text = {.name = "fuzz.ini", .data = (const char *)data, .len = size};
    struct walk walk = {.at = text.data, .end = text.data + size};
    struct errors errors = {0};

    if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0)
        walk.at += 3;
    ini_read_text(&text, on_item, &walk, &errors);
    errors_clear(&errors);
    return 0;
}
