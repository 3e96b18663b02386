/*
 * state: a folder with a lock, a file, and for a moment the next one. See the header.
 * Must never let two processes use one file, nor one file be used twice.
 */
#include "daemon/state.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/state_old.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FILE_NAME "sessions"
#define NEXT_NAME "sessions.new"
#define LOCK_NAME "lock"
#define CREDENTIAL "dtlsgate.state-key"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define KEY_LEAST 32
#define KEY_MOST 4096
/* As long as a cookie is good for, at most. */
#define COOKIES_AGE_MS (10 * 60 * UINT64_C(1000))

struct state_dir {
    char *dir_name;
    char *key;
    size_t key_len;
    uint8_t boot[STATE_BOOT];
    int dir, lock;
    bool is_heir; /* a running process's sessions go on, and the file is still its own */
    bool is_next; /* ours is beside it yet */
    struct state_old old;
    struct state_head head;
    struct keep_shared shared;
    struct vault *vault;
    uint8_t *first; /* block, with the head */
};

static struct state_secret secret_of(const struct state_dir *s)
{
    return (struct state_secret){(const uint8_t *)s->key, s->key_len};
}

/* ---- the key ---- */

/* NULL: there is none. */
static const char *key_path(const struct conf_daemon *daemon, char buf[PATH_MAX])
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");

    if (daemon->state_key || !folder || !*folder)
        return daemon->state_key;
    if (snprintf(buf, PATH_MAX, "%s/%s", folder, CREDENTIAL) >= PATH_MAX || access(buf, F_OK) != 0)
        return NULL;
    return buf;
}

static bool read_key(struct state_dir *s, const struct conf_daemon *daemon, const char *source,
                     struct errors *errors)
{
    char buf[PATH_MAX], why[256];
    const char *path = key_path(daemon, buf);

    if (!path) {
        errors_add(errors,
                   "%s: daemon.state-dir: there is no key to seal it with; set state-key, or give "
                   "the credential " CREDENTIAL,
                   source);
        return false;
    }
    if (!file_read(path, FILE_SECRET, KEY_MOST, &s->key, &s->key_len, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.state-key: %s %s", source, path, why);
        return false;
    }
    if (s->key_len >= KEY_LEAST)
        return true;
    errors_add(errors,
               "%s: daemon.state-key: %s has %zu bytes; make it of %d random ones or more "
               "(head -c %d /dev/urandom)",
               source, path, s->key_len, KEY_LEAST, KEY_LEAST);
    return false;
}

bool state_awaits_credential(const struct conf_daemon *daemon)
{
    return daemon->state_dir && !daemon->state_key && !getenv("CREDENTIALS_DIRECTORY");
}

bool state_new(struct state_dir **out, const struct conf_daemon *daemon, const char *source,
               struct errors *errors)
{
    struct state_dir *s;

    *out = NULL;
    if (!daemon->state_dir)
        return true;
    s = calloc(1, sizeof(*s));
    if (s) {
        s->dir = s->lock = s->old.fd = s->shared.file.fd = -1;
        s->dir_name = strdup(daemon->state_dir);
    }
    if (!s || !s->dir_name)
        errors_add(errors, "out of memory");
    else if (read_key(s, daemon, source, errors)) {
        *out = s;
        return true;
    }
    state_free(s);
    return false;
}

bool state_inherit(struct state_dir *s, bool is_heir, int lock, const char *source,
                   struct errors *errors)
{
    if (!is_heir)
        return true;
    if (s && lock >= 0) {
        s->lock = lock;
        s->is_heir = true;
    }
    if ((s != NULL) == (lock >= 0))
        return true;
    if (lock >= 0)
        close(lock);
    errors_add(errors,
               "%s: daemon.state-dir: the running process has %s, and an upgrade cannot change "
               "that; restart dtlsgate",
               source, lock >= 0 ? "one" : "none");
    return false;
}

int state_lock(const struct state_dir *s)
{
    return s->lock;
}

/* ---- the folder ---- */

/* False: it is hidden from us. */
static bool read_boot(uint8_t boot[STATE_BOOT])
{
    char text[64] = "", hex[2 * STATE_BOOT + 1];
    int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    size_t n = 0;

    if (fd >= 0) {
        if (read(fd, text, sizeof(text) - 1) < 0)
            text[0] = '\0';
        close(fd);
    }
    for (const char *p = text; *p && n < 2 * STATE_BOOT; p++)
        if (*p != '-' && *p != '\n')
            hex[n++] = *p;
    return hex_decode(boot, STATE_BOOT, hex, n) == STATE_BOOT;
}

/* Where it is hidden, a folder in memory is taken to be of this start of the host, for it does not
 * outlive one unless somebody saves and fills it; one on a disk never is. */
static void find_boot(struct state_dir *s)
{
    struct statfs fs;

    if (read_boot(s->boot))
        return;
    memset(s->boot, 0, sizeof(s->boot));
    if (fstatfs(s->dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC)
        return;
    bytes_random(s->boot, sizeof(s->boot));
    log_warning("dtlsgate: %s is not in memory (tmpfs), and " BOOT_ID
                " cannot be read: sessions outlive a stop, but no crash",
                s->dir_name);
}

static bool take_lock(struct state_dir *s, char *why, size_t why_size)
{
    struct flock all_of_it = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    s->lock =
        openat(s->dir, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (s->lock >= 0 && fcntl(s->lock, F_OFD_SETLK, &all_of_it) == 0)
        return true;
    if (s->lock >= 0 && errno == EAGAIN)
        snprintf(why, why_size,
                 "daemon.state-dir: %s is in use by another process; stop that one first, or name "
                 "another folder",
                 s->dir_name);
    else
        snprintf(why, why_size,
                 "daemon.state-dir: cannot lock %s/%s: %s; give the folder to the user that "
                 "dtlsgate runs as",
                 s->dir_name, LOCK_NAME, strerror(errno));
    return false;
}

/* The lock is the descriptor's, so it is ours as well. */
static bool is_same_folder(const struct state_dir *s, char *why, size_t why_size)
{
    struct stat ours, theirs;

    if (fstat(s->lock, &theirs) == 0 &&
        fstatat(s->dir, LOCK_NAME, &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
        return true;
    snprintf(why, why_size,
             "daemon.state-dir: %s is another folder than the running process's, and an upgrade "
             "cannot change it; restart dtlsgate",
             s->dir_name);
    return false;
}

static bool open_dir(struct state_dir *s, char *why, size_t why_size)
{
    struct stat st;

    (void)mkdir(s->dir_name, 0700); /* or it is there */
    s->dir = open(s->dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 || fstat(s->dir, &st) != 0) {
        snprintf(why, why_size, "daemon.state-dir: cannot open %s: %s", s->dir_name,
                 strerror(errno));
        return false;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        snprintf(why, why_size,
                 "daemon.state-dir: %s is another user's, who could put an older file there; give "
                 "it to the user that dtlsgate runs as",
                 s->dir_name);
        return false;
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        snprintf(why, why_size,
                 "daemon.state-dir: %s can be written by others (mode %04o); "
                 "chmod go-w it",
                 s->dir_name, (unsigned)(st.st_mode & 07777));
        return false;
    }
    return s->is_heir ? is_same_folder(s, why, why_size) : take_lock(s, why, why_size);
}

/* NULL, or why it is not to be looked at. */
static const char *judge_file(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return "it cannot be examined";
    if (!S_ISREG(st.st_mode))
        return "it is not a regular file";
    if (st.st_uid != geteuid())
        return "it is another user's";
    return st.st_mode & (S_IRWXG | S_IRWXO) ? "it is open to others" : NULL;
}

static void open_old(struct state_dir *s)
{
    const struct state_secret secret = secret_of(s);
    int fd = openat(s->dir, FILE_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    const char *why;

    if (fd < 0 && errno == ENOENT) {
        log_info("dtlsgate: state-dir %s holds no sessions yet", s->dir_name);
        return;
    }
    why = fd < 0 ? strerror(errno) : judge_file(fd);
    if (why && fd >= 0)
        close(fd);
    if (!why) {
        why = state_old_open(&s->old, fd, &secret, s->boot);
        if (why)
            state_old_clear(&s->old);
    }
    if (why)
        log_warning("dtlsgate: %s/%s is not taken up: %s; all clients begin anew", s->dir_name,
                    FILE_NAME, why);
}

/* ---- the new file ---- */

static bool make_file(struct state_dir *s, char *why, size_t why_size)
{
    const struct state_secret secret = secret_of(s);
    uint8_t head[STATE_HEAD_SIZE];
    unsigned number;

    (void)unlinkat(s->dir, NEXT_NAME, 0); /* of a start that did not get far */
    if (!mapped_create(&s->shared.file, s->dir, NEXT_NAME, KEEP_BLOCK_MAX + 1)) {
        snprintf(why, why_size, "daemon.state-dir: cannot make %s/%s: %s", s->dir_name, NEXT_NAME,
                 strerror(errno));
        return false;
    }
    s->is_next = true;
    s->first = mapped_add(&s->shared.file, &number);
    if (!s->first) {
        snprintf(why, why_size, "daemon.state-dir: no room in %s: %s", s->dir_name,
                 strerror(errno));
        return false;
    }
    if (state_head_make(&s->head, &secret, s->boot, head))
        s->vault = vault_new(&s->head.keys);
    if (!s->vault) {
        snprintf(why, why_size, "daemon.state-dir: libcrypto lacks AES-256-GCM or HKDF");
        return false;
    }
    memcpy(s->first, head, sizeof(head));
    s->shared.keys = s->head.keys;
    s->shared.highest_id = s->old.highest_id;
    return true;
}

bool state_open(struct state_dir *s, char *why, size_t why_size)
{
    if (!open_dir(s, why, why_size))
        return false;
    find_boot(s);
    if (!s->is_heir)
        open_old(s);
    return make_file(s, why, why_size);
}

/* It would open the files of later starts, too. */
static void forget_key(struct state_dir *s)
{
    file_free(s->key, s->key_len);
    s->key = NULL;
    s->key_len = 0;
}

bool state_begin(struct state_dir *s, char *why, size_t why_size)
{
    bool is_done = state_old_spend(&s->old) && renameat(s->dir, NEXT_NAME, s->dir, FILE_NAME) == 0;

    if (!is_done)
        snprintf(why, why_size, "daemon.state-dir: cannot replace %s/%s: %s", s->dir_name,
                 FILE_NAME, strerror(errno));
    else if (fsync(s->dir) != 0) /* ours is in place; there is no way back */
        log_warning("dtlsgate: %s cannot be written through: %s; a crash of the host may bring "
                    "back the file before this one, which will not be taken up",
                    s->dir_name, strerror(errno));
    state_old_clear(&s->old);
    if (is_done) {
        s->is_next = false;
        forget_key(s);
    }
    return is_done;
}

void state_clear_up(struct state_dir *s)
{
    (void)unlinkat(s->dir, NEXT_NAME, 0);
}

void state_close(struct state_dir *s)
{
    if (!mapped_sync(&s->shared.file)) {
        log_warning("dtlsgate: %s/%s cannot be written through: %s; it will not outlive the host",
                    s->dir_name, FILE_NAME, strerror(errno));
        return;
    }
    state_head_close(s->vault, &s->head, s->first);
    (void)!mapped_sync(&s->shared.file);
}

void state_free(struct state_dir *s)
{
    if (!s)
        return;
    state_old_clear(&s->old);
    vault_free(s->vault);
    if (s->is_next)
        state_clear_up(s);
    mapped_unmap(s->first);
    mapped_close(&s->shared.file);
    if (s->lock >= 0)
        close(s->lock);
    if (s->dir >= 0)
        close(s->dir);
    forget_key(s);
    free(s->dir_name);
    bytes_wipe(s, sizeof(*s));
    free(s);
}

/* ---- what is in there ---- */

struct keep_shared *state_shared(struct state_dir *s)
{
    return &s->shared;
}

struct steer state_steer(const struct state_dir *s)
{
    static const uint8_t salt[] = "steer";
    struct vault_keys keys;
    struct steer steer = {{0, 0}};

    /* Without, the rule is known to all; no more is lost than balance. */
    if (vault_derive(&keys, (const uint8_t *)s->key, s->key_len, salt, sizeof(salt)))
        memcpy(steer.key, keys.mark.bytes, sizeof(steer.key));
    bytes_wipe(&keys, sizeof(keys));
    return steer;
}

bool state_cookies(const struct state_dir *s, struct cookie_secrets *out)
{
    struct cookie_secrets found;
    uint64_t wall, now = clock_wall_ms();
    bool is_fresh;

    if (s->old.fd < 0 || !state_head_get_cookies(s->old.vault, s->old.head, &found, &wall))
        return false;
    is_fresh = wall <= now && now - wall < COOKIES_AGE_MS;
    if (is_fresh)
        *out = found;
    cookie_secrets_wipe(&found);
    return is_fresh;
}

bool state_tickets(const struct state_dir *s, struct ticket_keys *out, uint64_t *age)
{
    uint64_t wall, now = clock_wall_ms();

    if (s->old.fd < 0 || !state_head_get_tickets(s->old.vault, s->old.head, out, &wall))
        return false;
    *age = wall < now ? now - wall : 0;
    return true;
}

bool state_next(struct state_dir *s, struct keep_entry *e)
{
    return s->old.fd >= 0 && state_old_next(&s->old, e);
}

size_t state_damaged(const struct state_dir *s)
{
    return s->old.damaged;
}

static uint64_t next_generation(struct state_dir *s)
{
    return atomic_fetch_add(&s->shared.generation, 1) + 1;
}

bool state_put_cookies(struct state_dir *s, const struct cookie_secrets *cookies)
{
    return state_head_put_cookies(s->vault, next_generation(s), cookies, clock_wall_ms(), s->first);
}

bool state_put_tickets(struct state_dir *s, const struct ticket_keys *keys, uint64_t age)
{
    return state_head_put_tickets(s->vault, next_generation(s), keys, clock_wall_ms() - age,
                                  s->first);
}
