/*
 * worker_post: the master's side of a worker: what it is told by message, and what can be seen of
 * it from outside. worker.h has the contracts. Must never touch what is the thread's.
 */
#include "proxy/worker.h"

#include "proxy/worker_state.h"

void worker_link(struct worker *w, struct worker *next)
{
    w->next = next;
}

bool worker_post_setup(struct worker *w, struct relay_setup *setup)
{
    const struct message what = {.kind = MESSAGE_SETUP, .with.setup = *setup};

    if (!messages_post_copy(&w->messages, &what))
        return false;
    *setup = (struct relay_setup){0};
    return true;
}

bool worker_post_cookies(struct worker *w, const struct cookie_secrets *cookies)
{
    struct message what = {.kind = MESSAGE_COOKIES, .with.cookies = *cookies};
    bool is_posted = messages_post_copy(&w->messages, &what);

    cookie_secrets_wipe(&what.with.cookies);
    return is_posted;
}

bool worker_post_tickets(struct worker *w, const struct ticket_keys *tickets)
{
    struct message what = {.kind = MESSAGE_TICKETS, .with.tickets = *tickets};
    bool is_posted = messages_post_copy(&w->messages, &what);

    ticket_keys_wipe(&what.with.tickets);
    return is_posted;
}

bool worker_post_backend(struct worker *w, const struct relay_order *order)
{
    const struct message what = {.kind = MESSAGE_BACKEND, .with.backend = *order};

    return messages_post_copy(&w->messages, &what);
}

bool worker_post_drain(struct worker *w)
{
    const struct message what = {.kind = MESSAGE_DRAIN};

    return messages_post_copy(&w->messages, &what);
}

void worker_post_ping(struct worker *w)
{
    messages_post(&w->messages, &w->ping);
}

bool worker_post_undrain(struct worker *w)
{
    const struct message what = {.kind = MESSAGE_UNDRAIN};

    return messages_post_copy(&w->messages, &what);
}

bool worker_post_inquiry(struct worker *w, struct inquiry *q)
{
    const struct message what = {.kind = MESSAGE_INQUIRY, .with.inquiry = q};

    return messages_post_copy(&w->messages, &what);
}

void worker_post_moving(struct worker *w, struct moving *m)
{
    w->moving.with.moving = m;
    messages_post(&w->messages, &w->moving);
}

void worker_use_cookies(struct worker *w, const struct cookie_secrets *cookies)
{
    relay_set_cookies(w->relay, cookies);
}

void worker_use_tickets(struct worker *w, const struct ticket_keys *tickets)
{
    relay_set_tickets(w->relay, tickets);
}

void worker_forget(struct worker *w)
{
    if (!w->is_stop_posted)
        w->forgets = true;
}

void worker_post_stop(struct worker *w)
{
    if (w->is_stop_posted)
        return;
    w->is_stop_posted = true;
    messages_post(&w->messages, &w->stop);
}

int worker_shared_socket(const struct worker *w, unsigned service)
{
    return upstream_shared_socket(w->upstream, service);
}

const struct stats *worker_stats(const struct worker *w)
{
    return &w->stats;
}

uint64_t worker_service_count(const struct worker *w, unsigned service, enum service_counter what)
{
    return atomic_load_explicit(&w->services[service].count[what], memory_order_relaxed);
}

const struct balance *worker_balance(const struct worker *w, unsigned service)
{
    return relay_balance(w->relay, service);
}
