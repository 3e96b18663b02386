/*
 * addr: parsing, resolving and printing of an IP address with its UDP port.
 * Must never know what an address is used for.
 */
#include "base/addr.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Longest host name (RFC 1035) and its NUL; any address is shorter. */
#define HOST_MAX 254
/* As many as the largest uint32_t has. */
#define DIGITS_MAX 10

struct host_port {
    char host[HOST_MAX];
    const char *port; /* into the text that was split */
    bool is_bracketed;
};

static bool parse_number(const char *text, uint32_t *out)
{
    size_t len = strlen(text);
    uint64_t value = 0;

    if (len == 0 || len > DIGITS_MAX || strspn(text, "0123456789") != len)
        return false;
    for (; *text != '\0'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

static bool parse_port(const char *text, uint16_t *out)
{
    uint32_t value;

    if (!parse_number(text, &value) || value > UINT16_MAX)
        return false;
    *out = (uint16_t)value;
    return true;
}

/* Splits at the colon, does not look at what the parts hold. */
static bool split(struct host_port *out, const char *text)
{
    const char *end;
    size_t len;

    out->is_bracketed = text[0] == '[';
    if (out->is_bracketed)
        text++;
    end = strchr(text, out->is_bracketed ? ']' : ':');
    if (end == NULL || (out->is_bracketed && end[1] != ':'))
        return false;
    len = (size_t)(end - text);
    if (len == 0 || len >= sizeof out->host)
        return false;
    memcpy(out->host, text, len);
    out->host[len] = '\0';
    out->port = end + (out->is_bracketed ? 2 : 1);
    return true;
}

static bool has_scope(const struct in6_addr *ip)
{
    return IN6_IS_ADDR_LINKLOCAL(ip) || IN6_IS_ADDR_MC_LINKLOCAL(ip);
}

/* The one way in for IPv6: a v4-mapped address turns into IPv4, a scope stays only where it counts.
 */
static void set_ip6(struct addr *a, const struct in6_addr *ip, uint32_t scope)
{
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        a->family = AF_INET;
        memcpy(a->ip, ip->s6_addr + 12, 4);
        return;
    }
    a->family = AF_INET6;
    memcpy(a->ip, ip->s6_addr, 16);
    a->scope = has_scope(ip) ? scope : 0;
}

/* A number first: that is how addr_format() writes it. */
static bool parse_scope(const char *text, uint32_t *out)
{
    if (!parse_number(text, out))
        *out = if_nametoindex(text);
    return *out != 0;
}

/* Cuts the scope off `host` on the way. */
static bool parse_ip6(struct addr *a, char *host)
{
    char *percent = strchr(host, '%');
    struct in6_addr ip;
    uint32_t scope = 0;

    if (percent != NULL)
        *percent = '\0';
    if (inet_pton(AF_INET6, host, &ip) != 1)
        return false;
    if (percent != NULL && (!has_scope(&ip) || !parse_scope(percent + 1, &scope)))
        return false;
    set_ip6(a, &ip, scope);
    return true;
}

static bool parse_ip(struct addr *a, struct host_port *hp)
{
    if (hp->is_bracketed)
        return parse_ip6(a, hp->host);
    a->family = AF_INET;
    return inet_pton(AF_INET, hp->host, a->ip) == 1;
}

/* "1.2.3.4.5", "127.1", "0x7f.1": a resolver takes some of these for addresses, we for mistakes. */
static bool is_misspelt_ip4(const char *host)
{
    struct in_addr ip;

    return strspn(host, "0123456789.") == strlen(host) || inet_aton(host, &ip) != 0;
}

static int look_up(const struct host_port *hp, struct addrinfo **list)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV};

    return getaddrinfo(hp->host, hp->port, &hints, list);
}

static bool ask_resolver(struct addr *out, const struct host_port *hp, char *why, size_t why_size)
{
    struct addrinfo *list = NULL;
    int error = look_up(hp, &list);
    bool ok = false;

    if (error != 0) {
        snprintf(why, why_size, "cannot be resolved: %s",
                 error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return false;
    }
    for (struct addrinfo *ai = list; ai != NULL && !ok; ai = ai->ai_next)
        ok = addr_from_sockaddr(out, ai->ai_addr);
    freeaddrinfo(list);
    if (!ok)
        snprintf(why, why_size, "has neither an IPv4 nor an IPv6 address");
    return ok;
}

bool addr_parse(struct addr *out, const char *text)
{
    struct addr a = {0};
    struct host_port hp;

    if (!split(&hp, text) || !parse_port(hp.port, &a.port) || !parse_ip(&a, &hp))
        return false;
    *out = a;
    return true;
}

bool addr_resolve(struct addr *out, const char *text, char *why, size_t why_size)
{
    struct host_port hp;
    uint16_t port;

    if (addr_parse(out, text))
        return true;
    if (!split(&hp, text)) {
        snprintf(why, why_size, "is not of the form HOST:PORT, IPV4:PORT or [IPV6]:PORT");
        return false;
    }
    if (!parse_port(hp.port, &port)) {
        snprintf(why, why_size, "has no valid port; after HOST: or [IPV6]: comes 0 to 65535");
        return false;
    }
    if (hp.is_bracketed) {
        snprintf(why, why_size, "has no valid IPv6 address in its brackets");
        return false;
    }
    if (is_misspelt_ip4(hp.host)) {
        snprintf(why, why_size, "has no valid IPv4 address; write four numbers from 0 to 255");
        return false;
    }
    return ask_resolver(out, &hp, why, why_size);
}

struct addr addr_resolve_again(const char *text, const struct addr *before, bool same_family)
{
    struct addr best = {0}, one;
    struct addrinfo *list = NULL;
    struct host_port hp;

    if (!split(&hp, text) || look_up(&hp, &list) != 0)
        return best;
    for (struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        one = (struct addr){0};
        if (!addr_from_sockaddr(&one, ai->ai_addr) || (same_family && one.family != before->family))
            continue;
        if (best.family == 0 || addr_equal(&one, before))
            best = one;
    }
    freeaddrinfo(list);
    return best;
}

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;

    if (sa->sa_family == AF_INET) {
        memcpy(&in4, sa, sizeof in4);
        *out = (struct addr){.family = AF_INET, .port = ntohs(in4.sin_port)};
        memcpy(out->ip, &in4.sin_addr, 4);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof in6);
        *out = (struct addr){.port = ntohs(in6.sin6_port)};
        set_ip6(out, &in6.sin6_addr, in6.sin6_scope_id);
        return true;
    }
    return false;
}

socklen_t addr_to_sockaddr(const struct addr *a, int family, struct sockaddr_storage *out)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

    assert(a->family == AF_INET || (a->family == AF_INET6 && family == AF_INET6));
    if (family == AF_INET) {
        memcpy(&in4.sin_addr, a->ip, 4);
        memcpy(out, &in4, sizeof in4);
        return sizeof in4;
    }
    if (a->family == AF_INET) {
        memset(in6.sin6_addr.s6_addr + 10, 0xff, 2);
        memcpy(in6.sin6_addr.s6_addr + 12, a->ip, 4);
    } else {
        memcpy(&in6.sin6_addr, a->ip, 16);
        in6.sin6_scope_id = a->scope;
    }
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

/* Written by hand, for each session's lines have some. */
static char *put_ip4(char *at, const uint8_t ip[4])
{
    for (int i = 0; i < 4; i++) {
        at += decimal_encode(at, ip[i]);
        *at++ = i < 3 ? '.' : ':';
    }
    return at;
}

static char *put_ip6(char *at, const struct addr *a)
{
    *at++ = '[';
    inet_ntop(AF_INET6, a->ip, at, INET6_ADDRSTRLEN);
    at += strlen(at);
    if (a->scope != 0) {
        *at++ = '%';
        at += decimal_encode(at, a->scope);
    }
    *at++ = ']';
    *at++ = ':';
    return at;
}

const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
    char *at = buf;

    if (a->family == AF_INET || a->family == AF_INET6) {
        at = a->family == AF_INET ? put_ip4(at, a->ip) : put_ip6(at, a);
        at += decimal_encode(at, a->port);
    } else {
        *at++ = '-';
    }
    *at = '\0';
    return buf;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && a->family == b->family && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

bool addr_is_wildcard(const struct addr *a)
{
    static const uint8_t zero[16];

    return a->family != 0 && memcmp(a->ip, zero, sizeof zero) == 0;
}

bool addr_overlap(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family || a->port != b->port || a->port == 0)
        return false;
    return addr_is_wildcard(a) || addr_is_wildcard(b) || addr_equal(a, b);
}

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t one[16] = {[15] = 1};

    if (a->family == AF_INET)
        return a->ip[0] == 127;
    return a->family == AF_INET6 && memcmp(a->ip, one, sizeof(one)) == 0;
}
