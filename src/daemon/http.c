/*
 * http: connections with a beginning, a request, an answer and an end, all within bounds. See the
 * header. Must never wait for a client, nor know what it is told.
 */
#include "daemon/http.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "daemon/history.h"
#include "daemon/request.h"
#include "daemon/site.h"

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
    struct event *sampling, *later;
    struct site *site;
    struct list connections; /* the oldest first */
    unsigned count;
    bool is_resting; /* no descriptor to accept with: until the next sample */
};

struct connection {
    struct list node;
    struct http *http;
    struct bufferevent *stream;
    struct event *deadline;
    struct site_wait wait;
    bool is_head; /* wants no body */
    enum { ASKING, WAITING, ANSWERING, LEAVING } step;
};

/* ---- connections ---- */

static void end(struct connection *c)
{
    list_remove(&c->node);
    c->http->count--;
    site_forget(&c->wait);
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

static void send_answer(struct connection *c, const struct answer *a)
{
    struct evbuffer *out = bufferevent_get_output(c->stream);
    char date[64];
    bool is_whole;

    c->step = ANSWERING;
    bufferevent_disable(c->stream, EV_READ);
    set_deadline(c, ANSWER_SECONDS);
    evutil_date_rfc1123(date, sizeof(date), NULL);
    is_whole =
        evbuffer_add_printf(out,
                            "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n"
                            "Content-Length: %zu\r\n%s%s",
                            a->status, words_of(a->status), date, a->type, a->len,
                            a->status == 405 ? "Allow: GET, HEAD\r\n" : "", fixed_fields) > 0;
    if (!is_whole || (!c->is_head && evbuffer_add(out, a->body, a->len) != 0))
        end(c); /* out of memory: half an answer is none */
}

static void refuse(struct connection *c, enum request_status status)
{
    struct answer answer;

    answer_words(&answer, status, words_of(status));
    send_answer(c, &answer);
    answer_clear(&answer);
}

static void on_later(void *arg, const struct answer *a)
{
    send_answer(arg, a);
}

static void take_request(struct connection *c, const char *head, size_t len)
{
    enum request_status status;
    struct request request;
    struct answer answer;

    status = request_parse(&request, head, len);
    c->is_head = request.is_head;
    if (status != REQUEST_FINE) {
        refuse(c, status);
        return;
    }
    c->step = WAITING;
    c->wait = (struct site_wait){.done = on_later, .arg = c};
    set_deadline(c, ANSWER_SECONDS);
    if (!site_answer(c->http->site, &request, &answer, &c->wait))
        return;
    send_answer(c, &answer);
    answer_clear(&answer);
}

static void on_readable(struct bufferevent *stream, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(stream);
    struct connection *c = arg;
    char head[REQUEST_HEAD_MAX];
    size_t len, head_len;

    if (c->step != ASKING) {
        evbuffer_drain(in, evbuffer_get_length(in));
        return;
    }
    len = (size_t)evbuffer_copyout(in, head, sizeof(head));
    head_len = request_head_len(head, len);
    if (head_len > 0)
        take_request(c, head, head_len);
    else if (len == sizeof(head))
        refuse(c, REQUEST_HEAD);
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

    (void)fd;
    (void)what;
    site_sample(h->site, clock_now_ms());
    if (h->is_resting)
        evconnlistener_enable(h->listener);
    h->is_resting = false;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;

    (void)fd;
    (void)what;
    site_turn(h->site);
}

static bool start(struct http *h, int fd)
{
    struct timeval every = {.tv_sec = HISTORY_EVERY_MS / 1000,
                            .tv_usec = HISTORY_EVERY_MS % 1000 * 1000};

    h->listener = evconnlistener_new(
        h->base, on_accept, h, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, CONNECTIONS_MAX, fd);
    if (h->listener == NULL || h->site == NULL)
        return false;
    evconnlistener_set_error_cb(h->listener, on_accept_failed);
    h->sampling = event_new(h->base, -1, EV_PERSIST, on_sample, h);
    h->later = event_new(h->base, site_fd(h->site), EV_READ | EV_PERSIST, on_turn, h);
    if (h->sampling == NULL || h->later == NULL)
        return false;
    on_sample(-1, 0, h);
    return event_add(h->sampling, &every) == 0 && event_add(h->later, NULL) == 0;
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
    if (h->later != NULL)
        event_free(h->later);
    site_free(h->site);
    if (h->listener != NULL)
        evconnlistener_free(h->listener);
    free(h);
}

int http_socket(const struct http *h)
{
    return evconnlistener_get_fd(h->listener);
}

void http_listen(struct http *h, bool is_on)
{
    (void)(is_on ? evconnlistener_enable(h->listener) : evconnlistener_disable(h->listener));
}

struct http *http_new(struct event_base *base, int fd, const struct status *status)
{
    struct http *h = calloc(1, sizeof(*h));

    if (h != NULL) {
        h->base = base;
        h->site = site_new(status);
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
