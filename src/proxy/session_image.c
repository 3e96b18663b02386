/*
 * session_image: fields out and in. See the header.
 * Must never believe a number that a session cannot have, nor let one go without its length.
 */
#include "proxy/session_image.h"

#include "base/bytes.h"
#include "proxy/roam.h"

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
    TAG_IDS,
    TAG_MOVES,
    TAG_TALLY,
    TAG_KEY,
    TAG_TICKET,
    TAG_RESUMED,
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

enum ids_flag { IDS_RRC = 1 };

enum moves_flag { MOVES_UNPROVEN = 1, MOVES_PROOF = 2 };

/* Largest values of what a session keeps in fewer bits. */
#define NUMBER_MAX ((UINT64_C(1) << SESSION_NUMBER_BITS) - 1)

#define REPLAYS (FATE_DROP_REPLAY - FATE_DROP_JUNK)

/* By name, for another version may have others. */
struct side {
    const char *const *names; /* of the first drop */
    unsigned count;
};

#define FATE_TEXT(name, text) text,
static const char *const client_fates[] = {FATES_FROM_CLIENT(FATE_TEXT)};
static const char *const backend_fates[] = {FATES_FROM_BACKEND(FATE_TEXT)};
#undef FATE_TEXT

static const struct side sides[] = {{client_fates + FATE_DROP_JUNK, TALLY_CLIENT_DROPS},
                                    {backend_fates + BACK_DROP_TOO_BIG, TALLY_BACKEND_DROPS}};

static uint32_t *drops_of(struct tally *t, size_t side)
{
    return side == 0 ? t->from_client : t->from_backend;
}

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

/* The record in front of the farewell, and what only a tally tells. */
static void write_resumption(struct writer *w, const struct session_image *image)
{
    if (image->ticket_len > 0)
        write_blob(w, TAG_TICKET, image->ticket, image->ticket_len);
    if (image->has_tally && image->tally.is_resumed)
        end(w, begin(w, TAG_RESUMED));
}

static void write_ids(struct writer *w, const struct session_image *image)
{
    uint8_t *length;

    if (!image->has_cid)
        return;
    length = begin(w, TAG_IDS);
    write_bytes(w, image->cid.own, sizeof image->cid.own);
    write_u8(w, image->cid.has_rrc ? IDS_RRC : 0);
    write_bytes(w, image->cid.peer, image->cid.peer_len);
    end(w, length);
}

static void write_proof(struct writer *w, const struct session_image_moves *moves)
{
    write_addr(w, &moves->home_peer);
    write_addr(w, &moves->home_local);
    write_u16(w, (uint16_t)moves->home_listener);
    write_addr(w, &moves->asked);
    write_bytes(w, moves->cookie, sizeof moves->cookie);
    write_u64(w, moves->asked_ago);
    write_u64(w, moves->left);
}

static void write_moves(struct writer *w, const struct session_image_moves *moves)
{
    uint8_t *length;

    if (moves->count == 0 && !moves->is_unproven && !moves->has_proof)
        return;
    length = begin(w, TAG_MOVES);
    write_u32(w, moves->count);
    write_u8(w, (uint8_t)((moves->is_unproven ? MOVES_UNPROVEN : 0) |
                          (moves->has_proof ? MOVES_PROOF : 0)));
    write_u64(w, moves->budget);
    if (moves->has_proof)
        write_proof(w, moves);
    end(w, length);
}

static void write_drops(struct writer *w, const struct tally *tally, size_t side)
{
    const uint32_t *drops = side == 0 ? tally->from_client : tally->from_backend;

    for (unsigned i = 0; i < sides[side].count; i++) {
        const char *name = sides[side].names[i];
        if (drops[i] == 0)
            continue;
        write_u8(w, (uint8_t)side);
        write_u32(w, drops[i]);
        write_u8(w, (uint8_t)strlen(name));
        write_bytes(w, name, strlen(name));
    }
}

static void write_tally(struct writer *w, const struct session_image *image)
{
    const struct tally *tally = &image->tally;
    uint8_t *length;

    if (!image->has_tally)
        return;
    length = begin(w, TAG_TALLY);
    write_u64(w, tally->newest);
    write_u64(w, tally->opened);
    write_u64(w, tally->late);
    write_u32(w, tally->handshake_ms);
    write_u32(w, tally->too_old);
    write_drops(w, tally, 0);
    write_drops(w, tally, 1);
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
    write_ids(w, image);
    write_moves(w, &image->moves);
    write_tally(w, image);
    if (image->key_len > 0)
        write_blob(w, TAG_KEY, image->key, image->key_len);
    write_resumption(w, image);
    end(w, length);
}

/* ---- in ---- */

static bool is_route(const struct addr *peer, const struct addr *local)
{
    return peer->family != 0 && local->family == peer->family && peer->port != 0 &&
           local->port != 0;
}

static bool read_place(struct reader *r, struct session_image *image)
{
    image->service = read_u16(r);
    image->listener = read_u16(r);
    image->peer = read_addr(r);
    image->local = read_addr(r);
    return is_route(&image->peer, &image->local);
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

static bool read_ids(struct reader *r, struct session_image *image)
{
    struct association_cid *cid = &image->cid;
    const uint8_t *own = read_bytes(r, sizeof cid->own);
    uint8_t flags = read_u8(r);

    if (r->bad || r->left > WIRE_CID_MAX || flags > IDS_RRC)
        return false;
    image->has_cid = true;
    memcpy(cid->own, own, sizeof cid->own);
    cid->has_rrc = (flags & IDS_RRC) != 0;
    cid->peer_len = (uint8_t)r->left;
    if (cid->peer_len > 0)
        memcpy(cid->peer, read_bytes(r, cid->peer_len), cid->peer_len);
    return true;
}

static bool read_proof(struct reader *r, struct session_image_moves *moves)
{
    const uint8_t *cookie;

    moves->home_peer = read_addr(r);
    moves->home_local = read_addr(r);
    moves->home_listener = read_u16(r);
    moves->asked = read_addr(r);
    cookie = read_bytes(r, sizeof moves->cookie);
    moves->asked_ago = read_u64(r);
    moves->left = read_u64(r);
    if (cookie == NULL)
        return false;
    memcpy(moves->cookie, cookie, sizeof moves->cookie);
    return is_route(&moves->home_peer, &moves->home_local) && moves->left <= ROAM_PROOF_MS;
}

static bool read_moves(struct reader *r, struct session_image *image)
{
    struct session_image_moves *moves = &image->moves;
    uint8_t flags;

    moves->count = read_u32(r);
    flags = read_u8(r);
    moves->is_unproven = (flags & MOVES_UNPROVEN) != 0;
    moves->has_proof = (flags & MOVES_PROOF) != 0;
    moves->budget = read_u64(r);
    if (flags >= 2 * MOVES_PROOF)
        return false;
    return moves->has_proof ? read_proof(r, moves) : moves->count > 0 || moves->is_unproven;
}

/* One that nobody has any more is nobody's loss. */
static void take_drops(struct tally *tally, uint8_t side, struct reader *name, uint32_t count)
{
    for (unsigned i = 0; i < sides[side].count; i++) {
        const char *known = sides[side].names[i];
        if (strlen(known) == name->left && memcmp(known, name->at, name->left) == 0)
            drops_of(tally, side)[i] = count;
    }
}

static bool read_tally(struct reader *r, struct session_image *image)
{
    struct tally *tally = &image->tally;
    uint32_t handshake_ms;

    image->has_tally = true;
    tally->newest = read_u64(r);
    tally->opened = read_u64(r);
    tally->late = read_u64(r);
    handshake_ms = read_u32(r);
    tally->handshake_ms = handshake_ms & INT32_MAX;
    tally->too_old = read_u32(r);
    while (r->left > 0) {
        uint8_t side = read_u8(r);
        uint32_t count = read_u32(r);
        struct reader name = read_vec8(r);
        if (r->bad || side >= sizeof sides / sizeof *sides)
            return false;
        take_drops(tally, side, &name, count);
    }
    return handshake_ms <= INT32_MAX && tally->too_old <= tally->from_client[REPLAYS];
}

static bool read_key(struct reader *r, struct session_image *image)
{
    if (r->left == 0 || r->left > sizeof image->key)
        return false;
    image->key_len = r->left;
    memcpy(image->key, read_bytes(r, image->key_len), image->key_len);
    return true;
}

/* One record with one whole message, for nothing else is repeated. */
static bool read_ticket(struct reader *r, struct session_image *image)
{
    struct wire_record rec;
    struct wire_message m;

    image->ticket = r->at;
    image->ticket_len = r->left;
    if (r->left > RESUME_RECORD_MAX || !wire_next_record(r, &rec) || rec.type != WIRE_HANDSHAKE ||
        rec.epoch != 0)
        return false;
    struct reader body = reader_of(rec.body, rec.len);
    return wire_next_message(&body, &m) && m.type == WIRE_NEW_TICKET && wire_is_whole(&m) &&
           body.left == 0;
}

static bool read_resumed(struct reader *r, struct session_image *image)
{
    (void)r;
    image->tally.is_resumed = true;
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
        [TAG_FLOW] = read_flow,     [TAG_FAREWELL] = read_farewell, [TAG_IDS] = read_ids,
        [TAG_MOVES] = read_moves,   [TAG_TALLY] = read_tally,       [TAG_KEY] = read_key,
        [TAG_TICKET] = read_ticket, [TAG_RESUMED] = read_resumed,
    };

    return read[tag](r, image) && !r->bad && r->left == 0;
}

/* Fields that mean nothing without another one. */
static bool stands_alone(unsigned seen, enum tag tag, enum tag other)
{
    return (seen & 1u << tag) != 0 && (seen & 1u << other) == 0;
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
    return (seen & TAGS_NEEDED) == TAGS_NEEDED && !stands_alone(seen, TAG_MOVES, TAG_IDS) &&
           !stands_alone(seen, TAG_TICKET, TAG_FAREWELL) &&
           !stands_alone(seen, TAG_RESUMED, TAG_TALLY);
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
