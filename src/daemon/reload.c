/*
 * reload: all that can fail first, then all that cannot. See the header.
 * Must never change a thing before the new settings are known to be good.
 */
#include "daemon/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/background.h"
#include "daemon/master_state.h"
#include "daemon/notify.h"
#include "daemon/review.h"

#include <string.h>

/* The log as `next` wants it. Opened anew only where it differs, for the file's name may be out of
 * our reach by now. */
static bool switch_log(const struct conf *running, const struct conf *next, char *why,
                       size_t why_size)
{
    const struct conf_daemon *a = &running->daemon, *b = &next->daemon;

    if (strcmp(a->log, b->log) == 0 && a->log_format == b->log_format)
        return true;
    return background_allows(b, why, why_size) && log_open(b->log, b->log_format, why, why_size);
}

static void log_errors(struct errors *errors)
{
    unsigned held = errors->count < ERRORS_MAX ? errors->count : ERRORS_MAX;

    for (unsigned i = 0; i < held; i++)
        log_error("%s", errors->line[i] != NULL ? errors->line[i] : "out of memory");
    if (errors->count > held)
        log_error("... and %u more", errors->count - held);
    log_error("dtlsgate: reload failed, nothing changed");
}

/* Everything that may fail. NULL: `errors` tells, and nothing has changed. */
static struct fleet_settings *prepare(struct master *m, const struct conf *next,
                                      struct errors *errors)
{
    const char *source = cmdline_source_name(m->cmdline);
    struct fleet_settings *settings;
    char why[256];

    conf_check_reload(m->conf, next, errors);
    if (errors->count > 0)
        return NULL;
    settings = fleet_prepare(m->fleet, next, why, sizeof(why));
    if (settings == NULL) {
        errors_add(errors, "%s: %s", source, why);
        return NULL;
    }
    if (!switch_log(m->conf, next, why, sizeof(why))) {
        errors_add(errors, "%s: daemon.log: %s", source, why);
        fleet_discard(settings);
        return NULL;
    }
    return settings;
}

void reload_set_log_level(struct master *m, enum log_level level)
{
    m->log_level = level;
    log_set_level(level);
}

/* Those who asked for it learn at once where it was done only in part. */
static void tell_of_part(struct master *m, unsigned failed)
{
    struct errors errors = {.count = 0};

    errors_add(&errors, "out of memory: %u workers keep the old settings; reload again", failed);
    log_error("dtlsgate: %s", errors.line[0] != NULL ? errors.line[0] : "out of memory");
    control_reload_ended(m->control, &errors);
    errors_clear(&errors);
}

void reload_watch_backends(struct master *m)
{
    if (!health_use(m->health, m->conf))
        log_error("dtlsgate: out of memory: backends are neither probed nor looked up again");
}

static void commit(struct master *m, const struct conf *next, struct fleet_settings *settings)
{
    unsigned failed = fleet_commit(m->fleet, settings);

    if (failed > 0)
        tell_of_part(m, failed);
    reload_set_log_level(m, cmdline_log_level(m->cmdline, next->daemon.log_level));
    review_log(next, cmdline_source_name(m->cmdline));
    review_policies(next);
    conf_unref(m->conf);
    m->conf = m->status.conf = conf_ref(next);
    reload_watch_backends(m);
    if (!fleet_is_settled(m->fleet))
        m->state = RELOADING;
}

static void note_reload(struct master *m, bool is_taken)
{
    m->status.reload.is_last_refused = !is_taken;
    if (!is_taken) {
        m->status.reload.refused++;
        return;
    }
    m->status.reload.taken++;
    m->status.reload.last_taken_at = clock_wall_s();
}

void reload_now(struct master *m)
{
    struct errors errors = {.count = 0};
    const struct conf *next;
    struct fleet_settings *settings = NULL;

    control_reload_begins(m->control);
    notify_reloading(clock_now_us());
    next = conf_load(&m->cmdline->source, &errors);
    if (next != NULL)
        settings = prepare(m, next, &errors);
    if (settings != NULL) {
        commit(m, next, settings);
    } else {
        log_errors(&errors);
        control_reload_ended(m->control, &errors);
    }
    note_reload(m, settings != NULL);
    conf_unref(next);
    errors_clear(&errors);
    if (m->state != RELOADING)
        notify_ready();
}
