/*
 * addr: an IP address and a UDP port as one plain value.
 * IPv4 is always AF_INET here: a v4-mapped IPv6 address is turned into IPv4 when it comes in, so
 * that one client has one spelling. Knows nothing of sockets beyond struct sockaddr.
 */
#ifndef DTLSGATE_BASE_ADDR_H
#define DTLSGATE_BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Room for "[ipv6%scope]:port" and its NUL. */
#define ADDR_TEXT_MAX 72

struct addr {
    uint8_t ip[16];  /* network order; IPv4 uses the first four, the rest are zero */
    uint32_t scope;  /* IPv6 link-local scope id, else 0 */
    uint16_t port;   /* host order */
    uint16_t family; /* AF_INET, AF_INET6, or 0 for "no address" */
};

/* "192.0.2.1:5684", "[2001:db8::1]:5684", "[fe80::1%eth0]:1". Numeric only, the port is needed
 * (0 to 65535, digits only). False: *out is unchanged. */
bool addr_parse(struct addr *out, const char *text) __attribute__((warn_unused_result));

/* As addr_parse(), but HOST may be a name; asks the resolver and may block, so for start-up and
 * reload only. Takes the first answer. False: `why` holds one line of text. */
bool addr_resolve(struct addr *out, const char *text, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* Asks the resolver again for a name that had `before` as its address. Returns that while it is one
 * of the answers, else the first of them, with `same_family` the first of that family; family 0:
 * there is none now. May block. */
struct addr addr_resolve_again(const char *text, const struct addr *before, bool same_family);

/* Reads an AF_INET or AF_INET6 sockaddr. False for any other family. */
bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa)
    __attribute__((warn_unused_result));

/* Writes `a` for a socket of `family`: an IPv4 address becomes v4-mapped for an AF_INET6 socket.
 * Returns the length for the system call. */
socklen_t addr_to_sockaddr(const struct addr *a, int family, struct sockaddr_storage *out);

/* Text that addr_parse() reads back, "-" for "no address". Returns `buf`. */
const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX]);

bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_is_wildcard(const struct addr *a);
/* Whether two sockets bound to them would be in each other's way: the same port (other than 0) and
 * family, and the same address or a wildcard. */
bool addr_overlap(const struct addr *a, const struct addr *b);
/* 127.0.0.0/8 or ::1. */
bool addr_is_loopback(const struct addr *a);

#endif
