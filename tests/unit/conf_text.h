/*
 * conf_text: settings from text in a folder of its own, for tests of what comes of them.
 * The folder has a key file "keys" with one good key.
 */
#ifndef DTLSGATE_TESTS_CONF_TEXT_H
#define DTLSGATE_TESTS_CONF_TEXT_H

#include "conf/conf.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MINIMAL "[service a]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5683\npsk-file = keys\n"

static char folder[] = "/tmp/test_settings.XXXXXX";
static struct errors errors;

static inline void write_file(const char *name, const char *content, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* x.ini with this text, then the overrides, ended by NULL. NULL text: no file. */
static inline struct conf *load(const char *text, const char *const overrides[])
{
    struct conf_source source = {.path = text ? "x.ini" : NULL, .overrides = overrides};

    errors_clear(&errors);
    if (text)
        write_file("x.ini", text, 0644);
    while (overrides && overrides[source.override_count])
        source.override_count++;
    return conf_load(&source, &errors);
}

static inline struct conf *load_good(const char *text, const char *const overrides[])
{
    struct conf *c = load(text, overrides);

    if (!c)
        fail_msg("%s", errors.line[0]);
    assert_int_equal(errors.count, 0);
    return c;
}

/* Exactly these errors, in this order. */
static inline void assert_errors(const char *text, const char *const overrides[],
                                 const char *const expected[])
{
    struct conf *c = load(text, overrides);
    unsigned n = 0;

    assert_null(c);
    for (; expected[n]; n++) {
        if (n >= errors.count)
            fail_msg("missing: %s", expected[n]);
        assert_string_equal(errors.line[n], expected[n]);
    }
    if (errors.count > n)
        fail_msg("unexpected: %s", errors.line[n]);
}

static inline void assert_error(const char *text, const char *expected)
{
    assert_errors(text, NULL, (const char *const[]){expected, NULL});
}

static inline void assert_override_error(const char *override, const char *expected)
{
    assert_errors(MINIMAL, (const char *const[]){override, NULL},
                  (const char *const[]){expected, NULL});
}

static inline int conf_text_setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return -1;
    write_file("keys", "me:00112233445566778899aabbccddeeff\n", 0600);
    return 0;
}

static inline int conf_text_teardown(void **state)
{
    (void)state;
    errors_clear(&errors);
    unlink("keys");
    unlink("short");
    unlink("x.ini");
    return rmdir(folder);
}

#endif
