/*
 * sink: where lines go: stderr, syslog or a file that can be opened anew; and how many were lost on
 * the way. Lines go to a descriptor whose number never changes (dup3(2) replaces what is behind
 * it), so they may be written from every thread at any time, without a lock. Must never know what
 * stands in a line.
 */
#ifndef DTLSGATE_BASE_SINK_H
#define DTLSGATE_BASE_SINK_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sink_kind { SINK_STDERR, SINK_SYSLOG, SINK_FILE };

/* Zeroed but for the descriptor, SINK_START, it is stderr. */
struct sink {
    atomic_int descriptor; /* leaves STDERR_FILENO once, for a number that is ours from then on */
    atomic_int kind;       /* enum sink_kind */
    atomic_int error;      /* errno of what was lost last */
    atomic_bool is_torn;   /* the last line was cut by a full disk */
    _Atomic uint64_t lost; /* lines, in all */
    bool is_new; /* the file was not there before; this and the next are of those who open */
    char path[PATH_MAX]; /* of a file */
};
#define SINK_START                                                                                 \
    {                                                                                              \
        .descriptor = 2                                                                            \
    }

/* One that is open and not in use yet, so that whoever changes several can do all or nothing. */
struct sink_draft {
    enum sink_kind kind;
    int fd; /* of a file */
    bool is_new;
    char path[PATH_MAX];
};

/* `target`: "stderr", "syslog", or the absolute path of a file (mode 0640 when it is made). False
 * with `why`. What was prepared is then used or discarded. */
bool sink_prepare(struct sink_draft *d, const char *target, char *why, size_t why_size)
    __attribute__((warn_unused_result));
void sink_use(struct sink *s, const struct sink_draft *d);
void sink_discard(const struct sink_draft *d);
/* Opens a file anew under its name (after rotation). True for the others, too. */
bool sink_reopen(struct sink *s, char *why, size_t why_size) __attribute__((warn_unused_result));
/* A file that was made just now becomes theirs; one that was there stays whose it is. False: errno.
 */
bool sink_give(const struct sink *s, uid_t user, gid_t group) __attribute__((warn_unused_result));

/* Writes whole lines, each with its newline; not for SINK_SYSLOG. Returns how many were lost, which
 * s->lost counts as well. */
size_t sink_write(struct sink *s, const char *text, size_t len);
/* So many lines get nowhere: counts them. */
void sink_lose(struct sink *s, size_t lines, int error);
/* The lines in a text. */
size_t sink_lines(const char *text, size_t len);

#endif
