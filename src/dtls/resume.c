/*
 * resume: which session is good for what, and the bytes about it. See the header.
 * Must never let a session go on that could not begin now.
 */
#include "dtls/resume.h"

#include "base/bytes.h"

#include <string.h>

#define EXTENSION_TICKET 35
#define PROMISE_TICKET 4 /* bytes of it, when it is empty */

/* The wall clock may have been set back: that makes no ticket younger than new. */
static bool is_fresh(const struct ticket *t, uint64_t lifetime, uint64_t wall)
{
    return wall >= t->born && wall - t->born < lifetime;
}

/* Its identity is still there, with the key that it had. */
static const struct psk *find_identity(const struct psk_set *keys, const struct ticket *t,
                                       uint64_t wall)
{
    const struct psk *psk = psk_find_valid(keys, t->identity, t->identity_len, wall);
    uint8_t proof[sizeof t->proof];

    if (psk == NULL || !ticket_prove(psk, t->master, proof) ||
        !bytes_equal_secret(proof, t->proof, sizeof proof))
        return NULL;
    return psk;
}

static enum resume_verdict judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out)
{
    const struct resumption *r = b->resumption;
    const struct ticket *t = &out->ticket;

    if (!is_fresh(t, r->lifetime, b->wall) ||
        !greeting_judge_again(b->tls, t->suite, hello, &out->greeting) ||
        greeting_max_fragment(&out->greeting) != t->max_fragment)
        return RESUME_REFUSED;
    out->psk = find_identity(b->keys, t, b->wall);
    if (out->psk == NULL || !r->may(r->arg, out->psk, t->suite, b->wall))
        return RESUME_REFUSED;
    return out->greeting.extended_master_secret ? RESUME_WELCOME : RESUME_FORBIDDEN;
}

static bool recall(const struct resumption *r, const struct wire_hello *hello, struct ticket *out)
{
    const struct cache_name name = {r->service, hello->session_id};

    return hello->session_id_len == CACHE_ID && cache_find(r->cache, &name, out);
}

enum resume_verdict resume_judge(const struct resume_bench *b, const struct wire_hello *hello,
                                 struct resumed *out)
{
    const uint8_t *sealed;
    size_t len;

    if (b->resumption->keys == NULL)
        return RESUME_NONE;
    memset(out, 0, sizeof *out);
    if (wire_hello_ticket(hello, &sealed, &len) && len > 0) {
        if (!ticket_open(b->resumption->keys, b->resumption->service, sealed, len, &out->ticket))
            return RESUME_REFUSED;
        return judge(b, hello, out);
    }
    if (b->resumption->cache == NULL || hello->session_id_len == 0)
        return RESUME_NONE;
    out->is_by_id = true;
    if (!recall(b->resumption, hello, &out->ticket))
        return RESUME_REFUSED;
    return judge(b, hello, out);
}

enum resume_offer resume_offer(const struct resumption *r, const struct wire_hello *hello)
{
    const uint8_t *sealed;
    size_t len;

    if (r->keys == NULL)
        return RESUME_NOTHING;
    if (wire_hello_ticket(hello, &sealed, &len))
        return RESUME_TICKET;
    return r->cache != NULL ? RESUME_ID : RESUME_NOTHING;
}

/* Where things stand in a ServerHello's body. */
struct map {
    size_t id;         /* the first byte behind its length, which is 0 */
    size_t extensions; /* their length */
};

static bool map_hello(const struct wire_message *m, struct map *map)
{
    struct reader r = reader_of(m->body, m->length);

    read_bytes(&r, 2 + WIRE_RANDOM);
    struct reader id = read_vec8(&r);
    map->id = m->length - r.left;
    read_bytes(&r, 2 + 1);
    map->extensions = m->length - r.left;
    return !r.bad && r.left >= 2 && id.left == 0;
}

/* The ServerHello alone in its record, where something can be saved at the next time. */
static bool take_hello(const struct terms *terms, const struct wire_record *rec,
                       struct wire_message *m)
{
    struct reader r = reader_of(rec->body, rec->len);

    return terms->suite != NULL && terms->suite->exchange != EXCHANGE_PSK &&
           terms->extended_master_secret && rec->type == WIRE_HANDSHAKE &&
           wire_next_message(&r, m) && r.left == 0 && m->type == WIRE_SERVER_HELLO &&
           wire_is_whole(m);
}

/* The extension comes last. */
static void write_extension(struct writer *w, const struct wire_message *m, const struct map *map)
{
    size_t all = m->length - map->extensions - 2;

    write_bytes(w, m->body, map->extensions);
    write_u16(w, (uint16_t)(all + PROMISE_TICKET));
    write_bytes(w, m->body + map->extensions + 2, all);
    write_u16(w, EXTENSION_TICKET);
    write_u16(w, 0);
}

static void write_id(struct writer *w, const struct wire_message *m, const struct map *map,
                     const uint8_t *id)
{
    write_bytes(w, m->body, map->id - 1);
    write_u8(w, CACHE_ID);
    write_bytes(w, id, CACHE_ID);
    write_bytes(w, m->body + map->id, m->length - map->id);
}

size_t resume_promise(const struct terms *terms, const struct wire_record *rec, const uint8_t *id,
                      uint8_t *out, size_t size)
{
    size_t more = id != NULL ? CACHE_ID : PROMISE_TICKET;
    struct wire_message m;
    struct map map;

    if (!take_hello(terms, rec, &m) || !map_hello(&m, &map) || wire_record_size(rec) + more > size)
        return 0;
    struct writer w = writer_of(out + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER, m.length + more);
    memcpy(out, rec->whole, WIRE_RECORD_HEADER);
    put_u16(out + WIRE_RECORD_HEADER - 2, (uint16_t)(rec->len + more));
    wire_put_message_header(out + WIRE_RECORD_HEADER, m.type, m.seq, (uint32_t)(m.length + more));
    if (id != NULL)
        write_id(&w, &m, &map, id);
    else
        write_extension(&w, &m, &map);
    return wire_record_size(rec) + more;
}

/* Of identities of files alone, which tell at any time what has become of them. To be wiped. */
static bool tell(const struct resume_facts *facts, struct ticket *t)
{
    *t = (struct ticket){.suite = facts->suite,
                         .born = facts->wall,
                         .max_fragment = facts->max_fragment,
                         .identity_len = facts->psk->identity_len};
    if (facts->psk->line == 0)
        return false;
    memcpy(t->identity, facts->psk->identity, t->identity_len);
    memcpy(t->master, facts->master, KEYS_MASTER);
    return ticket_prove(facts->psk, facts->master, t->proof);
}

static size_t make_ticket(const struct resumption *r, const struct resume_facts *facts,
                          uint8_t out[TICKET_MAX])
{
    struct ticket t;
    size_t len = 0;

    if (RESUME_RECORD_MIN + ticket_size(facts->psk->identity_len) > facts->room)
        return 0;
    if (tell(facts, &t))
        len = ticket_seal(r->keys, r->service, &t, out);
    bytes_wipe(&t, sizeof t);
    return len;
}

size_t resume_write_ticket(const struct resumption *r, const struct resume_facts *facts,
                           uint8_t out[RESUME_RECORD_MAX], bool *is_issued)
{
    uint8_t *body = out + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    size_t len = make_ticket(r, facts, out + RESUME_RECORD_MIN);
    struct writer w = writer_of(body, 4 + 2);

    *is_issued = len > 0;
    write_u32(&w, len > 0 ? (uint32_t)(r->lifetime / 1000) : 0);
    write_u16(&w, (uint16_t)len);
    wire_put_message_header(out + WIRE_RECORD_HEADER, WIRE_NEW_TICKET, facts->seq,
                            (uint32_t)(4 + 2 + len));
    wire_put_record_header(out, WIRE_HANDSHAKE, WIRE_DTLS12, 0,
                           RESUME_RECORD_MIN + len - WIRE_RECORD_HEADER);
    return RESUME_RECORD_MIN + len;
}

bool resume_remember(const struct resumption *r, const struct resume_facts *facts,
                     const uint8_t id[CACHE_ID], bool *gives_way)
{
    const struct cache_name name = {r->service, id};
    struct ticket t;
    bool is_told = tell(facts, &t);

    *gives_way = is_told && cache_put(r->cache, &name, &t, r->lifetime);
    bytes_wipe(&t, sizeof t);
    return is_told;
}

void resume_forget(const struct resumption *r, const uint8_t id[CACHE_ID])
{
    const struct cache_name name = {r->service, id};

    cache_forget(r->cache, &name);
}
