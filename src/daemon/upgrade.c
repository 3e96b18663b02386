/*
 * upgrade: a state machine. See the header, and daemon/handover.h for what is said.
 * Must never let the workers go on while a RUNNING may still come, nor wait outside of the loop.
 */
#include "daemon/upgrade.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/parcel.h"
#include "daemon/estate.h"
#include "daemon/handover.h"
#include "daemon/spawner.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A word fits into the queue. */
#define PATIENCE_MS 2000
#define BURY_MS 5000
/* Handshakes under way may come to their end for so long. */
#define SETTLE_MS 3000
#define LOOK_MS 5
/* Sessions that may be taken per ms, at least. */
#define SLOWEST_RATE 20

enum phase {
    IDLE,
    SPAWNING, /* the spawner has been asked */
    STARTING, /* the new process reads its settings */
    SETTLING, /* it is able: handshakes come to their end */
    STOPPING, /* workers finish their turn */
    PACKING,  /* they send what they have */
    WAITING,  /* for TAKEN */
    GOING,    /* GO is said: only RUNNING, or its death, can come */
    FAILING,  /* it shall be taken back once all workers have answered */
    GOING_ON, /* workers go on */
    BURYING,  /* the new process has to be gone, so that another one can be started */
    LEAVING,  /* the new process runs */
};

struct upgrade {
    struct upgrade_params params;
    struct estate estate;
    struct event *spawner, *socket, *moves, *deadline, *look;
    struct parcel *parcel;
    enum phase phase;
    int fd;          /* the new process; -1: none */
    bool is_moving;  /* workers have a step */
    bool is_child;   /* the spawner has one */
    bool is_awaited; /* its answer is */
    bool has_said_why;
    bool is_reload_due;
    uint64_t able_at, settle_until, still_at; /* ms, ms, us */
    struct upgrade_report report;
    uint64_t *left; /* ids that were not taken, ascending */
    size_t left_count, left_room;
    struct errors why;
};

/* ---- small things ---- */

static void arm(struct event *e, uint64_t ms)
{
    const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
                               .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

    (void)event_add(e, &tv); /* in a heap that had room for it before */
}

static void step(struct upgrade *u, enum moving_step what)
{
    u->is_moving = true;
    fleet_move(u->params.fleet, what, u->fd, u->left, u->left_count);
}

static bool send_parcel(struct upgrade *u, const struct writer *w)
{
    return parcel_wrote(u->parcel, w) && parcel_send(u->fd, u->parcel, PATIENCE_MS) == PARCEL_OK;
}

static void drop(struct event **e)
{
    if (*e != NULL)
        event_free(*e);
    *e = NULL;
}

static void close_socket(struct upgrade *u)
{
    drop(&u->socket);
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

static void clear(struct upgrade *u)
{
    close_socket(u);
    event_del(u->deadline);
    event_del(u->look);
    conf_unref(u->estate.conf);
    u->estate.conf = NULL;
    free(u->left);
    u->left = NULL;
    u->left_count = u->left_room = 0;
    errors_clear(&u->why);
    u->is_reload_due = u->has_said_why = false;
    u->report = (struct upgrade_report){.pid = 0};
}

/* ---- back ---- */

static void end_failed(struct upgrade *u)
{
    if (u->is_child || u->is_awaited) {
        u->phase = BURYING;
        arm(u->deadline, BURY_MS);
        return;
    }
    u->phase = IDLE;
    u->params.on_failed(u->params.arg, &u->why);
    clear(u);
}

/* What the workers have been told has to be back before the next step. */
static void take_back(struct upgrade *u)
{
    if (u->is_moving)
        return;
    u->phase = GOING_ON;
    step(u, MOVING_GO_ON);
}

/* The new process sees the end of the socket and ends, for GO was not said; one that does not is
 * killed. A worker that waits to send is woken by the shutdown. */
static void fail(struct upgrade *u, const char *why)
{
    bool has_stepped = u->phase >= SETTLING;

    if (why != NULL)
        errors_add(&u->why, "%s", why);
    if (u->fd >= 0)
        (void)shutdown(u->fd, SHUT_RDWR);
    spawner_kill();
    event_del(u->deadline);
    event_del(u->look);
    u->phase = FAILING;
    if (has_stepped)
        take_back(u);
    else
        end_failed(u);
}

/* ---- forward ---- */

static void say_done(struct upgrade *u)
{
    struct writer w = handover_begin(u->parcel, HANDOVER_DONE);

    write_u64(&w, u->report.sessions);
    u->phase = WAITING;
    if (!send_parcel(u, &w))
        fail(u, "the new process takes no more");
}

static void say_go(struct upgrade *u)
{
    struct writer w = handover_begin(u->parcel, HANDOVER_GO);

    write_u8(&w, u->is_reload_due);
    if (!send_parcel(u, &w))
        fail(u, "the new process takes no more");
    else
        u->phase = GOING;
}

static void stop_workers(struct upgrade *u)
{
    uint64_t most = u->params.transfer_ms + fleet_sessions(u->params.fleet) / SLOWEST_RATE;

    event_del(u->look);
    u->phase = STOPPING;
    u->report.settle_ms = clock_now_ms() - u->able_at;
    u->still_at = clock_now_us();
    arm(u->deadline, most);
    u->params.on_still(u->params.arg, true);
    step(u, MOVING_STOP);
}

static void pack(struct upgrade *u)
{
    u->phase = PACKING;
    if (estate_send_rest(&u->estate))
        step(u, MOVING_PACK);
    else
        fail(u, "the new process takes no more");
}

static void settle(struct upgrade *u)
{
    /* Of the upgrade that brought us here, long ago for a worker that is well. */
    if (!fleet_take_moves(u->params.fleet)) {
        fail(u, "the workers do not answer");
        return;
    }
    u->phase = SETTLING;
    u->able_at = clock_now_ms();
    u->settle_until = u->able_at + SETTLE_MS;
    event_del(u->deadline);
    step(u, MOVING_SETTLE);
}

/* Once nobody is in the middle of a handshake, or they have had their time. */
static void look(struct upgrade *u)
{
    struct stats sum;

    fleet_sum(u->params.fleet, &sum);
    if (sum.handshakes > 0 && clock_now_ms() < u->settle_until)
        arm(u->look, LOOK_MS);
    else
        stop_workers(u);
}

static void leave(struct upgrade *u)
{
    u->phase = LEAVING;
    u->report.still_us = clock_now_us() - u->still_at;
    event_del(u->deadline);
    drop(&u->spawner); /* whoever is told may close it */
    u->params.on_running(u->params.arg, &u->report);
    step(u, MOVING_LET_GO);
}

static void on_moves(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = arg;
    size_t sessions, rest;

    (void)fd;
    (void)what;
    if (!fleet_take_moves(u->params.fleet) || !u->is_moving)
        return;
    u->is_moving = false;
    bool are_done = fleet_has_moved(u->params.fleet, &sessions, &rest);
    if (u->phase == SETTLING) {
        look(u);
    } else if (u->phase == STOPPING) {
        pack(u);
    } else if (u->phase == PACKING) {
        u->report.sessions = sessions;
        u->report.left = rest;
        if (are_done)
            say_done(u);
        else
            fail(u, "the new process does not take the sessions");
    } else if (u->phase == FAILING) {
        take_back(u);
    } else if (u->phase == GOING_ON) {
        u->params.on_still(u->params.arg, false);
        end_failed(u);
    } else if (u->phase == LEAVING) {
        clear(u);
        u->phase = IDLE;
        u->params.on_over(u->params.arg);
    }
}

/* ---- what the new process says ---- */

static void take_reasons(struct upgrade *u, struct reader *r)
{
    u->has_said_why = true;
    while (r->left > 0) {
        const void *end = memchr(r->at, '\n', r->left);
        size_t len = end != NULL ? (size_t)((const uint8_t *)end - r->at) : r->left;
        char line[1024];
        bytes_escape(line, sizeof(line), read_bytes(r, len), len);
        errors_add(&u->why, "%s", line);
        if (end != NULL)
            (void)read_u8(r);
    }
}

static bool note_left(struct upgrade *u, struct reader *r)
{
    while (r->left >= 8) {
        if (u->left_count == u->left_room) {
            size_t room = u->left_room > 0 ? 2 * u->left_room : 1024;
            uint64_t *more = reallocarray(u->left, room, sizeof(*more));
            if (more == NULL)
                return false;
            u->left = more;
            u->left_room = room;
        }
        u->left[u->left_count++] = read_u64(r);
    }
    return r->left == 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return one < other ? -1 : one > other;
}

static void take_taken(struct upgrade *u, struct reader *r)
{
    uint64_t taken = read_u64(r);

    if (r->bad || taken + u->left_count != u->report.sessions) {
        fail(u, "the new process counts other sessions than were sent");
        return;
    }
    if (u->left != NULL)
        qsort(u->left, u->left_count, sizeof(*u->left), compare_ids);
    u->report.sessions = (size_t)taken;
    u->report.left += u->left_count;
    say_go(u);
}

/* Each word in its phase; what else comes, from a process that is another version of us at most, is
 * no reason to trust it with anything. */
static void hear(struct upgrade *u)
{
    struct reader r = parcel_reader(u->parcel);
    uint8_t kind = read_u8(&r);

    if (kind == HANDOVER_RUNNING && u->phase == GOING) {
        leave(u);
    } else if (u->phase == GOING) {
        return; /* its death or its RUNNING decides */
    } else if (kind == HANDOVER_UNABLE) {
        take_reasons(u, &r);
        fail(u, NULL);
    } else if (kind == HANDOVER_ABLE && u->phase == STARTING) {
        settle(u);
    } else if (kind == HANDOVER_LEFT && u->phase == WAITING && note_left(u, &r)) {
        return;
    } else if (kind == HANDOVER_TAKEN && u->phase == WAITING) {
        take_taken(u, &r);
    } else {
        fail(u, "the new process says what is not known here");
    }
}

/* Behind the end there can be no RUNNING any more: all that was said has been heard. The spawner
 * tells more of it than that it is gone. */
static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = arg;

    (void)what;
    for (;;) {
        enum parcel_verdict verdict = parcel_receive(fd, u->parcel, 0);
        if (verdict == PARCEL_LATE)
            return;
        if (verdict == PARCEL_OK)
            hear(u);
        parcel_clear(u->parcel);
        if (u->phase < STARTING || u->phase > GOING)
            return;
        if (verdict == PARCEL_OK)
            continue;
        event_del(u->socket);
        spawner_kill(); /* one that closes it and stays is of no use */
        if (!u->is_child)
            fail(u, "the new process has ended");
        return;
    }
}

/* ---- what the spawner says ---- */

static void begin_talk(struct upgrade *u, const struct spawner_news *news)
{
    u->fd = u->estate.socket = news->socket;
    u->report.pid = news->pid;
    u->is_child = true;
    u->phase = STARTING;
    arm(u->deadline, u->params.start_ms);
    u->socket = event_new(u->params.base, u->fd, EV_READ | EV_PERSIST, on_socket, u);
    if (u->socket == NULL || event_add(u->socket, NULL) != 0)
        fail(u, "out of memory");
    else if (!estate_send(&u->estate))
        on_socket(u->fd, EV_READ, u); /* it may have said why */
}

static void describe_end(int status, char *why, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(why, size, "the new process was ended by signal %d", WTERMSIG(status));
    else
        snprintf(why, size, "the new process has ended with status %d", WEXITSTATUS(status));
}

/* Its end may be known by its traces before the spawner tells of it; what we have ended ourselves,
 * or what has said why, is no news. */
static void note_end(struct upgrade *u, int status)
{
    bool is_ours = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    char why[128];

    if (u->fd >= 0 && u->socket != NULL)
        on_socket(u->fd, EV_READ, u); /* its last words say more */
    u->is_child = false;
    describe_end(status, why, sizeof(why));
    if (u->phase >= STARTING && u->phase <= GOING) {
        fail(u, why);
        return;
    }
    if (u->phase >= FAILING && u->phase <= BURYING && !is_ours && !u->has_said_why)
        errors_add(&u->why, "%s", why);
    if (u->phase == BURYING)
        end_failed(u);
}

static void on_spawner(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = arg;
    struct spawner_news news;
    char why[128];

    (void)fd;
    (void)what;
    spawner_take(&news);
    u->is_awaited = u->is_awaited && news.kind != SPAWNER_STARTED && news.kind != SPAWNER_FAILED &&
                    news.kind != SPAWNER_GONE;
    switch (news.kind) {
    case SPAWNER_STARTED:
        if (u->phase == SPAWNING) {
            begin_talk(u, &news);
        } else {
            close(news.socket);
            u->is_child = true;
            spawner_kill();
        }
        break;
    case SPAWNER_FAILED:
        snprintf(why, sizeof(why), "cannot start a process: %s", strerror(news.status));
        if (u->phase == SPAWNING)
            fail(u, why);
        else if (u->phase == BURYING)
            end_failed(u);
        break;
    case SPAWNER_ENDED:
        note_end(u, news.status);
        break;
    case SPAWNER_GONE:
        event_del(u->spawner);
        spawner_close();
        u->is_child = false;
        if (u->phase == BURYING)
            end_failed(u);
        else if (u->phase > IDLE && u->phase < GOING)
            fail(u, "the process that starts others has gone");
        break;
    case SPAWNER_NOTHING:
        break;
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = arg;

    (void)fd;
    (void)what;
    if (u->phase == GOING) {
        spawner_kill(); /* its end tells whether it ran */
    } else if (u->phase == BURYING) {
        u->is_child = u->is_awaited = false; /* the next one will be told of it */
        end_failed(u);
    } else {
        fail(u, "the new process takes too long");
    }
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct upgrade *u = arg;

    (void)fd;
    (void)what;
    if (u->phase == SETTLING)
        look(u);
}

/* ---- the whole ---- */

void upgrade_begin(struct upgrade *u, const struct upgrade_things *things)
{
    u->estate = (struct estate){.conf = conf_ref(things->conf),
                                .sockets = u->params.sockets,
                                .fleet = u->params.fleet,
                                .control = things->control,
                                .http = things->http,
                                .pidfile = things->pidfile,
                                .state = things->state,
                                .is_draining = things->is_draining,
                                .parcel = u->parcel};
    u->phase = SPAWNING;
    arm(u->deadline, u->params.start_ms);
    if (getpid() == 1)
        fail(u, "process 1 cannot leave, for all others would end with it; restart instead");
    else if (!(u->is_awaited = spawner_start()))
        fail(u, "the process that starts others is not there");
}

bool upgrade_is_under_way(const struct upgrade *u)
{
    return u->phase != IDLE;
}

void upgrade_abort(struct upgrade *u, const char *why)
{
    if (u->phase > IDLE && u->phase < GOING)
        fail(u, why);
}

void upgrade_note_reload(struct upgrade *u)
{
    u->is_reload_due = true;
}

void upgrade_close(struct upgrade *u)
{
    if (u == NULL)
        return;
    drop(&u->spawner);
    drop(&u->moves);
    drop(&u->deadline);
    drop(&u->look);
    drop(&u->socket);
}

void upgrade_free(struct upgrade *u)
{
    if (u == NULL)
        return;
    upgrade_close(u);
    if (u->fd >= 0)
        close(u->fd);
    conf_unref(u->estate.conf);
    errors_clear(&u->why);
    free(u->left);
    free(u->parcel);
    free(u);
}

struct upgrade *upgrade_new(const struct upgrade_params *params)
{
    struct upgrade *u = calloc(1, sizeof(*u));
    int spawner = spawner_fd();

    if (u == NULL)
        return NULL;
    u->params = *params;
    u->fd = -1;
    u->parcel = malloc(sizeof(*u->parcel));
    u->moves =
        event_new(params->base, fleet_moves(params->fleet), EV_READ | EV_PERSIST, on_moves, u);
    u->deadline = evtimer_new(params->base, on_deadline, u);
    u->look = evtimer_new(params->base, on_look, u);
    if (spawner >= 0)
        u->spawner = event_new(params->base, spawner, EV_READ | EV_PERSIST, on_spawner, u);
    if (u->parcel != NULL && u->moves != NULL && u->deadline != NULL && u->look != NULL &&
        event_add(u->moves, NULL) == 0 &&
        (spawner < 0 || (u->spawner != NULL && event_add(u->spawner, NULL) == 0)))
        return u;
    upgrade_free(u);
    return NULL;
}
