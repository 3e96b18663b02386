/*
 * helper: a worker's connections to the programs that know keys, one for each service that names
 * one, on the worker's event loop. Questions go out in a stream, answers come in their order.
 * Nothing here waits for anything. Knows no sessions, and no clock: who asks gives up by
 * helpers_reset().
 */
#ifndef DTLSGATE_PROXY_HELPER_H
#define DTLSGATE_PROXY_HELPER_H

#include "proxy/helper_line.h"

/* Questions of one service that may wait for their answer, and how many of them are told to the
 * helper at a time. */
#define HELPER_QUEUE 1024
#define HELPER_WINDOW 128

struct event_base;
struct helpers; /* one per worker */

/* What has become of a question. The callee may ask anew. */
typedef void (*helper_fn)(void *arg, void *token, const struct helper_answer *answer);

/* NULL: out of memory. */
struct helpers *helpers_new(struct event_base *base, helper_fn on_answer, void *arg);
/* Closes all; nobody is told. NULL is fine. */
void helpers_free(struct helpers *h);

/* Asks the helper of a service, connecting to `path` where that has to be done first. Its answer
 * comes later, never from within. NULL: it is on its way; else why it cannot be asked. */
const char *helpers_ask(struct helpers *h, unsigned service, const char *path,
                        const struct helper_question *q);
/* Closes the connection of a service, if there is one; all its questions have failed: `why`. */
void helpers_reset(struct helpers *h, unsigned service, const char *why);

#endif
