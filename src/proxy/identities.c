/*
 * identities: open sessions by identity. See the header.
 * Must never end a session, or compare identities other than byte by byte.
 */
#include "proxy/identities.h"

#include <assert.h>
#include <string.h>

struct search {
    unsigned service;
    const uint8_t *identity;
    size_t len;
    const struct session *except;
    const struct session *found;
};

bool identities_init(struct identities *ids)
{
    hash_key_init(&ids->key);
    return table_init(&ids->table, 64);
}

void identities_clear(struct identities *ids)
{
    assert(ids->table.count == 0);
    table_clear(&ids->table);
}

unsigned identities_enter(struct identities *ids, struct session *s,
                          const struct conf_service *conf)
{
    assert(s->home == NULL);
    s->home = conf->psk;
    s->is_indexed = conf->max_sessions_per_identity > 0;
    if (s->is_indexed)
        table_insert(&ids->table, &s->identity_link,
                     siphash64(&ids->key, s->psk->identity, s->psk->identity_len));
    return psk_take(s->home, s->psk);
}

void identities_leave(struct identities *ids, struct session *s)
{
    if (s->home == NULL)
        return;
    psk_leave(s->home, s->psk);
    if (s->is_indexed)
        table_remove(&ids->table, &s->identity_link);
    s->home = NULL;
}

/* Says no to each of the chain, and keeps the best of those that match. */
static bool look_at(const struct table_link *link, const void *arg)
{
    struct search *search = (struct search *)(uintptr_t)arg;
    const struct session *s = table_entry(link, const struct session, identity_link);

    if (s != search->except && s->service == search->service &&
        s->psk->identity_len == search->len &&
        memcmp(s->psk->identity, search->identity, search->len) == 0 &&
        (search->found == NULL || s->used < search->found->used))
        search->found = s;
    return false;
}

struct session *identities_idlest(const struct identities *ids, unsigned service,
                                  const uint8_t *identity, size_t len, const struct session *except)
{
    struct search search = {service, identity, len, except, NULL};

    table_find(&ids->table, siphash64(&ids->key, identity, len), look_at, &search);
    return (struct session *)(uintptr_t)search.found;
}
