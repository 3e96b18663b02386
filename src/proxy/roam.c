/*
 * roam: a bound on what a stolen record can make us send. See the header.
 */
#include "proxy/roam.h"

#include "base/bytes.h"
#include "proxy/session_memory.h"

#include <string.h>

struct roam *roam_of(const struct association *a)
{
    if (!a->has_cid)
        return NULL;
    size_t behind = session_memory_align(association_length(a));
    return (struct roam *)((uintptr_t)a + behind);
}

void roam_clear(const struct association *a)
{
    struct roam *r = roam_of(a);

    if (r != NULL)
        roam_prove(r);
}

static void add_budget(struct roam *r, size_t size)
{
    r->budget += ROAM_AMPLIFICATION * (uint64_t)size;
}

void roam_move(struct roam *r, const struct roam_place *before, size_t size, struct slab *proofs,
               uint64_t datagram)
{
    if (r->proof == NULL)
        r->proof = slab_take(proofs);
    if (r->proof != NULL && !r->is_unproven)
        r->proof->home = *before;
    r->is_unproven = true;
    r->moved_by = datagram;
    r->budget = 0;
    add_budget(r, size);
}

void roam_prove(struct roam *r)
{
    r->is_unproven = false;
    slab_give(r->proof);
    r->proof = NULL;
}

void roam_hear(struct roam *r, size_t size)
{
    if (r->is_unproven)
        add_budget(r, size);
}

bool roam_is_in_doubt(const struct roam *r)
{
    return r->is_unproven || r->proof != NULL;
}

bool roam_may_believe(const struct roam *r, uint64_t datagram)
{
    return !r->is_unproven || datagram != r->moved_by;
}

/* A client that moves twice while it is asked gets another cookie, so only its last address can be
 * proven. One that answers late, from a slow network, is asked with the same one again. The time
 * for it begins with the first question: who copies each record would else be asked for ever. */
bool roam_asks(struct roam *r, const struct addr *whom, uint64_t now)
{
    struct roam_proof *p = r->proof;

    if (p == NULL)
        return false;
    if (p->asked.family == 0)
        p->until = now + ROAM_PROOF_MS;
    if (!addr_equal(&p->asked, whom)) {
        p->asked = *whom;
        bytes_random(p->cookie, sizeof p->cookie);
    } else if (now < p->asked_at + ROAM_ASK_MS) {
        return false;
    }
    p->asked_at = now;
    return true;
}

bool roam_is_answer(const struct roam *r, const struct addr *from,
                    const uint8_t cookie[WIRE_RRC_COOKIE])
{
    const struct roam_proof *p = r->proof;

    return p != NULL && addr_equal(&p->asked, from) &&
           bytes_equal_secret(p->cookie, cookie, sizeof p->cookie);
}

bool roam_is_overdue(const struct roam *r, uint64_t now)
{
    return r->is_unproven && r->proof != NULL && r->proof->asked.family != 0 &&
           now >= r->proof->until;
}

bool roam_may_send(const struct association *a, size_t len)
{
    struct roam *r = roam_of(a);

    if (r == NULL || !r->is_unproven)
        return true;
    size_t size = record_sealed_size(a, len);
    if (size > r->budget)
        return false;
    r->budget -= size;
    return true;
}
