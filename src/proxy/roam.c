/*
 * roam: a bound on what a stolen record can make us send. See the header.
 */
#include "proxy/roam.h"

#include "proxy/session_memory.h"

struct roam *roam_of(const struct association *a)
{
    if (!a->has_cid)
        return NULL;
    size_t behind = session_memory_align(association_length(a));
    return (struct roam *)((uintptr_t)a + behind);
}

void roam_move(struct roam *r, size_t size)
{
    if (r->moves < UINT32_MAX)
        r->moves++;
    r->is_unproven = true;
    r->budget = ROAM_AMPLIFICATION * (uint64_t)size;
}

void roam_hear(struct roam *r, size_t size, bool is_newest)
{
    if (is_newest)
        r->is_unproven = false;
    else if (r->is_unproven)
        r->budget += ROAM_AMPLIFICATION * (uint64_t)size;
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
