/*
 * answers: what helpers' answers mean for sessions. See the header.
 * Must never ask a helper itself, nor keep a key.
 */
#include "proxy/answers.h"

struct sweep {
    struct relay *relay;
    uint64_t now;
};

void answers_tell(void *arg, void *owner, enum keyring_verdict verdict, const struct psk *named,
                  uint64_t now)
{
    struct relay *r = arg;
    struct session *s = owner;
    const struct session_route route = peers_route(&r->peers, s);
    struct turn turn = {.relay = r, .route = &route, .session = s, .now = now};
    const struct session_sink sink = life_sink(&turn);

    enum fate held = session_set_key(s, &r->services[s->service], verdict, named, now, &sink);
    life_doubt(r, s, held, now);
    life_settle(r, s, now);
}

static void end_if_changed(struct session *s, void *arg)
{
    const struct sweep *sweep = arg;
    enum keyring_verdict change = s->is_given ? keyring_change(s->psk) : KEYRING_FAILED;

    if (change != KEYRING_FAILED)
        life_end(sweep->relay, s,
                 change == KEYRING_KEY ? SESSION_END_KEY_CHANGED : SESSION_END_IDENTITY_REMOVED,
                 sweep->now);
}

uint64_t answers_tick(struct relay *r, uint64_t now)
{
    struct sweep sweep = {r, now};

    if (keyring_has_changes(r->keyring, now))
        peers_each(&r->peers, end_if_changed, &sweep);
    return keyring_tick(r->keyring, now);
}
