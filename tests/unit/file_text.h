/* file_text: what is in a file, for tests that have it written. */
#ifndef DTLSGATE_TESTS_FILE_TEXT_H
#define DTLSGATE_TESTS_FILE_TEXT_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* All of it, valid until the next call. */
static inline const char *file_text(const char *path)
{
    static char text[1 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t len;

    assert_true(fd >= 0);
    len = read(fd, text, sizeof text - 1);
    assert_true(len >= 0);
    text[len] = '\0';
    close(fd);
    return text;
}

#endif
