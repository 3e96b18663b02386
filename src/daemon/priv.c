/*
 * priv: lookups first, while mistakes can still be told with all others; then the drop, checked.
 * Must never know why somebody else wants to be less.
 */
#include "daemon/priv.h"

#include "base/access.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_already(const struct priv *p)
{
    return geteuid() == p->uid && getuid() == p->uid && getegid() == p->gid;
}

static bool become(const struct priv *p)
{
    return initgroups(p->user, p->gid) == 0 && setresgid(p->gid, p->gid, p->gid) == 0 &&
           setresuid(p->uid, p->uid, p->uid) == 0;
}

bool priv_may_keep_raw(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, has) != 0)
        return false;
    errno = EPERM;
    return (has[0].permitted & UINT32_C(1) << CAP_NET_RAW) != 0;
}

bool priv_give_up(bool keeps_raw)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {{.effective = 0}};

    if (keeps_raw)
        kept[0].effective = kept[0].permitted = UINT32_C(1) << CAP_NET_RAW;
    /* This empties the ambient set as well, whose members are permitted and inheritable ones. */
    return syscall(SYS_capset, &header, kept) == 0;
}

/* A change of user takes all capabilities, unless they are told to stay. */
static bool become_keeping_raw(const struct priv *p)
{
    return prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L) == 0 && become(p) && priv_give_up(true) &&
           prctl(PR_SET_KEEPCAPS, 0L, 0L, 0L, 0L) == 0;
}

static bool is_for_good(const struct priv *p)
{
    uid_t real, effective, saved;
    gid_t real_group, effective_group, saved_group;

    if (getresuid(&real, &effective, &saved) != 0 ||
        getresgid(&real_group, &effective_group, &saved_group) != 0)
        return false;
    if (real != p->uid || effective != p->uid || saved != p->uid)
        return false;
    if (real_group != p->gid || effective_group != p->gid || saved_group != p->gid)
        return false;
    if (p->uid == 0)
        return true;
    /* The group root may be just what is wanted. */
    return setresuid(0, 0, 0) != 0 && (p->gid == 0 || setresgid(0, 0, 0) != 0);
}

static const char *name_of(const struct priv *p)
{
    return p->is_wanted ? p->user : "root";
}

static void warn_unopenable(const struct priv *p, const char *path, const char *setting)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        log_warning("dtlsgate: user %s cannot read %s (%s): %s; a reload will fail until its "
                    "group can (chgrp, chmod g+r)",
                    name_of(p), path, setting, strerror(errno));
    else
        close(fd);
}

void priv_forbid_dumps(void)
{
    struct rlimit none = {0, 0};

    /* Neither can fail with these arguments. */
    (void)prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L);
    (void)setrlimit(RLIMIT_CORE, &none);
}

void priv_allow_dumps(void)
{
    (void)prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
}

size_t priv_raise_descriptors(size_t needed)
{
    struct rlimit limit, raised;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (raised.rlim_max < needed)
        raised = (struct rlimit){needed, needed};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return (size_t)raised.rlim_cur;
    raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        return (size_t)raised.rlim_cur;
    return (size_t)limit.rlim_cur;
}

/* Leaves *gid alone where `name` is NULL or not there. */
static void find_group(const char *name, const char *key, const char *source, gid_t *gid,
                       struct errors *errors)
{
    const struct group *group = name != NULL ? getgrnam(name) : NULL;

    if (group != NULL)
        *gid = group->gr_gid;
    else if (name != NULL)
        errors_add(errors, "%s: daemon.%s: there is no group %s; create it or name another", source,
                   key, name);
}

bool priv_find(struct priv *p, const struct conf_daemon *daemon, const char *source,
               struct errors *errors)
{
    unsigned before = errors->count;
    const struct passwd *user;

    *p = (struct priv){
        .is_wanted = daemon->user != NULL, .user = daemon->user, .control_gid = (gid_t)-1};
    find_group(daemon->control_group, "control-group", source, &p->control_gid, errors);
    if (daemon->user == NULL) {
        if (daemon->group != NULL)
            errors_add(errors, "%s: daemon.group: is set without daemon.user; set both, or none",
                       source);
        return errors->count == before;
    }
    user = getpwnam(daemon->user);
    if (user == NULL) {
        errors_add(errors, "%s: daemon.user: there is no user %s; create it or name another",
                   source, daemon->user);
    } else {
        p->uid = user->pw_uid;
        p->gid = user->pw_gid;
    }
    find_group(daemon->group, "group", source, &p->gid, errors);
    return errors->count == before;
}

bool priv_check(const struct priv *p, const char *source, struct errors *errors)
{
    if (!p->is_wanted || geteuid() == 0 || is_already(p))
        return true;
    errors_add(errors,
               "%s: daemon.user: only root can become %s; start as root, or leave it out and start "
               "as that user",
               source, p->user);
    return false;
}

const char *priv_name(const struct priv *p)
{
    const struct passwd *we = p->is_wanted ? NULL : getpwuid(geteuid());

    return we != NULL ? we->pw_name : name_of(p);
}

bool priv_is_other(const struct priv *p)
{
    return p->is_wanted && !is_already(p);
}

void priv_review(const struct priv *p, const char *source, struct errors *found)
{
    if (!p->is_wanted && geteuid() == 0)
        errors_add(found,
                   "%s: daemon.user: is not set, and a process that root starts stays root; name a "
                   "user for it",
                   source);
}

void priv_give_log(const struct priv *p)
{
    if (!p->is_wanted || geteuid() != 0)
        return;
    if (!log_give(p->uid, p->gid))
        log_warning("dtlsgate: the log cannot be made the one of %s: %s", p->user, strerror(errno));
    if (access_is_on() && !access_give(p->uid, p->gid))
        log_warning("dtlsgate: the access log cannot be made the one of %s: %s", p->user,
                    strerror(errno));
}

bool priv_drop(const struct priv *p, char *why, size_t why_size)
{
    if (!p->is_wanted || is_already(p))
        return true;
    if (!(p->keeps_raw ? become_keeping_raw(p) : become(p))) {
        snprintf(why, why_size, "cannot become user %s: %s", p->user, strerror(errno));
        return false;
    }
    if (!is_for_good(p)) {
        snprintf(why, why_size, "became user %s, but there is a way back to root", p->user);
        return false;
    }
    /* The change of user has set this anew, to what the system prefers. */
    priv_forbid_dumps();
    return true;
}

void priv_check_files(const struct priv *p, const struct conf *conf, const char *path)
{
    char why[256];

    /* Who is neither has read them as the same user; root may have lost the right to all files. */
    if (!p->is_wanted && geteuid() != 0)
        return;
    if (path != NULL)
        warn_unopenable(p, path, "--config");
    for (size_t i = 0; i < conf->service_count; i++)
        warn_unopenable(p, conf->service[i].psk_file, "psk-file");
    if (!log_reopen(why, sizeof(why)))
        log_warning("dtlsgate: user %s %s (daemon.log); it cannot be opened anew until it is "
                    "theirs (chown)",
                    name_of(p), why);
    if (access_is_on() && !access_reopen(why, sizeof(why)))
        log_warning("dtlsgate: user %s %s (daemon.access-log); it cannot be opened anew until it "
                    "is theirs (chown)",
                    name_of(p), why);
}
