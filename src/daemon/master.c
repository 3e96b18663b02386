/*
 * master: STARTING, RUNNING, RELOADING, STOPPING, and what each signal means in each.
 * Must never touch what belongs to a worker, nor wait for one anywhere but in the loop.
 */
#include "daemon/master.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/background.h"
#include "daemon/box.h"
#include "daemon/logs.h"
#include "daemon/master_state.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "daemon/renewal.h"
#include "daemon/revival.h"
#include "daemon/succession.h"
#include "daemon/view.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* A cookie stays valid for one to two turns, a hello's second flight takes seconds. */
#define COOKIE_TURN_SECONDS (5 * 60)
static_assert(RENEWAL_LOOK_MS == COOKIE_TURN_SECONDS * 1000, "the same timer");
/* How often the service manager is told how things stand. */
#define STATUS_SECONDS 1

/* libevent's own words, on whichever thread. Limited, for where the kernel refuses to watch more
 * sockets, each datagram may lead to one. */
static void on_library_words(int severity, const char *text)
{
    static _Thread_local struct log_limit limit;
    uint32_t skipped;

    if (severity == EVENT_LOG_ERR)
        log_error("libevent: %s", text); /* its last words: it ends the process */
    else if (severity != EVENT_LOG_DEBUG && log_allowed(&limit, clock_now_ms(), &skipped))
        log_warning("libevent: %s (%u left out)", text, skipped);
}

static void stop(struct master *m)
{
    if (m->state == STOPPING || succession_stop(m))
        return;
    m->state = STOPPING;
    health_free(m->health);
    m->health = NULL;
    notify_stopping();
    m->status.phase = STATUS_STOPPING;
    fleet_stop(m->fleet);
}

/* All that was posted has been carried out. */
static void settle(struct master *m)
{
    if (m->state == STOPPING && !upgrade_is_under_way(m->upgrade))
        event_base_loopbreak(m->base);
    if (m->state != RELOADING)
        return;
    log_info("dtlsgate: reloaded");
    m->state = RUNNING;
    notify_ready();
    control_reload_ended(m->control, NULL);
    if (m->is_reload_due) {
        m->is_reload_due = false;
        reload_now(m);
    }
}

static void ask_for_reload(void *arg)
{
    struct master *m = arg;

    bool is_upgrading = upgrade_is_under_way(m->upgrade);

    if (is_upgrading)
        upgrade_note_reload(m->upgrade);
    if (is_upgrading || m->state == RELOADING)
        m->is_reload_due = true;
    else if (m->state == RUNNING)
        reload_now(m);
}

static void on_hup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ask_for_reload(arg);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    stop(arg);
}

static bool reopen_log(void *arg, char *why, size_t why_size)
{
    (void)arg;
    if (!logs_reopen(why, why_size))
        return false;
    log_info("dtlsgate: log reopened");
    return true;
}

static void on_usr1(evutil_socket_t fd, short what, void *arg)
{
    char why[256];

    (void)fd;
    (void)what;
    if (!reopen_log(arg, why, sizeof(why)))
        log_error("dtlsgate: the log goes on in the old file: %s", why);
}

static void on_usr2(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    succession_begin(arg);
}

static void on_acks(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;

    (void)fd;
    (void)what;
    fleet_take_acks(m->fleet);
    if (!fleet_is_settled(m->fleet))
        return;
    if (notify_watchdog_us() > 0) /* each worker has answered, to a ping or to something else */
        notify_alive();
    settle(m);
}

static void on_replies(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;
    struct inquiry *q;

    (void)fd;
    (void)what;
    while ((q = fleet_take_reply(m->fleet)) != NULL)
        q->on_done(q);
}

static void on_cookie_turn(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;

    (void)fd;
    (void)what;
    if (m->state == STOPPING)
        return;
    fleet_rotate_cookies(m->fleet);
    fleet_age_tickets(m->fleet, m->conf, clock_now_ms());
    fleet_expire_ids(m->fleet, clock_wall_ms());
}

static void on_denial(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    box_report(clock_now_ms());
}

static void tell_status(const struct master *m)
{
    char text[NOTIFY_STATUS_MAX];

    snprintf(text, sizeof(text), "services %zu, workers %u, sessions %" PRIu64,
             m->conf->service_count, m->sockets->workers, fleet_sessions(m->fleet));
    notify_status(text);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    const struct master *m = arg;

    (void)fd;
    (void)what;
    tell_status(m);
}

/* A worker that does not answer is left to the service manager, which ends us all. */
static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    struct master *m = arg;

    (void)fd;
    (void)what;
    if (m->state != STOPPING && fleet_is_settled(m->fleet))
        fleet_ping(m->fleet);
}

static bool watch_every(struct master *m, enum watch which, event_callback_fn fn, uint64_t us)
{
    struct timeval every = {.tv_sec = (time_t)(us / 1000000),
                            .tv_usec = (suseconds_t)(us % 1000000)};

    m->watch[which] = event_new(m->base, -1, EV_PERSIST, fn, m);
    return m->watch[which] != NULL && event_add(m->watch[which], &every) == 0;
}

static bool watch_for_manager(struct master *m)
{
    uint64_t watchdog = notify_watchdog_us();

    if (!notify_is_wanted())
        return true;
    if (!watch_every(m, ON_STATUS, on_status, STATUS_SECONDS * 1000000))
        return false;
    return watchdog == 0 || watch_every(m, ON_WATCHDOG, on_watchdog, watchdog / 2);
}

/* ---- what the control socket may do ---- */

static void look(void *arg, struct view *v)
{
    static const char *const states[] = {
        [STARTING] = "starting",
        [RUNNING] = "running",
        [RELOADING] = "reloading",
        [STOPPING] = "stopping",
    };
    const struct master *m = arg;

    *v = (struct view){.conf = m->conf,
                       .sockets = m->sockets,
                       .fleet = m->fleet,
                       .state = states[m->state],
                       .log_level = m->log_level,
                       .is_draining = m->status.phase == STATUS_DRAINING,
                       .is_stopping = m->state == STOPPING,
                       .is_upgrading = upgrade_is_under_way(m->upgrade),
                       .uptime_ms = clock_now_ms() - m->status.started_ms,
                       .reloads = m->status.reload.taken,
                       .failed_reloads = m->status.reload.refused};
}

static void order_log_level(void *arg, enum log_level level)
{
    reload_set_log_level(arg, level);
}

static unsigned order_drain(void *arg, bool is_on)
{
    struct master *m = arg;

    if (m->state != STOPPING)
        m->status.phase = is_on ? STATUS_DRAINING : STATUS_SERVING;
    return fleet_drain(m->fleet, is_on);
}

static unsigned order_backend(void *arg, const struct relay_order *order)
{
    const struct master *m = arg;

    return fleet_tell_backend(m->fleet, order);
}

static void order_forget(void *arg)
{
    fleet_forget(((const struct master *)arg)->fleet);
}

static void order_stop(void *arg)
{
    stop(arg);
}

const char *master_library_version(void)
{
    static char text[64];

    snprintf(text, sizeof(text), "libevent %s", event_get_version());
    return text;
}

static bool open_control(struct master *m, const struct unixsock *socket)
{
    const struct control_params params = {
        .base = m->base,
        .socket = socket,
        .fleet = m->fleet,
        .hooks = {.look = look,
                  .reopen_log = reopen_log,
                  .set_log_level = order_log_level,
                  .drain = order_drain,
                  .tell_backend = order_backend,
                  .forget = order_forget,
                  .event_library = master_library_version(),
                  .arg = m},
        .reload = ask_for_reload,
        .upgrade = succession_begin,
        .stop = order_stop,
    };

    if (socket == NULL || socket->fd < 0)
        return true;
    m->control = control_new(&params);
    return m->control != NULL;
}

static bool watch_all(struct master *m)
{
    m->watch[ON_HUP] = evsignal_new(m->base, SIGHUP, on_hup, m);
    m->watch[ON_TERM] = evsignal_new(m->base, SIGTERM, on_end, m);
    m->watch[ON_INT] = evsignal_new(m->base, SIGINT, on_end, m);
    m->watch[ON_USR1] = evsignal_new(m->base, SIGUSR1, on_usr1, m);
    m->watch[ON_USR2] = evsignal_new(m->base, SIGUSR2, on_usr2, m);
    m->watch[ON_ACKS] = event_new(m->base, fleet_acks(m->fleet), EV_READ | EV_PERSIST, on_acks, m);
    m->watch[ON_REPLIES] =
        event_new(m->base, fleet_replies(m->fleet), EV_READ | EV_PERSIST, on_replies, m);
    m->watch[ON_DENIAL] = event_new(m->base, box_denials(), EV_READ | EV_PERSIST, on_denial, m);
    for (int i = 0; i < WATCH_COUNT; i++) {
        bool is_timer = i == ON_COOKIE_TURN || i == ON_STATUS || i == ON_WATCHDOG;
        if (!is_timer && (m->watch[i] == NULL || event_add(m->watch[i], NULL) != 0))
            return false;
    }
    return watch_every(m, ON_COOKIE_TURN, on_cookie_turn,
                       COOKIE_TURN_SECONDS * UINT64_C(1000000)) &&
           watch_for_manager(m);
}

static bool start(struct master *m)
{
    char why[256];

    assert(m->state == STARTING);
    succession_take(m);
    if (!logs_start(why, sizeof(why)) || !fleet_start(m->fleet, why, sizeof(why))) {
        if (heir_is_there())
            heir_fail(why);
        log_error("dtlsgate: %s", why);
        return false;
    }
    m->state = RUNNING;
    m->status.phase = STATUS_SERVING;
    succession_confirm(m);
    reload_watch_backends(m);
    sockets_log(m->sockets, m->conf);
    if (m->http != NULL)
        http_log(m->http);
    log_info("dtlsgate: ready");
    tell_status(m);
    notify_ready();
    background_ready();
    if (m->inheritance.is_reload_due)
        ask_for_reload(m);
    return true;
}

static void note_start(struct master *m)
{
    m->status = (struct status){
        .phase = STATUS_STARTING,
        .fleet = m->fleet,
        .sockets = m->sockets,
        .conf = m->conf,
        .event_library = master_library_version(),
        .started_at = clock_wall_s(),
        .started_ms = clock_now_ms(),
    };
    m->status.reload.last_taken_at = m->status.started_at;
}

/* Also true where none is wanted. */
static bool open_http(struct master *m, int fd)
{
    if (fd > 0)
        m->http = http_new(m->base, fd, &m->status);
    return fd <= 0 || m->http != NULL;
}

void master_free(struct master *m)
{
    if (m == NULL)
        return;
    control_close(m->control);
    for (int i = 0; i < WATCH_COUNT; i++)
        if (m->watch[i] != NULL)
            event_free(m->watch[i]);
    succession_close(m);
    health_free(m->health);
    fleet_free(m->fleet); /* its workers may hold what http has asked for, and the upgrade's */
    succession_free(m);
    logs_stop();
    http_free(m->http);
    if (m->base != NULL)
        event_base_free(m->base);
    control_free(m->control);
    conf_unref(m->conf);
    free(m);
}

struct master *master_new(const struct master_params *params, char *why, size_t why_size)
{
    struct master *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    event_set_log_callback(on_library_words);
    *m = (struct master){.cmdline = params->cmdline,
                         .conf = conf_ref(params->conf),
                         .sockets = params->sockets,
                         .control_socket = params->control,
                         .stop = stop,
                         .tell_status = tell_status,
                         .base = event_base_new(),
                         .state = STARTING,
                         .log_level =
                             cmdline_log_level(params->cmdline, params->conf->daemon.log_level)};
    m->fleet = fleet_new(params->conf, params->sockets, why, why_size);
    const struct revival revival = {m->fleet, m->conf, m->sockets, params->state};
    if (m->fleet != NULL && revival_begin(&revival, why, why_size)) {
        note_start(m);
        if (m->base != NULL)
            m->health = health_new(m->base, m->fleet);
        if (m->health != NULL && watch_all(m) && succession_open(m) &&
            open_control(m, params->control) && open_http(m, params->http))
            return m;
        snprintf(why, why_size, "cannot make the event loop: out of memory or descriptors");
    }
    master_free(m);
    return NULL;
}

/* Without its handlers a further one of these would end the process before its end. */
static void hold_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

enum master_end master_run(struct master *m)
{
    if (!start(m))
        return MASTER_FAILED;
    if (event_base_dispatch(m->base) < 0) {
        log_error("dtlsgate: the event loop failed");
        return MASTER_FAILED;
    }
    hold_signals();
    box_report(clock_now_ms());
    logs_stop();
    if (m->has_left) {
        log_info("dtlsgate: handed over");
        return MASTER_LEFT;
    }
    fleet_log_totals(m->fleet);
    log_info("dtlsgate: stopped");
    return MASTER_STOPPED;
}
