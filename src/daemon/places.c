/*
 * places: stat(2) and access(2), and words for what they say. See the header.
 * Must never know what the files are for beyond who has to read or write them.
 */
#include "daemon/places.h"

#include "conf/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One setting. */
struct spot {
    const struct places *in;
    const struct conf_service *service; /* NULL: [daemon]'s */
    const char *key;
};

static unsigned line_of(const struct spot *at)
{
    const struct option *table = at->service != NULL ? options_service : options_daemon;
    const struct conf_lines *lines =
        at->service != NULL ? &at->service->lines : &at->in->conf->daemon.lines;
    const struct option *o = option_find(table, at->key);

    return o != NULL ? lines->at[o - table] : 0;
}

static const char *name_of(const struct spot *at, char buf[PLACES_NAME_MAX])
{
    unsigned line = line_of(at);

    if (line > 0)
        snprintf(buf, PLACES_NAME_MAX, "%s:%u", at->in->source, line);
    else
        snprintf(buf, PLACES_NAME_MAX, "command line");
    return buf;
}

/* "FILE:LINE: service.coap.psk-helper: …" */
__attribute__((format(printf, 3, 4))) static void tell(const struct spot *at, struct errors *to,
                                                       const char *format, ...)
{
    char name[PLACES_NAME_MAX], text[2 * PATH_MAX + 512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    to->at = line_of(at);
    if (*at->key == '-')
        errors_add(to, "%s: %s", at->key, text);
    else if (at->service != NULL)
        errors_add(to, "%s: service.%s.%s: %s", name_of(at, name), at->service->name, at->key,
                   text);
    else
        errors_add(to, "%s: daemon.%s: %s", name_of(at, name), at->key, text);
}

static bool may(const char *path, int what)
{
    return faccessat(AT_FDCWD, path, what, AT_EACCESS) == 0;
}

static const char *folder_of(const char *path, char buf[PATH_MAX])
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return ".";
    snprintf(buf, PATH_MAX, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    return buf;
}

/* ---- as who starts ---- */

static void check_folder(const struct spot *at, const char *path, struct errors *errors)
{
    char buf[PATH_MAX];
    const char *folder = folder_of(path, buf);
    struct stat st;
    bool is_there = stat(folder, &st) == 0;

    if (is_there && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (is_there && may(folder, W_OK | X_OK))
        return;
    tell(at, errors, "%s cannot be made in %s: %s; %s or choose another path", path, folder,
         strerror(errno),
         errno == ENOENT ? "make that folder" : "let who starts dtlsgate write there");
}

/* One that is made where it is not there. */
static void check_file(const struct spot *at, const char *path, struct errors *errors)
{
    struct stat st;

    if (path == NULL)
        return;
    if (stat(path, &st) != 0) {
        check_folder(at, path, errors);
        return;
    }
    if (S_ISDIR(st.st_mode))
        tell(at, errors, "%s is a folder; name a file in it", path);
    else if (!may(path, W_OK))
        tell(at, errors,
             "%s cannot be written to: %s; give it to who starts dtlsgate, or choose another path",
             path, strerror(errno));
}

static void check_key_log(const struct spot *at, const char *path, struct errors *errors)
{
    struct stat st;
    bool is_there = path != NULL && lstat(path, &st) == 0;

    if (is_there && !S_ISREG(st.st_mode))
        tell(at, errors, "%s is no regular file; choose another path", path);
    else if (is_there && (st.st_mode & 077) != 0)
        tell(at, errors, "%s is open to others; chmod 600 it", path);
    else
        check_file(at, path, errors);
}

static void check_control(const struct spot *at, const char *path, struct errors *errors)
{
    struct stat st;

    if (path == NULL || at->in->is_heir)
        return;
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        tell(at, errors, "%s is there and no socket; remove it or choose another path", path);
    else
        check_folder(at, path, errors);
}

/* A log that is a file; NULL otherwise. */
static const char *file_of(const char *target)
{
    return target != NULL && *target == '/' ? target : NULL;
}

/* ---- as who serves ---- */

/* Who looks, and where the words go. */
struct look {
    const struct places *in;
    const char *user;
    struct errors *errors, *found;
};

static void review_log(const struct look *l, const char *key, const char *target)
{
    const struct spot at = {l->in, NULL, key};
    const char *path = file_of(target);
    char buf[PATH_MAX];
    struct stat st;

    if (path == NULL)
        return;
    if (stat(path, &st) == 0 && !may(path, W_OK))
        tell(&at, l->found,
             "user %s cannot write to %s, so that it cannot be opened anew; chown it", l->user,
             path);
    else if (!may(folder_of(path, buf), W_OK | X_OK))
        tell(&at, l->found,
             "user %s cannot make files in %s, so that a rotation has to make the new one; give "
             "them that folder",
             l->user, folder_of(path, buf));
}

static void review_control(const struct look *l)
{
    const struct spot at = {l->in, NULL, "control-socket"};
    const char *path = l->in->conf->daemon.control_socket;
    char buf[PATH_MAX];

    if (path != NULL && !may(folder_of(path, buf), W_OK | X_OK))
        tell(&at, l->found, "user %s cannot remove it from %s at the end; give them that folder",
             l->user, folder_of(path, buf));
}

/* "x/" is made as "x" is. */
static const char *without_slashes(const char *path, char buf[PATH_MAX])
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    snprintf(buf, PATH_MAX, "%.*s", (int)len, path);
    return buf;
}

static void review_state(const struct look *l)
{
    const struct spot at = {l->in, NULL, "state-dir"};
    const char *path = l->in->conf->daemon.state_dir;
    char buf[PATH_MAX], name[PATH_MAX];
    struct stat st;

    if (path == NULL)
        return;
    if (stat(path, &st) != 0) {
        if (!may(folder_of(without_slashes(path, name), buf), W_OK | X_OK))
            tell(&at, l->errors, "user %s cannot make %s: %s; make it, and give it to them",
                 l->user, path, strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        tell(&at, l->errors, "%s is no folder; name one", path);
    } else if (st.st_uid != geteuid() && st.st_uid != 0) {
        tell(&at, l->errors,
             "%s is another user's, who could put an older file there; give it to the user that "
             "dtlsgate runs as",
             path);
    } else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        tell(&at, l->errors, "%s can be written by others (mode %04o); chmod go-w it", path,
             (unsigned)(st.st_mode & 07777));
    } else if (!may(path, R_OK | W_OK | X_OK)) {
        tell(&at, l->errors, "user %s cannot use %s: %s; give it to them", l->user, path,
             strerror(errno));
    }
}

static void review_readable(const struct look *l, const struct spot *at, const char *path)
{
    if (!may(path, R_OK))
        tell(at, l->found,
             "user %s cannot read %s: %s; a reload will fail until its group can (chgrp, chmod "
             "g+r)",
             l->user, path, strerror(errno));
}

/* It may be started later. */
static void review_helper(const struct look *l, const struct conf_service *service)
{
    const struct spot at = {l->in, service, "psk-helper"};
    const char *path = service->psk_helper;
    struct stat st;

    if (path == NULL)
        return;
    if (stat(path, &st) != 0)
        tell(&at, l->found, "user %s cannot find %s: %s; start the helper that makes it", l->user,
             path, strerror(errno));
    else if (!S_ISSOCK(st.st_mode))
        tell(&at, l->found, "%s is no socket; name that of the helper", path);
    else if (!may(path, W_OK))
        tell(&at, l->found,
             "user %s cannot connect to %s: %s; let its group (chgrp, chmod g+w), or the helper "
             "knows nobody",
             l->user, path, strerror(errno));
}

static void review_all(const struct look *l)
{
    const struct conf *conf = l->in->conf;
    const struct spot file = {l->in, NULL, "--config"};

    if (strcmp(l->in->source, "command line") != 0)
        review_readable(l, &file, l->in->source);
    review_log(l, "log", conf->daemon.log);
    review_log(l, "access-log", conf->daemon.access_log);
    review_control(l);
    review_state(l);
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        review_readable(l, &(struct spot){l->in, service, "psk-file"}, service->psk_file);
        review_helper(l, service);
    }
}

/* ---- a child that is who serves ---- */

static void send_lines(FILE *to, char kind, const struct errors *e)
{
    unsigned held = e->count < ERRORS_MAX ? e->count : ERRORS_MAX;

    for (unsigned i = 0; i < held; i++)
        fprintf(to, "%c%u %s%c", kind, e->place[i],
                e->line[i] != NULL ? e->line[i] : "out of memory", '\0');
}

static void look_as(const struct priv *user, const struct look *l, int fd)
{
    struct errors errors = {.count = 0}, found = {.count = 0};
    const struct look mine = {l->in, l->user, &errors, &found};
    FILE *to = fdopen(fd, "w");
    char why[256];

    if (to == NULL)
        _exit(1);
    if (priv_drop(user, why, sizeof(why)))
        review_all(&mine);
    else
        errors_add(&errors, "%s", why);
    send_lines(to, 'E', &errors);
    send_lines(to, 'W', &found);
    _exit(fclose(to) == 0 ? 0 : 1);
}

static void take_lines(FILE *from, const struct look *l)
{
    char *line = NULL, *text;
    size_t size = 0;

    while (getdelim(&line, &size, '\0', from) > 0) {
        struct errors *to = *line == 'E' ? l->errors : l->found;
        to->at = (unsigned)strtoul(line + 1, &text, 10);
        errors_add(to, "%s", text + 1);
    }
    free(line);
}

static bool review_in_child(const struct priv *user, const struct look *l)
{
    int ends[2], status = 1;
    FILE *from;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid = fork();
    if (pid == 0)
        look_as(user, l, ends[1]);
    close(ends[1]);
    from = fdopen(ends[0], "r");
    if (from != NULL) {
        take_lines(from, l);
        fclose(from);
    } else {
        close(ends[0]);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* ---- the whole ---- */

const char *places_state_name(const struct places *p, char buf[PLACES_NAME_MAX])
{
    const char *key = p->conf->daemon.state_key != NULL ? "state-key" : "state-dir";

    return name_of(&(struct spot){p, NULL, key}, buf);
}

bool places_check(const struct places *p, struct errors *errors)
{
    const struct conf_daemon *daemon = &p->conf->daemon;
    unsigned before = errors->count;

    check_file(&(struct spot){p, NULL, "log"}, file_of(daemon->log), errors);
    check_file(&(struct spot){p, NULL, "access-log"}, file_of(daemon->access_log), errors);
    check_key_log(&(struct spot){p, NULL, "trace-keylog"}, daemon->trace_keylog, errors);
    check_control(&(struct spot){p, NULL, "control-socket"}, daemon->control_socket, errors);
    check_file(&(struct spot){p, NULL, "--pidfile"}, p->pidfile, errors);
    errors_sort(errors, before);
    return errors->count == before;
}

void places_review(const struct places *p, const struct priv *user, struct errors *errors,
                   struct errors *found)
{
    const struct look l = {p, priv_name(user), errors, found};

    if (!priv_is_other(user))
        review_all(&l);
    else if (!review_in_child(user, &l))
        errors_add(found, "%s: daemon.user: cannot look at files as %s: %s", p->source, l.user,
                   strerror(errno));
}
