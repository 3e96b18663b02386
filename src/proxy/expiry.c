/*
 * expiry: a walk through the table of open sessions, slot by slot. See the header.
 * Must never take longer in one turn the more sessions there are.
 */
#include "proxy/expiry.h"

#include "proxy/life.h"
#include "proxy/policy.h"

#define MINUTE 60000
#define SLOTS_PER_SLICE 512
#define ENDS_PER_SLICE 64

/* The sessions that one step of the walk has to end. */
struct caught {
    const struct relay *relay;
    size_t count;
    struct session *session[ENDS_PER_SLICE];
};

static void catch_one(struct table_link *link, void *arg)
{
    struct session *s = table_entry(link, struct session, link);
    struct caught *c = arg;

    if (c->count < ENDS_PER_SLICE &&
        policy_is_over(life_conf(c->relay, s), s, c->relay->expiry.walk))
        c->session[c->count++] = s;
}

/* A slot with too many for one step, where one is usual, is met again: they are gone then. */
static void walk_on(struct relay *r, uint64_t now)
{
    struct expiry *e = &r->expiry;
    size_t ended = 0;

    for (unsigned i = 0; i < SLOTS_PER_SLICE && e->walk > 0 && ended < ENDS_PER_SLICE; i++) {
        struct caught c = {.relay = r};
        uint64_t next = table_scan(&r->peers.open, e->cursor, catch_one, &c);

        for (size_t n = 0; n < c.count; n++)
            life_end(r, c.session[n], SESSION_END_EXPIRED, now);
        ended += c.count;
        if (c.count == ENDS_PER_SLICE)
            return;
        e->cursor = next;
        if (next > 0)
            continue;
        e->walked = e->walk;
        e->walk = 0;
        expiry_plan(r);
    }
}

void expiry_plan(struct relay *r)
{
    const struct conf *conf = r->setup.conf;
    struct expiry *e = &r->expiry;

    e->next_end = 0;
    for (size_t i = 0; i < conf->policy_count; i++) {
        uint64_t end = conf->policy[i].not_after + 1000;

        if (conf->policy[i].not_after > 0 && end > e->walked &&
            (e->next_end == 0 || end < e->next_end))
            e->next_end = end;
    }
}

/* The wall clock may be set, so an end that is far away is looked at each minute. */
static uint64_t next_look(const struct expiry *e, uint64_t now)
{
    uint64_t wall = e->wall0 + now;
    uint64_t wait = e->next_end > wall ? e->next_end - wall : 0;
    uint64_t at = now + (wait < MINUTE ? wait : MINUTE);

    return at > e->next_walk ? at : e->next_walk;
}

uint64_t expiry_tick(struct relay *r, uint64_t now)
{
    struct expiry *e = &r->expiry;

    if (e->walk == 0 && e->next_end > 0 && e->wall0 + now >= e->next_end && now >= e->next_walk) {
        e->walk = e->wall0 + now;
        e->next_walk = now + MINUTE;
    }
    walk_on(r, now);
    if (e->walk > 0)
        return now;
    return e->next_end > 0 ? next_look(e, now) : TIMER_NEVER;
}
