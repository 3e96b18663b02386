/*
 * state_old: two walks through the file: one for who is there, one for what they are.
 * Must never take a file's word for anything that its mark does not prove.
 */
#include "daemon/state_old.h"

#include "base/bytes.h"
#include "proxy/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_ROOM 1024

/* What the file has of it; behind its end are zeros. False: it cannot be read. */
static bool read_at(int fd, uint64_t offset, void *data, size_t len)
{
    size_t done = 0;

    memset(data, 0, len);
    while (done < len) {
        ssize_t got = pread(fd, (uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        done += (size_t)got;
    }
    return true;
}

static bool add_place(struct state_old *o, const struct state_place *place)
{
    if (o->count == o->room) {
        size_t room = o->room > 0 ? 2 * o->room : FIRST_ROOM;
        struct state_place *list = reallocarray(o->list, room, sizeof(*list));
        if (!list)
            return false;
        o->list = list;
        o->room = room;
    }
    o->list[o->count++] = *place;
    return true;
}

static bool note_slot(struct state_old *o, const uint8_t *slot, uint64_t offset, size_t size,
                      uint64_t number)
{
    struct keep_entry e;
    enum keep_verdict verdict = keep_entry_read(o->vault, number, slot, size, &e);
    const struct state_place place = {e.image.id, e.generation, offset, e.lease.used,
                                      (uint32_t)size};
    bool is_noted = true;

    if (verdict == KEEP_DAMAGED)
        o->damaged++;
    if (verdict == KEEP_FINE) {
        if (e.image.id > o->highest_id)
            o->highest_id = e.image.id;
        is_noted = add_place(o, &place);
    }
    bytes_wipe(&e, sizeof(e));
    return is_noted;
}

static bool note_block(struct state_old *o, const uint8_t *block, unsigned number)
{
    size_t size, count = keep_block_slots(block, &size);

    if (count == 0 && size != 0)
        o->damaged++;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *slot = keep_block_slot(block, size, i);
        uint64_t offset = (uint64_t)number * MAPPED_BLOCK + (uint64_t)(slot - block);
        if (!note_slot(o, slot, offset, size, keep_place(number, i)))
            return false;
    }
    return true;
}

static const char *note_blocks(struct state_old *o)
{
    uint8_t *block = malloc(MAPPED_BLOCK);
    const char *why = block ? NULL : "out of memory";
    struct stat st;

    if (fstat(o->fd, &st) != 0)
        why = "it cannot be examined";
    for (unsigned i = 1; !why && (uint64_t)i * MAPPED_BLOCK < (uint64_t)st.st_size; i++) {
        if (i > KEEP_BLOCK_MAX)
            why = "it is larger than any can be";
        else if (!read_at(o->fd, (uint64_t)i * MAPPED_BLOCK, block, MAPPED_BLOCK))
            why = "it cannot be read";
        else if (!note_block(o, block, i))
            why = "out of memory";
    }
    free(block);
    return why;
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b)
{
    const struct state_place *one = a, *two = b;
    int by = order(one->id, two->id);

    return by != 0 ? by : order(one->generation, two->generation);
}

static int by_use(const void *a, const void *b)
{
    const struct state_place *one = a, *two = b;
    int by = order(two->used, one->used);

    return by != 0 ? by : order(two->generation, one->generation);
}

/* One that was being written anew when the process died is there twice: the later one counts, which
 * was told all that the other was. */
static void leave_newest(struct state_old *o)
{
    size_t kept = 0;

    if (o->count == 0)
        return;
    qsort(o->list, o->count, sizeof(*o->list), by_id);
    for (size_t i = 0; i < o->count; i++)
        if (i + 1 == o->count || o->list[i + 1].id != o->list[i].id)
            o->list[kept++] = o->list[i];
    o->count = kept;
    qsort(o->list, o->count, sizeof(*o->list), by_use);
}

const char *state_old_open(struct state_old *o, int fd, const struct state_secret *secret,
                           const uint8_t boot[STATE_BOOT])
{
    struct state_head head = {.id = {0}};
    const char *why;

    *o = (struct state_old){.fd = fd};
    if (!read_at(fd, 0, o->head, sizeof(o->head)))
        return "it cannot be read";
    why = state_head_read(&head, secret, boot, o->head);
    if (!why) {
        o->vault = vault_new(&head.keys);
        why = o->vault ? note_blocks(o) : "out of memory";
    }
    bytes_wipe(&head, sizeof(head));
    if (why)
        o->count = 0;
    leave_newest(o);
    return why;
}

void state_old_clear(struct state_old *o)
{
    if (o->fd >= 0)
        close(o->fd);
    vault_free(o->vault);
    free(o->list);
    *o = (struct state_old){.fd = -1};
}

bool state_old_spend(struct state_old *o)
{
    if (o->fd < 0)
        return true;
    state_head_reopen(o->head);
    return pwrite(o->fd, o->head, sizeof(o->head), 0) == (ssize_t)sizeof(o->head) &&
           fsync(o->fd) == 0;
}

bool state_old_next(struct state_old *o, struct keep_entry *e)
{
    uint8_t slot[KEEP_SLOT_LARGE];

    while (o->next < o->count) {
        const struct state_place *p = &o->list[o->next++];
        uint64_t number = keep_place_at(p->offset, p->size);
        if (read_at(o->fd, p->offset, slot, p->size) &&
            keep_entry_read(o->vault, number, slot, p->size, e) == KEEP_FINE)
            return true;
        o->damaged++;
    }
    return false;
}
