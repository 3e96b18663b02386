/*
 * keylog: two secrets into a line. See the header.
 * Must never know whose they are, nor keep them.
 */
#include "dtls/keylog.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LABEL "CLIENT_RANDOM "

static int descriptor = -1; /* set before there are other threads */

static const char *fault_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "it is no regular file";
    return (st.st_mode & 077) != 0 ? "it is open to others; chmod 600 it" : NULL;
}

bool keylog_open(const char *path, char *why, size_t why_size)
{
    const int flags =
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = open(path, flags, 0600);
    const char *fault = fd >= 0 ? fault_of(fd) : strerror(errno);

    if (fault == NULL) {
        descriptor = fd;
        return true;
    }
    snprintf(why, why_size, "cannot use %s: %s", path, fault);
    if (fd >= 0)
        close(fd);
    return false;
}

void keylog_close(void)
{
    if (descriptor >= 0)
        close(descriptor);
    descriptor = -1;
}

bool keylog_is_open(void)
{
    return descriptor >= 0;
}

bool keylog_write(const uint8_t client_random[WIRE_RANDOM], const uint8_t master[KEYS_MASTER])
{
    char line[sizeof(LABEL) + 2 * (WIRE_RANDOM + KEYS_MASTER) + 2] = LABEL;
    char *at = line + strlen(LABEL);
    ssize_t written;

    hex_encode(at, client_random, WIRE_RANDOM);
    at += 2 * WIRE_RANDOM;
    *at++ = ' ';
    hex_encode(at, master, KEYS_MASTER);
    at += 2 * KEYS_MASTER;
    *at++ = '\n';
    do
        written = write(descriptor, line, (size_t)(at - line));
    while (written < 0 && errno == EINTR);
    bool is_written = written == at - line;
    bytes_wipe(line, sizeof line);
    return is_written;
}
