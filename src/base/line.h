/*
 * line: one line of a log, as text or JSON, from a message and fields.
 * Must never know where lines go.
 */
#ifndef DTLSGATE_BASE_LINE_H
#define DTLSGATE_BASE_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

#define LINE_SIZE 2048

/* A list of them ends with a NULL key. */
struct log_field {
    const char *key;
    /* In text format it is quoted, with \\ and \" inside, when it is empty or holds ' ', '"' or
     * '='. */
    const char *text;
    long long number; /* counts when text is NULL */
};

struct line_head {
    enum log_format format;
    enum log_level level;
    bool is_untimed; /* text without the time in front */
    const char *message;
};

/* One line without its newline, which still fits, as does a NUL in its place; a longer one is cut.
 * Returns its length. `fields` may be NULL. */
size_t line_build(char text[LINE_SIZE], const struct line_head *head,
                  const struct log_field *fields);

#endif
