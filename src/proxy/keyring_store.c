/*
 * keyring_store: the table of identities that helpers are asked for. See the header.
 * Must never let go of one that a session goes by, nor of one that is asked for.
 */
#include "proxy/keyring_store.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

static uint64_t hash_of(const struct keyring_store *s, unsigned service, const struct psk *psk)
{
    return siphash64(&s->key, psk->identity, psk->identity_len) ^ service;
}

struct wanted {
    unsigned service;
    const struct psk *psk;
};

static bool is_wanted(const struct table_link *link, const void *arg)
{
    const struct keyring_entry *e = table_entry(link, const struct keyring_entry, link);
    const struct wanted *want = arg;

    return e->service == want->service && e->psk.identity_len == want->psk->identity_len &&
           memcmp(e->identity, want->psk->identity, e->psk.identity_len) == 0;
}

struct keyring_entry *keyring_store_find(const struct keyring_store *s, unsigned service,
                                         const struct psk *psk)
{
    const struct wanted want = {service, psk};
    struct table_link *link = table_find(&s->table, hash_of(s, service, psk), is_wanted, &want);

    return link != NULL ? table_entry(link, struct keyring_entry, link) : NULL;
}

struct keyring_entry *keyring_store_make(struct keyring_store *s, unsigned service,
                                         const struct psk *psk)
{
    struct keyring_entry *e = slab_take(&s->entries);

    if (e == NULL)
        return NULL;
    e->store = s;
    e->service = service;
    list_init(&e->order);
    list_init(&e->seats);
    memcpy(e->identity, psk->identity, psk->identity_len);
    e->psk =
        (struct psk){.identity = e->identity, .key = e->key, .identity_len = psk->identity_len};
    table_insert(&s->table, &e->link, hash_of(s, service, psk));
    return e;
}

void keyring_entry_set_key(struct keyring_entry *e, const uint8_t *key, size_t len)
{
    memcpy(e->key, key, len);
    e->psk.key_len = (uint8_t)len;
    e->has_key = true;
}

void keyring_entry_drop_key(struct keyring_entry *e)
{
    bytes_wipe(e->key, sizeof e->key);
    e->psk.key_len = 0;
    e->has_key = false;
}

void keyring_entry_unlist(struct keyring_entry *e)
{
    struct keyring_store *s = e->store;

    if (list_is_empty(&e->order))
        return;
    if (e->uses == 0)
        *(e->has_key ? &s->key_count : &s->none_count) -= 1;
    list_remove(&e->order);
}

/* Wipes and frees. */
static void forget(struct keyring_entry *e)
{
    struct keyring_store *s = e->store;

    keyring_entry_unlist(e);
    timer_cancel(&s->timers, &e->timer);
    if (!e->is_revoked)
        table_remove(&s->table, &e->link);
    slab_give(e); /* wipes */
}

void keyring_entry_revoke(struct keyring_entry *e, bool is_replaced)
{
    keyring_entry_unlist(e);
    table_remove(&e->store->table, &e->link);
    e->is_revoked = true;
    e->is_replaced = is_replaced;
}

void keyring_entry_settle(struct keyring_entry *e)
{
    struct keyring_store *s = e->store;

    if (e->is_held || e->is_asked || e->uses > 0)
        return;
    if (!e->is_fresh || e->is_revoked) {
        forget(e);
        return;
    }
    keyring_entry_unlist(e);
    struct list *order = e->has_key ? &s->keys : &s->none;
    size_t *count = e->has_key ? &s->key_count : &s->none_count;
    list_append(order, &e->order);
    if (++*count > (e->has_key ? KEYRING_KEYS_MAX : KEYRING_NONE_MAX))
        forget(list_entry(list_first(order), struct keyring_entry, order));
}

bool keyring_store_init(struct keyring_store *s)
{
    hash_key_init(&s->key);
    slab_init(&s->entries, sizeof(struct keyring_entry));
    timers_init(&s->timers);
    list_init(&s->keys);
    list_init(&s->none);
    return table_init(&s->table, 0);
}

static void forget_any(struct table_link *link, void *arg)
{
    struct keyring_entry *e = table_entry(link, struct keyring_entry, link);

    (void)arg;
    assert(e->uses == 0);
    forget(e);
}

void keyring_store_clear(struct keyring_store *s)
{
    table_each(&s->table, forget_any, NULL);
    table_clear(&s->table);
    timers_clear(&s->timers);
    slab_clear(&s->entries);
}
