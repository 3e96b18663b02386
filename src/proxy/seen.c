/*
 * seen: a direct-mapped memory of used hellos. See the header.
 */
#include "proxy/seen.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <stdlib.h>

/* 512 KB a worker: at a hundred handshakes a second it reaches back over a cookie's whole life. */
#define PLACES 65536

struct seen {
    struct hash_key key; /* so that nobody can choose which hello pushes out which */
    uint64_t print[PLACES];
};

static size_t place_of(const struct seen *s, uint64_t print)
{
    return siphash64(&s->key, &print, sizeof print) % PLACES;
}

uint64_t seen_print(const uint8_t random[WIRE_RANDOM], const struct addr *peer)
{
    /* No secret: the next process has to find the same. What it keeps out is a hello made up to
     * have the print of another's, for which there is no way but to try. */
    static const struct hash_key key;
    uint8_t packed[WIRE_RANDOM + sizeof peer->ip + 4 + 2];
    struct writer w = writer_of(packed, sizeof packed);

    write_bytes(&w, random, WIRE_RANDOM);
    write_bytes(&w, peer->ip, sizeof peer->ip);
    write_u32(&w, peer->scope);
    write_u16(&w, peer->port);
    return siphash64(&key, packed, sizeof packed);
}

struct seen *seen_new(void)
{
    struct seen *s = calloc(1, sizeof *s);
    if (s != NULL)
        hash_key_init(&s->key);
    return s;
}

void seen_free(struct seen *s)
{
    free(s);
}

/* An empty place holds 0, which is no print. */
static uint64_t named(uint64_t print)
{
    return print != 0 ? print : 1;
}

bool seen_has(const struct seen *s, uint64_t print)
{
    return s->print[place_of(s, named(print))] == named(print);
}

void seen_add(struct seen *s, uint64_t print)
{
    s->print[place_of(s, named(print))] = named(print);
}

void seen_forget(struct seen *s, uint64_t print)
{
    if (seen_has(s, print))
        s->print[place_of(s, named(print))] = 0;
}

void seen_each(const struct seen *s, void (*fn)(void *arg, uint64_t print), void *arg)
{
    for (size_t i = 0; i < PLACES; i++)
        if (s->print[i] != 0)
            fn(arg, s->print[i]);
}
