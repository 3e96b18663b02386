/*
 * keyring: identities that helpers are asked for. See the header.
 * Must never end a session itself, nor let go of a key that one goes by.
 */
#include "proxy/keyring.h"

#include "base/bytes.h"
#include "base/log.h"
#include "conf/policies.h"
#include "proxy/helper_health.h"
#include "proxy/keyring_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* An identity that is unknown is asked for again sooner than one that is known. */
#define NONE_SHARE 10
#define NONE_KEPT_MAX 10000
/* Keys in use that are asked for again: so many at once, so that they are in nobody's way. */
#define REVIEWS_AT_ONCE 64
#define REVIEW_PAUSE 1000
#define CHANGES_PAUSE 1000

struct keyring {
    const struct conf *conf;
    struct keyring_hooks hooks;
    struct helper_health *services; /* what is known of the helper of each */
    struct keyring_store store;
    struct list used; /* in use, and no review is due */
    struct list due;  /* in use, to be asked for again */
    size_t asked;
    uint64_t review_at, changes_at;
    bool has_changes;
    struct log_limit lines;
};

static struct keyring *keyring_of(const struct keyring_entry *e)
{
    return (struct keyring *)((uintptr_t)e->store - offsetof(struct keyring, store));
}

static struct keyring_entry *entry_of(const struct psk *psk)
{
    return (struct keyring_entry *)((uintptr_t)psk - offsetof(struct keyring_entry, psk));
}

static const struct conf_service *conf_of(const struct keyring *k, unsigned service)
{
    return &k->conf->service[service];
}

/* ---- questions ---- */

/* Those who wait now; whoever asks anew meanwhile waits for the next answer. */
static void tell_all(struct keyring_entry *e, enum keyring_verdict verdict, uint64_t now)
{
    const struct keyring_hooks *hooks = &keyring_of(e)->hooks;
    struct list waiting, *node;

    list_init(&waiting);
    while ((node = list_first(&e->seats)) != NULL)
        list_move_to_end(&waiting, node);
    e->is_held = true;
    while ((node = list_first(&waiting)) != NULL) {
        list_remove(node);
        hooks->tell(hooks->arg, list_entry(node, struct keyring_seat, node)->owner, verdict,
                    &e->psk, now);
    }
    e->is_held = false;
}

/* NULL, or why it cannot be asked. */
static const char *send_question(struct keyring_entry *e, uint64_t now)
{
    struct keyring *k = keyring_of(e);
    const struct conf_service *conf = conf_of(k, e->service);
    const struct helper_question q = {e->identity, e->psk.identity_len, e};
    const struct keyring_asker *asker = &k->hooks.asker;

    if (!timer_set(&k->store.timers, &e->timer, now + conf->psk_helper_timeout))
        return "out of memory";
    const char *why = asker->ask(asker->arg, e->service, conf->psk_helper, &q);
    if (why != NULL)
        timer_cancel(&k->store.timers, &e->timer);
    return why;
}

static void note_failure(struct keyring *k, unsigned service, const char *why, uint64_t now)
{
    stats_add(&k->hooks.stats->keys_failed, 1);
    helper_health_fail(&k->services[service], conf_of(k, service), why, now);
}

static bool may_ask(const struct keyring *k, unsigned service, uint64_t now)
{
    return conf_of(k, service)->psk_helper != NULL && k->asked < KEYRING_ASKED_MAX &&
           helper_health_may_ask(&k->services[service], now);
}

/* False: not now. */
static bool ask(struct keyring_entry *e, uint64_t now)
{
    struct keyring *k = keyring_of(e);
    const char *why;

    if (!may_ask(k, e->service, now))
        return false;
    why = send_question(e, now);
    if (why != NULL) {
        note_failure(k, e->service, why, now);
        return false;
    }
    stats_add(&k->hooks.stats->keys_asked, 1);
    keyring_entry_unlist(e);
    e->is_asked = true;
    e->is_fresh = e->is_late = false;
    k->asked++;
    return true;
}

enum keyring_verdict keyring_ask(struct keyring *k, unsigned service, const struct psk *identity,
                                 struct keyring_seat *seat, uint64_t now, const struct psk **out)
{
    struct keyring_entry *e = keyring_store_find(&k->store, service, identity);

    if (e == NULL && may_ask(k, service, now))
        e = keyring_store_make(&k->store, service, identity);
    if (e == NULL)
        return KEYRING_FAILED;
    *out = &e->psk;
    if (e->is_fresh) {
        stats_add(&k->hooks.stats->keys_cached, 1);
        return e->has_key ? KEYRING_KEY : KEYRING_NONE;
    }
    if (e->is_late || (!e->is_asked && !ask(e, now))) {
        keyring_entry_settle(e);
        return KEYRING_FAILED;
    }
    list_append(&e->seats, &seat->node);
    return KEYRING_LATER;
}

void keyring_leave_seat(struct keyring_seat *seat)
{
    list_remove(&seat->node);
}

/* ---- answers ---- */

/* The same key as before, or nobody goes by the one before. */
static bool is_welcome(const struct keyring_entry *e, const struct helper_answer *a)
{
    return e->uses == 0 || (a->verdict == HELPER_KEY && a->len == e->psk.key_len &&
                            bytes_equal_secret(a->key, e->key, a->len));
}

/* Its sessions have to end; a new one takes its place, and those who wait. NULL: out of memory. */
static struct keyring_entry *revoke(struct keyring_entry *e, const struct helper_answer *a)
{
    struct keyring *k = keyring_of(e);
    struct list *node;

    keyring_entry_revoke(e, a->verdict == HELPER_KEY);
    k->has_changes = true;
    struct keyring_entry *next = keyring_store_make(&k->store, e->service, &e->psk);
    while (next != NULL && (node = list_first(&e->seats)) != NULL)
        list_move_to_end(&next->seats, node);
    return next;
}

static uint64_t kept_for(const struct keyring_entry *e)
{
    uint64_t time = conf_of(keyring_of(e), e->service)->psk_helper_cache;

    if (e->has_key)
        return time;
    return time / NONE_SHARE < NONE_KEPT_MAX ? time / NONE_SHARE : NONE_KEPT_MAX;
}

static void take_answer(struct keyring_entry *e, const struct helper_answer *a, uint64_t now)
{
    struct keyring *k = keyring_of(e);

    if (!is_welcome(e, a)) {
        struct keyring_entry *old = e;
        e = revoke(old, a);
        if (e == NULL)
            return tell_all(old, KEYRING_FAILED, now);
    }
    if (a->verdict == HELPER_KEY)
        keyring_entry_set_key(e, a->key, a->len);
    else if (e->has_key)
        keyring_entry_drop_key(e);
    if (e->uses > 0)
        list_append(&k->used, &e->order);
    e->is_fresh = timer_set(&k->store.timers, &e->timer, now + kept_for(e));
    stats_add(e->has_key ? &k->hooks.stats->keys_found : &k->hooks.stats->keys_none, 1);
    tell_all(e, e->has_key ? KEYRING_KEY : KEYRING_NONE, now);
    keyring_entry_settle(e);
}

/* Nothing was learnt: what was known before still is, for those who use it. */
static void take_failure(struct keyring_entry *e, const char *why, uint64_t now)
{
    struct keyring *k = keyring_of(e);

    note_failure(k, e->service, why, now);
    if (e->uses > 0) {
        list_append(&k->due, &e->order);
        k->review_at = now + REVIEW_PAUSE;
    }
    tell_all(e, KEYRING_FAILED, now);
    keyring_entry_settle(e);
}

/* A key that is shorter than the settings let in is none. */
static bool is_short(const struct keyring_entry *e, const struct helper_answer *a)
{
    return a->verdict == HELPER_KEY && a->len < PSK_KEY_MIN &&
           !conf_of(keyring_of(e), e->service)->allow_weak_keys;
}

static void warn_of_short_key(struct keyring_entry *e, uint64_t now)
{
    char shown[4 * PSK_IDENTITY_MAX + 1];
    uint32_t left_out;

    if (log_allowed(&keyring_of(e)->lines, now, &left_out))
        log_warning("service %s: psk-helper: the key of \"%s\" has fewer than %d bytes; it is not "
                    "taken",
                    conf_of(keyring_of(e), e->service)->name,
                    bytes_escape(shown, sizeof shown, e->identity, e->psk.identity_len),
                    PSK_KEY_MIN);
}

void keyring_answer(struct keyring *k, void *token, const struct helper_answer *answer,
                    uint64_t now)
{
    static const struct helper_answer none = {.verdict = HELPER_NONE};
    struct keyring_entry *e = token;

    assert(e->is_asked);
    e->is_asked = e->is_late = false;
    k->asked--;
    timer_cancel(&k->store.timers, &e->timer);
    if (answer->verdict == HELPER_FAILED)
        return take_failure(e, answer->why, now);
    helper_health_answer(&k->services[e->service], conf_of(k, e->service));
    if (!is_short(e, answer))
        return take_answer(e, answer, now);
    warn_of_short_key(e, now);
    take_answer(e, &none, now);
}

/* ---- keys in use ---- */

/* What was not the helper's answer of late is asked for soon. */
const struct psk *keyring_use(struct keyring *k, unsigned service, const struct psk *psk)
{
    struct keyring_entry *e = keyring_store_find(&k->store, service, psk);

    if (e == NULL) {
        e = keyring_store_make(&k->store, service, psk);
        if (e == NULL)
            return NULL;
    }
    if (e->has_key ? !psk_same_key(&e->psk, psk) : e->is_fresh)
        return NULL;
    if (!e->has_key)
        keyring_entry_set_key(e, psk->key, psk->key_len);
    if (e->uses == 0) {
        e->policy = policies_match(conf_of(k, service), &e->psk);
        keyring_entry_unlist(e);
        if (!e->is_asked)
            list_append(e->is_fresh ? &k->used : &k->due, &e->order);
    }
    e->uses++;
    return &e->psk;
}

void keyring_leave(const struct psk *used)
{
    struct keyring_entry *e = entry_of(used);

    assert(e->uses > 0);
    if (e->uses > 1) {
        e->uses--;
        return;
    }
    keyring_entry_unlist(e);
    e->uses = 0;
    keyring_entry_settle(e);
}

unsigned keyring_enter(const struct psk *used)
{
    return ++entry_of(used)->entered;
}

void keyring_exit(const struct psk *used)
{
    struct keyring_entry *e = entry_of(used);

    assert(e->entered > 0);
    e->entered--;
}

uint16_t keyring_policy(const struct psk *used)
{
    return entry_of(used)->policy;
}

enum keyring_verdict keyring_change(const struct psk *used)
{
    const struct keyring_entry *e = entry_of(used);

    if (!e->is_revoked)
        return KEYRING_FAILED;
    return e->is_replaced ? KEYRING_KEY : KEYRING_NONE;
}

/* ---- time ---- */

/* The first time over, whoever waits for it waits no more; the second, the helper is stuck. */
static void time_out(struct keyring_entry *e, uint64_t now)
{
    struct keyring *k = keyring_of(e);
    const struct keyring_asker *asker = &k->hooks.asker;

    if (e->is_late ||
        !timer_set(&k->store.timers, &e->timer, now + conf_of(k, e->service)->psk_helper_timeout)) {
        asker->reset(asker->arg, e->service, "no answer came in time");
        return;
    }
    e->is_late = true;
    stats_add(&k->hooks.stats->keys_late, 1);
    tell_all(e, KEYRING_FAILED, now);
}

static void grow_stale(struct keyring_entry *e)
{
    keyring_entry_unlist(e);
    e->is_fresh = false;
    if (e->uses > 0)
        list_append(&keyring_of(e)->used, &e->order);
    keyring_entry_settle(e);
}

/* Asks for the next keys in use. Returns when to go on. One service's helper that is away holds up
 * the others' no longer than a few looks take. */
static uint64_t review(struct keyring *k, uint64_t now)
{
    struct list *node;

    if (now < k->review_at && !list_is_empty(&k->due))
        return k->review_at;
    for (unsigned looks = 0; looks < REVIEWS_AT_ONCE && k->asked < REVIEWS_AT_ONCE &&
                             (node = list_first(&k->due)) != NULL;
         looks++) {
        struct keyring_entry *e = list_entry(node, struct keyring_entry, order);
        if (conf_of(k, e->service)->psk_helper == NULL) {
            list_move_to_end(&k->used, node);
        } else if (!ask(e, now)) {
            list_move_to_end(&k->due, node);
            k->review_at = now + REVIEW_PAUSE;
        }
    }
    if (list_is_empty(&k->due) || k->asked >= REVIEWS_AT_ONCE)
        return TIMER_NEVER; /* there is none, or the next answer leads here */
    return k->review_at > now ? k->review_at : now;
}

uint64_t keyring_tick(struct keyring *k, uint64_t now)
{
    struct timer *timer;

    while ((timer = timers_expired(&k->store.timers, now)) != NULL) {
        struct keyring_entry *e = timer_entry(timer, struct keyring_entry, timer);
        if (e->is_asked)
            time_out(e, now);
        else
            grow_stale(e);
    }
    uint64_t next = review(k, now), timers = timers_next(&k->store.timers);
    if (k->has_changes && k->changes_at < next)
        next = k->changes_at;
    return timers < next ? timers : next;
}

bool keyring_has_changes(struct keyring *k, uint64_t now)
{
    if (!k->has_changes || now < k->changes_at)
        return false;
    k->has_changes = false;
    k->changes_at = now + CHANGES_PAUSE;
    return true;
}

/* ---- begin and end ---- */

static void renew(struct table_link *link, void *arg)
{
    struct keyring_entry *e = table_entry(link, struct keyring_entry, link);
    struct keyring *k = arg;

    if (e->is_asked)
        return;
    keyring_entry_unlist(e);
    timer_cancel(&k->store.timers, &e->timer);
    e->is_fresh = false;
    if (e->uses > 0)
        list_append(&k->due, &e->order);
    keyring_entry_settle(e);
}

static bool is_same_path(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void find_policy(struct table_link *link, void *arg)
{
    struct keyring_entry *e = table_entry(link, struct keyring_entry, link);
    const struct keyring *k = arg;

    if (e->uses > 0)
        e->policy = policies_match(conf_of(k, e->service), &e->psk);
}

void keyring_use_conf(struct keyring *k, const struct conf *conf)
{
    k->conf = conf;
    table_each(&k->store.table, find_policy, k);
}

void keyring_renew(struct keyring *k, const struct conf *before)
{
    const struct conf *conf = k->conf;
    const struct keyring_asker *asker = &k->hooks.asker;

    for (unsigned i = 0; i < conf->service_count; i++) {
        if (is_same_path(before->service[i].psk_helper, conf->service[i].psk_helper))
            continue;
        if (before->service[i].psk_helper != NULL)
            asker->reset(asker->arg, i, "another one is asked from now on");
        k->services[i] = (struct helper_health){0};
    }
    table_each(&k->store.table, renew, k);
    k->review_at = 0;
}

struct keyring *keyring_new(const struct conf *conf, const struct keyring_hooks *hooks)
{
    struct keyring *k = calloc(1, sizeof *k);

    if (k == NULL)
        return NULL;
    k->services = calloc(conf->service_count, sizeof *k->services);
    if (k->services == NULL || !keyring_store_init(&k->store)) {
        free(k->services);
        free(k);
        return NULL;
    }
    k->conf = conf;
    k->hooks = *hooks;
    list_init(&k->used);
    list_init(&k->due);
    return k;
}

void keyring_free(struct keyring *k)
{
    if (k == NULL)
        return;
    keyring_store_clear(&k->store);
    free(k->services);
    free(k);
}
