/*
 * log_text: the log in a file of the working folder, for tests of what it says. Include it behind
 * conf_text.h, whose folder it uses.
 */
#ifndef DTLSGATE_TESTS_LOG_TEXT_H
#define DTLSGATE_TESTS_LOG_TEXT_H

#include "base/log.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_FILE "log"

static inline void log_capture(void)
{
    char path[PATH_MAX], why[PATH_MAX + 64];

    assert_non_null(getcwd(path, sizeof path - sizeof LOG_FILE - 1));
    strcat(path, "/" LOG_FILE);
    unlink(LOG_FILE);
    assert_true(log_open(path, LOG_FORMAT_TEXT, why, sizeof why));
}

static inline void log_release(void)
{
    char why[64];

    assert_true(log_open("stderr", LOG_FORMAT_TEXT, why, sizeof why));
    unlink(LOG_FILE);
}

/* How many lines hold both. */
static inline unsigned log_count_both(const char *text, const char *other)
{
    FILE *f = fopen(LOG_FILE, "r");
    char line[4096];
    unsigned n = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        n += strstr(line, text) != NULL && strstr(line, other) != NULL;
    fclose(f);
    return n;
}

/* How many lines hold `text`. */
static inline unsigned log_count(const char *text)
{
    return log_count_both(text, "");
}

#endif
