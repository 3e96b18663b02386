/*
 * bytes: bounded reading and writing of big-endian fields, hex, secrets.
 * Must never know what the bytes mean.
 */
#include "base/bytes.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The next n bytes of the input, or NULL; a failure empties the reader, so loops on `left` end. */
static const uint8_t *take(struct reader *r, size_t n)
{
    const uint8_t *p = r->at;

    if (r->bad || n > r->left) {
        r->bad = true;
        r->left = 0;
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return p;
}

/* Inlined, so that `n` is a number wherever it is used; so are the others. */
static inline __attribute__((always_inline)) uint64_t read_be(struct reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;

    for (size_t i = 0; p != NULL && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static struct reader read_vec(struct reader *r, size_t len)
{
    const uint8_t *p = take(r, len);

    return (struct reader){.at = r->bad ? r->at : p, .left = r->bad ? 0 : len, .bad = r->bad};
}

static uint8_t *claim(struct writer *w, size_t n)
{
    uint8_t *p = w->at;

    if (w->bad || n > w->left) {
        w->bad = true;
        w->left = 0;
        return NULL;
    }
    w->at += n;
    w->left -= n;
    return p;
}

/* `n`: 1 to 8. */
static inline __attribute__((always_inline)) void put_be(uint8_t *p, uint64_t v, size_t n)
{
    const uint64_t first = htobe64(v << (64 - 8 * n));

    memcpy(p, &first, n);
}

static inline __attribute__((always_inline)) void write_be(struct writer *w, uint64_t v, size_t n)
{
    uint8_t *p = claim(w, n);

    if (p != NULL)
        put_be(p, v, n);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
}

static size_t escaped_size(uint8_t c)
{
    return is_plain(c) ? 1 : 4;
}

static void escape_one(char *out, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";

    if (is_plain(c)) {
        out[0] = (char)c;
        return;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[c >> 4];
    out[3] = digits[c & 15];
}

struct reader reader_of(const void *data, size_t len)
{
    /* An empty input may come as NULL, which no arithmetic is allowed on. */
    return (struct reader){.at = data != NULL ? data : "", .left = len};
}

uint8_t read_u8(struct reader *r)
{
    return (uint8_t)read_be(r, 1);
}

uint16_t read_u16(struct reader *r)
{
    return (uint16_t)read_be(r, 2);
}

uint32_t read_u24(struct reader *r)
{
    return (uint32_t)read_be(r, 3);
}

uint32_t read_u32(struct reader *r)
{
    return (uint32_t)read_be(r, 4);
}

uint64_t read_u48(struct reader *r)
{
    return read_be(r, 6);
}

uint64_t read_u64(struct reader *r)
{
    return read_be(r, 8);
}

const uint8_t *read_bytes(struct reader *r, size_t n)
{
    return take(r, n);
}

struct reader read_vec8(struct reader *r)
{
    return read_vec(r, read_u8(r));
}

struct reader read_vec16(struct reader *r)
{
    return read_vec(r, read_u16(r));
}

struct writer writer_of(void *data, size_t size)
{
    return (struct writer){.at = data, .left = size};
}

void write_u8(struct writer *w, uint8_t v)
{
    write_be(w, v, 1);
}

void write_u16(struct writer *w, uint16_t v)
{
    write_be(w, v, 2);
}

void write_u24(struct writer *w, uint32_t v)
{
    write_be(w, v, 3);
}

void write_u32(struct writer *w, uint32_t v)
{
    write_be(w, v, 4);
}

void write_u48(struct writer *w, uint64_t v)
{
    write_be(w, v, 6);
}

void write_u64(struct writer *w, uint64_t v)
{
    write_be(w, v, 8);
}

void write_bytes(struct writer *w, const void *data, size_t n)
{
    uint8_t *p = n > 0 ? claim(w, n) : NULL;

    if (p != NULL)
        memcpy(p, data, n);
}

void put_u16(uint8_t p[2], uint16_t v)
{
    put_be(p, v, 2);
}

void put_u48(uint8_t p[6], uint64_t v)
{
    put_be(p, v, 6);
}

void put_u64(uint8_t p[8], uint64_t v)
{
    put_be(p, v, 8);
}

void hex_encode(char *out, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

int hex_decode(uint8_t *out, size_t size, const char *hex, size_t hex_len)
{
    size_t n = hex_len / 2;

    if (hex_len % 2 != 0 || n > size || n > INT_MAX)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(hex[2 * i]);
        int low = hex_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return -1;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (int)n;
}

size_t decimal_encode(char out[DECIMAL_MAX], uint64_t v)
{
    char reversed[DECIMAL_MAX];
    size_t len = 0;

    do {
        reversed[len++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    return len;
}

bool bytes_equal_secret(const void *a, const void *b, size_t n)
{
    /* volatile: each byte is really read, so the compiler can not leave the loop early. */
    const volatile uint8_t *pa = a, *pb = b;
    uint8_t differ = 0;

    for (size_t i = 0; i < n; i++)
        differ |= pa[i] ^ pb[i];
    return differ == 0;
}

void bytes_wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

void bytes_random(void *p, size_t n)
{
    uint8_t *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}

const char *bytes_escape(char *out, size_t size, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t whole = 0, used = 0, limit;

    assert(size > 0);
    for (size_t i = 0; i < n && whole < size; i++)
        whole += escaped_size(p[i]);
    limit = whole < size ? whole : size - 1 - (size > 3 ? 3 : size - 1);
    for (size_t i = 0; i < n && used + escaped_size(p[i]) <= limit; i++) {
        escape_one(out + used, p[i]);
        used += escaped_size(p[i]);
    }
    for (size_t dots = 0; whole >= size && dots < 3 && used < size - 1; dots++)
        out[used++] = '.';
    out[used] = '\0';
    return out;
}

int bytes_unescape(void *out, size_t size, const char *text, size_t len)
{
    uint8_t *to = out;
    size_t n = 0;

    for (size_t i = 0; i < len; n++) {
        bool is_escaped = text[i] == '\\';

        if (n >= size)
            return -1;
        if (!is_escaped) {
            to[n] = (uint8_t)text[i++];
            continue;
        }
        if (len - i < 4 || text[i + 1] != 'x' || hex_decode(&to[n], 1, text + i + 2, 2) != 1)
            return -1;
        i += 4;
    }
    return (int)n;
}
