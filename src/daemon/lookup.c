/*
 * lookup: getaddrinfo() in a thread. libevent's resolver would not block either, but it reads
 * resolv.conf and hosts by itself and knows nothing of nsswitch.conf, so a name could mean one
 * thing at the start and another one later. Must never be waited for: the resolver decides how long
 * it takes.
 */
#include "daemon/lookup.h"

#include "proxy/mailbox.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Whoever holds one of these keeps it: lookup_free() cannot end a thread that waits for an answer.
 */
struct shared {
    atomic_int holders; /* the owner and the thread of a round */
    struct mailbox over;
};

struct job {
    struct list node;
    struct shared *shared;
    struct lookup_round *round;
};

struct lookup {
    struct shared *shared;
    bool is_busy;
};

static void let_go(struct shared *s)
{
    struct list *node;

    if (atomic_fetch_sub(&s->holders, 1) != 1)
        return;
    while ((node = mailbox_take(&s->over)) != NULL) {
        struct job *job = list_entry(node, struct job, node);
        lookup_round_free(job->round);
        free(job);
    }
    mailbox_clear(&s->over);
    free(s);
}

static void *run(void *arg)
{
    struct job *job = arg;
    struct shared *shared = job->shared;

    for (size_t i = 0; i < job->round->count; i++) {
        struct lookup_name *n = &job->round->name[i];
        n->now = addr_resolve_again(n->text, &n->before, n->is_bound);
    }
    mailbox_post(&shared->over, &job->node);
    let_go(shared);
    return NULL;
}

static bool start_thread(struct job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int error;

    sigfillset(&all);
    sigdelset(&all, SIGSYS); /* as in a worker */
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, run, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return error == 0;
}

struct lookup *lookup_new(void)
{
    struct lookup *l = calloc(1, sizeof(*l));
    struct shared *s = calloc(1, sizeof(*s));

    if (l != NULL && s != NULL && mailbox_init(&s->over)) {
        atomic_init(&s->holders, 1);
        l->shared = s;
        return l;
    }
    free(l);
    free(s);
    return NULL;
}

void lookup_free(struct lookup *l)
{
    if (l == NULL)
        return;
    let_go(l->shared);
    free(l);
}

int lookup_fd(const struct lookup *l)
{
    return mailbox_fd(&l->shared->over);
}

struct lookup_round *lookup_round_new(size_t room)
{
    return calloc(1, sizeof(struct lookup_round) + room * sizeof(struct lookup_name));
}

bool lookup_add(struct lookup_round *round, const struct lookup_name *name)
{
    struct lookup_name *n = &round->name[round->count];

    *n = *name;
    n->text = strdup(name->text);
    if (n->text == NULL)
        return false;
    round->count++;
    return true;
}

void lookup_round_free(struct lookup_round *round)
{
    if (round == NULL)
        return;
    for (size_t i = 0; i < round->count; i++)
        free(round->name[i].text);
    free(round);
}

bool lookup_start(struct lookup *l, struct lookup_round *round)
{
    struct job *job = l->is_busy ? NULL : calloc(1, sizeof(*job));

    if (job != NULL) {
        job->shared = l->shared;
        job->round = round;
        atomic_fetch_add(&l->shared->holders, 1);
        l->is_busy = start_thread(job);
        if (l->is_busy)
            return true;
        atomic_fetch_sub(&l->shared->holders, 1);
        free(job);
    }
    lookup_round_free(round);
    return false;
}

struct lookup_round *lookup_take(struct lookup *l)
{
    struct list *node = mailbox_take(&l->shared->over);

    if (node == NULL)
        return NULL;
    struct job *job = list_entry(node, struct job, node);
    struct lookup_round *round = job->round;
    free(job);
    l->is_busy = false;
    return round;
}
