/*
 * session_room: which piece a session lies in; session.h has the contracts.
 * Must never know what becomes of it.
 */
#include "proxy/roam.h"
#include "proxy/session.h"

#include <stddef.h>

void session_prepare(struct session_memory *m)
{
    static const struct session_sizes sizes = {
        .session = offsetof(struct session, association.keys),
        .tally = sizeof(struct tally),
        .pending = sizeof(struct session_pending),
        .tail = sizeof(struct session_tail),
        .roam = sizeof(struct roam),
        .proof = sizeof(struct roam_proof),
    };

    /* 232 with the keys of the commonest suites; with its slot in the table not over 248. */
    _Static_assert(offsetof(struct session, association.keys) == 192, "a session has grown");
    session_memory_init(m, &sizes);
}

struct session *session_take_room(struct session_memory *memory, const struct suite *suite,
                                  const struct association_cid *cid, bool has_tally)
{
    struct tally *piece = slab_take(session_memory_of(memory, suite, cid, has_tally));
    struct session *s;

    if (piece == NULL)
        return NULL;
    s = (struct session *)(void *)(has_tally ? piece + 1 : piece);
    s->has_tally = has_tally;
    if (suite != NULL)
        s->association.suite = suite;
    if (cid != NULL) {
        association_set_cid(&s->association, cid);
        roam_of(&s->association)->session = s;
    }
    return s;
}

void session_give_room(struct session *s)
{
    roam_clear(&s->association);
    slab_give(s->has_tally ? (void *)session_tally(s) : s);
}
