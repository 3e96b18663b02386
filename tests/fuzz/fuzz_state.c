/*
 * fuzz_state: any bytes as what an earlier process has left: a file's head, a slot, and what a slot
 * holds once it is opened. Checked: nothing is taken but what was sealed, and that can be a
 * session.
 */
#include "base/bytes.h"
#include "daemon/state_head.h"
#include "proxy/keep.h"

#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PLACE 1025
#define GENERATION 7
#define AT_BODY 88

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static struct vault *vault(void)
{
    struct vault_keys keys = {.seal = {1}, .mark = {{2}}};
    struct vault *v = vault_new(&keys);

    require(v != NULL);
    return v;
}

static void try_head(const uint8_t *data, size_t size)
{
    static const struct state_secret secret = {(const uint8_t *)"a secret of thirty-two bytes....",
                                               32};
    static const uint8_t boot[STATE_BOOT] = {1};
    uint8_t bytes[STATE_HEAD_SIZE] = {0};
    struct cookie_secrets cookies;
    struct ticket_keys tickets;
    struct state_head h;
    struct vault *v = vault();
    uint64_t wall;

    memcpy(bytes, data, size < sizeof(bytes) ? size : sizeof(bytes));
    require(state_head_read(&h, &secret, boot, bytes) != NULL);
    require(!state_head_get_cookies(v, bytes, &cookies, &wall));
    require(!state_head_get_tickets(v, bytes, &tickets, &wall));
    vault_free(v);
}

static void try_slot(const uint8_t *data, size_t size)
{
    static uint8_t block[MAPPED_BLOCK];
    struct vault *v = vault();
    struct keep_entry e;
    size_t slot_size;

    memset(block, 0, sizeof(block));
    memcpy(block, data, size < sizeof(block) ? size : sizeof(block));
    size_t count = keep_block_slots(block, &slot_size);
    for (size_t i = 0; i < count && i < 4; i++)
        require(keep_entry_read(v, keep_place(1, i), keep_block_slot(block, slot_size, i),
                                slot_size, &e) != KEEP_FINE);
    vault_free(v);
}

/* Sealed as it should be, with whatever is in it. */
static void try_body(const uint8_t *data, size_t size)
{
    const struct vault_label label = {PLACE, GENERATION};
    const struct keep_lease lease = {.write_end = 1000, .read_end = 1000, .used = 1};
    _Alignas(8) uint8_t slot[KEEP_SLOT_LARGE] = {0};
    uint8_t generation[8];
    struct vault *v = vault();
    struct keep_entry e;

    if (size > sizeof(slot) - AT_BODY - VAULT_TAG)
        size = sizeof(slot) - AT_BODY - VAULT_TAG;
    put_u64(generation, GENERATION);
    memcpy(slot + 64, generation, 8);
    put_u16(slot + 72, (uint16_t)size);
    memcpy(slot + AT_BODY, data, size);
    require(vault_seal(v, &label, slot + AT_BODY, size));
    keep_entry_renew(v, PLACE, &lease, slot);
    *keep_entry_top(slot) = lease_word(1000, keep_entry_check(v, PLACE, GENERATION));
    if (keep_entry_read(v, PLACE, slot, sizeof(slot), &e) == KEEP_FINE) {
        require(e.generation == GENERATION && e.lease.write_end == 1000);
        require(e.image.association.write_seq <= 1000 && e.image.association.window.top <= 1000);
        require(e.image.association.lease == 0 && e.image.id > 0);
        require(keep_entry_size(&e) > 0);
        require(keep_entry_write(v, PLACE, &e, slot));
        require(keep_entry_read(v, PLACE, slot, sizeof(slot), &e) == KEEP_FINE);
    }
    vault_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        try_head(data + 1, size - 1);
        break;
    case 1:
        try_slot(data + 1, size - 1);
        break;
    default:
        try_body(data + 1, size - 1);
        break;
    }
    return 0;
}
