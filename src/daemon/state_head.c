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
    AT_COOKIES = 128,
    COOKIES_ROOM = 128,
    COOKIES_LEN = 1 + 16 + 16 + 8, /* generation, both keys, when */
};

_Static_assert(AT_COOKIES + 2 * COOKIES_ROOM == STATE_HEAD_SIZE, "all of it is used");
_Static_assert(8 + COOKIES_LEN + VAULT_TAG <= COOKIES_ROOM, "a copy fits");

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

static uint64_t generation_at(const uint8_t *bytes, size_t at)
{
    struct reader r = reader_of(bytes + at, 8);

    return read_u64(&r);
}

/* Where the older of the two stands, or none. */
static size_t older_copy(const uint8_t *bytes)
{
    size_t second = AT_COOKIES + COOKIES_ROOM;

    return generation_at(bytes, second) < generation_at(bytes, AT_COOKIES) ? second : AT_COOKIES;
}

bool state_head_put_cookies(struct vault *v, uint64_t generation,
                            const struct cookie_secrets *cookies, uint64_t wall,
                            uint8_t bytes[STATE_HEAD_SIZE])
{
    size_t at = older_copy(bytes);
    const struct vault_label label = {at, generation};
    uint8_t text[8 + COOKIES_LEN + VAULT_TAG];
    struct writer w = writer_of(text, sizeof(text));
    bool is_sealed;

    write_u64(&w, generation);
    write_u8(&w, cookies->generation);
    write_bytes(&w, cookies->key[0].bytes, 16);
    write_bytes(&w, cookies->key[1].bytes, 16);
    write_u64(&w, wall);
    is_sealed = vault_seal(v, &label, text + 8, COOKIES_LEN);
    if (is_sealed)
        memcpy(bytes + at, text, sizeof(text));
    bytes_wipe(text, sizeof(text));
    return is_sealed;
}

/* 0: this copy is not whole, or none. */
static uint64_t get_copy(struct vault *v, const uint8_t *bytes, size_t at,
                         struct cookie_secrets *cookies, uint64_t *wall)
{
    uint8_t text[COOKIES_LEN + VAULT_TAG];
    const struct vault_label label = {at, generation_at(bytes, at)};
    struct reader in;

    memcpy(text, bytes + at + 8, sizeof(text));
    if (label.generation == 0 || !vault_open(v, &label, text, COOKIES_LEN))
        return 0;
    in = reader_of(text, COOKIES_LEN);
    cookies->generation = read_u8(&in);
    memcpy(cookies->key[0].bytes, text + 1, 16);
    memcpy(cookies->key[1].bytes, text + 17, 16);
    in = reader_of(text + 33, 8);
    *wall = read_u64(&in);
    bytes_wipe(text, sizeof(text));
    return label.generation;
}

bool state_head_get_cookies(struct vault *v, const uint8_t bytes[STATE_HEAD_SIZE],
                            struct cookie_secrets *cookies, uint64_t *wall)
{
    struct cookie_secrets second;
    uint64_t wall2 = 0, one = get_copy(v, bytes, AT_COOKIES, cookies, wall);
    uint64_t two = get_copy(v, bytes, AT_COOKIES + COOKIES_ROOM, &second, &wall2);

    if (two > one) {
        *cookies = second;
        *wall = wall2;
    }
    cookie_secrets_wipe(&second);
    return one > 0 || two > 0;
}
