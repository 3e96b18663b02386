/*
 * sample: dtlsgate's figures at one moment, read from its answers, and what changed since another.
 * Must never know a terminal, nor trust what it reads to be well formed.
 */
#ifndef DTLSGATE_CTL_SAMPLE_H
#define DTLSGATE_CTL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLE_FIGURES_MAX 160
#define SAMPLE_NAME_MAX 48
#define SAMPLE_WORD_MAX 64
#define SAMPLE_SESSIONS_MAX 1024
#define SAMPLE_IDENTITY_MAX 80 /* what a row of the screen can show; longer ones are cut */

struct sample_figure {
    char name[SAMPLE_NAME_MAX];
    uint64_t value;
};

struct sample_session {
    uint64_t id;
    uint64_t datagrams, bytes; /* both ways */
    char identity[SAMPLE_IDENTITY_MAX], peer[SAMPLE_WORD_MAX + 16];
};

struct sample {
    uint64_t at_ms; /* when it was taken, by the caller's clock */
    char version[SAMPLE_WORD_MAX], state[SAMPLE_WORD_MAX], draining[SAMPLE_WORD_MAX];
    struct sample_figure figure[SAMPLE_FIGURES_MAX];
    size_t figures;
    struct sample_session session[SAMPLE_SESSIONS_MAX];
    size_t sessions;
};

/* Takes what stands in the texts of "status" and "sessions --recent"; *s is empty before. */
void sample_read_status(struct sample *s, const char *text);
void sample_read_sessions(struct sample *s, const char *text);

/* A figure by name; 0 where it is not told. */
uint64_t sample_value(const struct sample *s, const char *name);
/* How much a figure grew per second from `before` to `now`. */
double sample_rate(const struct sample *now, const struct sample *before, const char *name);

/* An identity and what its sessions, those that both samples know, carried per second. */
struct sample_busy {
    const char *identity, *peer; /* of one of its sessions; borrowed from the sample */
    unsigned sessions;
    double datagrams, bytes;
};
/* Fills in up to `size`, the busiest first. Returns how many there are. */
size_t sample_busiest(const struct sample *now, const struct sample *before,
                      struct sample_busy *list, size_t size);

#endif
