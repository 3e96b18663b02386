/*
 * file: read a whole file, with the checks a file of secrets needs.
 * Must never print what it has read.
 */
#include "base/file.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *open_to_others(mode_t mode)
{
    if (mode & S_IROTH)
        return "readable";
    return mode & S_IWOTH ? "writable" : "executable";
}

static bool check_secret(const struct stat *st, char *why, size_t why_size)
{
    if (st->st_mode & S_IRWXO) {
        snprintf(why, why_size, "is %s by others (mode %04o); chmod o-rwx it",
                 open_to_others(st->st_mode), (unsigned)(st->st_mode & 07777));
        return false;
    }
    return true;
}

static bool check(const struct stat *st, enum file_kind kind, size_t max, char *why,
                  size_t why_size)
{
    if (!S_ISREG(st->st_mode)) {
        snprintf(why, why_size, "is not a regular file");
        return false;
    }
    if (kind == FILE_SECRET && !check_secret(st, why, why_size))
        return false;
    if ((uintmax_t)st->st_size > max) {
        snprintf(why, why_size, "is %ju bytes long; at most %zu are allowed",
                 (uintmax_t)st->st_size, max);
        return false;
    }
    return true;
}

/* Up to the end of the file or `size` bytes. Returns the count, or -1 with errno. */
static ssize_t read_up_to(int fd, char *data, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t got = read(fd, data + used, size - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

/* Asks for one byte more than there should be, so that a file that grows is seen, too. */
static char *read_exactly(int fd, size_t size, char *why, size_t why_size)
{
    char *data = malloc(size + 1);
    ssize_t got;

    if (data == NULL) {
        snprintf(why, why_size, "cannot be read: %s", strerror(errno));
        return NULL;
    }
    got = read_up_to(fd, data, size + 1);
    if (got == (ssize_t)size) {
        data[size] = '\0';
        return data;
    }
    if (got < 0)
        snprintf(why, why_size, "cannot be read: %s", strerror(errno));
    else
        snprintf(why, why_size, "changed while it was read; try again");
    file_free(data, size + 1);
    return NULL;
}

bool file_read(const char *path, enum file_kind kind, size_t max, char **data, size_t *len,
               char *why, size_t why_size)
{
    /* O_NONBLOCK: a FIFO in the file's place must not hold us up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char *content = NULL;
    struct stat st;

    if (fd < 0) {
        snprintf(why, why_size, "cannot be opened: %s", strerror(errno));
        return false;
    }
    if (fstat(fd, &st) != 0)
        snprintf(why, why_size, "cannot be examined: %s", strerror(errno));
    else if (check(&st, kind, max, why, why_size))
        content = read_exactly(fd, (size_t)st.st_size, why, why_size);
    close(fd);
    if (content == NULL)
        return false;
    *data = content;
    *len = (size_t)st.st_size;
    return true;
}

void file_free(char *data, size_t len)
{
    if (data == NULL)
        return;
    bytes_wipe(data, len);
    free(data);
}
