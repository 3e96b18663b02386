/*
 * fleet: loops over the workers, and the sum of acknowledgements that they still owe.
 * Must never know of signals nor of an event loop.
 */
#include "daemon/fleet.h"

#include "base/access.h"
#include "base/log.h"
#include "daemon/renewal.h"
#include "dtls/cookie.h"
#include "proxy/mailbox.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* More than there are counters; what does not fit is left out of the line. */
#define TOTALS_MAX 96

struct fleet {
    struct worker **worker;
    unsigned count;   /* of workers made */
    unsigned started; /* the first so many have a thread */
    uint64_t awaited; /* acknowledgements that have not come yet */
    bool is_stopping; /* nothing that is posted now would be acknowledged */
    int acks;
    bool has_replies; /* the mailbox is made */
    struct mailbox replies;
    struct cookie_secrets cookies;
    struct renewal tickets;
    struct cache *cache;     /* NULL: no session is resumed by its id */
    struct state_dir *state; /* NULL: nothing outlives the process */
    bool has_moved;          /* the mailbox is made */
    struct mailbox moved;
    struct moving *moving; /* one per worker */
    unsigned moves;        /* steps that are not back */
};

struct fleet_settings {
    unsigned count;
    struct relay_setup setup[];
};

struct totals {
    struct log_field field[TOTALS_MAX + 1];
    size_t count;
};

static void add_total(void *arg, const char *name, uint64_t value)
{
    struct totals *t = arg;

    if (value != 0 && t->count < TOTALS_MAX)
        t->field[t->count++] = (struct log_field){.key = name, .number = (long long)value};
}

static bool make_worker(struct fleet *f, const struct sockets *sockets, struct relay_setup *setup)
{
    struct worker_params params = {
        .index = f->count,
        .count = sockets->workers,
        .sockets = sockets_of(sockets, f->count),
        .socket_count = sockets->per_worker,
        .acks = f->acks,
        .cookies = &f->cookies,
        .tickets = &f->tickets.keys,
        .cache = f->cache,
        .offload = sockets->offload,
        .shared = sockets_shared(sockets, f->count),
        .is_stopped = sockets->are_taken,
    };

    f->worker[f->count] = worker_new(&params, setup);
    if (f->worker[f->count] == NULL)
        return false;
    f->count++;
    return true;
}

static bool make_cache(struct fleet *f, const struct conf *conf)
{
    if (conf->daemon.resumption_cache > 0)
        f->cache = cache_new(conf->daemon.resumption_cache);
    return f->cache != NULL || conf->daemon.resumption_cache == 0;
}

static bool make_workers(struct fleet *f, const struct conf *conf, const struct sockets *sockets,
                         char *why, size_t why_size)
{
    for (unsigned i = 0; i < sockets->workers; i++) {
        struct relay_setup setup;
        if (!relay_setup_make(&setup, conf, why, why_size))
            return false;
        if (!make_worker(f, sockets, &setup)) {
            relay_setup_clear(&setup);
            snprintf(why, why_size, "cannot make worker %u: out of memory or descriptors", i);
            return false;
        }
    }
    for (unsigned i = 0; f->count > 1 && i < f->count; i++)
        worker_link(f->worker[i], f->worker[(i + 1) % f->count]);
    return true;
}

void fleet_free(struct fleet *f)
{
    if (f == NULL)
        return;
    /* They speak to each other, so none may go while another one runs. */
    for (unsigned i = 0; i < f->count; i++)
        worker_join(f->worker[i]);
    for (unsigned i = 0; i < f->count; i++)
        worker_free(f->worker[i]);
    free(f->worker);
    while (f->has_replies && mailbox_take(&f->replies) != NULL)
        continue; /* the asker owns it */
    if (f->has_replies)
        mailbox_clear(&f->replies);
    while (f->has_moved && mailbox_take(&f->moved) != NULL)
        continue;
    if (f->has_moved)
        mailbox_clear(&f->moved);
    free(f->moving);
    if (f->acks >= 0)
        close(f->acks);
    cookie_secrets_wipe(&f->cookies);
    renewal_wipe(&f->tickets);
    cache_free(f->cache);
    free(f);
}

struct fleet *fleet_new(const struct conf *conf, const struct sockets *sockets, char *why,
                        size_t why_size)
{
    struct fleet *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    cookie_secrets_init(&f->cookies);
    renewal_init(&f->tickets);
    f->worker = calloc(sockets->workers, sizeof(struct worker *));
    f->acks = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    f->has_replies = mailbox_init(&f->replies);
    f->has_moved = mailbox_init(&f->moved);
    f->moving = calloc(sockets->workers, sizeof(*f->moving));
    if (f->worker == NULL || f->acks < 0 || !f->has_replies || !f->has_moved || f->moving == NULL ||
        !make_cache(f, conf))
        snprintf(why, why_size, "cannot make the workers: %s", strerror(errno));
    else if (make_workers(f, conf, sockets, why, why_size))
        return f;
    fleet_free(f);
    return NULL;
}

bool fleet_keep(struct fleet *f, struct state_dir *state, char *why, size_t why_size)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (worker_keep(f->worker[i], state_shared(state)))
            continue;
        snprintf(why, why_size, "daemon.state-dir: out of memory");
        return false;
    }
    f->state = state;
    return true;
}

const char *fleet_restore(struct fleet *f, unsigned worker, const struct restore *order)
{
    return worker_restore(f->worker[worker], order);
}

void fleet_restored(struct fleet *f)
{
    for (unsigned i = 0; i < f->count; i++)
        worker_restored(f->worker[i]);
}

struct state_dir *fleet_state(const struct fleet *f)
{
    return f->state;
}

bool fleet_start(struct fleet *f, char *why, size_t why_size)
{
    for (; f->started < f->count; f->started++) {
        if (worker_start(f->worker[f->started]))
            continue;
        snprintf(why, why_size, "cannot start worker %u: %s", f->started, strerror(errno));
        return false;
    }
    return true;
}

int fleet_acks(const struct fleet *f)
{
    return f->acks;
}

void fleet_take_acks(struct fleet *f)
{
    uint64_t n;

    if (read(f->acks, &n, sizeof(n)) != (ssize_t)sizeof(n))
        return;
    assert(n <= f->awaited);
    f->awaited -= n;
}

bool fleet_is_settled(const struct fleet *f)
{
    return f->awaited == 0;
}

void fleet_discard(struct fleet_settings *settings)
{
    for (unsigned i = 0; i < settings->count; i++)
        relay_setup_clear(&settings->setup[i]);
    free(settings);
}

struct fleet_settings *fleet_prepare(const struct fleet *f, const struct conf *conf, char *why,
                                     size_t why_size)
{
    struct fleet_settings *s = calloc(1, sizeof(*s) + f->count * sizeof(s->setup[0]));

    if (s == NULL) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    for (; s->count < f->count; s->count++) {
        if (relay_setup_make(&s->setup[s->count], conf, why, why_size))
            continue;
        fleet_discard(s);
        return NULL;
    }
    return s;
}

unsigned fleet_commit(struct fleet *f, struct fleet_settings *settings)
{
    unsigned failed = 0;

    assert(!f->is_stopping);
    for (unsigned i = 0; i < f->count; i++) {
        if (worker_post_setup(f->worker[i], &settings->setup[i])) {
            f->awaited++;
        } else {
            relay_setup_clear(&settings->setup[i]);
            failed++;
        }
    }
    free(settings);
    return failed;
}

unsigned fleet_tell_backend(struct fleet *f, const struct relay_order *order)
{
    unsigned failed = 0;

    assert(!f->is_stopping);
    for (unsigned i = 0; i < f->count; i++) {
        if (worker_post_backend(f->worker[i], order))
            f->awaited++;
        else
            failed++;
    }
    return failed;
}

const char *fleet_backend_state(const struct fleet_backend *b)
{
    static const char *const names[] = {
        [BALANCE_UP] = "up",     [BALANCE_TRIED] = "trying",
        [BALANCE_DOWN] = "down", [BALANCE_DRAINING] = "draining",
        [BALANCE_GONE] = "gone",
    };

    return names[b->state];
}

/* All of them have to be up for it to be up, which is when the last one is; else it began when the
 * first one knew. */
static void add_state(struct fleet_backend *sum, const struct balance_view *one)
{
    bool is_later = one->since > sum->since;

    if (one->state > sum->state ||
        (one->state == sum->state && is_later == (one->state == BALANCE_UP)))
        sum->since = one->since;
    if (one->state > sum->state)
        sum->state = one->state;
}

static void add_backend(struct fleet_backend *sum, const struct balance_view *one)
{
    add_state(sum, one);
    sum->up += one->is_up;
    sum->flows += one->flows;
    sum->opened += one->opened;
    sum->refused += one->refused;
    sum->sent += one->sent;
    sum->sent_bytes += one->sent_bytes;
    sum->received += one->received;
    sum->received_bytes += one->received_bytes;
}

/* Where it is among the first `count`, or `count`. */
static size_t find_backend(const struct fleet_backend *list, size_t count, const struct addr *a)
{
    size_t i = 0;

    while (i < count && !addr_equal(&list[i].addr, a))
        i++;
    return i;
}

static struct fleet_backend first_of(const struct balance_view *one)
{
    return (struct fleet_backend){.addr = one->addr,
                                  .weight = one->weight,
                                  .is_backup = one->is_backup,
                                  .is_drained = one->is_drained,
                                  .state = one->state,
                                  .since = one->since};
}

/* Adds one worker's to the list: those that are gone, or those that are not. Somewhere gone, and
 * elsewhere not yet: that is not gone, for the news is still on its way. */
static size_t add_worker(const struct balance *b, bool are_gone, uint64_t now,
                         struct fleet_backend *out, size_t count)
{
    struct balance_view one;

    for (unsigned slot = 0; slot < BALANCE_SLOTS; slot++) {
        if (!balance_look(b, slot, now, &one) || (one.state == BALANCE_GONE) != are_gone)
            continue;
        size_t at = find_backend(out, count, &one.addr);
        if (at == BALANCE_SLOTS)
            continue;
        if (at == count)
            out[count++] = first_of(&one);
        if (are_gone && out[at].state != BALANCE_GONE) {
            one.state = out[at].state;
            one.since = out[at].since;
        }
        add_backend(&out[at], &one);
    }
    return count;
}

size_t fleet_backends(const struct fleet *f, unsigned service, uint64_t now,
                      struct fleet_backend out[BALANCE_SLOTS])
{
    size_t count = 0;

    for (int are_gone = 0; are_gone <= 1; are_gone++)
        for (unsigned i = 0; i < f->count; i++)
            count = add_worker(worker_balance(f->worker[i], service), are_gone, now, out, count);
    return count;
}

void fleet_rotate_cookies(struct fleet *f)
{
    assert(!f->is_stopping);
    cookie_secrets_rotate(&f->cookies);
    if (f->state != NULL && !state_put_cookies(f->state, &f->cookies))
        log_error("dtlsgate: state-dir: libcrypto failed; a start anew will not know the cookies");
    /* One that misses it takes the newest cookies of the others for wrong until the next turn. */
    for (unsigned i = 0; i < f->count; i++)
        if (worker_post_cookies(f->worker[i], &f->cookies))
            f->awaited++;
}

void fleet_age_tickets(struct fleet *f, const struct conf *conf, uint64_t now)
{
    assert(!f->is_stopping);
    if (!renewal_is_due(&f->tickets, conf, now))
        return;
    if (f->state != NULL && !state_put_tickets(f->state, &f->tickets.keys, 0))
        log_error("dtlsgate: state-dir: libcrypto failed; a start anew will not know the tickets");
    for (unsigned i = 0; i < f->count; i++)
        if (worker_post_tickets(f->worker[i], &f->tickets.keys))
            f->awaited++;
}

void fleet_expire_ids(struct fleet *f, uint64_t wall)
{
    cache_expire(f->cache, wall);
}

void fleet_ping(struct fleet *f)
{
    assert(!f->is_stopping && f->awaited == 0);
    for (unsigned i = 0; i < f->started; i++)
        worker_post_ping(f->worker[i]);
    f->awaited = f->started;
}

uint64_t fleet_sessions(const struct fleet *f)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < f->count; i++)
        sum += atomic_load_explicit(&worker_stats(f->worker[i])->sessions, memory_order_relaxed);
    return sum;
}

unsigned fleet_drain(struct fleet *f, bool is_on)
{
    unsigned failed = 0;

    assert(!f->is_stopping);
    for (unsigned i = 0; i < f->count; i++) {
        if (is_on ? worker_post_drain(f->worker[i]) : worker_post_undrain(f->worker[i]))
            f->awaited++;
        else
            failed++;
    }
    return failed;
}

bool fleet_inquire(struct fleet *f, unsigned worker, struct inquiry *q)
{
    if (q->replies == NULL)
        q->replies = &f->replies;
    return !f->is_stopping && worker_post_inquiry(f->worker[worker], q);
}

int fleet_replies(const struct fleet *f)
{
    return mailbox_fd(&f->replies);
}

struct inquiry *fleet_take_reply(struct fleet *f)
{
    struct list *node = mailbox_take(&f->replies);

    return node != NULL ? list_entry(node, struct inquiry, node) : NULL;
}

unsigned fleet_count(const struct fleet *f)
{
    return f->count;
}

const struct stats *fleet_stats(const struct fleet *f, unsigned worker)
{
    return worker_stats(f->worker[worker]);
}

void fleet_forget(struct fleet *f)
{
    for (unsigned i = 0; !f->is_stopping && i < f->started; i++)
        worker_forget(f->worker[i]);
}

void fleet_move(struct fleet *f, enum moving_step step, int socket, const uint64_t *ids,
                size_t count)
{
    assert(f->moves == 0);
    f->moves = f->count;
    for (unsigned i = 0; i < f->count; i++) {
        f->moving[i] = (struct moving){
            .replies = &f->moved, .step = step, .socket = socket, .ids = ids, .id_count = count};
        worker_post_moving(f->worker[i], &f->moving[i]);
    }
}

int fleet_moves(const struct fleet *f)
{
    return mailbox_fd(&f->moved);
}

bool fleet_take_moves(struct fleet *f)
{
    while (f->moves > 0 && mailbox_take(&f->moved) != NULL)
        f->moves--;
    return f->moves == 0;
}

bool fleet_has_moved(const struct fleet *f, size_t *sessions, size_t *rest)
{
    bool are_done = true;

    *sessions = *rest = 0;
    for (unsigned i = 0; i < f->count; i++) {
        are_done = are_done && f->moving[i].is_done;
        *sessions += f->moving[i].sessions;
        *rest += f->moving[i].rest;
    }
    return are_done;
}

bool fleet_unpack(struct fleet *f, unsigned worker, struct moving_arrival *a, const char **why)
{
    if (worker < f->count)
        return worker_unpack(f->worker[worker], a, why);
    *why = "something for a worker that is not there";
    return false;
}

const struct cookie_secrets *fleet_cookies(const struct fleet *f)
{
    return &f->cookies;
}

void fleet_use_cookies(struct fleet *f, const struct cookie_secrets *cookies)
{
    f->cookies = *cookies;
    for (unsigned i = 0; i < f->count; i++)
        worker_use_cookies(f->worker[i], cookies);
}

const struct ticket_keys *fleet_tickets(const struct fleet *f, uint64_t now, uint64_t *age)
{
    *age = renewal_age(&f->tickets, now);
    return &f->tickets.keys;
}

void fleet_use_tickets(struct fleet *f, const struct ticket_keys *keys, uint64_t age, uint64_t now)
{
    renewal_take(&f->tickets, keys, age, now);
    for (unsigned i = 0; i < f->count; i++)
        worker_use_tickets(f->worker[i], keys);
}

int fleet_shared_socket(const struct fleet *f, unsigned worker, unsigned service)
{
    return worker_shared_socket(f->worker[worker], service);
}

void fleet_stop(struct fleet *f)
{
    if (f->is_stopping)
        return;
    f->is_stopping = true;
    for (unsigned i = 0; i < f->started; i++)
        worker_post_stop(f->worker[i]);
    f->awaited += f->started;
}

uint64_t fleet_service_count(const struct fleet *f, unsigned service, enum service_counter what)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < f->count; i++)
        sum += worker_service_count(f->worker[i], service, what);
    return sum;
}

void fleet_sum(const struct fleet *f, struct stats *sum)
{
    *sum = (struct stats){0};
    for (unsigned i = 0; i < f->count; i++)
        stats_sum(sum, worker_stats(f->worker[i]));
}

void fleet_log_totals(const struct fleet *f)
{
    struct totals totals = {.field = {{.key = "workers", .number = f->count}}, .count = 1};
    struct stats sum;

    fleet_sum(f, &sum);
    stats_each(&sum, add_total, &totals);
    add_total(&totals, "log_lost", log_lost());
    add_total(&totals, "access_log_lost", access_lost());
    log_event(LOG_LEVEL_INFO, "totals", totals.field);
}
