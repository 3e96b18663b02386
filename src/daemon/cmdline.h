/*
 * cmdline: the command line as a plain value: what to do, and where the settings come from.
 * Must never know what a setting means: -l, -b and -k are overrides like any other -o.
 */
#ifndef DTLSGATE_DAEMON_CMDLINE_H
#define DTLSGATE_DAEMON_CMDLINE_H

#include "base/errors.h"
#include "base/log.h"
#include "conf/conf.h"

#include <stdbool.h>

enum cmdline_action {
    CMDLINE_RUN,
    CMDLINE_TEST,    /* -t: check the settings, say what is wrong */
    CMDLINE_SHOW,    /* -T: print the effective settings */
    CMDLINE_VERSION, /* -V */
    CMDLINE_HELP,    /* -h */
    CMDLINE_GENPSK,  /* --genpsk */
};

struct cmdline {
    enum cmdline_action action;
    struct conf_source source; /* borrows from what follows and from argv */
    const char *identity;      /* of --genpsk; borrowed from argv */
    const char *pidfile;       /* of --pidfile, or NULL; borrowed from argv */
    bool background;           /* -d */
    bool quiet;                /* -q */
    unsigned verbose;          /* how many -v */
    char *const *argv;         /* all of it; borrowed */
    char **overrides;          /* owned, as is each */
};

/* Reads argv whole. Each mistake becomes a line in `errors`, without a prefix; false when there was
 * any. -V and -h end the reading. Clear *c in either case. Not for two threads at a time. */
bool cmdline_parse(struct cmdline *c, int argc, char *const argv[], struct errors *errors)
    __attribute__((warn_unused_result));
void cmdline_clear(struct cmdline *c);

/* The level to log at where the settings ask for `configured`. */
enum log_level cmdline_log_level(const struct cmdline *c, enum log_level configured);
/* What a message calls the place that the settings come from: the file, or "command line". */
const char *cmdline_source_name(const struct cmdline *c);
/* The text of -h. */
const char *cmdline_help(void);

#endif
