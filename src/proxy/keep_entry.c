/*
 * keep_entry: a slot's bytes. See the header.
 * Must never leave a moment in which a slot tells of less than what was done.
 */
#include "proxy/keep_entry.h"

#include "base/bytes.h"

#include <stdatomic.h>
#include <string.h>

enum {
    LEASE_LEN = 16 + VAULT_TAG,
    AT_GENERATION = 2 * LEASE_LEN,
    AT_TOP = AT_GENERATION + 16,
    AT_BODY = AT_TOP + 8,
    BODY_HEAD = 16,
    MARKED = 16 + 8 + 8,
};

/* The process may be killed behind any store; the compiler must leave them in this order. */
static void in_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* Returns its length; 0: it is longer than any slot takes. */
static size_t write_body(const struct keep_entry *e, uint8_t body[SESSION_IMAGE_MAX + BODY_HEAD])
{
    struct writer w = writer_of(body, SESSION_IMAGE_MAX + BODY_HEAD);

    write_u64(&w, e->service_print);
    write_u64(&w, e->written);
    session_image_write(&w, &e->image);
    return w.bad ? 0 : (size_t)(w.at - body);
}

static size_t slot_for(size_t body)
{
    size_t whole = AT_BODY + body + VAULT_TAG;

    if (body == 0 || whole > KEEP_SLOT_LARGE)
        return 0;
    return whole <= KEEP_SLOT_SMALL ? KEEP_SLOT_SMALL : KEEP_SLOT_LARGE;
}

size_t keep_entry_size(const struct keep_entry *e)
{
    uint8_t body[SESSION_IMAGE_MAX + BODY_HEAD];
    size_t size = slot_for(write_body(e, body));

    bytes_wipe(body, sizeof body);
    return size;
}

/* Place and generation are part of what is marked: a lease is of one entry alone. */
static void make_lease(const struct vault *v, const struct vault_label *label,
                       const struct keep_lease *lease, uint8_t out[LEASE_LEN])
{
    uint8_t marked[MARKED];
    uint64_t used = lease->used;

    put_u64(marked, lease->write_end << 16 | used >> 16);
    put_u64(marked + 8, used << 48);
    put_u64(marked + 16, label->place);
    put_u64(marked + 24, label->generation);
    memcpy(out, marked, LEASE_LEN - VAULT_TAG);
    vault_mark(v, marked, sizeof marked, out + LEASE_LEN - VAULT_TAG);
}

static void put_lease(const struct vault *v, const struct vault_label *label,
                      const struct keep_lease *lease, uint8_t *slot)
{
    uint8_t bytes[LEASE_LEN];

    make_lease(v, label, lease, bytes);
    memcpy(slot, bytes, LEASE_LEN);
    in_order();
    memcpy(slot + LEASE_LEN, bytes, LEASE_LEN);
    in_order();
}

static uint64_t get_u64(const uint8_t *p)
{
    struct reader r = reader_of(p, 8);

    return read_u64(&r);
}

_Atomic uint64_t *keep_entry_top(uint8_t *slot)
{
    return (_Atomic uint64_t *)(void *)(slot + AT_TOP);
}

uint64_t keep_entry_check(const struct vault *v, uint64_t place, uint64_t generation)
{
    uint8_t marked[24] = "top", mark[VAULT_TAG];

    put_u64(marked + 8, place);
    put_u64(marked + 16, generation);
    vault_mark(v, marked, sizeof marked, mark);
    return get_u64(mark) | 1;
}

bool keep_entry_write(struct vault *v, uint64_t place, const struct keep_entry *e, uint8_t *slot)
{
    const struct vault_label label = {place, e->generation};
    uint8_t body[SESSION_IMAGE_MAX + BODY_HEAD + VAULT_TAG] = {0}, head[16] = {0};
    size_t len = write_body(e, body);
    bool is_sealed = vault_seal(v, &label, body, len);

    if (is_sealed) {
        put_u16(head + 8, (uint16_t)len);
        memcpy(slot + AT_GENERATION, head, sizeof head);
        memcpy(slot + AT_BODY, body, len + VAULT_TAG);
        put_lease(v, &label, &e->lease, slot);
        atomic_store(keep_entry_top(slot),
                     lease_word(e->lease.read_end, keep_entry_check(v, place, e->generation)));
        put_u64(head, e->generation);
        memcpy(slot + AT_GENERATION, head, 8);
        in_order();
    }
    bytes_wipe(body, sizeof body);
    return is_sealed;
}

void keep_entry_renew(const struct vault *v, uint64_t place, const struct keep_lease *lease,
                      uint8_t *slot)
{
    const struct vault_label label = {place, get_u64(slot + AT_GENERATION)};

    put_lease(v, &label, lease, slot);
}

/* Takes what goes farther, from one that is whole. */
static bool read_lease(const struct vault *v, const struct vault_label *label, const uint8_t *at,
                       struct keep_lease *lease)
{
    struct reader r = reader_of(at, LEASE_LEN);
    struct keep_lease found = {.write_end = read_u48(&r)};
    uint8_t again[LEASE_LEN];

    found.used = read_u32(&r);
    make_lease(v, label, &found, again);
    if (!bytes_equal_secret(again, at, LEASE_LEN))
        return false;
    if (found.write_end > lease->write_end)
        lease->write_end = found.write_end;
    if (found.used > lease->used)
        lease->used = found.used;
    return true;
}

static bool read_leases(const struct vault *v, const struct vault_label *label, const uint8_t *slot,
                        struct keep_lease *lease)
{
    bool first = read_lease(v, label, slot, lease);
    bool second = read_lease(v, label, slot + LEASE_LEN, lease);

    return first || second;
}

static bool read_top(const struct vault *v, const struct vault_label *label, const uint8_t *slot,
                     struct keep_lease *lease)
{
    uint64_t word;

    memcpy(&word, slot + AT_TOP, sizeof word);
    lease->read_end = word >> 16;
    return word ==
           lease_word(lease->read_end, keep_entry_check(v, label->place, label->generation));
}

static bool read_body(struct vault *v, const struct vault_label *label, const uint8_t *sealed,
                      size_t len, struct keep_entry *e)
{
    uint8_t body[KEEP_SLOT_LARGE] = {0};
    struct reader r = reader_of(body, len);
    bool is_fine;

    memcpy(body, sealed, len + VAULT_TAG);
    is_fine = vault_open(v, label, body, len);
    if (is_fine) {
        e->service_print = read_u64(&r);
        e->written = read_u64(&r);
        is_fine = !r.bad && session_image_read(&r, &e->image) && r.left == 0 &&
                  e->image.ticket_len == 0; /* it would be part of what is wiped here */
    }
    bytes_wipe(body, sizeof body);
    return is_fine;
}

enum keep_verdict keep_entry_read(struct vault *v, uint64_t place, const uint8_t *slot, size_t size,
                                  struct keep_entry *e)
{
    struct reader r = reader_of(slot + AT_GENERATION, 16);
    struct vault_label label = {place, read_u64(&r)};
    size_t len = read_u16(&r);

    *e = (struct keep_entry){.generation = label.generation};
    if (label.generation == 0)
        return KEEP_EMPTY;
    if (len < BODY_HEAD || AT_BODY + len + VAULT_TAG > size ||
        !read_leases(v, &label, slot, &e->lease) || !read_top(v, &label, slot, &e->lease) ||
        !read_body(v, &label, slot + AT_BODY, len, e) ||
        e->lease.write_end < e->image.association.write_seq ||
        e->lease.read_end < e->image.association.window.top) {
        bytes_wipe(e, sizeof *e);
        return KEEP_DAMAGED;
    }
    return KEEP_FINE;
}

void keep_entry_wipe(uint8_t *slot, size_t size)
{
    bytes_wipe(slot + AT_GENERATION, 8);
    in_order();
    bytes_wipe(slot, size);
}

uint64_t keep_entry_print(const char *name)
{
    static const struct hash_key key = {"dtlsgate service"};

    return siphash64(&key, name, strlen(name));
}
