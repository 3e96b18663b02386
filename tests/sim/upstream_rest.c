/*
 * upstream_rest: the stand-in for what upstream.c does and a sim does not look at: sources, ports,
 * counts.
 */
#include "proxy/upstream.h"

bool upstream_add(struct upstream *u, const struct upstream_service *service)
{
    (void)u;
    (void)service;
    return true;
}

bool upstream_set_backends(struct upstream *u, unsigned service, const struct addr *list,
                           size_t count)
{
    (void)u;
    (void)service;
    (void)list;
    (void)count;
    return true;
}

bool upstream_turn(struct flow *f, const struct addr *to)
{
    (void)f;
    (void)to;
    return false;
}

struct addr upstream_backend(const struct flow *f)
{
    (void)f;
    return (struct addr){0};
}

void upstream_mark(struct flow *f, uint8_t mark)
{
    (void)f;
    (void)mark;
}

uint8_t upstream_mark_of(const struct flow *f)
{
    (void)f;
    return 0;
}

struct flow *upstream_take_over(struct upstream *u, unsigned service, int fd, uint32_t number,
                                void *owner)
{
    (void)u;
    (void)service;
    (void)fd;
    (void)number;
    (void)owner;
    return NULL;
}

int upstream_shared_socket(const struct upstream *u, unsigned service)
{
    (void)u;
    (void)service;
    return -1;
}

bool upstream_is_shared(const struct flow *f)
{
    (void)f;
    return false;
}

uint32_t upstream_source(const struct flow *f)
{
    (void)f;
    return 0;
}

uint16_t upstream_port(const struct flow *f)
{
    (void)f;
    return 1;
}

size_t upstream_count(const struct upstream *u)
{
    (void)u;
    return 0;
}

size_t upstream_flush(struct upstream *u)
{
    (void)u;
    return 0;
}
