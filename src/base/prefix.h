/*
 * prefix: ranges of addresses ("10.0.0.0/8") and lists of them.
 * IPv4 and v4-mapped IPv6 are one and the same here, as in addr.
 */
#ifndef DTLSGATE_BASE_PREFIX_H
#define DTLSGATE_BASE_PREFIX_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for "ipv6/128" and its NUL. */
#define PREFIX_TEXT_MAX (ADDR_TEXT_MAX + 4)

struct prefix {
    struct addr base; /* host bits, port and scope are zero */
    unsigned bits;    /* 0 to 32, or 0 to 128 */
};

/* "192.0.2.0/24", "2001:db8::/32"; without "/bits" one address. A v4-mapped one becomes IPv4.
 * False: not one, more bits than the family has, or host bits set. */
bool prefix_parse(struct prefix *out, const char *text) __attribute__((warn_unused_result));
const char *prefix_format(const struct prefix *p, char buf[PREFIX_TEXT_MAX]);
bool prefix_contains(const struct prefix *p, const struct addr *a);

/* The prefix of `bits` that `a` is in. `bits` is cut to what the family has. */
struct prefix prefix_of(const struct addr *a, unsigned bits);

/* The addresses of a prefix that a host may have, by number: all but its first and its last, and of
 * more than 2^32 the lowest. How many there are; 0 of a prefix that is one or two addresses. */
uint32_t prefix_hosts(const struct prefix *p);
/* Number `i`, which is below prefix_hosts(), with the port 0. */
struct addr prefix_host(const struct prefix *p, uint32_t i);
/* The other way round. False: `a`, whose port does not count, is none of them. */
bool prefix_host_number(const struct prefix *p, const struct addr *a, uint32_t *i)
    __attribute__((warn_unused_result));

struct prefixes {
    struct prefix *list; /* owned */
    size_t count;
};

/* Comma separated, blanks around each are fine; an empty text is an empty list. False: out->list is
 * unchanged, and *fault begins at the first wrong one inside of `text`, *fault_len long. */
bool prefixes_parse(struct prefixes *out, const char *text, const char **fault, size_t *fault_len)
    __attribute__((warn_unused_result));
void prefixes_clear(struct prefixes *p);
/* The one prefix whose addresses prefix_host() numbers, where the list is such a one; else NULL. */
const struct prefix *prefixes_range(const struct prefixes *p);
bool prefixes_contain(const struct prefixes *p, const struct addr *a);

#endif
