/*
 * http: connections with a beginning, an answer and an end, all within bounds; and the table of
 * what there is to be had. See the header.
 * Must never wait for a client, nor know how anything it tells is counted.
 */
#include "daemon/http.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "daemon/history.h"
#include "daemon/metrics.h"
#include "daemon/page.h"
#include "daemon/request.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define ASK_SECONDS 5     /* for the whole head */
#define ANSWER_SECONDS 30 /* for the whole answer */
#define LEAVE_SECONDS 2   /* for the client's goodbye */

struct http {
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *sampling;
    const struct status *status;
    struct list connections; /* the oldest first */
    unsigned count;
    bool is_resting; /* no descriptor to accept with: until the next sample */
    struct history history;
};

struct connection {
    struct list node;
    struct http *http;
    struct bufferevent *stream;
    struct event *deadline;
    enum { ASKING, ANSWERING, LEAVING } step;
};

/* What a client gets. */
struct answer {
    unsigned status;
    const char *type;
    const void *body; /* borrowed */
    size_t len;
    bool is_static; /* the body is part of the program */
};

/* ---- connections ---- */

static void end(struct connection *c)
{
    list_remove(&c->node);
    c->http->count--;
    event_free(c->deadline);
    bufferevent_free(c->stream);
    free(c);
}

static void set_deadline(struct connection *c, int seconds)
{
    struct timeval wait = {.tv_sec = seconds};

    (void)event_add(c->deadline, &wait);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    end(arg);
}

/* An end of file, an error: the client is gone. */
static void on_event(struct bufferevent *stream, short what, void *arg)
{
    (void)stream;
    (void)what;
    end(arg);
}

/* The answer is out. What the client has sent beyond its request is read and forgotten, for a
 * socket that is closed with something unread resets, and the answer is lost. */
static void on_written(struct bufferevent *stream, void *arg)
{
    struct connection *c = arg;

    if (c->step != ANSWERING)
        return;
    c->step = LEAVING;
    shutdown(bufferevent_getfd(stream), SHUT_WR);
    bufferevent_enable(stream, EV_READ);
    set_deadline(c, LEAVE_SECONDS);
}

/* ---- answers ---- */

static const char *words_of(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

/* The page may load its own files and ask its own server; nothing else, from nowhere. */
static const char fixed_fields[] =
    "Connection: close\r\n"
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "\r\n";

static void send_answer(struct connection *c, const struct answer *a, bool is_head)
{
    struct evbuffer *out = bufferevent_get_output(c->stream);
    char date[64];
    int failed = 0;

    c->step = ANSWERING;
    bufferevent_disable(c->stream, EV_READ);
    set_deadline(c, ANSWER_SECONDS);
    evutil_date_rfc1123(date, sizeof(date), NULL);
    failed |= evbuffer_add_printf(out,
                                  "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n"
                                  "Content-Length: %zu\r\n%s%s",
                                  a->status, words_of(a->status), date, a->type, a->len,
                                  a->status == 405 ? "Allow: GET, HEAD\r\n" : "", fixed_fields) < 0;
    if (!is_head && a->is_static)
        failed |= evbuffer_add_reference(out, a->body, a->len, NULL, NULL);
    else if (!is_head)
        failed |= evbuffer_add(out, a->body, a->len);
    if (failed != 0) /* out of memory: half an answer is none */
        end(c);
}

static void send_words(struct connection *c, unsigned status, const char *words, bool is_head)
{
    char body[128];
    int len = snprintf(body, sizeof(body), "%s\n", words);
    struct answer answer = {
        .status = status, .type = "text/plain; charset=utf-8", .body = body, .len = (size_t)len};

    send_answer(c, &answer, is_head);
}

static void send_text(struct connection *c, const char *type, const struct text *text, bool is_head)
{
    struct answer answer = {.status = 200, .type = type, .body = text->data, .len = text->len};

    if (text->is_short)
        send_words(c, 500, "out of memory", is_head);
    else
        send_answer(c, &answer, is_head);
}

/* ---- what there is to be had ---- */

static void tell_health(struct connection *c, const struct request *r)
{
    send_words(c, 200, "ok", r->is_head);
}

static void tell_readiness(struct connection *c, const struct request *r)
{
    enum status_phase phase = c->http->status->phase;

    send_words(c, phase == STATUS_SERVING ? 200 : 503, status_phase_name(phase), r->is_head);
}

static void tell_metrics(struct connection *c, const struct request *r)
{
    struct text text = {0};

    metrics_write(c->http->status, &text);
    send_text(c, METRICS_TYPE, &text, r->is_head);
    text_clear(&text);
}

static void tell_status(struct connection *c, const struct request *r)
{
    struct text text = {0};
    struct json json;

    json_init(&json, &text);
    status_write(c->http->status, clock_now_ms(), &json);
    send_text(c, "application/json", &text, r->is_head);
    text_clear(&text);
}

static void tell_history(struct connection *c, const struct request *r)
{
    struct text text = {0};
    struct json json;
    char since[24];

    json_init(&json, &text);
    (void)request_argument(r, "since", since, sizeof(since));
    history_write(&c->http->history, strtoull(since, NULL, 10), clock_now_ms(), &json);
    send_text(c, "application/json", &text, r->is_head);
    text_clear(&text);
}

static const struct {
    const char *path;
    void (*tell)(struct connection *c, const struct request *r);
} resources[] = {
    {"/healthz", tell_health},     {"/readyz", tell_readiness},     {"/metrics", tell_metrics},
    {"/status.json", tell_status}, {"/history.json", tell_history},
};

static void tell(struct connection *c, const struct request *r)
{
    const struct page *page = page_find(r->path);

    for (size_t i = 0; i < sizeof(resources) / sizeof(*resources); i++)
        if (strcmp(resources[i].path, r->path) == 0) {
            resources[i].tell(c, r);
            return;
        }
    if (page == NULL) {
        send_words(c, 404, "not found", r->is_head);
        return;
    }
    const struct answer answer = {
        .status = 200, .type = page->type, .body = page->data, .len = page->len, .is_static = true};
    send_answer(c, &answer, r->is_head);
}

/* ---- requests ---- */

static void take_request(struct connection *c, const char *head, size_t len)
{
    enum request_status status;
    struct request request;

    status = request_parse(&request, head, len);
    if (status != REQUEST_FINE)
        send_words(c, status, words_of(status), request.is_head);
    else if (!request_is_for_us(&request, c->http->status->conf->daemon.http_name))
        send_words(c, 421, "ask by address, as localhost, or by daemon.http-name", request.is_head);
    else
        tell(c, &request);
}

static void on_readable(struct bufferevent *stream, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(stream);
    size_t len = evbuffer_get_length(in), head_len;
    struct connection *c = arg;
    char head[REQUEST_HEAD_MAX];

    if (c->step != ASKING) {
        evbuffer_drain(in, len);
        return;
    }
    len = (size_t)evbuffer_copyout(in, head, sizeof(head));
    head_len = request_head_len(head, len);
    if (head_len > 0)
        take_request(c, head, head_len);
    else if (len == sizeof(head))
        send_words(c, REQUEST_HEAD, words_of(REQUEST_HEAD), false);
}

/* ---- the door ---- */

static struct connection *connection_new(struct http *h)
{
    struct connection *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->http = h;
    c->stream = bufferevent_socket_new(h->base, -1, BEV_OPT_CLOSE_ON_FREE);
    c->deadline = event_new(h->base, -1, 0, on_deadline, c);
    if (c->stream != NULL && c->deadline != NULL)
        return c;
    if (c->stream != NULL)
        bufferevent_free(c->stream);
    if (c->deadline != NULL)
        event_free(c->deadline);
    free(c);
    return NULL;
}

/* Where there are as many as there may be, the oldest gives way: one that asks for something is
 * answered within a turn, so what stays is what does not ask. */
static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                      int from_len, void *arg)
{
    struct http *h = arg;
    struct connection *c;

    (void)listener;
    (void)from;
    (void)from_len;
    if (h->count >= CONNECTIONS_MAX)
        end(list_entry(list_first(&h->connections), struct connection, node));
    c = connection_new(h);
    if (c == NULL) {
        close(fd);
        return;
    }
    list_append(&h->connections, &c->node);
    h->count++;
    bufferevent_setfd(c->stream, fd);
    bufferevent_setcb(c->stream, on_readable, on_written, on_event, c);
    bufferevent_setwatermark(c->stream, EV_READ, 0, REQUEST_HEAD_MAX);
    set_deadline(c, ASK_SECONDS);
    bufferevent_enable(c->stream, EV_READ | EV_WRITE);
}

/* Sessions have all descriptors. Who waits at the door would wake us again and again. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    struct http *h = arg;

    evconnlistener_disable(listener);
    h->is_resting = true;
}

static void on_sample(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    struct stats sum;

    (void)fd;
    (void)what;
    fleet_sum(h->status->fleet, &sum);
    history_take(&h->history, &sum, status_drops(&sum), clock_now_ms());
    if (h->is_resting)
        evconnlistener_enable(h->listener);
    h->is_resting = false;
}

static bool start(struct http *h, int fd)
{
    struct timeval every = {.tv_sec = HISTORY_EVERY_MS / 1000,
                            .tv_usec = HISTORY_EVERY_MS % 1000 * 1000};

    h->listener = evconnlistener_new(
        h->base, on_accept, h, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, CONNECTIONS_MAX, fd);
    if (h->listener == NULL)
        return false;
    evconnlistener_set_error_cb(h->listener, on_accept_failed);
    h->sampling = event_new(h->base, -1, EV_PERSIST, on_sample, h);
    on_sample(-1, 0, h);
    return h->sampling != NULL && event_add(h->sampling, &every) == 0;
}

static void explain(const struct addr *at, const char *source, struct errors *errors)
{
    char text[ADDR_TEXT_MAX];

    errors_add(errors, "%s: daemon.http: cannot bind %s: %s; choose another address or port",
               source, addr_format(at, text), strerror(errno));
}

int http_bind(const struct addr *at, const char *source, struct errors *errors)
{
    int fd = socket(at->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_storage where;
    socklen_t len = addr_to_sockaddr(at, at->family, &where);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, (const struct sockaddr *)&where, len) == 0)
        return fd;
    explain(at, source, errors);
    if (fd >= 0)
        close(fd);
    return -1;
}

void http_free(struct http *h)
{
    struct list *node;

    if (h == NULL)
        return;
    while ((node = list_first(&h->connections)) != NULL)
        end(list_entry(node, struct connection, node));
    if (h->sampling != NULL)
        event_free(h->sampling);
    if (h->listener != NULL)
        evconnlistener_free(h->listener);
    free(h);
}

struct http *http_new(struct event_base *base, int fd, const struct status *status)
{
    struct http *h = calloc(1, sizeof(*h));

    if (h != NULL) {
        h->base = base;
        h->status = status;
        list_init(&h->connections);
        if (start(h, fd))
            return h;
    }
    if (h == NULL || h->listener == NULL)
        close(fd);
    http_free(h);
    return NULL;
}

void http_log(const struct http *h)
{
    int fd = evconnlistener_get_fd(h->listener);
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    char text[ADDR_TEXT_MAX];
    struct addr bound;

    if (getsockname(fd, (struct sockaddr *)&at, &len) == 0 &&
        addr_from_sockaddr(&bound, (const struct sockaddr *)&at))
        log_info("http: listening on %s", addr_format(&bound, text));
}
