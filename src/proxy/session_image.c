/*
 * session_image: fields out and in. See the header.
 * Must never believe a number that a session cannot have, nor let one go without its length.
 */
#include "proxy/session_image.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

enum tag {
    TAG_PLACE = 1,
    TAG_IDENTITY,
    TAG_RECORDS,
    TAG_SECRET,
    TAG_LIFE,
    TAG_COUNTS,
    TAG_FLOW,
    TAG_FAREWELL,
    TAG_END,
};

#define TAGS_NEEDED                                                                                \
    (1u << TAG_PLACE | 1u << TAG_IDENTITY | 1u << TAG_RECORDS | 1u << TAG_SECRET |                 \
     1u << TAG_LIFE | 1u << TAG_COUNTS)

enum life_flag { LIFE_EMS = 1 };

enum flow_flag {
    FLOW_OPEN = 1,
    FLOW_LONE = 2,
    FLOW_LISTED = 4,
    FLOW_REFUSED = 8,
    FLOW_BEFORE = 16,
};

/* Largest values of what a session keeps in fewer bits. */
#define NUMBER_MAX ((UINT64_C(1) << SESSION_NUMBER_BITS) - 1)

/* ---- addresses ---- */

static void write_addr(struct writer *w, const struct addr *a)
{
    write_u8(w, a->family == AF_INET ? 4 : a->family == AF_INET6 ? 6 : 0);
    write_bytes(w, a->ip, sizeof a->ip);
    write_u32(w, a->scope);
    write_u16(w, a->port);
}

/* One spelling each: the table of peers goes by all of it. */
static bool is_plain(const struct addr *a)
{
    static const uint8_t nothing[16];
    size_t used = a->family == AF_INET6 ? 16 : a->family == AF_INET ? 4 : 0;

    return memcmp(a->ip + used, nothing, sizeof a->ip - used) == 0 &&
           (a->family == AF_INET6 || a->scope == 0);
}

static struct addr read_addr(struct reader *r)
{
    uint8_t family = read_u8(r);
    const uint8_t *ip = read_bytes(r, 16);
    struct addr a = {.family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : 0};

    a.scope = read_u32(r);
    a.port = read_u16(r);
    if (ip != NULL)
        memcpy(a.ip, ip, sizeof a.ip);
    if ((family != 0 && a.family == 0) || !is_plain(&a))
        r->bad = true;
    return a;
}

/* ---- out ---- */

/* Where a field's length is to stand. */
static uint8_t *begin(struct writer *w, enum tag tag)
{
    uint8_t *length;

    write_u8(w, (uint8_t)tag);
    length = w->at;
    write_u16(w, 0);
    return length;
}

static void end(struct writer *w, uint8_t *length)
{
    if (!w->bad)
        put_u16(length, (uint16_t)(w->at - length - 2));
}

static void write_place(struct writer *w, const struct session_image *image)
{
    uint8_t *length = begin(w, TAG_PLACE);

    write_u16(w, (uint16_t)image->service);
    write_u16(w, (uint16_t)image->listener);
    write_addr(w, &image->peer);
    write_addr(w, &image->local);
    end(w, length);
}

static void write_blob(struct writer *w, enum tag tag, const void *data, size_t len)
{
    uint8_t *length = begin(w, tag);

    write_bytes(w, data, len);
    end(w, length);
}

static void write_records(struct writer *w, const struct session_image *image)
{
    uint8_t *length = begin(w, TAG_RECORDS);

    record_state_write(w, &image->association);
    end(w, length);
}

static void write_life(struct writer *w, const struct session_image *image)
{
    uint8_t *length = begin(w, TAG_LIFE);

    write_u48(w, image->id);
    write_u64(w, image->age);
    write_u64(w, image->idle);
    write_u32(w, image->hello_print);
    write_u16(w, (uint16_t)image->plain_max);
    write_u8(w, image->has_ems ? LIFE_EMS : 0);
    end(w, length);
}

static void write_counts(struct writer *w, const struct session_image *image)
{
    uint8_t *length = begin(w, TAG_COUNTS);

    write_u64(w, image->in_datagrams);
    write_u64(w, image->in_bytes);
    write_u64(w, image->out_datagrams);
    write_u64(w, image->out_bytes);
    write_u32(w, image->drops);
    write_u32(w, image->refused);
    end(w, length);
}

static void write_flow(struct writer *w, const struct session_image_flow *flow)
{
    unsigned flags = (flow->is_open ? FLOW_OPEN : 0) | (flow->is_lone ? FLOW_LONE : 0) |
                     (flow->is_listed ? FLOW_LISTED : 0) | (flow->was_refused ? FLOW_REFUSED : 0) |
                     (flow->port != 0 ? FLOW_BEFORE : 0);
    uint8_t *length;

    if (!flow->is_open && flow->port == 0)
        return;
    length = begin(w, TAG_FLOW);
    write_u8(w, (uint8_t)flags);
    write_u32(w, flow->source);
    write_u16(w, flow->port);
    write_addr(w, &flow->backend);
    end(w, length);
}

static void write_farewell(struct writer *w, const struct session_image *image)
{
    uint8_t *length;

    if (!image->has_farewell)
        return;
    length = begin(w, TAG_FAREWELL);
    write_bytes(w, image->farewell.finished, sizeof image->farewell.finished);
    write_u48(w, image->farewell.ccs_seq);
    end(w, length);
}

void session_image_write(struct writer *w, const struct session_image *image)
{
    uint8_t *length = w->at;

    write_u16(w, 0);
    write_place(w, image);
    write_blob(w, TAG_IDENTITY, image->identity, image->identity_len);
    write_records(w, image);
    write_blob(w, TAG_SECRET, image->secret_print, sizeof image->secret_print);
    write_life(w, image);
    write_counts(w, image);
    write_flow(w, &image->flow);
    write_farewell(w, image);
    end(w, length);
}

/* ---- in ---- */

static bool read_place(struct reader *r, struct session_image *image)
{
    image->service = read_u16(r);
    image->listener = read_u16(r);
    image->peer = read_addr(r);
    image->local = read_addr(r);
    return image->peer.family != 0 && image->local.family == image->peer.family &&
           image->peer.port != 0 && image->local.port != 0;
}

static bool read_identity(struct reader *r, struct session_image *image)
{
    const uint8_t *identity;

    image->identity_len = r->left;
    if (r->left == 0 || r->left > sizeof image->identity || memchr(r->at, 0, r->left) != NULL)
        return false;
    identity = read_bytes(r, r->left);
    memcpy(image->identity, identity, image->identity_len);
    return true;
}

static bool read_secret(struct reader *r, struct session_image *image)
{
    const uint8_t *print = read_bytes(r, sizeof image->secret_print);

    if (print == NULL)
        return false;
    memcpy(image->secret_print, print, sizeof image->secret_print);
    return true;
}

static bool read_life(struct reader *r, struct session_image *image)
{
    uint8_t flags;

    image->id = read_u48(r);
    image->age = read_u64(r);
    image->idle = read_u64(r);
    image->hello_print = read_u32(r);
    image->plain_max = read_u16(r);
    flags = read_u8(r);
    image->has_ems = (flags & LIFE_EMS) != 0;
    return image->id != 0 && image->idle <= image->age && image->plain_max > 0 &&
           image->plain_max <= WIRE_PLAINTEXT_MAX && (flags & ~(unsigned)LIFE_EMS) == 0;
}

static bool read_counts(struct reader *r, struct session_image *image)
{
    image->in_datagrams = read_u64(r);
    image->in_bytes = read_u64(r);
    image->out_datagrams = read_u64(r);
    image->out_bytes = read_u64(r);
    image->drops = read_u32(r);
    image->refused = read_u32(r);
    return image->in_datagrams <= NUMBER_MAX && image->out_datagrams <= NUMBER_MAX;
}

static bool read_flow(struct reader *r, struct session_image *image)
{
    struct session_image_flow *flow = &image->flow;
    uint8_t flags = read_u8(r);

    flow->is_open = (flags & FLOW_OPEN) != 0;
    flow->is_lone = (flags & FLOW_LONE) != 0;
    flow->is_listed = (flags & FLOW_LISTED) != 0;
    flow->was_refused = (flags & FLOW_REFUSED) != 0;
    flow->source = read_u32(r);
    flow->port = read_u16(r);
    flow->backend = read_addr(r);
    if (flags >= 2 * FLOW_BEFORE || ((flags & FLOW_BEFORE) != 0) != (flow->port != 0))
        return false;
    return flow->is_open ? flow->backend.family != 0 && flow->port != 0
                         : !flow->is_lone && flow->port != 0;
}

static bool read_farewell(struct reader *r, struct session_image *image)
{
    const uint8_t *finished = read_bytes(r, sizeof image->farewell.finished);

    if (finished == NULL || finished[0] != WIRE_FINISHED)
        return false;
    memcpy(image->farewell.finished, finished, sizeof image->farewell.finished);
    image->farewell.ccs_seq = read_u48(r);
    image->has_farewell = true;
    return true;
}

static bool read_records(struct reader *r, struct session_image *image)
{
    return record_state_read(r, &image->association);
}

static bool read_field(enum tag tag, struct reader *r, struct session_image *image)
{
    static bool (*const read[])(struct reader *, struct session_image *) = {
        [TAG_PLACE] = read_place,   [TAG_IDENTITY] = read_identity, [TAG_RECORDS] = read_records,
        [TAG_SECRET] = read_secret, [TAG_LIFE] = read_life,         [TAG_COUNTS] = read_counts,
        [TAG_FLOW] = read_flow,     [TAG_FAREWELL] = read_farewell,
    };

    return read[tag](r, image) && !r->bad && r->left == 0;
}

static bool read_fields(struct reader *r, struct session_image *image)
{
    unsigned seen = 0;

    while (r->left > 0) {
        uint8_t tag = read_u8(r);
        struct reader content = read_vec16(r);
        if (r->bad || tag == 0 || tag >= TAG_END || (seen & 1u << tag) != 0)
            return false;
        if (!read_field((enum tag)tag, &content, image))
            return false;
        seen |= 1u << tag;
    }
    return (seen & TAGS_NEEDED) == TAGS_NEEDED;
}

bool session_image_read(struct reader *r, struct session_image *image)
{
    struct reader fields = read_vec16(r);

    *image = (struct session_image){0};
    if (!r->bad && read_fields(&fields, image))
        return true;
    bytes_wipe(image, sizeof *image);
    r->bad = true;
    return false;
}

/* ---- from sessions and to them ---- */

void session_image_print(const struct association *a, const struct psk *psk,
                         uint8_t out[SESSION_SECRET_PRINT])
{
    struct hash_key key;

    memcpy(key.bytes, keys_server_key(&a->keys, a->suite), sizeof key.bytes);
    siphash128(&key, psk->key, psk->key_len, out);
    bytes_wipe(&key, sizeof key);
}

void session_image_save(struct session_image *image, const struct session *s, uint64_t now)
{
    assert(s->is_placed && s->state == SESSION_OPEN);
    *image = (struct session_image){
        .service = s->service,
        .listener = s->listener,
        .peer = s->peer,
        .identity_len = s->psk->identity_len,
        .id = s->id,
        .age = now - s->opened,
        .idle = now - s->used,
        .hello_print = s->hello_print,
        .plain_max = s->plain_max,
        .has_ems = s->has_ems,
        .in_datagrams = s->in_datagrams,
        .in_bytes = s->in_bytes,
        .out_datagrams = s->out_datagrams,
        .out_bytes = s->out_bytes,
        .drops = s->drops,
        .refused = s->refused,
        .flow = {.source = s->backend_source, .port = s->backend_port},
        .has_farewell = session_tail_has_farewell(s->tail),
    };
    memcpy(image->identity, s->psk->identity, s->psk->identity_len);
    memcpy(&image->association, &s->association, association_size(s->association.suite));
    image->association.lease = 0; /* is where it was taken */
    session_image_print(&s->association, s->psk, image->secret_print);
    if (image->has_farewell)
        image->farewell = s->tail->farewell;
}

/* A clock that began with this host may be younger than the session. */
static uint64_t before(uint64_t now, uint64_t age)
{
    return age < now ? now - age : 1;
}

struct session *session_image_restore(const struct session_image *image,
                                      const struct session_service *service, const struct psk *psk,
                                      uint64_t now)
{
    const struct suite *suite = image->association.suite;
    struct session *s = slab_take(session_memory_of(service->memory, suite));

    if (s == NULL)
        return NULL;
    list_init(&s->idle);
    s->psk = psk;
    s->state = SESSION_OPEN;
    s->is_placed = true;
    s->has_ems = image->has_ems;
    s->opened = before(now, image->age);
    s->used = before(now, image->idle);
    s->plain_max = image->plain_max;
    s->id = image->id;
    s->hello_print = image->hello_print;
    s->backend_source = image->flow.source & 31;
    s->backend_port = image->flow.port;
    s->in_datagrams = image->in_datagrams;
    s->out_datagrams = image->out_datagrams;
    s->in_bytes = image->in_bytes;
    s->out_bytes = image->out_bytes;
    s->drops = image->drops;
    s->refused = image->refused;
    memcpy(&s->association, &image->association, association_size(suite));
    if (image->has_farewell)
        session_tail_make(&s->tail, service->memory, now);
    if (s->tail != NULL)
        s->tail->farewell = image->farewell;
    return s;
}
