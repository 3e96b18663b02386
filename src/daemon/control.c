/*
 * control: connections, their time, and the way of an answer out. See the header.
 * Must never know what a command does.
 */
#include "daemon/control.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "daemon/words.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define PATIENCE_SECONDS 10 /* for a whole line, and for each bit of an answer to be taken */
#define RETRY_SECONDS 1     /* after accept(2) found no descriptor or memory */
/* An answer goes on when less than the first waits to be sent, and rests from the second on. */
#define LITTLE_WAITS (16 * 1024)
#define MUCH_WAITS (64 * 1024)
#define LOGGED_LINE_MAX 256

enum stage { READING, WALKING, WAITING_FOR_RELOAD, WAITING_FOR_UPGRADE, ANSWERED };

struct client {
    struct list node;
    struct control *control;
    struct bufferevent *buffer; /* NULL: it is gone, and a worker still has the inquiry */
    struct event *deadline;     /* of its line */
    struct unixsock_peer peer;
    enum stage stage;
    struct order order;
    bool has_told;           /* a part of the answer is on its way */
    unsigned worker;         /* whose turn it is in the walk */
    uint64_t reload;         /* the number of the reload that answers it */
    bool is_asking;          /* the inquiry is with the worker */
    struct inquiry *inquiry; /* of a walk */
};

struct control {
    struct control_params params;
    struct evconnlistener *listener;
    struct event *retry;
    struct list clients;
    unsigned count;
    uint64_t reloads; /* begun so far */
    struct log_limit refused_lines, failed_lines;
};

static void free_client(struct client *c)
{
    list_remove(&c->node);
    c->control->count--;
    order_clear(&c->order);
    free(c->inquiry);
    free(c);
}

/* The end of its connection. */
static void close_client(struct client *c)
{
    struct control *control = c->control;
    bool is_stop = c->order.kind == ORDER_STOP;

    bufferevent_free(c->buffer);
    event_free(c->deadline);
    c->buffer = NULL;
    c->deadline = NULL;
    c->order.kind = ORDER_ANSWERED;
    if (!c->is_asking)
        free_client(c);
    if (is_stop)
        control->params.stop(control->params.hooks.arg);
}

/* False: memory was short, and the client is gone, for what it has is not whole. */
static bool send_made(struct client *c)
{
    struct text *text = &c->order.show.text;

    if (text->is_short || bufferevent_write(c->buffer, text->data, text->len) != 0) {
        close_client(c);
        return false;
    }
    c->has_told |= text->len > 0;
    text_empty(text);
    return true;
}

/* The answer is complete; it closes once all has been sent. */
static void answer(struct client *c)
{
    c->stage = ANSWERED;
    event_del(c->deadline);
    bufferevent_setwatermark(c->buffer, EV_WRITE, 0, 0);
    send_made(c);
}

/* An answer that has begun cannot become a refusal: it is cut, which no complete one is. */
static void fail(struct client *c, const char *why)
{
    if (c->has_told) {
        close_client(c);
        return;
    }
    order_refuse(&c->order, "%s", why);
    answer(c);
}

/* ---- sessions: one slice after the other, as fast as the client takes them ---- */

static void ask_next(struct client *c)
{
    c->inquiry->limit = order_rows(&c->order);
    c->is_asking = fleet_inquire(c->control->params.fleet, c->worker, c->inquiry);
    if (!c->is_asking)
        fail(c, "out of memory, or dtlsgate is stopping");
}

static void take_slice(struct client *c)
{
    const struct control_params *params = &c->control->params;
    struct view view;

    params->hooks.look(params->hooks.arg, &view);
    order_slice(&c->order, c->inquiry, view.conf);
    if (c->inquiry->cursor == 0)
        c->worker++;
    if (order_is_satisfied(&c->order) || c->worker == fleet_count(params->fleet)) {
        order_finish(&c->order);
        answer(c);
        return;
    }
    if (send_made(c) && evbuffer_get_length(bufferevent_get_output(c->buffer)) < MUCH_WAITS)
        ask_next(c);
}

/* In the main thread: the worker is done with it. */
static void on_slice(struct inquiry *q)
{
    struct client *c = q->owner;

    c->is_asking = false;
    if (c->buffer == NULL)
        free_client(c);
    else
        take_slice(c);
}

static void walk(struct client *c)
{
    c->inquiry = calloc(1, sizeof(*c->inquiry));
    if (c->inquiry == NULL) {
        fail(c, "out of memory");
        return;
    }
    c->stage = WALKING;
    c->inquiry->owner = c;
    c->inquiry->on_done = on_slice;
    c->inquiry->kind = c->order.ask;
    c->inquiry->filter = c->order.filter;
    bufferevent_setwatermark(c->buffer, EV_WRITE, LITTLE_WAITS, 0);
    ask_next(c);
}

/* ---- one client ---- */

static void log_order(const struct client *c, const void *line, size_t len)
{
    char shown[LOGGED_LINE_MAX];
    const struct log_field fields[] = {
        {"line", bytes_escape(shown, sizeof(shown), line, len), 0},
        {"uid", NULL, c->peer.uid},
        {"pid", NULL, c->peer.pid},
        {NULL, NULL, 0},
    };

    log_event(c->order.is_change ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "control", fields);
}

static void obey(struct client *c, const void *line, size_t len)
{
    struct control *control = c->control;

    event_del(c->deadline);
    bufferevent_disable(c->buffer, EV_READ);
    order_take(&c->order, line, len, &control->params.hooks);
    log_order(c, line, len);
    switch (c->order.kind) {
    case ORDER_WALK:
        walk(c);
        break;
    case ORDER_RELOAD:
        c->stage = WAITING_FOR_RELOAD;
        c->reload = control->reloads + 1;
        control->params.reload(control->params.hooks.arg);
        break;
    case ORDER_UPGRADE:
        c->stage = WAITING_FOR_UPGRADE;
        control->params.upgrade(control->params.hooks.arg);
        break;
    case ORDER_ANSWERED:
    case ORDER_STOP:
        answer(c);
        break;
    }
}

static void on_read(struct bufferevent *buffer, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(buffer);
    struct client *c = arg;
    char *line;
    size_t len;

    if (c->stage != READING)
        return;
    line = evbuffer_readln(in, &len, EVBUFFER_EOL_CRLF);
    if (line != NULL) {
        obey(c, line, len);
        free(line);
    } else if (evbuffer_get_length(in) > WORDS_LINE_MAX) {
        bufferevent_disable(buffer, EV_READ);
        fail(c, "the line is too long");
    }
}

/* Less waits to be sent than before. */
static void on_written(struct bufferevent *buffer, void *arg)
{
    struct client *c = arg;

    (void)buffer;
    if (c->stage == ANSWERED)
        close_client(c);
    else if (c->stage == WALKING && !c->is_asking)
        ask_next(c);
}

/* The end of its input is no end of the connection: it may wait for its answer all the same. */
static void on_event(struct bufferevent *buffer, short what, void *arg)
{
    struct client *c = arg;

    if ((what & BEV_EVENT_EOF) == 0)
        close_client(c);
    else if (c->stage == READING && evbuffer_get_length(bufferevent_get_input(buffer)) > 0)
        fail(c, "the line has no end");
    else if (c->stage == READING)
        close_client(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    fail(arg, "no line came in time");
}

/* ---- who comes in ---- */

static bool watch(struct client *c, int fd)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    struct event_base *base = c->control->params.base;

    c->deadline = evtimer_new(base, on_deadline, c);
    if (c->deadline == NULL || event_add(c->deadline, &patience) != 0)
        return false;
    c->buffer = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (c->buffer == NULL)
        return false;
    bufferevent_setcb(c->buffer, on_read, on_written, on_event, c);
    bufferevent_setwatermark(c->buffer, EV_READ, 0, WORDS_LINE_MAX + 2);
    bufferevent_set_timeouts(c->buffer, NULL, &patience);
    return bufferevent_enable(c->buffer, EV_READ | EV_WRITE) == 0;
}

static bool add_client(struct control *control, int fd, const struct unixsock_peer *peer)
{
    struct client *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return false;
    *c = (struct client){.control = control, .peer = *peer};
    if (watch(c, fd)) {
        list_append(&control->clients, &c->node);
        control->count++;
        return true;
    }
    if (c->deadline != NULL)
        event_free(c->deadline);
    if (c->buffer != NULL) {
        bufferevent_setfd(c->buffer, -1); /* the caller closes it */
        bufferevent_free(c->buffer);
    }
    free(c);
    return false;
}

static void log_refused(struct control *control, const struct unixsock_peer *peer)
{
    uint32_t skipped;

    if (!log_allowed(&control->refused_lines, clock_now_ms(), &skipped))
        return;
    const struct log_field fields[] = {
        {"uid", NULL, (int)peer->uid},
        {"gid", NULL, (int)peer->gid},
        {"pid", NULL, peer->pid},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_WARNING, "control refused", fields);
}

/* What cannot be sent at once is not worth waiting for. */
static void turn_away(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void on_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *name,
                        int len, void *arg)
{
    struct control *control = arg;
    struct unixsock_peer peer;

    (void)listener;
    (void)name;
    (void)len;
    if (!unixsock_may_enter(control->params.socket, fd, &peer)) {
        log_refused(control, &peer);
        turn_away(fd, "error: you are neither root, nor the user that dtlsgate runs as, nor of "
                      "the group that may (control-group, control-mode)\n");
    } else if (control->count >= CLIENTS_MAX) {
        turn_away(fd, "error: too many clients at once; try again\n");
    } else if (!add_client(control, fd, &peer)) {
        turn_away(fd, "error: out of memory\n");
    }
}

/* Out of descriptors, as a rule. Level-triggered, the loop would turn without end. */
static void on_failure(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = {.tv_sec = RETRY_SECONDS};
    struct control *control = arg;
    int error = errno;
    uint32_t skipped;

    if (log_allowed(&control->failed_lines, clock_now_ms(), &skipped))
        log_warning("control: cannot take a client: %s (%u left out)", strerror(error), skipped);
    if (event_add(control->retry, &pause) == 0)
        evconnlistener_disable(listener);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    struct control *control = arg;

    (void)fd;
    (void)what;
    evconnlistener_enable(control->listener);
}

/* ---- the whole ---- */

void control_close(struct control *control)
{
    struct list *node, *next;

    if (control == NULL)
        return;
    for (node = control->clients.next; node != &control->clients; node = next) {
        struct client *c = list_entry(node, struct client, node);
        next = node->next;
        c->order.kind = ORDER_ANSWERED;
        if (c->buffer != NULL)
            close_client(c);
    }
    if (control->listener != NULL)
        evconnlistener_free(control->listener);
    if (control->retry != NULL)
        event_free(control->retry);
    control->listener = NULL;
    control->retry = NULL;
}

void control_free(struct control *control)
{
    struct list *node;

    if (control == NULL)
        return;
    while ((node = list_first(&control->clients)) != NULL)
        free_client(list_entry(node, struct client, node));
    free(control);
}

struct control *control_new(const struct control_params *params)
{
    struct control *control = calloc(1, sizeof(*control));

    if (control == NULL)
        return NULL;
    control->params = *params;
    list_init(&control->clients);
    control->retry = evtimer_new(params->base, on_retry, control);
    /* No backlog: it listens already. The descriptor is not ours to close. */
    control->listener = evconnlistener_new(params->base, on_accepted, control,
                                           LEV_OPT_CLOSE_ON_EXEC, 0, params->socket->fd);
    if (control->retry != NULL && control->listener != NULL) {
        evconnlistener_set_error_cb(control->listener, on_failure);
        return control;
    }
    control_close(control);
    control_free(control);
    return NULL;
}

void control_reload_begins(struct control *control)
{
    if (control != NULL)
        control->reloads++;
}

void control_reload_ended(struct control *control, const struct errors *errors)
{
    struct list *node, *next;

    if (control == NULL)
        return;
    for (node = control->clients.next; node != &control->clients; node = next) {
        struct client *c = list_entry(node, struct client, node);
        next = node->next;
        if (c->stage != WAITING_FOR_RELOAD || c->reload > control->reloads || c->buffer == NULL)
            continue;
        order_reloaded(&c->order, errors);
        answer(c);
    }
}

void control_upgraded(struct control *control, const struct errors *errors,
                      const struct upgrade_report *report)
{
    struct list *node, *next;

    if (control == NULL)
        return;
    for (node = control->clients.next; node != &control->clients; node = next) {
        struct client *c = list_entry(node, struct client, node);
        next = node->next;
        if (c->stage != WAITING_FOR_UPGRADE || c->buffer == NULL)
            continue;
        order_upgraded(&c->order, errors, report);
        answer(c);
    }
}

void control_listen(struct control *control, bool is_on)
{
    if (control != NULL)
        (void)(is_on ? evconnlistener_enable(control->listener)
                     : evconnlistener_disable(control->listener));
}

bool control_is_quiet(const struct control *control)
{
    if (control == NULL)
        return true;
    for (const struct list *node = control->clients.next; node != &control->clients;
         node = node->next) {
        const struct client *c = list_entry(node, const struct client, node);
        if (c->buffer != NULL && c->stage == ANSWERED)
            return false;
    }
    return true;
}
