/*
 * session_memory: one slab per length of keys. See the header.
 * Must never know what a session is.
 */
#include "proxy/session_memory.h"

#include <assert.h>

/* Most clients take a few bytes, if any; a short id, ours and what goes with them make up 24. */
#define SHORT_CID 14

/* What suites use of a key block: AES-128, AES-256, ChaCha20. */
static const size_t KEY_LENGTHS[SESSION_SIZES] = {2 * (16 + 4), 2 * (32 + 4), 2 * (32 + 12)};

void session_memory_init(struct session_memory *m, const struct session_sizes *sizes)
{
    const size_t besides[SESSION_CIDS] = {
        0,
        session_memory_align(association_cid_size(SHORT_CID)) + sizes->roam,
        session_memory_align(association_cid_size(WIRE_CID_MAX)) + sizes->roam,
    };

    for (size_t i = 0; i < SESSION_SIZES; i++)
        for (size_t k = 0; k < SESSION_CIDS; k++) {
            size_t length = sizes->session + KEY_LENGTHS[i] + besides[k];
            slab_init(&m->sessions[i][k], length);
            slab_init(&m->tallied[i][k], sizes->tally + length);
        }
    slab_init(&m->pending, sizes->pending);
    slab_init(&m->tails, sizes->tail);
    slab_init(&m->proofs, sizes->proof);
    list_init(&m->tails_by_age);
}

void session_memory_clear(struct session_memory *m)
{
    for (size_t i = 0; i < SESSION_SIZES; i++)
        for (size_t k = 0; k < SESSION_CIDS; k++) {
            slab_clear(&m->sessions[i][k]);
            slab_clear(&m->tallied[i][k]);
        }
    slab_clear(&m->pending);
    slab_clear(&m->tails);
    slab_clear(&m->proofs);
}

size_t session_memory_align(size_t length)
{
    return (length + 7) / 8 * 8;
}

struct slab *session_memory_of(struct session_memory *m, const struct suite *suite,
                               const struct association_cid *cid, bool has_tally)
{
    size_t length = suite != NULL ? keys_length(suite) : 0;
    size_t i = 0;

    while (i < SESSION_SIZES - 1 && length > KEY_LENGTHS[i])
        i++;
    assert(length <= KEY_LENGTHS[i]);
    size_t k = cid == NULL ? 0 : cid->peer_len <= SHORT_CID ? 1 : 2;
    return has_tally ? &m->tallied[i][k] : &m->sessions[i][k];
}
