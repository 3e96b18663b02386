/*
 * pidfile: a lock that ends with the process, on the file that bears the name.
 * Must never write into a file that may be something else.
 */
#include "daemon/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Others take theirs away while we wait for nothing: once or twice, not for ever. */
#define TRIES 10

static const char *name;
static int held = -1;
static bool is_borrowed; /* another process's, which holds it, too */

static bool is_same(int fd, const char *path)
{
    struct stat ours, there;

    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

/* What is in there: nothing, or digits and a newline. Ends with NUL. */
static bool read_id(int fd, char text[32])
{
    ssize_t len = pread(fd, text, 31, 0);
    size_t digits;

    if (len < 0)
        return false;
    text[len] = '\0';
    digits = strspn(text, "0123456789");
    if (strlen(text) != (size_t)len || strcmp(text + digits, digits > 0 ? "\n" : "") != 0)
        return false;
    text[digits] = '\0';
    return true;
}

static bool write_id(int fd)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    /* Whoever reads it meanwhile finds a whole number first. */
    return lseek(fd, 0, SEEK_SET) == 0 && write(fd, text, (size_t)len) == len &&
           ftruncate(fd, len) == 0;
}

/* The descriptor of a locked file that still bears the name. -1 with `why`. */
static int open_locked(const char *path, char *why, size_t why_size)
{
    char id[32] = "";
    int fd;

    for (int i = 0; i < TRIES; i++) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
        if (fd < 0) {
            snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            bool has_id = errno == EWOULDBLOCK && read_id(fd, id) && id[0] != '\0';
            snprintf(why, why_size, "%s is held by another process%s%s; stop that one first", path,
                     has_id ? ", " : "", id);
            close(fd);
            return -1;
        }
        if (is_same(fd, path))
            return fd;
        close(fd);
    }
    snprintf(why, why_size, "%s comes and goes; choose another name", path);
    return -1;
}

bool pidfile_open(const char *path, char *why, size_t why_size)
{
    int fd = open_locked(path, why, why_size);
    struct stat st;
    char id[32];

    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !read_id(fd, id)) {
        snprintf(why, why_size, "%s holds something else than a process id; choose another name",
                 path);
        close(fd);
        return false;
    }
    name = path;
    held = fd;
    if (write_id(fd))
        return true;
    snprintf(why, why_size, "cannot write %s: %s", path, strerror(errno));
    pidfile_close();
    return false;
}

int pidfile_fd(void)
{
    return held;
}

bool pidfile_adopt(const char *path, int fd, char *why, size_t why_size)
{
    if (!is_same(fd, path)) {
        snprintf(why, why_size, "%s is not the one of the running process; restart dtlsgate", path);
        return false;
    }
    name = path;
    held = fd;
    is_borrowed = true;
    return true;
}

/* Where it cannot be written, a wrong number is left: nobody can be told any more. */
void pidfile_take(void)
{
    if (held >= 0)
        (void)write_id(held);
    is_borrowed = false;
}

void pidfile_leave(void)
{
    if (held >= 0)
        close(held);
    held = -1;
}

void pidfile_close(void)
{
    if (held < 0)
        return;
    if (!is_borrowed && is_same(held, name) && unlink(name) != 0)
        (void)!ftruncate(held, 0);
    close(held);
    held = -1;
}
