/*
 * request: a strict reader of request heads. See the header.
 * What is doubtful is refused rather than guessed.
 */
#include "daemon/request.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* A part of the head; not ended by a NUL. */
struct span {
    const char *at;
    size_t len;
};

static bool span_is(struct span s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.at, word, s.len) == 0;
}

/* Takes what stands before the first `mark` off `from`, mark included. False: there is none. */
static bool take_until(struct span *from, char mark, struct span *out)
{
    const char *found = from->len > 0 ? memchr(from->at, mark, from->len) : NULL;

    if (found == NULL)
        return false;
    *out = (struct span){from->at, (size_t)(found - from->at)};
    from->at += out->len + 1;
    from->len -= out->len + 1;
    return true;
}

static bool take_line(struct span *from, struct span *line)
{
    if (!take_until(from, '\n', line))
        return false;
    if (line->len > 0 && line->at[line->len - 1] == '\r')
        line->len--;
    return true;
}

static struct span trim(struct span s)
{
    while (s.len > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* RFC 9110 5.6.2. */
static bool is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c >= 0x7f || (!isalnum(c) && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)))
            return false;
    }
    return s.len > 0;
}

static bool is_printable(struct span s, bool with_blanks)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (with_blanks ? (c < 0x20 && c != '\t') || c == 0x7f : c <= 0x20 || c >= 0x7f)
            return false;
    }
    return true;
}

static bool copy(char *out, size_t size, struct span s)
{
    if (s.len >= size)
        return false;
    memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return true;
}

static enum request_status parse_target(struct request *r, struct span target)
{
    struct span path;

    if (target.len == 0 || *target.at != '/' || !is_printable(target, false))
        return REQUEST_MALFORMED;
    if (target.len >= REQUEST_TARGET_MAX)
        return REQUEST_TARGET;
    r->query[0] = '\0';
    if (!take_until(&target, '?', &path))
        path = target;
    else if (!copy(r->query, sizeof(r->query), target))
        return REQUEST_TARGET;
    return copy(r->path, sizeof(r->path), path) ? REQUEST_FINE : REQUEST_TARGET;
}

static enum request_status parse_request_line(struct request *r, struct span line)
{
    struct span method, target;

    if (!take_until(&line, ' ', &method) || !take_until(&line, ' ', &target) || !is_token(method))
        return REQUEST_MALFORMED;
    if (line.len != 8 || memcmp(line.at, "HTTP/", 5) != 0 || !isdigit((unsigned char)line.at[5]) ||
        line.at[6] != '.' || !isdigit((unsigned char)line.at[7]))
        return REQUEST_MALFORMED;
    r->is_head = method.len == 4 && memcmp(method.at, "HEAD", 4) == 0;
    if (line.at[5] != '1')
        return REQUEST_VERSION;
    if (!r->is_head && !(method.len == 3 && memcmp(method.at, "GET", 3) == 0))
        return REQUEST_METHOD;
    return parse_target(r, target);
}

/* "[::1]:80", "[::1]": what is between the brackets, if nothing but a port follows. */
static bool unbracket(struct span *host)
{
    struct span inside;

    host->at++;
    host->len--;
    if (!take_until(host, ']', &inside) || (host->len > 0 && *host->at != ':'))
        return false;
    *host = inside;
    return true;
}

static enum request_status parse_host(struct request *r, struct span host)
{
    bool is_bracketed = host.len > 0 && *host.at == '[';
    struct in6_addr ignored;
    struct span name;

    if (is_bracketed && !unbracket(&host))
        return REQUEST_MALFORMED;
    if (!is_bracketed && take_until(&host, ':', &name))
        host = name;
    if (host.len == 0 || !is_printable(host, false) || !copy(r->host, sizeof(r->host), host))
        return REQUEST_MALFORMED;
    r->is_host_literal = inet_pton(is_bracketed ? AF_INET6 : AF_INET, r->host, &ignored) == 1;
    if (is_bracketed && !r->is_host_literal)
        return REQUEST_MALFORMED;
    return REQUEST_FINE;
}

/* One field line; `*hosts` counts the Host fields. */
static enum request_status parse_field(struct request *r, struct span line, unsigned *hosts)
{
    struct span name;

    if (!take_until(&line, ':', &name) || !is_token(name) || !is_printable(line, true))
        return REQUEST_MALFORMED;
    line = trim(line);
    if (span_is(name, "Transfer-Encoding") ||
        (span_is(name, "Content-Length") && !span_is(line, "0")))
        return REQUEST_BODY;
    if (!span_is(name, "Host"))
        return REQUEST_FINE;
    if (++*hosts > 1)
        return REQUEST_MALFORMED;
    return parse_host(r, line);
}

size_t request_head_len(const char *bytes, size_t len)
{
    struct span left = {bytes, len}, line;
    bool is_first = true;

    while (take_line(&left, &line)) {
        if (line.len == 0 && !is_first)
            return len - left.len;
        is_first = false;
    }
    return 0;
}

enum request_status request_parse(struct request *r, const char *head, size_t len)
{
    struct span left = {head, len}, line;
    enum request_status status;
    unsigned hosts = 0;

    r->is_head = false;
    if (!take_line(&left, &line))
        return REQUEST_MALFORMED;
    status = parse_request_line(r, line);
    while (status == REQUEST_FINE && take_line(&left, &line) && line.len > 0)
        status = parse_field(r, line, &hosts);
    return status == REQUEST_FINE && hosts == 0 ? REQUEST_MALFORMED : status;
}

bool request_is_for_us(const struct request *r, const char *name)
{
    return r->is_host_literal || strcasecmp(r->host, "localhost") == 0 ||
           (name != NULL && strcasecmp(r->host, name) == 0);
}

/* One character of a value, which begins behind `*at`; -1: it is none. */
static int decode(struct span *at)
{
    uint8_t byte;
    int c = (unsigned char)*at->at;

    at->at++;
    at->len--;
    if (c == '+')
        return ' ';
    if (c != '%')
        return c;
    if (at->len < 2 || hex_decode(&byte, 1, at->at, 2) != 1 || byte == 0)
        return -1;
    at->at += 2;
    at->len -= 2;
    return byte;
}

static bool decode_all(struct span value, char *out, size_t size)
{
    size_t n = 0;

    while (value.len > 0 && n + 1 < size) {
        int c = decode(&value);
        if (c < 0)
            break;
        out[n++] = (char)c;
    }
    out[value.len == 0 ? n : 0] = '\0';
    return value.len == 0;
}

bool request_argument(const struct request *r, const char *name, char *out, size_t size)
{
    struct span left = {r->query, strlen(r->query)}, pair, key;

    out[0] = '\0';
    while (left.len > 0) {
        if (!take_until(&left, '&', &pair)) {
            pair = left;
            left.len = 0;
        }
        if (take_until(&pair, '=', &key) && span_is(key, name))
            return decode_all(pair, out, size);
    }
    return false;
}
