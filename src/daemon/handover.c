/*
 * handover: fields out and in. See the header.
 * Must never know when something is said, nor believe a length.
 */
#include "daemon/handover.h"

#include "base/bytes.h"

#include <string.h>

#define MAGIC UINT32_C(0x64676174) /* "dgat" */

struct writer handover_begin(struct parcel *p, enum handover_kind kind)
{
    struct writer w = parcel_writer(p);

    write_u8(&w, (uint8_t)kind);
    return w;
}

void handover_write_hello(struct writer *w, const struct handover_hello *hello)
{
    write_u32(w, MAGIC);
    write_u32(w, hello->version);
    write_u16(w, (uint16_t)hello->workers);
    write_u16(w, (uint16_t)hello->services);
    write_u32(w, hello->pid);
}

bool handover_read_hello(struct reader *r, struct handover_hello *hello)
{
    bool is_one = read_u32(r) == MAGIC;

    hello->version = read_u32(r);
    hello->workers = read_u16(r);
    hello->services = read_u16(r);
    hello->pid = read_u32(r);
    return is_one && (hello->version != HANDOVER_VERSION || !r->bad);
}

void handover_write_addr(struct writer *w, const struct addr *a)
{
    write_u8(w, a->family == AF_INET ? 4 : a->family == AF_INET6 ? 6 : 0);
    write_bytes(w, a->ip, sizeof(a->ip));
    write_u32(w, a->scope);
    write_u16(w, a->port);
}

struct addr handover_read_addr(struct reader *r)
{
    uint8_t family = read_u8(r);
    const uint8_t *ip = read_bytes(r, sizeof(((struct addr *)NULL)->ip));
    struct addr a = {.family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : 0};

    a.scope = read_u32(r);
    a.port = read_u16(r);
    if (ip != NULL)
        memcpy(a.ip, ip, sizeof(a.ip));
    if (family != 0 && a.family == 0)
        r->bad = true;
    return a;
}

void handover_write_socket(struct writer *w, const struct handover_socket *s)
{
    write_u16(w, (uint16_t)s->worker);
    write_u8(w, s->name_len);
    write_bytes(w, s->name, s->name_len);
    handover_write_addr(w, &s->at);
    handover_write_addr(w, &s->bound);
    handover_write_addr(w, &s->range.base);
    write_u8(w, (uint8_t)s->range.bits);
}

bool handover_read_socket(struct reader *r, struct handover_socket *s)
{
    const uint8_t *name;

    *s = (struct handover_socket){.worker = read_u16(r)};
    s->name_len = read_u8(r);
    name = read_bytes(r, s->name_len);
    if (name != NULL)
        memcpy(s->name, name, s->name_len);
    s->at = handover_read_addr(r);
    s->bound = handover_read_addr(r);
    s->range.base = handover_read_addr(r);
    s->range.bits = read_u8(r);
    return !r->bad;
}

void handover_write_cookies(struct writer *w, const struct cookie_secrets *s)
{
    write_bytes(w, s->key[0].bytes, sizeof(s->key[0].bytes));
    write_bytes(w, s->key[1].bytes, sizeof(s->key[1].bytes));
    write_u8(w, s->generation);
}

bool handover_read_cookies(struct reader *r, struct cookie_secrets *s)
{
    for (int i = 0; i < 2; i++) {
        const uint8_t *key = read_bytes(r, sizeof(s->key[i].bytes));
        if (key != NULL)
            memcpy(s->key[i].bytes, key, sizeof(s->key[i].bytes));
    }
    s->generation = read_u8(r);
    return !r->bad && r->left == 0;
}
