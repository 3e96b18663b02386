/*
 * session_memory: one slab per length of keys. See the header.
 * Must never know what a session is.
 */
#include "proxy/session_memory.h"

#include <assert.h>

/* What suites use of a key block: AES-128, AES-256, ChaCha20. */
static const size_t KEY_LENGTHS[SESSION_SIZES] = {2 * (16 + 4), 2 * (32 + 4), 2 * (32 + 12)};

void session_memory_init(struct session_memory *m, const struct session_sizes *sizes)
{
    for (size_t i = 0; i < SESSION_SIZES; i++) {
        slab_init(&m->sessions[i], sizes->session + KEY_LENGTHS[i]);
        slab_init(&m->tallied[i], sizes->tally + sizes->session + KEY_LENGTHS[i]);
    }
    slab_init(&m->pending, sizes->pending);
    slab_init(&m->tails, sizes->tail);
    list_init(&m->tails_by_age);
}

void session_memory_clear(struct session_memory *m)
{
    for (size_t i = 0; i < SESSION_SIZES; i++) {
        slab_clear(&m->sessions[i]);
        slab_clear(&m->tallied[i]);
    }
    slab_clear(&m->pending);
    slab_clear(&m->tails);
}

struct slab *session_memory_of(struct session_memory *m, const struct suite *suite, bool has_tally)
{
    size_t length = suite != NULL ? keys_length(suite) : 0;
    size_t i = 0;

    while (i < SESSION_SIZES - 1 && length > KEY_LENGTHS[i])
        i++;
    assert(length <= KEY_LENGTHS[i]);
    return has_tally ? &m->tallied[i] : &m->sessions[i];
}
