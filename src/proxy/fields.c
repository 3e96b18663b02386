/*
 * fields: one line's fields. See the header. Never shows a key.
 */
#include "proxy/fields.h"

#include "base/bytes.h"

#include <assert.h>

#define IDENTITY_TEXT_MAX (4 * PSK_IDENTITY_MAX + 1)

void fields_init(struct fields *f)
{
    f->count = 0;
    f->used = 0;
    f->list[0].key = NULL;
}

static void add(struct fields *f, struct log_field field)
{
    assert(f->count < FIELDS_MAX);
    f->list[f->count++] = field;
    f->list[f->count].key = NULL;
}

void fields_text(struct fields *f, const char *key, const char *text)
{
    add(f, (struct log_field){key, text, 0});
}

void fields_number(struct fields *f, const char *key, long long number)
{
    add(f, (struct log_field){key, NULL, number});
}

char *fields_room(struct fields *f, size_t size)
{
    char *room = f->room + f->used;

    assert(size <= FIELDS_ROOM - f->used);
    f->used += size;
    return room;
}

void fields_addr(struct fields *f, const char *key, const struct addr *a)
{
    fields_text(f, key, addr_format(a, fields_room(f, ADDR_TEXT_MAX)));
}

void fields_bytes(struct fields *f, const char *key, const uint8_t *bytes, size_t len)
{
    char *room = fields_room(f, IDENTITY_TEXT_MAX);

    fields_text(f, key, bytes_escape(room, IDENTITY_TEXT_MAX, bytes, len));
}

void fields_session(struct fields *f, const struct session *s, const struct conf_service *service)
{
    fields_number(f, "id", s->id);
    fields_text(f, "service", service->name);
}

void fields_identity(struct fields *f, const struct session *s)
{
    size_t len;
    const uint8_t *identity = session_identity(s, &len);

    fields_bytes(f, "identity", identity, len);
}

void fields_client(struct fields *f, const struct session *s)
{
    fields_addr(f, "peer", &s->peer);
    fields_identity(f, s);
}

void fields_traffic(struct fields *f, const struct session *s)
{
    fields_number(f, "in-datagrams", s->in_datagrams);
    fields_number(f, "in-bytes", s->in_bytes);
    fields_number(f, "out-datagrams", s->out_datagrams);
    fields_number(f, "out-bytes", s->out_bytes);
    fields_number(f, "drops", s->drops);
    fields_number(f, "refused", s->refused);
}
