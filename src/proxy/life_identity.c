/*
 * life_identity: how many sessions one identity has, here and elsewhere. The inside of life, split
 * off for size; life.h has the contracts. Must never end one that has just opened.
 */
#include "proxy/life.h"
#include "proxy/policy.h"
#include "proxy/report.h"

#include <string.h>

static void ask_elsewhere(struct relay *r, const struct session *s, unsigned room)
{
    struct relay_identity who = {
        .service = s->service, .len = s->psk->identity_len, .is_given = s->is_given, .room = room};

    if (r->parts.elsewhere.end_one == NULL)
        return;
    memcpy(who.identity, s->psk->identity, who.len);
    r->parts.elsewhere.end_one(r->parts.elsewhere.arg, &who);
}

/* By a key that a helper gave each worker knows of its own sessions alone, so the others are told
 * how many there may be. */
void life_limit_identity(struct relay *r, struct session *s, unsigned count, uint64_t now)
{
    const struct identities_of all = {s->service, s->psk->identity, s->psk->identity_len,
                                      UINT64_MAX};
    unsigned max = policy_session_cap(life_conf(r, s), s);
    struct session *victim = NULL;

    if (count > 1)
        report_shared(s, life_conf(r, s), count, &r->shared_lines, now);
    if (max == 0)
        return;
    if (count > max)
        victim = identities_idlest(&r->identities, &all, s);
    if (victim != NULL)
        life_end(r, victim, SESSION_END_ELSEWHERE, now);
    if (s->is_given)
        ask_elsewhere(r, s, count < max ? max - count : 0);
    else if (count > max && victim == NULL)
        ask_elsewhere(r, s, 0);
}

unsigned life_enter_identity(struct relay *r, struct session *s)
{
    s->is_metered = policy_has_rate(life_conf(r, s), s);
    return identities_enter(&r->identities, s, life_conf(r, s));
}
