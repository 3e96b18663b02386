/*
 * record_state: five numbers and a key block. See the header.
 * Must never know who keeps the bytes, nor take a number on trust.
 */
#include "dtls/record_state.h"

void record_state_write(struct writer *w, const struct association *a)
{
    write_u16(w, a->suite->id);
    write_u48(w, a->write_seq);
    write_u48(w, a->window.top);
    write_u64(w, a->window.map);
    write_u64(w, a->forged);
    write_bytes(w, a->keys.block, keys_length(a->suite));
}

bool record_state_read(struct reader *r, struct association *a)
{
    const struct suite *suite = suite_find(read_u16(r));
    const uint8_t *block;
    uint64_t forged;

    *a = (struct association){.suite = suite};
    a->write_seq = read_u48(r);
    a->window.top = read_u48(r);
    a->window.map = read_u64(r);
    forged = read_u64(r);
    a->forged = forged & ASSOCIATION_FORGED_MAX;
    block = suite != NULL ? read_bytes(r, keys_length(suite)) : NULL;
    /* A handshake has sent a Finished and seen one, so neither count is at its start. */
    if (block == NULL || r->bad || r->left > 0 || a->write_seq == 0 || (a->window.map & 1) == 0 ||
        forged > ASSOCIATION_FORGED_MAX) {
        bytes_wipe(a, sizeof *a);
        return false;
    }
    for (size_t i = 0; i < keys_length(suite); i++)
        a->keys.block[i] = block[i];
    return true;
}
