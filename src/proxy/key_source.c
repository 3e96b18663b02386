/*
 * key_source: where a peer's key comes from. See the header.
 * Must never keep a key of the helper's but by keyring_use().
 */
#include "proxy/key_source.h"

#include "conf/policies.h"

/* Identities that one handshake may have asked for. Anybody who can spoof the client's address can
 * name some, so the client's own gets its turn when the client repeats itself. */
#define ASKED_PER_SECOND 1
#define ASKED_BURST KEY_SEATS

void key_questions_init(struct key_questions *q)
{
    for (size_t i = 0; i < KEY_SEATS; i++)
        list_init(&q->seats[i].node);
}

void key_questions_stop(struct key_questions *q)
{
    for (size_t i = 0; i < KEY_SEATS; i++)
        keyring_leave_seat(&q->seats[i]);
}

bool key_source_has_helper(const struct key_source *src)
{
    return src->keyring != NULL && src->conf->psk_helper != NULL;
}

static struct keyring_seat *free_seat(struct key_questions *q)
{
    for (size_t i = 0; i < KEY_SEATS; i++) {
        if (list_is_empty(&q->seats[i].node))
            return &q->seats[i];
    }
    return NULL;
}

/* The first question of a handshake was admitted with it. */
static bool may_ask(struct key_questions *q, const struct key_asker *who, uint64_t now)
{
    bool is_first = !q->asked.started;

    return rate_take(&q->asked, ASKED_PER_SECOND, ASKED_BURST, now, NULL) &&
           (is_first || who->may_ask(who->arg));
}

static bool is_over(const struct key_source *src, const struct psk *named, uint64_t now)
{
    const struct conf_policy *p = policies_at(src->conf, policies_match(src->conf, named));

    return p != NULL && policies_is_over(p, src->wall0 + now);
}

enum fate key_source_tell(const struct key_source *src, struct handshake *h,
                          enum keyring_verdict verdict, const struct psk *named, uint64_t now)
{
    const struct psk unknown = {.identity = named->identity, .identity_len = named->identity_len};

    if (verdict == KEYRING_KEY && is_over(src, named, now))
        named = &unknown;
    return handshake_set_key(h, named,
                             verdict == KEYRING_FAILED ? CANDIDATE_TO_ASK : CANDIDATE_SETTLED, now);
}

void key_source_ask(const struct key_source *src, struct key_questions *q, struct handshake *h,
                    const struct key_asker *who, uint64_t now)
{
    struct keyring_seat *seat;
    const uint8_t *identity;
    size_t len;

    while (src->keyring != NULL && (seat = free_seat(q)) != NULL &&
           (identity = handshake_asks(h, &len)) != NULL && may_ask(q, who, now)) {
        const struct psk named = {.identity = identity, .identity_len = (uint16_t)len};
        const struct psk *found = &named;
        seat->owner = who->owner;
        enum keyring_verdict verdict =
            keyring_ask(src->keyring, src->service, &named, seat, now, &found);
        if (verdict == KEYRING_FAILED)
            return;
        if (verdict == KEYRING_LATER)
            handshake_set_key(h, found, CANDIDATE_ASKED, now);
        else
            key_source_tell(src, h, verdict, found, now);
    }
}

/* The files lack the identity: its key is the helper's affair from now on, if it was not before. */
static enum key_state use_helper(const struct key_source *src, const struct psk **psk,
                                 bool *is_given)
{
    const struct psk *used;

    if (*is_given && keyring_change(*psk) == KEYRING_FAILED)
        return KEY_SAME;
    if (*is_given)
        return keyring_change(*psk) == KEYRING_KEY ? KEY_CHANGED : KEY_GONE;
    used = keyring_use(src->keyring, src->service, *psk);
    if (used == NULL)
        return KEY_CHANGED;
    *psk = used;
    *is_given = true;
    return KEY_SAME;
}

enum key_state key_source_renew(const struct key_source *src, const struct psk **psk,
                                bool *is_given)
{
    const struct psk *now = psk_find(src->conf->psk, (*psk)->identity, (*psk)->identity_len);

    if (now == NULL)
        return key_source_has_helper(src) ? use_helper(src, psk, is_given) : KEY_GONE;
    if (!psk_same_key(*psk, now))
        return KEY_CHANGED;
    if (*is_given)
        keyring_leave(*psk);
    *psk = now;
    *is_given = false;
    return KEY_SAME;
}
