/*
 * restore_rig: a relay that keeps its sessions, and the process behind it. Include it once a
 * program.
 */
#ifndef DTLSGATE_TESTS_RESTORE_RIG_H
#define DTLSGATE_TESTS_RESTORE_RIG_H

#include "relay_helper.h"

#include "keep_rig.h"
#include "proxy/life.h"
#include "proxy/restore.h"

#define ONE 40001
#define TWO 40002
#define WALL UINT64_C(1700000000000)
#define KEY "00112233445566778899aabbccddeeff\n"
#define RANGE "service.a.backend-source=127.64.0.0/10"

static const char *const usual[] = {NULL};
static const char *const with_sources[] = {RANGE, NULL};

static struct keep_folder where;
static struct keep_shared shared;

static inline void keep_begin(const char *const overrides[])
{
    unsigned number;

    where = keep_folder();
    shared = (struct keep_shared){.keys = keep_keys("one")};
    assert_true(mapped_create(&shared.file, where.fd, "file", 8));
    mapped_unmap(mapped_add(&shared.file, &number));
    world_begin(overrides, 1);
    relay_set_wall(world->relay, WALL, world->now);
    assert_true(relay_keep(world->relay, &shared));
}

/* The books of a world in which sessions were taken up. */
static inline void keep_end(void)
{
    uint64_t restored = world->stats.sessions_restored;

    world->stats.handshakes_started += restored;
    world->stats.handshakes_completed += restored;
    world_end();
    mapped_close(&shared.file);
    keep_folder_end(&where);
}

/* As if the process had died now: what it leaves, and the next one, which has not taken it up. */
static inline struct keep_entry crash(const char *const overrides[])
{
    struct keep_entry e;

    assert_int_equal(keep_left(&shared, &e, 1), 1);
    keep_end();
    keep_begin(overrides);
    world_forget_sent();
    return e;
}

static inline const char *take_up_at(const struct keep_entry *e, uint64_t wall)
{
    const struct restore order = {.entry = e, .now = world->now, .wall = wall};

    return relay_restore(world->relay, &order);
}

static inline const char *take_up(const struct keep_entry *e)
{
    return take_up_at(e, WALL + 5000);
}

#endif
