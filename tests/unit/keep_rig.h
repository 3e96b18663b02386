/*
 * keep_rig: a session as it is kept, keys to seal it with, and a folder for files.
 */
#ifndef DTLSGATE_TESTS_KEEP_RIG_H
#define DTLSGATE_TESTS_KEEP_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "proxy/keep.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline struct session_image keep_image(uint64_t id)
{
    struct session_image s = {
        .peer = {.ip = {192, 0, 2, 1}, .port = (uint16_t)(40000 + id), .family = AF_INET},
        .local = {.ip = {192, 0, 2, 2}, .port = 5684, .family = AF_INET},
        .identity_len = 5,
        .identity = "dev-1",
        .id = id,
        .plain_max = WIRE_PLAINTEXT_MAX,
        .has_ems = true,
    };

    s.association = (struct association){
        .suite = suite_find(0x00a8), .write_seq = 1, .window = {.top = 0, .map = 1}};
    for (size_t i = 0; i < keys_length(s.association.suite); i++)
        s.association.keys.block[i] = (uint8_t)(i + id);
    return s;
}

static inline struct keep_entry keep_sample(uint64_t id, uint64_t generation)
{
    return (struct keep_entry){.generation = generation,
                               .service_print = keep_entry_print("coap"),
                               .written = 1000,
                               .lease = {.write_end = 257, .read_end = 9, .used = 1},
                               .image = keep_image(id)};
}

static inline struct vault_keys keep_keys(const char *secret)
{
    struct vault_keys keys;

    assert_true(
        vault_derive(&keys, (const uint8_t *)secret, strlen(secret), (const uint8_t *)"salt", 4));
    return keys;
}

static inline struct vault *keep_vault(const char *secret)
{
    const struct vault_keys keys = keep_keys(secret);
    struct vault *v = vault_new(&keys);

    assert_non_null(v);
    return v;
}

/* What the next start would find, in the order of the slots; keys "one". */
static inline size_t keep_left(const struct keep_shared *shared, struct keep_entry *out, size_t max)
{
    static uint8_t block[MAPPED_BLOCK];
    struct vault *v = keep_vault("one");
    size_t found = 0, size;

    for (unsigned b = 1; b < shared->file.count; b++) {
        assert_int_equal(pread(shared->file.fd, block, sizeof block, (off_t)b * MAPPED_BLOCK),
                         sizeof block);
        size_t count = keep_block_slots(block, &size);
        for (size_t i = 0; i < count; i++) {
            struct keep_entry e;
            const uint8_t *slot = keep_block_slot(block, size, i);
            uint64_t place = keep_place(b, i);
            uint64_t offset = (uint64_t)b * MAPPED_BLOCK + (uint64_t)(slot - block);
            assert_int_equal(keep_place_at(offset, size), place);
            switch (keep_entry_read(v, place, slot, size, &e)) {
            case KEEP_FINE:
                assert_true(found < max);
                out[found++] = e;
                break;
            case KEEP_DAMAGED:
                fail();
                break;
            case KEEP_EMPTY:
                break;
            }
        }
    }
    vault_free(v);
    return found;
}

/* An open folder that is removed by keep_folder_end(), with the few files that these tests make. */
struct keep_folder {
    char path[64];
    int fd;
};

static inline struct keep_folder keep_folder(void)
{
    struct keep_folder f = {.path = "keep-test-XXXXXX"};

    assert_non_null(mkdtemp(f.path));
    f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f.fd >= 0);
    return f;
}

static inline void keep_folder_end(struct keep_folder *f)
{
    static const char *const names[] = {"file", "sessions", "sessions.new", "lock", "key", "other"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        (void)unlinkat(f->fd, names[i], 0);
    close(f->fd);
    assert_int_equal(rmdir(f->path), 0);
}

#endif
