/*
 * succession: from reports to states. See the header.
 * Must never know what is said between the two processes.
 */
#include "daemon/succession.h"

#include "base/log.h"
#include "daemon/heir.h"
#include "daemon/master_state.h"
#include "daemon/notify.h"
#include "daemon/pidfile.h"
#include "daemon/reload.h"
#include "daemon/revival.h"
#include "daemon/spawner.h"
#include "daemon/upgrade.h"

#include <event2/event.h>

/* Until it is able, and until it has taken what there is; more for more sessions. */
#define START_MS 60000
#define TRANSFER_MS 5000
/* How often and how long to look whether the last answers have left. */
#define LAST_LOOK_MS 10
#define LAST_LOOKS 100

/* ---- the old process ---- */

static void on_still(void *arg, bool is_still)
{
    const struct master *m = arg;

    control_listen(m->control, !is_still);
    if (m->http != NULL)
        http_listen(m->http, !is_still);
}

static void log_reasons(const struct errors *why)
{
    unsigned held = why->count < ERRORS_MAX ? why->count : ERRORS_MAX;

    for (unsigned i = 0; i < held; i++)
        log_error("dtlsgate: upgrade: %s", why->line[i] != NULL ? why->line[i] : "out of memory");
    log_error("dtlsgate: upgrade failed, the old process goes on");
}

static void on_failed(void *arg, const struct errors *why)
{
    struct master *m = arg;

    log_reasons(why);
    pidfile_take(); /* the other process may have written its own id */
    if (fleet_state(m->fleet) != NULL)
        state_clear_up(fleet_state(m->fleet));
    control_upgraded(m->control, why, NULL);
    if (m->is_stop_due) {
        m->stop(m);
    } else if (m->is_reload_due) {
        m->is_reload_due = false;
        reload_now(m);
    }
}

static void on_running(void *arg, const struct upgrade_report *report)
{
    struct master *m = arg;
    const struct log_field fields[] = {
        {"pid", NULL, report->pid},
        {"sessions", NULL, (long long)report->sessions},
        {"left-behind", NULL, (long long)report->left},
        {"settled-ms", NULL, (long long)report->settle_ms},
        {"still-us", NULL, (long long)report->still_us},
        {NULL, NULL, 0},
    };

    log_event(LOG_LEVEL_INFO, "upgrade", fields);
    m->state = STOPPING;
    m->has_left = true;
    m->status.phase = STATUS_STOPPING;
    health_free(m->health);
    m->health = NULL;
    control_upgraded(m->control, NULL, report);
    spawner_close(); /* the manager wants the new process to be its own child, and not ours */
    notify_main_process((long)report->pid);
    notify_hold(true);
}

/* Who asked for it shall read the answer. */
static void finish(struct master *m)
{
    const struct timeval soon = {.tv_usec = LAST_LOOK_MS * 1000};

    if (control_is_quiet(m->control) || m->last_looks++ == LAST_LOOKS ||
        event_add(m->last_look, &soon) != 0)
        fleet_stop(m->fleet);
}

static void on_last_look(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    finish(arg);
}

static void on_over(void *arg)
{
    finish(arg);
}

bool succession_open(struct master *m)
{
    const struct upgrade_params params = {
        .base = m->base,
        .fleet = m->fleet,
        .sockets = m->sockets,
        .start_ms = START_MS,
        .transfer_ms = TRANSFER_MS,
        .on_still = on_still,
        .on_failed = on_failed,
        .on_running = on_running,
        .on_over = on_over,
        .arg = m,
    };

    m->last_look = evtimer_new(m->base, on_last_look, m);
    m->upgrade = upgrade_new(&params);
    return m->last_look != NULL && m->upgrade != NULL;
}

void succession_close(struct master *m)
{
    upgrade_close(m->upgrade);
    if (m->last_look != NULL)
        event_free(m->last_look);
    if (m->heir_gone != NULL)
        event_free(m->heir_gone);
}

void succession_free(struct master *m)
{
    upgrade_free(m->upgrade);
}

void succession_begin(void *arg)
{
    struct master *m = arg;
    const struct upgrade_things things = {
        .conf = m->conf,
        .control = m->control_socket != NULL ? m->control_socket->fd : -1,
        .http = m->http != NULL ? http_socket(m->http) : -1,
        .pidfile = pidfile_fd(),
        .state = fleet_state(m->fleet) != NULL ? state_lock(fleet_state(m->fleet)) : -1,
        .is_draining = m->status.phase == STATUS_DRAINING,
    };
    struct errors busy = {.count = 0};

    if (m->state == RUNNING && !upgrade_is_under_way(m->upgrade)) {
        log_info("dtlsgate: starting a new process to take over");
        upgrade_begin(m->upgrade, &things);
        return;
    }
    if (m->state != RELOADING)
        return; /* those who have asked are answered with the one under way, or see us end */
    errors_add(&busy, "a reload is under way; try again");
    log_reasons(&busy);
    control_upgraded(m->control, &busy, NULL);
    errors_clear(&busy);
}

bool succession_stop(struct master *m)
{
    if (!upgrade_is_under_way(m->upgrade))
        return false;
    m->is_stop_due = true;
    upgrade_abort(m->upgrade, "dtlsgate is told to stop");
    return true;
}

/* ---- the new process ---- */

static void on_heir_gone(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;

    (void)fd;
    (void)what;
    event_del(m->heir_gone);
    heir_close();
    notify_hold(false);
    notify_ready();
    m->tell_status(m);
}

void succession_take(struct master *m)
{
    char why[256];

    if (!heir_is_there())
        return;
    notify_hold(true);
    m->heir_gone = event_new(m->base, heir_fd(), EV_READ, on_heir_gone, m);
    if (m->heir_gone == NULL || event_add(m->heir_gone, NULL) != 0)
        heir_fail("out of memory");
    if (!heir_take_all(m->fleet, m->conf, &m->inheritance, why, sizeof(why)))
        heir_fail(why);
}

void succession_confirm(struct master *m)
{
    const struct heir_report *report = &m->inheritance;
    char why[256];

    if (!heir_is_there())
        return;
    if (!heir_confirm(&m->inheritance, why, sizeof(why)))
        heir_fail(why);
    if (!revival_prepare(m->fleet, why, sizeof(why)))
        heir_fail(why);
    pidfile_take(); /* the other process may end as soon as it hears of us */
    if (!heir_begin())
        heir_fail("the running process cannot be told");
    if (!revival_confirm(m->fleet, why, sizeof(why)))
        heir_fail(why); /* what the file has is still true, for nothing was sent */
    fleet_move(m->fleet, MOVING_GO_ON, -1, NULL, 0);
    if (report->is_draining)
        m->status.phase = STATUS_DRAINING;
    const struct log_field fields[] = {
        {"pid", NULL, report->before},
        {"sessions", NULL, (long long)report->sessions},
        {"not-taken", NULL, (long long)report->left},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "taken over", fields);
}
