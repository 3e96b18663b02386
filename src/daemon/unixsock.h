/*
 * unixsock: the control socket in the file system: made, guarded, removed.
 * Must never know what is said through it.
 */
#ifndef DTLSGATE_DAEMON_UNIXSOCK_H
#define DTLSGATE_DAEMON_UNIXSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct unixsock_rules {
    const char *path; /* at most 107 bytes */
    mode_t mode;      /* permission bits */
    uid_t uid;        /* its owner, who may always come in; -1: who we are */
    gid_t gid;        /* its group; -1: the one we have */
};

/* Zeroed memory with fd -1 is none. */
struct unixsock {
    int fd;           /* listening, non-blocking; -1: none */
    bool is_borrowed; /* another process's, which listens, too */
    struct unixsock_rules rules;
    dev_t device; /* of what we made, */
    ino_t inode;  /* so that nothing else is removed */
};

/* Makes it, before privileges are dropped; `rules->path` is borrowed for as long as it lives. What
 * is left of a process that ended without a word is replaced; a socket that somebody listens on, or
 * a file that is none, is not. False with `why`, which goes on where the path ended, and fd -1. */
bool unixsock_open(struct unixsock *s, const struct unixsock_rules *rules, char *why,
                   size_t why_size) __attribute__((warn_unused_result));
/* Goes on with one that another process has made and listens on: `fd`, which is taken over on true.
 * It has to be what the rules ask for already, for it is that process's still: until
 * unixsock_take() it is not removed. False with `why` as above. */
bool unixsock_adopt(struct unixsock *s, int fd, const struct unixsock_rules *rules, char *why,
                    size_t why_size) __attribute__((warn_unused_result));
void unixsock_take(struct unixsock *s);
/* Closes it and leaves it where it is, for it is another process's now. */
void unixsock_leave(struct unixsock *s);
/* Closes it, and removes it where it is still ours. Harmless on none. False: it stays behind,
 * errno tells. */
bool unixsock_close(struct unixsock *s);

/* Who is at the other end of a connection. */
struct unixsock_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* Whether the other end of `fd` may speak to us: root, the owner, or a member of the group where
 * the mode lets the group write. *peer is filled in either case, with -1 where it cannot be told.
 */
bool unixsock_may_enter(const struct unixsock *s, int fd, struct unixsock_peer *peer);

#endif
