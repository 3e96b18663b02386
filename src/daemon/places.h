/*
 * places: the files, folders and sockets that the settings name, looked at before they are needed.
 * Never makes, changes or opens one for writing.
 */
#ifndef DTLSGATE_DAEMON_PLACES_H
#define DTLSGATE_DAEMON_PLACES_H

#include "base/errors.h"
#include "conf/conf.h"
#include "daemon/priv.h"

#include <limits.h>
#include <stdbool.h>

#define PLACES_NAME_MAX (PATH_MAX + 32)

struct places {
    const struct conf *conf;
    const char *source;  /* what the settings are called: a file, or "command line" */
    const char *pidfile; /* NULL: none */
    bool is_heir;        /* a running process gives the control socket */
};

/* "FILE:LINE" of what tells where the key of state-dir is, or "command line". */
const char *places_state_name(const struct places *p, char buf[PLACES_NAME_MAX]);

/* As who we are: a line in `errors` for all that a start as such would fail to make or open. False
 * when there was any. */
bool places_check(const struct places *p, struct errors *errors);

/* As the user that a start becomes, in a child process where that is not who we are: adds to
 * `errors` what a start would fail on then, and to `found` what would be amiss later. Call it with
 * a single thread, and where priv_check() is content. */
void places_review(const struct places *p, const struct priv *user, struct errors *errors,
                   struct errors *found);

#endif
