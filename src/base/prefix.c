/*
 * prefix: ranges of addresses. See the header.
 */
#include "base/prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* in front of the IPv4 address in a v4-mapped one */

static unsigned width_of(const struct addr *a)
{
    return a->family == AF_INET ? 32 : 128;
}

/* Clears what is behind the first `bits`. */
static void clear_host_bits(uint8_t ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits <= i * 8 ? 0 : bits - i * 8;
        if (kept < 8)
            ip[i] &= (uint8_t)(0xff00u >> kept);
    }
}

struct prefix prefix_of(const struct addr *a, unsigned bits)
{
    struct prefix p = {.base = *a, .bits = bits < width_of(a) ? bits : width_of(a)};

    p.base.port = 0;
    p.base.scope = 0;
    clear_host_bits(p.base.ip, p.bits);
    return p;
}

/* Decimal digits only, at most three. */
static bool parse_bits(const char *text, unsigned *bits)
{
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 3 || text[len] != '\0')
        return false;
    *bits = (unsigned)strtoul(text, NULL, 10);
    return true;
}

/* A v4-mapped prefix that is as long as the mapping is an IPv4 one. */
static bool parse_ip(const char *text, struct addr *out, unsigned *bits, bool has_bits)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, out->ip) == 1) {
        out->family = AF_INET;
    } else if (inet_pton(AF_INET6, text, out->ip) == 1) {
        out->family = AF_INET6;
    } else {
        return false;
    }
    if (!has_bits)
        *bits = width_of(out);
    if (*bits > width_of(out))
        return false;
    if (out->family == AF_INET6 && memcmp(out->ip, mapped, 12) == 0 && *bits >= MAPPED_BITS) {
        memmove(out->ip, out->ip + 12, 4);
        memset(out->ip + 4, 0, 12);
        out->family = AF_INET;
        *bits -= MAPPED_BITS;
    }
    return true;
}

bool prefix_parse(struct prefix *out, const char *text)
{
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    unsigned bits = 0;
    struct addr a;

    if (len >= sizeof ip || (slash != NULL && !parse_bits(slash + 1, &bits)))
        return false;
    memcpy(ip, text, len);
    ip[len] = '\0';
    if (!parse_ip(ip, &a, &bits, slash != NULL))
        return false;
    struct prefix p = prefix_of(&a, bits);
    if (!addr_equal(&p.base, &a))
        return false;
    *out = p;
    return true;
}

const char *prefix_format(const struct prefix *p, char buf[PREFIX_TEXT_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "-";

    inet_ntop(p->base.family, p->base.ip, ip, sizeof ip);
    if (p->bits == width_of(&p->base))
        snprintf(buf, PREFIX_TEXT_MAX, "%s", ip);
    else
        snprintf(buf, PREFIX_TEXT_MAX, "%s/%u", ip, p->bits);
    return buf;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
    if (p->base.family != a->family)
        return false;
    struct prefix other = prefix_of(a, p->bits);
    return memcmp(other.base.ip, p->base.ip, sizeof p->base.ip) == 0;
}

uint32_t prefix_hosts(const struct prefix *p)
{
    unsigned host_bits = width_of(&p->base) - p->bits;

    if (host_bits < 2)
        return 0;
    return host_bits < 32 ? (UINT32_C(1) << host_bits) - 2 : UINT32_MAX - 1;
}

/* The last four bytes of the address, which hold all that tells one host from another. */
static uint8_t *tail_of(struct addr *a)
{
    return a->ip + width_of(a) / 8 - 4;
}

static uint32_t load_tail(struct addr a)
{
    const uint8_t *t = tail_of(&a);

    return (uint32_t)t[0] << 24 | (uint32_t)t[1] << 16 | (uint32_t)t[2] << 8 | t[3];
}

struct addr prefix_host(const struct prefix *p, uint32_t i)
{
    struct addr a = p->base;
    uint32_t value = load_tail(a) + i + 1;
    uint8_t *t = tail_of(&a);

    for (int at = 3; at >= 0; at--, value >>= 8)
        t[at] = (uint8_t)value;
    return a;
}

bool prefix_host_number(const struct prefix *p, const struct addr *a, uint32_t *i)
{
    if (!prefix_contains(p, a))
        return false;
    uint32_t number = load_tail(*a) - load_tail(p->base) - 1; /* the first wraps around */
    struct addr back = prefix_host(p, number);
    *i = number;
    return number < prefix_hosts(p) && memcmp(back.ip, a->ip, sizeof back.ip) == 0 && a->scope == 0;
}

static bool parse_one(struct prefix *out, const char *item, size_t len)
{
    char text[PREFIX_TEXT_MAX];

    if (len >= sizeof text)
        return false;
    memcpy(text, item, len);
    text[len] = '\0';
    return prefix_parse(out, text);
}

bool prefixes_parse(struct prefixes *out, const char *text, const char **fault, size_t *fault_len)
{
    struct prefixes found = {0};
    const char *at = text + strspn(text, " \t");
    size_t room = 1;

    for (const char *s = text; *s != '\0'; s++)
        room += *s == ',';
    found.list = calloc(room, sizeof *found.list);
    *fault = at;
    *fault_len = 0;
    while (found.list != NULL && *at != '\0') {
        size_t len = strcspn(at, ",");
        size_t item = len;
        while (item > 0 && (at[item - 1] == ' ' || at[item - 1] == '\t'))
            item--;
        *fault = at;
        *fault_len = item;
        if (!parse_one(&found.list[found.count], at, item))
            break;
        found.count++;
        at += len;
        if (*at != ',')
            break;
        at++;
        at += strspn(at, " \t");
        *fault = at;
        *fault_len = 0;
        if (*at == '\0') /* nothing behind the last comma */
            break;
    }
    if (found.list == NULL || (found.count != room && *(text + strspn(text, " \t")) != '\0')) {
        free(found.list);
        return false;
    }
    prefixes_clear(out);
    *out = found;
    return true;
}

void prefixes_clear(struct prefixes *p)
{
    free(p->list);
    *p = (struct prefixes){0};
}

const struct prefix *prefixes_range(const struct prefixes *p)
{
    return p->count == 1 && prefix_hosts(p->list) > 0 ? p->list : NULL;
}

bool prefixes_contain(const struct prefixes *p, const struct addr *a)
{
    for (size_t i = 0; i < p->count; i++) {
        if (prefix_contains(&p->list[i], a))
            return true;
    }
    return false;
}
