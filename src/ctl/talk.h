/*
 * talk: one question to dtlsgate's control socket: words out, an answer in.
 * Must never know what the words mean.
 */
#ifndef DTLSGATE_CTL_TALK_H
#define DTLSGATE_CTL_TALK_H

#include "base/text.h"

#include <stddef.h>
#include <stdio.h>

struct talk {
    const char *socket; /* its path */
    char why[512];      /* why something failed */
};

/* Sends the words as one line, each byte of them that is no plain letter as \xNN. The answer can be
 * read from what is returned, which the caller closes. NULL with t->why. */
FILE *talk_ask(struct talk *t, const char *const word[], size_t count)
    __attribute__((warn_unused_result));

enum talk_verdict {
    TALK_FINE,
    TALK_REFUSED, /* dtlsgate says why: in t->why */
    TALK_NONE,    /* no answer; t->why as well */
};
/* Reads the first line of an answer. */
enum talk_verdict talk_verdict(struct talk *t, FILE *answer);

/* A whole question: what is behind the first line is added to `to`. */
enum talk_verdict talk_whole(struct talk *t, const char *const word[], size_t count,
                             struct text *to);

#endif
