/*
 * priv: what the process may do: its user and groups, its core dumps, its descriptors.
 * Must never know why somebody else wants to be less.
 */
#ifndef DTLSGATE_DAEMON_PRIV_H
#define DTLSGATE_DAEMON_PRIV_H

#include "base/errors.h"
#include "conf/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whom to become. */
struct priv {
    bool is_wanted;   /* daemon.user is set */
    bool keeps_raw;   /* CAP_NET_RAW is to stay: some service is transparent */
    const char *user; /* borrowed from the settings */
    uid_t uid;
    gid_t gid;
    gid_t control_gid; /* of daemon.control-group; -1: not set */
};

/* Keys are in memory: no core dump, no ptrace by others of the same user. Call it first of all. */
void priv_forbid_dumps(void);
/* Once the keys are wiped: leak checkers look into the process at its end. */
void priv_allow_dumps(void);

/* Raises the soft limit of open descriptors to the hard one, and that to `needed` where we may.
 * Returns what is allowed now. */
size_t priv_raise_descriptors(size_t needed);

/* Looks up daemon.user, daemon.group and daemon.control-group. `source` names the settings in the
 * line that each mistake adds to `errors`; false when there was any. */
bool priv_find(struct priv *p, const struct conf_daemon *daemon, const char *source,
               struct errors *errors) __attribute__((warn_unused_result));
/* Whether we may become that user: an error, too, as above. */
bool priv_check(const struct priv *p, const char *source, struct errors *errors)
    __attribute__((warn_unused_result));
/* The name of who serves: that user, or who we are. */
const char *priv_name(const struct priv *p);
/* Whether that is not who we are. */
bool priv_is_other(const struct priv *p);
/* Whether the process is root and stays so, which is told once: a line for `found`. */
void priv_review(const struct priv *p, const char *source, struct errors *found);
/* Log files that the start has made become that user's, who has to open them anew after a rotation.
 */
void priv_give_log(const struct priv *p);
/* Whether CAP_NET_RAW is there to be kept. False with errno. */
bool priv_may_keep_raw(void) __attribute__((warn_unused_result));
/* Gives up all capabilities, but for CAP_NET_RAW where that is to stay. False with errno. Call it
 * with a single thread, for others keep theirs. */
bool priv_give_up(bool keeps_raw) __attribute__((warn_unused_result));
/* Becomes that user for good, with p->keeps_raw, and makes sure that there is no way back. Does
 * nothing where none is wanted. Call it with a single thread. False with `why`: the process must
 * end. */
bool priv_drop(const struct priv *p, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* After the drop, and in the box: warns of each file that a reload or a reopening of the log will
 * not be able to open. */
void priv_check_files(const struct priv *p, const struct conf *conf, const char *path);

#endif
