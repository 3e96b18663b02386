/*
 * passed: the list of descriptors from 3 on, who is bound where, and who has been claimed.
 * Must never know a service; whoever opens sockets asks here first.
 */
#include "daemon/passed.h"

#include "base/bytes.h"
#include "base/udp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3
#define NAME_MAX_SHOWN 64

struct passed_socket {
    int fd; /* -1: claimed */
    bool dual;
    struct addr at;
    char name[NAME_MAX_SHOWN]; /* escaped; may be empty */
};

static struct passed_socket list[PASSED_MAX];
static unsigned count;

/* LISTEN_FDS if it is meant for us. False: it says what cannot be. */
static bool read_count(unsigned *out)
{
    const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    unsigned long number;
    char *end;

    *out = 0;
    if (fds == NULL || pid == NULL || strtol(pid, NULL, 10) != (long)getpid())
        return true;
    errno = 0;
    number = strtoul(fds, &end, 10);
    if (fds[0] < '0' || fds[0] > '9' || *end != '\0' || errno != 0 || number > PASSED_MAX)
        return false;
    *out = (unsigned)number;
    return true;
}

/* The next of the names that colons separate. */
static void take_name(const char **names, char shown[NAME_MAX_SHOWN])
{
    size_t len = *names != NULL ? strcspn(*names, ":") : 0;

    shown[0] = '\0';
    if (*names == NULL)
        return;
    bytes_escape(shown, NAME_MAX_SHOWN, *names, len);
    *names = (*names)[len] == ':' ? *names + len + 1 : NULL;
}

static const char *describe(const struct passed_socket *s, char text[PASSED_TEXT_MAX])
{
    char where[ADDR_TEXT_MAX] = "";
    bool has_name = s->name[0] != '\0';

    if (s->at.family != 0)
        addr_format(&s->at, where);
    snprintf(text, PASSED_TEXT_MAX, "passed socket %d%s%s%s%s%s", s->fd, has_name ? " (" : "",
             s->name, has_name ? ")" : "", where[0] != '\0' ? " on " : "", where);
    return text;
}

static bool take_over(struct passed_socket *s, struct errors *errors)
{
    char text[PASSED_TEXT_MAX];

    if (udp_adopt(s->fd, &s->at, &s->dual))
        return true;
    errors_add(errors,
               "%s: is no bound UDP socket: %s; let the socket unit have nothing but "
               "ListenDatagram=ADDR:PORT",
               describe(s, text), strerror(errno));
    return false;
}

bool passed_init(struct errors *errors)
{
    const char *names = getenv("LISTEN_FDNAMES");
    bool is_fine = read_count(&count);

    if (!is_fine)
        errors_add(errors, "LISTEN_FDS is no number from 0 to %d; unset it", PASSED_MAX);
    for (unsigned i = 0; i < count; i++) {
        list[i] = (struct passed_socket){.fd = FIRST_FD + (int)i};
        take_name(&names, list[i].name);
        is_fine &= take_over(&list[i], errors);
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    return is_fine;
}

void passed_close(void)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i].fd >= 0)
            close(list[i].fd);
    count = 0;
}

int passed_claim(const struct addr *at, bool *dual)
{
    for (unsigned i = 0; i < count; i++) {
        struct passed_socket *s = &list[i];
        int fd = s->fd;
        if (fd < 0 || !addr_equal(&s->at, at))
            continue;
        *dual = s->dual;
        s->fd = -1;
        return fd;
    }
    return -1;
}

int passed_left(int after, struct addr *at, char text[PASSED_TEXT_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        if (list[i].fd <= after)
            continue;
        *at = list[i].at;
        describe(&list[i], text);
        return list[i].fd;
    }
    return -1;
}
