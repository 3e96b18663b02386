/*
 * helper_line: the lines that are spoken with a helper that knows keys: a question, an answer
 * (doc/psk-helper.md). Knows no socket, and nothing of who asks.
 */
#ifndef DTLSGATE_PROXY_HELPER_LINE_H
#define DTLSGATE_PROXY_HELPER_LINE_H

#include "dtls/psk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "get ", each byte of the identity as %XX, a newline. */
#define HELPER_QUESTION_MAX (4 + 3 * PSK_IDENTITY_MAX + 1)
/* An answer without its newline: the hex digits of the longest key. */
#define HELPER_ANSWER_MAX ((size_t)2 * PSK_KEY_MAX)

struct helper_question {
    const uint8_t *identity; /* stays where it is until the answer */
    size_t len;              /* 1 to PSK_IDENTITY_MAX */
    void *token;             /* comes back with the answer */
};

enum helper_verdict {
    HELPER_KEY,
    HELPER_NONE,   /* it knows no such identity */
    HELPER_FAILED, /* it has not said */
};

struct helper_answer {
    enum helper_verdict verdict;
    uint8_t key[PSK_KEY_MAX]; /* of HELPER_KEY; whoever made the answer wipes it */
    size_t len;
    const char *why; /* of HELPER_FAILED, for the log */
};

/* Writes the question's line. Returns its length. */
size_t helper_put_question(const struct helper_question *q, char out[HELPER_QUESTION_MAX]);
/* Reads an answer, a line without its newline. False: it is neither "none" nor a key of 1 to
 * PSK_KEY_MAX bytes in hex; *out is wiped then. */
bool helper_read_answer(const char *line, size_t len, struct helper_answer *out)
    __attribute__((warn_unused_result));

#endif
