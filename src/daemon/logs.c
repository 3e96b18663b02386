/*
 * logs: two logs, one set of rules. See the header.
 */
#include "daemon/logs.h"

#include "base/access.h"
#include "base/log.h"
#include "daemon/background.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool open_log(const struct conf_daemon *daemon, char *why, size_t why_size)
{
    return background_allows(daemon->log, why, why_size) &&
           log_open(daemon->log, daemon->log_format, why, why_size);
}

static bool prepare_access_log(struct sink_draft *draft, const char *target, char *why,
                               size_t why_size)
{
    return background_allows(target, why, why_size) && sink_prepare(draft, target, why, why_size);
}

bool logs_open(const struct conf_daemon *daemon, const char *source, struct errors *errors)
{
    struct sink_draft draft;
    char why[256];

    if (!open_log(daemon, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.log: %s", source, why);
        return false;
    }
    if (daemon->access_log == NULL)
        return true;
    if (!prepare_access_log(&draft, daemon->access_log, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.access-log: %s", source, why);
        return false;
    }
    access_use(&draft, daemon->access_log_format);
    return true;
}

bool logs_start(char *why, size_t why_size)
{
    if (!access_is_on() || access_start())
        return true;
    snprintf(why, why_size, "cannot start the writer of the access log: %s", strerror(errno));
    return false;
}

bool logs_switch(const struct conf_daemon *running, const struct conf_daemon *next,
                 const char *source, struct errors *errors)
{
    bool is_log_same =
        strcmp(running->log, next->log) == 0 && running->log_format == next->log_format;
    const char *access = next->access_log;
    bool is_access_moved =
        access != NULL && (!is_same(running->access_log, access) ||
                           running->access_log_format != next->access_log_format);
    struct sink_draft draft;
    char why[256];

    if (access != NULL && !access_start()) {
        errors_add(errors, "%s: daemon.access-log: cannot start its writer: %s", source,
                   strerror(errno));
        return false;
    }
    if (is_access_moved && !prepare_access_log(&draft, access, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.access-log: %s", source, why);
        return false;
    }
    if (!is_log_same && !open_log(next, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.log: %s", source, why);
        if (is_access_moved)
            sink_discard(&draft);
        return false;
    }
    if (is_access_moved)
        access_use(&draft, next->access_log_format);
    else if (access == NULL)
        access_close();
    return true;
}

bool logs_reopen(char *why, size_t why_size)
{
    bool is_fine = log_reopen(why, why_size);
    char second[256];

    return access_reopen(is_fine ? why : second, is_fine ? why_size : sizeof(second)) && is_fine;
}

void logs_stop(void)
{
    access_stop();
}
