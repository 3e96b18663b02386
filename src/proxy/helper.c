/*
 * helper: connections to the programs that know keys. See the header.
 * Must never block, believe what it reads, or keep a key once it is told.
 */
#include "proxy/helper.h"

#include "base/bytes.h"
#include "base/list.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OUT_SIZE 8192
#define READ_SIZE 4096

struct link {
    struct list node;
    struct helpers *set;
    unsigned service;
    int fd;               /* -1: not connected */
    unsigned connections; /* so many there were */
    struct event readable, writable;
    /* A ring: `told` of the `count` from `first` on are on their way to the helper. */
    struct helper_question questions[HELPER_QUEUE];
    unsigned first, told, count;
    char out[OUT_SIZE];
    size_t out_at, out_end;
    char line[HELPER_ANSWER_MAX]; /* the part of an answer that has come */
    size_t line_len;
};

struct helpers {
    struct event_base *base;
    helper_fn on_answer;
    void *arg;
    struct list links;
};

/* ---- the ring ---- */

static struct helper_question *question_at(struct link *l, unsigned index)
{
    return &l->questions[(l->first + index) % HELPER_QUEUE];
}

static struct helper_question take_first(struct link *l)
{
    struct helper_question q = *question_at(l, 0);

    l->first = (l->first + 1) % HELPER_QUEUE;
    l->count--;
    l->told -= l->told > 0;
    return q;
}

/* ---- the connection ---- */

static void disconnect(struct link *l)
{
    if (l->fd < 0)
        return;
    event_del(&l->readable);
    event_del(&l->writable);
    close(l->fd);
    l->fd = -1;
    l->told = 0;
    l->out_at = l->out_end = 0;
    bytes_wipe(l->line, sizeof l->line);
    l->line_len = 0;
}

/* The questions there are by now have failed; those that are asked anew meanwhile have not. */
static void give_up(struct link *l, const char *why)
{
    const struct helper_answer answer = {.verdict = HELPER_FAILED, .why = why};

    disconnect(l);
    for (unsigned left = l->count; left > 0; left--) {
        struct helper_question q = take_first(l);
        l->set->on_answer(l->set->arg, q.token, &answer);
    }
}

/* As many questions as the window and the room allow. */
static void write_questions(struct link *l)
{
    if (l->out_at == l->out_end)
        l->out_at = l->out_end = 0;
    while (l->told < l->count && l->told < HELPER_WINDOW &&
           OUT_SIZE - l->out_end >= HELPER_QUESTION_MAX) {
        l->out_end += helper_put_question(question_at(l, l->told), l->out + l->out_end);
        l->told++;
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;

    (void)what;
    write_questions(l);
    if (l->out_at == l->out_end) {
        event_del(&l->writable);
        return;
    }
    ssize_t n = send(fd, l->out + l->out_at, l->out_end - l->out_at, MSG_NOSIGNAL);
    if (n > 0)
        l->out_at += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        give_up(l, "the connection broke");
}

/* NULL, or what is wrong with the line that has come whole. */
static const char *take_line(struct link *l)
{
    struct helper_answer answer;

    if (l->told == 0)
        return "it answers what nobody has asked";
    bool is_fine = helper_read_answer(l->line, l->line_len, &answer);
    bytes_wipe(l->line, l->line_len);
    l->line_len = 0;
    if (!is_fine)
        return "its answer is neither a key in hex nor none";
    struct helper_question q = take_first(l);
    l->set->on_answer(l->set->arg, q.token, &answer);
    bytes_wipe(&answer, sizeof answer);
    return NULL;
}

/* NULL, or what is wrong. The connection may be another one behind any answer. */
static const char *take_bytes(struct link *l, const char *data, size_t len)
{
    unsigned connection = l->connections;

    for (size_t i = 0; i < len && l->fd >= 0 && l->connections == connection; i++) {
        const char *wrong = NULL;
        if (data[i] == '\n')
            wrong = take_line(l);
        else if (l->line_len == sizeof l->line)
            wrong = "its answer is too long";
        else
            l->line[l->line_len++] = data[i];
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct link *l = arg;
    char data[READ_SIZE];
    ssize_t n = recv(fd, data, sizeof data, 0);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        return give_up(l, "it has closed the connection");
    const char *wrong = take_bytes(l, data, (size_t)n);
    bytes_wipe(data, (size_t)n);
    if (wrong != NULL)
        give_up(l, wrong);
    else if (l->fd >= 0 && l->told < l->count && event_add(&l->writable, NULL) != 0)
        give_up(l, "out of memory");
}

static int open_socket(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int fd, error;

    if (len >= sizeof name.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name.sun_path, path, len);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* NULL, or why not. */
static const char *connect_to(struct link *l, const char *path)
{
    struct event_base *base = l->set->base;

    l->fd = open_socket(path);
    l->connections++;
    if (l->fd < 0)
        return strerror(errno);
    if (event_assign(&l->readable, base, l->fd, EV_READ | EV_PERSIST, on_readable, l) == 0 &&
        event_assign(&l->writable, base, l->fd, EV_WRITE | EV_PERSIST, on_writable, l) == 0 &&
        event_add(&l->readable, NULL) == 0)
        return NULL;
    close(l->fd);
    l->fd = -1;
    return "out of memory";
}

/* ---- links ---- */

static struct link *find_link(const struct helpers *h, unsigned service)
{
    for (struct list *node = h->links.next; node != &h->links; node = node->next) {
        struct link *l = list_entry(node, struct link, node);
        if (l->service == service)
            return l;
    }
    return NULL;
}

static struct link *link_for(struct helpers *h, unsigned service)
{
    struct link *l = find_link(h, service);

    if (l != NULL || (l = calloc(1, sizeof *l)) == NULL)
        return l;
    l->set = h;
    l->service = service;
    l->fd = -1;
    list_append(&h->links, &l->node);
    return l;
}

const char *helpers_ask(struct helpers *h, unsigned service, const char *path,
                        const struct helper_question *q)
{
    struct link *l = link_for(h, service);
    const char *why = NULL;

    if (l == NULL)
        return "out of memory";
    if (l->count == HELPER_QUEUE)
        return "too many questions wait for it";
    if (l->fd < 0)
        why = connect_to(l, path);
    if (why == NULL && event_add(&l->writable, NULL) != 0)
        why = "out of memory";
    if (why != NULL)
        return why;
    *question_at(l, l->count++) = *q;
    return NULL;
}

void helpers_reset(struct helpers *h, unsigned service, const char *why)
{
    struct link *l = find_link(h, service);

    if (l != NULL)
        give_up(l, why);
}

struct helpers *helpers_new(struct event_base *base, helper_fn on_answer, void *arg)
{
    struct helpers *h = calloc(1, sizeof *h);

    if (h == NULL)
        return NULL;
    h->base = base;
    h->on_answer = on_answer;
    h->arg = arg;
    list_init(&h->links);
    return h;
}

void helpers_free(struct helpers *h)
{
    struct list *node;

    if (h == NULL)
        return;
    while ((node = list_first(&h->links)) != NULL) {
        struct link *l = list_entry(node, struct link, node);
        disconnect(l);
        list_remove(node);
        free(l);
    }
    free(h);
}
