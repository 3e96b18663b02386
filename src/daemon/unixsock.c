/*
 * unixsock: a name in the file system that only the right ones get through. See the header.
 * Must never know what is said through it.
 */
#include "daemon/unixsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define GROUPS_MOST 65536 /* as many as Linux gives a process */

static bool name_of(const char *path, struct sockaddr_un *name)
{
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(name->sun_path))
        return false;
    memcpy(name->sun_path, path, strlen(path));
    return true;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Nobody but us may come in before owner and mode are what they shall be. */
static bool bind_closed(int fd, const struct sockaddr_un *name)
{
    mode_t before = umask(0177);
    bool is_bound = bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0;
    int saved = errno;

    umask(before);
    errno = saved;
    return is_bound;
}

/* Whether what is there has been left behind; otherwise `why`. */
static bool is_stale(const struct sockaddr_un *name, char *why, size_t why_size)
{
    struct stat st;
    bool is_refused;
    int fd;

    if (lstat(name->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        snprintf(why, why_size, "is there and no socket; remove it or choose another path");
        return false;
    }
    fd = new_socket();
    is_refused = fd >= 0 && connect(fd, (const struct sockaddr *)name, sizeof(*name)) != 0 &&
                 errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    if (!is_refused)
        snprintf(why, why_size,
                 "is in use by another process, maybe another dtlsgate; stop it or choose another "
                 "path");
    return is_refused;
}

static bool take_name(int fd, const struct sockaddr_un *name, char *why, size_t why_size)
{
    if (bind_closed(fd, name))
        return true;
    if (errno == EADDRINUSE) {
        if (!is_stale(name, why, why_size))
            return false;
        if (unlink(name->sun_path) == 0 && bind_closed(fd, name))
            return true;
    }
    snprintf(why, why_size, "cannot be made: %s; its folder must be there and ours to write to",
             strerror(errno));
    return false;
}

/* Owner before mode, for the change of owner may take bits away. */
static bool set_rights(struct unixsock *s, char *why, size_t why_size)
{
    const struct unixsock_rules *rules = &s->rules;
    bool is_given = rules->uid != (uid_t)-1 || rules->gid != (gid_t)-1; /* to others than us */
    struct stat st;

    if (is_given && lchown(rules->path, rules->uid, rules->gid) != 0) {
        snprintf(why, why_size, "cannot get its owner and group: %s; start as root or as a member",
                 strerror(errno));
        return false;
    }
    if (chmod(rules->path, rules->mode) != 0 || lstat(rules->path, &st) != 0) {
        snprintf(why, why_size, "cannot get its mode: %s", strerror(errno));
        return false;
    }
    s->rules.uid = st.st_uid;
    s->rules.gid = st.st_gid;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    return true;
}

bool unixsock_open(struct unixsock *s, const struct unixsock_rules *rules, char *why,
                   size_t why_size)
{
    struct sockaddr_un name;
    bool is_named = false;

    *s = (struct unixsock){.fd = -1, .rules = *rules};
    if (!name_of(rules->path, &name)) {
        snprintf(why, why_size, "is too long; at most %zu bytes are fine",
                 sizeof(name.sun_path) - 1);
        return false;
    }
    s->fd = new_socket();
    if (s->fd < 0) {
        snprintf(why, why_size, "cannot be made: %s", strerror(errno));
        return false;
    }
    is_named = take_name(s->fd, &name, why, why_size);
    if (is_named && set_rights(s, why, why_size)) {
        if (listen(s->fd, BACKLOG) == 0)
            return true;
        snprintf(why, why_size, "cannot be listened on: %s", strerror(errno));
    }
    if (is_named)
        unlink(rules->path);
    close(s->fd);
    s->fd = -1;
    return false;
}

/* What the rules leave open is as they would have made it. */
static bool is_as_ruled(const struct unixsock_rules *rules, const struct stat *st)
{
    return (st->st_mode & 07777) == rules->mode &&
           (rules->uid == (uid_t)-1 || st->st_uid == rules->uid) &&
           (rules->gid == (gid_t)-1 || st->st_gid == rules->gid);
}

bool unixsock_adopt(struct unixsock *s, int fd, const struct unixsock_rules *rules, char *why,
                    size_t why_size)
{
    struct sockaddr_un name, bound = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(bound), size = sizeof(int);
    int is_listening = 0;
    struct stat st;

    *s = (struct unixsock){.fd = -1, .rules = *rules};
    if (!name_of(rules->path, &name) || getsockname(fd, (struct sockaddr *)&bound, &len) != 0 ||
        strncmp(name.sun_path, bound.sun_path, sizeof(name.sun_path)) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening ||
        lstat(rules->path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        snprintf(why, why_size,
                 "is not the one of the running process, and an upgrade cannot "
                 "change it; restart dtlsgate");
        return false;
    }
    if (!is_as_ruled(rules, &st)) {
        snprintf(why, why_size,
                 "has another owner, group or mode in the running process, and an "
                 "upgrade cannot change them; restart dtlsgate");
        return false;
    }
    s->rules.uid = st.st_uid;
    s->rules.gid = st.st_gid;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->is_borrowed = true;
    s->fd = fd;
    return true;
}

void unixsock_take(struct unixsock *s)
{
    s->is_borrowed = false;
}

void unixsock_leave(struct unixsock *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

bool unixsock_close(struct unixsock *s)
{
    struct stat st;
    bool is_gone = true;

    if (s->fd < 0)
        return true;
    if (s->is_borrowed) {
        unixsock_leave(s);
        return true;
    }
    if (lstat(s->rules.path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        is_gone = unlink(s->rules.path) == 0;
    int saved = errno;
    close(s->fd);
    s->fd = -1;
    errno = saved;
    return is_gone;
}

/* Among the groups that it had when it connected, beside its first one. */
static bool has_group(int fd, gid_t wanted)
{
    socklen_t size = GROUPS_MOST * sizeof(gid_t);
    gid_t *list = malloc(size);
    bool found = false;

    if (list != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &size) == 0)
        for (size_t i = 0; i < size / sizeof(*list) && !found; i++)
            found = list[i] == wanted;
    free(list);
    return found;
}

bool unixsock_may_enter(const struct unixsock *s, int fd, struct unixsock_peer *peer)
{
    struct ucred who;
    socklen_t size = sizeof(who);

    *peer = (struct unixsock_peer){.pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return false;
    *peer = (struct unixsock_peer){.pid = who.pid, .uid = who.uid, .gid = who.gid};
    if (who.uid == 0 || who.uid == s->rules.uid)
        return true;
    if ((s->rules.mode & S_IWGRP) == 0)
        return false;
    return who.gid == s->rules.gid || has_group(fd, s->rules.gid);
}
