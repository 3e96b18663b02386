/*
 * identities: open sessions by identity. See the header.
 * Must never end a session, or compare identities other than byte by byte.
 */
#include "proxy/identities.h"

#include "proxy/policy.h"

#include <assert.h>
#include <string.h>

/* One session under its identity. */
struct entry {
    struct table_link link;
    struct session *session;
};

struct search {
    const struct identities_of *of;
    const struct session *except;
    struct session *found;
    unsigned count;
};

bool identities_init(struct identities *ids)
{
    hash_key_init(&ids->key);
    slab_init(&ids->entries, sizeof(struct entry));
    return table_init(&ids->table, 0);
}

void identities_clear(struct identities *ids)
{
    assert(ids->table.count == 0);
    table_clear(&ids->table);
    slab_clear(&ids->entries);
}

static uint64_t hash_of(const struct identities *ids, const struct session *s)
{
    return siphash64(&ids->key, s->psk->identity, s->psk->identity_len);
}

static bool is_entry_of(const struct table_link *link, const void *arg)
{
    return table_entry(link, const struct entry, link)->session == arg;
}

/* Without memory for it, it is counted and cannot be asked to go. */
static void add_entry(struct identities *ids, struct session *s)
{
    struct entry *e = slab_take(&ids->entries);

    if (e == NULL)
        return;
    e->session = s;
    table_insert(&ids->table, &e->link, hash_of(ids, s));
    s->is_indexed = true;
}

static void remove_entry(struct identities *ids, struct session *s)
{
    struct table_link *link = table_find(&ids->table, hash_of(ids, s), is_entry_of, s);

    assert(link != NULL);
    table_remove(&ids->table, link);
    slab_give(table_entry(link, struct entry, link));
    s->is_indexed = false;
}

unsigned identities_enter(struct identities *ids, struct session *s,
                          const struct conf_service *conf)
{
    assert(!s->is_counted);
    s->is_counted = true;
    if (policy_session_cap(conf, s) > 0)
        add_entry(ids, s);
    return s->is_given ? keyring_enter(s->psk) : psk_take(conf->psk, s->psk);
}

void identities_leave(struct identities *ids, struct session *s, const struct conf_service *conf)
{
    if (!s->is_counted)
        return;
    if (s->is_indexed)
        remove_entry(ids, s);
    s->is_counted = false;
    if (s->is_given)
        keyring_exit(s->psk);
    else
        psk_leave(conf->psk, s->psk);
}

/* Says no to each of the chain, and keeps the best of those that match. */
static bool look_at(const struct table_link *link, const void *arg)
{
    struct search *search = (struct search *)(uintptr_t)arg;
    struct session *s = table_entry(link, const struct entry, link)->session;

    if (s == search->except || s->service != search->of->service || s->opened > search->of->until ||
        s->psk->identity_len != search->of->len ||
        memcmp(s->psk->identity, search->of->identity, search->of->len) != 0)
        return false;
    search->count++;
    if (search->found == NULL || s->used < search->found->used)
        search->found = s;
    return false;
}

static struct search look_for(const struct identities *ids, const struct identities_of *of,
                              const struct session *except)
{
    struct search search = {of, except, NULL, 0};

    table_find(&ids->table, siphash64(&ids->key, of->identity, of->len), look_at, &search);
    return search;
}

struct session *identities_idlest(const struct identities *ids, const struct identities_of *of,
                                  const struct session *except)
{
    return look_for(ids, of, except).found;
}

unsigned identities_count(const struct identities *ids, const struct identities_of *of)
{
    return look_for(ids, of, NULL).count;
}
