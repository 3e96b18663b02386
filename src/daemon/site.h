/*
 * site: what there is to be had by HTTP: the table of paths, and the answer to a request.
 * Must never know a connection, nor wait: an answer that takes the workers comes later.
 */
#ifndef DTLSGATE_DAEMON_SITE_H
#define DTLSGATE_DAEMON_SITE_H

#include "base/text.h"
#include "daemon/request.h"
#include "daemon/roster.h"
#include "daemon/status.h"

#include <stdbool.h>
#include <stdint.h>

struct answer {
    unsigned status;
    const char *type; /* media type, a literal */
    const void *body; /* part of the program, or of `made` */
    size_t len;
    struct text made; /* owned */
};

/* Who waits for an answer that comes later. */
struct site_wait {
    void (*done)(void *arg, const struct answer *a); /* called once, unless site_forget() was */
    void *arg;
    struct census *census; /* NULL: does not wait */
};

struct site;

/* `status` is borrowed and read at each request. NULL: out of memory or descriptors. */
struct site *site_new(const struct status *status);
/* Behind the end of all workers. NULL is fine. */
void site_free(struct site *s);

/* A line of text. */
void answer_words(struct answer *a, unsigned status, const char *words);
void answer_clear(struct answer *a);
/* True: *a is the answer, to be cleared by the caller. False: it comes by w->done, from
 * site_turn(). */
bool site_answer(struct site *s, const struct request *r, struct answer *a, struct site_wait *w)
    __attribute__((warn_unused_result));
/* Harmless on one that does not wait. */
void site_forget(struct site_wait *w);
/* Readable when site_turn() has something to do. */
int site_fd(const struct site *s);
void site_turn(struct site *s);
/* Takes a sample for the history; to be called every HISTORY_EVERY_MS. */
void site_sample(struct site *s, uint64_t now_ms);

#endif
