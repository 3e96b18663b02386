/*
 * state_head: fixed fields and two sealed copies. See the header.
 * Must never take a file for ours that is not: its numbers would be used a second time.
 */
#include "daemon/state_head.h"

#include "base/bytes.h"
#include "proxy/keep_entry.h"

#include <string.h>

enum {
    MAGIC = 16,
    AT_ID = MAGIC + 4,
    AT_BOOT = AT_ID + STATE_ID,
    AT_PRINT = AT_BOOT + STATE_BOOT,
    AT_CLOSED = AT_PRINT + VAULT_PRINT,
    COPY_ROOM = 128,
    COPY_MAX = COPY_ROOM - 8 - VAULT_TAG,
    AT_COOKIES = 128,
    COOKIES_LEN = 1 + 16 + 16 + 8, /* generation, both keys, when */
    AT_TICKETS = AT_COOKIES + 2 * COPY_ROOM,
    TICKETS_LEN = 2 * (TICKET_NAME + TICKET_KEY) + 8, /* newest, before, when */
};

_Static_assert(AT_TICKETS + 2 * COPY_ROOM == STATE_HEAD_SIZE, "all of it is used");
_Static_assert(COOKIES_LEN <= COPY_MAX && TICKETS_LEN <= COPY_MAX, "a copy fits");

static const uint8_t magic[MAGIC] = "dtlsgate state\n";

/* Changes when any part of the file does. */
static uint32_t version(void)
{
    return STATE_HEAD_VERSION << 8 | KEEP_ENTRY_VERSION;
}

/* The boot is a part of it: a file cannot be made to seem one of this boot. */
static bool derive(struct state_head *h, const struct state_secret *secret)
{
    uint8_t salt[STATE_ID + STATE_BOOT];

    memcpy(salt, h->id, STATE_ID);
    memcpy(salt + STATE_ID, h->boot, STATE_BOOT);
    return vault_derive(&h->keys, secret->data, secret->len, salt, sizeof(salt));
}

bool state_head_make(struct state_head *h, const struct state_secret *secret,
                     const uint8_t boot[STATE_BOOT], uint8_t bytes[STATE_HEAD_SIZE])
{
    struct writer w = writer_of(bytes, STATE_HEAD_SIZE);

    bytes_random(h->id, sizeof(h->id));
    memcpy(h->boot, boot, STATE_BOOT);
    if (!derive(h, secret))
        return false;
    write_bytes(&w, magic, sizeof(magic));
    write_u32(&w, version());
    write_bytes(&w, h->id, sizeof(h->id));
    write_bytes(&w, h->boot, sizeof(h->boot));
    write_bytes(&w, h->keys.print, sizeof(h->keys.print));
    memset(w.at, 0, w.left);
    return true;
}

static void closing_mark(struct vault *v, const struct state_head *h, uint8_t out[VAULT_TAG])
{
    uint8_t said[STATE_ID + 8] = {0};

    memcpy(said, h->id, STATE_ID);
    memcpy(said + STATE_ID, "closed", 6);
    vault_mark(v, said, sizeof(said), out);
}

static bool is_closed(const struct state_head *h, const uint8_t *bytes)
{
    struct vault *v = vault_new(&h->keys);
    uint8_t mark[VAULT_TAG];

    if (!v)
        return false;
    closing_mark(v, h, mark);
    vault_free(v);
    return bytes_equal_secret(mark, bytes + AT_CLOSED, sizeof(mark));
}

const char *state_head_read(struct state_head *h, const struct state_secret *secret,
                            const uint8_t boot[STATE_BOOT], const uint8_t bytes[STATE_HEAD_SIZE])
{
    struct reader r = reader_of(bytes + MAGIC, 4);

    if (memcmp(bytes, magic, MAGIC) != 0)
        return "it is no state file of dtlsgate";
    if (read_u32(&r) != version())
        return "it is of another version of dtlsgate";
    memcpy(h->id, bytes + AT_ID, STATE_ID);
    memcpy(h->boot, bytes + AT_BOOT, STATE_BOOT);
    if (!derive(h, secret))
        return "libcrypto cannot derive its keys";
    if (!bytes_equal_secret(h->keys.print, bytes + AT_PRINT, VAULT_PRINT))
        return "it was sealed with another key";
    if (memcmp(h->boot, boot, STATE_BOOT) != 0 && !is_closed(h, bytes))
        return "the host went down before it was closed, so it may be older than what was sent";
    return NULL;
}

void state_head_close(struct vault *v, const struct state_head *h, uint8_t bytes[STATE_HEAD_SIZE])
{
    uint8_t mark[VAULT_TAG];

    closing_mark(v, h, mark);
    memcpy(bytes + AT_CLOSED, mark, sizeof(mark));
}

void state_head_reopen(uint8_t bytes[STATE_HEAD_SIZE])
{
    memset(bytes + AT_CLOSED, 0, VAULT_TAG);
}

/* ---- secrets, each in two copies ---- */

/* Where a kind of them lies, and how long the text of one is. */
struct pair {
    size_t at, len;
    bool is_brief; /* what has been renewed is to be found nowhere */
};

static const struct pair cookie_pair = {AT_COOKIES, COOKIES_LEN, false};
static const struct pair ticket_pair = {AT_TICKETS, TICKETS_LEN, true};

static uint64_t generation_at(const uint8_t *bytes, size_t at)
{
    struct reader r = reader_of(bytes + at, 8);

    return read_u64(&r);
}

/* Seals the text over the older copy, and wipes it. */
static bool put_copy(struct vault *v, const struct pair *p, uint64_t generation,
                     uint8_t text[COPY_MAX], uint8_t *bytes)
{
    bool is_second = generation_at(bytes, p->at + COPY_ROOM) < generation_at(bytes, p->at);
    size_t at = p->at + is_second * COPY_ROOM;
    const struct vault_label label = {at, generation};
    uint8_t copy[COPY_ROOM];
    struct writer w = writer_of(copy, sizeof(copy));
    bool is_sealed;

    write_u64(&w, generation);
    write_bytes(&w, text, p->len);
    bytes_wipe(text, COPY_MAX);
    is_sealed = vault_seal(v, &label, copy + 8, p->len);
    if (is_sealed)
        memcpy(bytes + at, copy, 8 + p->len + VAULT_TAG);
    if (is_sealed && p->is_brief)
        bytes_wipe(bytes + p->at + !is_second * COPY_ROOM, COPY_ROOM);
    bytes_wipe(copy, sizeof(copy));
    return is_sealed;
}

/* Its generation; 0: this copy is not whole, or none. */
static uint64_t open_copy(struct vault *v, const struct pair *p, const uint8_t *bytes, size_t at,
                          uint8_t text[COPY_MAX + VAULT_TAG])
{
    const struct vault_label label = {at, generation_at(bytes, at)};

    memcpy(text, bytes + at + 8, p->len + VAULT_TAG);
    return label.generation != 0 && vault_open(v, &label, text, p->len) ? label.generation : 0;
}

/* The newer one that is whole; to be wiped. */
static bool get_copy(struct vault *v, const struct pair *p, const uint8_t *bytes,
                     uint8_t text[COPY_MAX + VAULT_TAG])
{
    uint8_t second[COPY_MAX + VAULT_TAG];
    uint64_t one = open_copy(v, p, bytes, p->at, text);
    uint64_t two = open_copy(v, p, bytes, p->at + COPY_ROOM, second);

    if (two > one)
        memcpy(text, second, p->len);
    bytes_wipe(second, sizeof(second));
    return one > 0 || two > 0;
}

bool state_head_put_cookies(struct vault *v, uint64_t generation,
                            const struct cookie_secrets *cookies, uint64_t wall,
                            uint8_t bytes[STATE_HEAD_SIZE])
{
    uint8_t text[COPY_MAX];
    struct writer w = writer_of(text, sizeof(text));

    write_u8(&w, cookies->generation);
    write_bytes(&w, cookies->key[0].bytes, 16);
    write_bytes(&w, cookies->key[1].bytes, 16);
    write_u64(&w, wall);
    return put_copy(v, &cookie_pair, generation, text, bytes);
}

bool state_head_get_cookies(struct vault *v, const uint8_t bytes[STATE_HEAD_SIZE],
                            struct cookie_secrets *cookies, uint64_t *wall)
{
    uint8_t text[COPY_MAX + VAULT_TAG];
    bool is_there = get_copy(v, &cookie_pair, bytes, text);
    struct reader r = reader_of(text, COOKIES_LEN);

    if (!is_there)
        return false;
    cookies->generation = read_u8(&r);
    memcpy(cookies->key[0].bytes, read_bytes(&r, 16), 16);
    memcpy(cookies->key[1].bytes, read_bytes(&r, 16), 16);
    *wall = read_u64(&r);
    bytes_wipe(text, sizeof(text));
    return true;
}

static void write_key(struct writer *w, const struct ticket_key *key)
{
    write_bytes(w, key->name, TICKET_NAME);
    write_bytes(w, key->key, TICKET_KEY);
}

static void read_key(struct reader *r, struct ticket_key *key)
{
    memcpy(key->name, read_bytes(r, TICKET_NAME), TICKET_NAME);
    memcpy(key->key, read_bytes(r, TICKET_KEY), TICKET_KEY);
}

bool state_head_put_tickets(struct vault *v, uint64_t generation, const struct ticket_keys *keys,
                            uint64_t wall, uint8_t bytes[STATE_HEAD_SIZE])
{
    uint8_t text[COPY_MAX];
    struct writer w = writer_of(text, sizeof(text));

    write_key(&w, &keys->newest);
    write_key(&w, &keys->before);
    write_u64(&w, wall);
    return put_copy(v, &ticket_pair, generation, text, bytes);
}

bool state_head_get_tickets(struct vault *v, const uint8_t bytes[STATE_HEAD_SIZE],
                            struct ticket_keys *keys, uint64_t *wall)
{
    uint8_t text[COPY_MAX + VAULT_TAG];
    bool is_there = get_copy(v, &ticket_pair, bytes, text);
    struct reader r = reader_of(text, TICKETS_LEN);

    if (!is_there)
        return false;
    read_key(&r, &keys->newest);
    read_key(&r, &keys->before);
    keys->is_set = true;
    *wall = read_u64(&r);
    bytes_wipe(text, sizeof(text));
    return true;
}
