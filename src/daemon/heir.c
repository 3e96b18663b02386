/*
 * heir: one socket, what has come through it, and what is still nobody's. See the header.
 * Must never touch a session's traffic, nor go on after a doubt.
 */
#include "daemon/heir.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parcel.h"
#include "base/udp.h"
#include "daemon/handover.h"
#include "daemon/spawner.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_MOST (1u << 20)
#define MEET_MS 10000
/* While it lets handshakes come to their end, and while it makes up its mind. */
#define WAIT_MS 60000
#define WHERE_MAX (PATH_MAX + 16)

struct claim {
    struct handover_socket socket;
    bool is_shared;
    int fd; /* -1: claimed */
};

static struct {
    int fd; /* -1: nobody is there */
    struct handover_hello hello;
    struct claim *list;
    size_t count, room;
    int control, http, pidfile, state;
    bool is_draining, is_refused, has_all;
    uint64_t *left;
    size_t left_count, left_room;
    struct parcel parcel;
} heir = {.fd = -1, .control = -1, .http = -1, .pidfile = -1, .state = -1};

bool heir_is_there(void)
{
    return heir.fd >= 0;
}

bool heir_has_all(void)
{
    return heir.has_all;
}

int heir_fd(void)
{
    return heir.fd;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void heir_close(void)
{
    for (size_t i = 0; i < heir.count; i++)
        close_fd(&heir.list[i].fd);
    close_fd(&heir.control);
    close_fd(&heir.http);
    close_fd(&heir.pidfile);
    close_fd(&heir.state);
    close_fd(&heir.fd);
    free(heir.list);
    free(heir.left);
    heir.list = NULL;
    heir.left = NULL;
    heir.count = heir.room = heir.left_count = heir.left_room = 0;
}

static bool say(struct writer *w)
{
    return parcel_wrote(&heir.parcel, w) &&
           parcel_send(heir.fd, &heir.parcel, WAIT_MS) == PARCEL_OK;
}

void heir_refuse(const struct errors *errors, const char *why)
{
    struct writer w;
    bool has_more = false;

    if (heir.fd < 0 || heir.is_refused)
        return;
    heir.is_refused = true;
    w = handover_begin(&heir.parcel, HANDOVER_UNABLE);
    for (unsigned i = 0; errors != NULL && i < errors->count && i < ERRORS_MAX; i++) {
        const char *line = errors->line[i] != NULL ? errors->line[i] : "out of memory";
        if (w.left < strlen(line) + 1)
            break;
        if (has_more)
            write_u8(&w, '\n');
        write_bytes(&w, line, strlen(line));
        has_more = true;
    }
    if (why != NULL)
        write_bytes(&w, why, strlen(why));
    (void)say(&w);
}

_Noreturn void heir_fail(const char *why)
{
    log_error("dtlsgate: cannot take over: %s", why);
    heir_refuse(NULL, why);
    log_flush();
    _exit(1);
}

/* ---- the beginning ---- */

static bool add_socket(struct reader *r, unsigned number, bool is_shared)
{
    if (heir.count == heir.room) {
        size_t room = heir.room > 0 ? 2 * heir.room : 64;
        struct claim *more =
            room <= SOCKETS_MOST ? reallocarray(heir.list, room, sizeof(*more)) : NULL;
        if (more == NULL)
            return false;
        heir.list = more;
        heir.room = room;
    }
    struct claim *c = &heir.list[heir.count];
    *c = (struct claim){.is_shared = is_shared, .fd = -1};
    if (!handover_read_socket(r, &c->socket))
        return false;
    c->fd = parcel_take(&heir.parcel, number);
    heir.count++;
    return c->fd >= 0;
}

static bool add_sockets(struct reader *r, bool is_shared)
{
    for (unsigned i = 0; r->left > 0; i++)
        if (!add_socket(r, i, is_shared))
            return false;
    return true;
}

static bool take_things(struct reader *r)
{
    uint8_t flags = read_u8(r);
    unsigned next = 0;

    if (flags & HANDOVER_HAS_CONTROL)
        heir.control = parcel_take(&heir.parcel, next++);
    if (flags & HANDOVER_HAS_HTTP)
        heir.http = parcel_take(&heir.parcel, next++);
    if (flags & HANDOVER_HAS_PIDFILE)
        heir.pidfile = parcel_take(&heir.parcel, next++);
    if (flags & HANDOVER_HAS_STATE)
        heir.state = parcel_take(&heir.parcel, next++);
    heir.is_draining = (flags & HANDOVER_IS_DRAINING) != 0;
    return !r->bad && r->left == 0;
}

/* The next parcel, which has to be one of a kind that may come now. */
static bool hear(int patience_ms, uint8_t *kind, struct reader *r)
{
    parcel_clear(&heir.parcel);
    if (parcel_receive(heir.fd, &heir.parcel, patience_ms) != PARCEL_OK)
        return false;
    *r = parcel_reader(&heir.parcel);
    *kind = read_u8(r);
    return true;
}

static const char *hear_hello(void)
{
    struct reader r;
    uint8_t kind;

    if (!hear(MEET_MS, &kind, &r))
        return "the running process says nothing";
    if (kind != HANDOVER_HELLO || !handover_read_hello(&r, &heir.hello))
        return "the running process says something else";
    return NULL;
}

static const char *hear_beginning(void)
{
    struct reader r;
    uint8_t kind;

    for (;;) {
        if (!hear(MEET_MS, &kind, &r))
            return "the running process has stopped speaking";
        if (kind == HANDOVER_THINGS)
            return take_things(&r) ? NULL : "its last words are of a kind that is not known here";
        if ((kind != HANDOVER_LISTEN && kind != HANDOVER_SHARED) ||
            !add_sockets(&r, kind == HANDOVER_SHARED))
            return "it hands over sockets in a way that is not known here";
    }
}

bool heir_meet(struct errors *errors)
{
    const char *number = getenv(SPAWNER_VARIABLE), *why;
    int type = 0;
    socklen_t len = sizeof(type);

    if (number == NULL)
        return true;
    heir.fd = (int)strtol(number, NULL, 10);
    unsetenv(SPAWNER_VARIABLE);
    if (getsockopt(heir.fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_SEQPACKET) {
        heir.fd = -1;
        errors_add(errors, "environment: " SPAWNER_VARIABLE " is for upgrades alone; unset it");
        return false;
    }
    (void)fcntl(heir.fd, F_SETFD, FD_CLOEXEC);
    why = hear_hello();
    if (why == NULL && heir.hello.version != HANDOVER_VERSION) {
        errors_add(errors,
                   "the running process hands over in version %u, and this one takes version %d; "
                   "restart dtlsgate",
                   heir.hello.version, HANDOVER_VERSION);
        return false;
    }
    if (why == NULL)
        why = hear_beginning();
    if (why != NULL)
        errors_add(errors, "cannot take over: %s", why);
    return why == NULL;
}

/* ---- claims ---- */

static struct claim *find(const struct conf_service *service, unsigned worker,
                          const struct addr *at)
{
    for (size_t i = 0; i < heir.count; i++) {
        struct claim *c = &heir.list[i];
        if (c->fd >= 0 && c->socket.worker == worker &&
            strcmp(c->socket.name, service->name) == 0 &&
            (at != NULL ? !c->is_shared && addr_equal(&c->socket.at, at) : c->is_shared))
            return c;
    }
    return NULL;
}

static const char *place_of(const struct conf_service *service, const char *path,
                            char where[WHERE_MAX])
{
    if (service->line > 0)
        snprintf(where, WHERE_MAX, "%s:%u", path, service->line);
    else
        snprintf(where, WHERE_MAX, "command line");
    return where;
}

static bool claim_listener(struct worker_socket *slot, const struct conf_service *service,
                           unsigned worker, const struct addr *at)
{
    struct claim *c = find(service, worker, at);
    bool dual;

    if (c == NULL || !udp_adopt(c->fd, &slot->bound, &dual) ||
        !addr_equal(&slot->bound, &c->socket.bound))
        return false;
    slot->fd = c->fd;
    c->fd = -1;
    return true;
}

static bool claim_listeners(struct sockets *s, const struct conf *conf, const char *path,
                            struct errors *errors)
{
    char where[WHERE_MAX], text[ADDR_TEXT_MAX];
    bool is_fine = true;
    size_t column = 0;

    for (unsigned i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        for (size_t j = 0; j < service->listen_count; j++, column++) {
            bool has_all = true;
            for (unsigned w = 0; w < s->workers; w++) {
                struct worker_socket *slot = &s->list[w * s->per_worker + column];
                slot->service = i;
                has_all = has_all && claim_listener(slot, service, w, &service->listen[j]);
            }
            if (!has_all)
                errors_add(errors,
                           "%s: service.%s.listen: the running process does not listen on %s for "
                           "it; an upgrade cannot add addresses or services, restart dtlsgate",
                           place_of(service, path, where), service->name,
                           addr_format(&service->listen[j], text));
            is_fine = is_fine && has_all;
        }
    }
    return is_fine;
}

/* A service may begin to share sockets, or cease to; but flows that have addresses of one prefix
 * cannot have those of another. */
static bool claim_shared(struct sockets *s, const struct conf *conf, const char *path,
                         struct errors *errors)
{
    char where[WHERE_MAX];

    for (unsigned w = 0; w < s->workers; w++) {
        for (size_t i = 0; i < conf->service_count; i++) {
            const struct conf_service *service = &conf->service[i];
            const struct prefix *range = prefixes_range(&service->backend_source);
            struct claim *c = find(service, w, NULL);
            if (c == NULL)
                continue;
            if (range == NULL || range->bits != c->socket.range.bits ||
                !addr_equal(&range->base, &c->socket.range.base)) {
                errors_add(errors,
                           "%s: service.%s.backend-source: is another prefix in the running "
                           "process, and an upgrade cannot change it; restart dtlsgate",
                           place_of(service, path, where), service->name);
                return false;
            }
            s->shared[w * s->services + i] = c->fd;
            c->fd = -1;
        }
    }
    return true;
}

static bool refuse_left(struct errors *errors)
{
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < heir.count; i++) {
        const struct claim *c = &heir.list[i];
        if (c->fd < 0)
            continue;
        errors_add(errors,
                   "the running process has %s for service %s, which the settings do not have; an "
                   "upgrade cannot take addresses or services away, restart dtlsgate",
                   addr_format(&c->socket.at, text), c->socket.name);
        return false;
    }
    return true;
}

bool heir_claim_sockets(struct sockets *s, const struct conf *conf, const char *path,
                        struct errors *errors)
{
    if (heir.hello.workers != s->workers) {
        errors_add(errors,
                   "%s: daemon.workers: is %u, the running process has %u, and an upgrade cannot "
                   "change their number; set daemon.workers = %u, or restart dtlsgate",
                   path != NULL ? path : "command line", s->workers, heir.hello.workers,
                   heir.hello.workers);
        return false;
    }
    s->are_taken = true;
    s->services = conf->service_count;
    s->shared = calloc(s->workers * s->services, sizeof(*s->shared));
    if (s->shared == NULL) {
        errors_add(errors, "out of memory");
        return false;
    }
    return claim_listeners(s, conf, path, errors) && claim_shared(s, conf, path, errors) &&
           refuse_left(errors);
}

static int claim(int *fd)
{
    int claimed = *fd;

    *fd = -1;
    return claimed;
}

/* With port 0 any port of the address is what the settings ask for. */
int heir_claim_http(const struct addr *at)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);
    struct addr bound, wanted = *at;

    if (heir.http < 0 || getsockname(heir.http, (struct sockaddr *)&name, &len) != 0 ||
        !addr_from_sockaddr(&bound, (struct sockaddr *)&name))
        return -1;
    if (wanted.port == 0)
        wanted.port = bound.port;
    return addr_equal(&bound, &wanted) ? claim(&heir.http) : -1;
}

int heir_claim_control(void)
{
    return claim(&heir.control);
}

int heir_claim_pidfile(void)
{
    return claim(&heir.pidfile);
}

int heir_claim_state(void)
{
    return claim(&heir.state);
}

/* ---- all the rest ---- */

static void note_left(void *arg, uint64_t id)
{
    bool *is_short = arg;

    if (heir.left_count == heir.left_room) {
        size_t room = heir.left_room > 0 ? 2 * heir.left_room : 256;
        uint64_t *more = reallocarray(heir.left, room, sizeof(*more));
        if (more == NULL) {
            *is_short = true;
            return;
        }
        heir.left = more;
        heir.left_room = room;
    }
    heir.left[heir.left_count++] = id;
}

static const char *take_worker(struct fleet *f, struct reader *r, struct heir_report *report)
{
    bool is_short = false;
    unsigned worker = read_u16(r);
    struct moving_arrival a = {
        .parcel = &heir.parcel, .content = *r, .left = note_left, .arg = &is_short};
    const char *why = NULL;

    if (r->bad || !fleet_unpack(f, worker, &a, &why))
        return why != NULL ? why : "a parcel that is cut";
    report->sessions += a.sessions;
    return is_short ? "out of memory" : NULL;
}

static const char *take_backend(struct fleet *f, const struct conf *conf, struct reader *r)
{
    struct relay_order order = {.what = BALANCE_DRAIN, .service = read_u16(r)};

    order.backend = handover_read_addr(r);
    if (r->bad || order.service >= conf->service_count)
        return "a backend of no service";
    /* One that has left the list is nobody's concern. */
    return fleet_tell_backend(f, &order) > 0 ? "out of memory" : NULL;
}

static const char *take_done(struct reader *r, const struct heir_report *report)
{
    uint64_t sent = read_u64(r);

    return r->bad || sent != report->sessions + heir.left_count ? "sessions are missing" : NULL;
}

static const char *take_cookies(struct fleet *f, struct reader *r)
{
    struct cookie_secrets secrets;
    bool is_fine = handover_read_cookies(r, &secrets);

    if (is_fine)
        fleet_use_cookies(f, &secrets);
    cookie_secrets_wipe(&secrets);
    return is_fine ? NULL : "secrets of a kind that is not known here";
}

static const char *take_tickets(struct fleet *f, struct reader *r)
{
    struct ticket_keys keys;
    uint64_t age;
    bool is_fine = handover_read_tickets(r, &keys, &age);

    if (is_fine)
        fleet_use_tickets(f, &keys, age, clock_now_ms());
    ticket_keys_wipe(&keys);
    return is_fine ? NULL : "keys of tickets of a kind that is not known here";
}

static const char *take_next(struct fleet *f, const struct conf *conf, struct heir_report *report,
                             bool *is_over)
{
    struct reader r;
    uint8_t kind;

    if (!hear(WAIT_MS, &kind, &r))
        return "the running process goes on by itself";
    switch (kind) {
    case MOVING_PARCEL:
        return take_worker(f, &r, report);
    case HANDOVER_COOKIES:
        return take_cookies(f, &r);
    case HANDOVER_TICKETS:
        return take_tickets(f, &r);
    case HANDOVER_BACKEND:
        return take_backend(f, conf, &r);
    case HANDOVER_DONE:
        *is_over = true;
        return take_done(&r, report);
    default:
        return "something that is not known here";
    }
}

bool heir_take_all(struct fleet *f, const struct conf *conf, struct heir_report *report, char *why,
                   size_t why_size)
{
    struct writer w = handover_begin(&heir.parcel, HANDOVER_ABLE);
    const char *fault = say(&w) ? NULL : "the running process goes on by itself";
    bool is_over = false;

    *report =
        (struct heir_report){.is_draining = heir.is_draining, .before = (pid_t)heir.hello.pid};
    while (fault == NULL && !is_over)
        fault = take_next(f, conf, report, &is_over);
    parcel_clear(&heir.parcel);
    if (fault != NULL)
        snprintf(why, why_size, "%s", fault);
    report->left = heir.left_count;
    return fault == NULL;
}

static bool tell_left(void)
{
    for (size_t i = 0; i < heir.left_count;) {
        struct writer w = handover_begin(&heir.parcel, HANDOVER_LEFT);
        for (; i < heir.left_count && w.left >= 8; i++)
            write_u64(&w, heir.left[i]);
        if (!say(&w))
            return false;
    }
    return true;
}

bool heir_confirm(struct heir_report *report, char *why, size_t why_size)
{
    struct writer w;
    struct reader r;
    uint8_t kind;
    bool is_fine = tell_left();

    w = handover_begin(&heir.parcel, HANDOVER_TAKEN);
    write_u64(&w, report->sessions);
    is_fine = is_fine && say(&w) && hear(WAIT_MS, &kind, &r) && kind == HANDOVER_GO;
    if (!is_fine) {
        snprintf(why, why_size, "the running process goes on by itself");
        return false;
    }
    report->is_reload_due = read_u8(&r) != 0;
    return true;
}

/* Where nobody hears it any more, there is nobody else to go on; one that could not be told would.
 */
bool heir_begin(void)
{
    struct writer w = handover_begin(&heir.parcel, HANDOVER_RUNNING);
    enum parcel_verdict verdict = parcel_wrote(&heir.parcel, &w)
                                      ? parcel_send(heir.fd, &heir.parcel, WAIT_MS)
                                      : PARCEL_BROKEN;

    heir.has_all = verdict == PARCEL_OK || verdict == PARCEL_END;
    return heir.has_all;
}
