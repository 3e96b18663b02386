/*
 * renewal: arithmetic with an age, and who goes at which. See the header.
 * Must never keep a key whose tickets are all over, nor lose one whose tickets are not.
 */
#include "daemon/renewal.h"

#include "base/bytes.h"

/* How many turns of keys follow the last service that gave tickets: handshakes that began before
 * may still seal for up to ten minutes (handshake-timeout). */
#define LAST_TURNS 3

/* The key before the newest then opens all there are. 0: nobody wants any. */
static uint64_t turn_of(const struct conf *conf)
{
    uint64_t turn = 0;

    for (size_t i = 0; i < conf->service_count; i++)
        if (conf->service[i].resumption && conf->service[i].ticket_lifetime > turn)
            turn = conf->service[i].ticket_lifetime;
    return turn;
}

void renewal_init(struct renewal *r)
{
    *r = (struct renewal){.made = 0};
    ticket_keys_init(&r->keys);
}

void renewal_take(struct renewal *r, const struct ticket_keys *keys, uint64_t age, uint64_t now)
{
    r->keys = *keys;
    r->made = now - age;
    r->is_dated = true;
}

uint64_t renewal_age(const struct renewal *r, uint64_t now)
{
    return r->is_dated ? now - r->made : 0;
}

/* Nobody wants any: those that have sealed some are not kept for longer. */
static bool is_retired(struct renewal *r, uint64_t now)
{
    if (r->last_turns == LAST_TURNS)
        return false;
    r->last_turns++;
    ticket_keys_init(&r->keys);
    r->made = now;
    return true;
}

bool renewal_is_due(struct renewal *r, const struct conf *conf, uint64_t now)
{
    uint64_t turn = turn_of(conf), age = renewal_age(r, now);

    if (!r->is_dated)
        r->made = now;
    r->is_dated = true;
    if (turn == 0)
        return is_retired(r, now);
    r->last_turns = 0;
    if (age < turn)
        return false;
    ticket_keys_rotate(&r->keys); /* however late it is, the newest has sealed up to now */
    r->made = now;
    return true;
}

void renewal_catch_up(struct renewal *r, const struct conf *conf, uint64_t now)
{
    uint64_t turn = turn_of(conf);

    if (turn == 0 || renewal_age(r, now) < 2 * turn + RENEWAL_LOOK_MS) {
        (void)!renewal_is_due(r, conf, now);
        return;
    }
    ticket_keys_init(&r->keys); /* even the newest has sealed nothing that is good still */
    r->made = now;
}

void renewal_wipe(struct renewal *r)
{
    bytes_wipe(r, sizeof(*r));
}
