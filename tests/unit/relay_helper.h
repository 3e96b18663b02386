/*
 * relay_helper: a helper for the relay of a relay_world, which knows some identities and answers
 * behind each datagram; or when the test says so.
 */
#ifndef DTLSGATE_TESTS_RELAY_HELPER_H
#define DTLSGATE_TESTS_RELAY_HELPER_H

#include "relay_world.h"

#define HELPER_SETTING "service.a.psk-helper=/helper"

/* One that knows these, all with CLIENT_KEY unless `key` says otherwise. */
struct relay_helper {
    const char *const *knows; /* ends with NULL */
    const char *key;          /* 16 bytes; NULL: CLIENT_KEY */
    bool is_slow;             /* answers by helper_answer_all() alone */
    unsigned asked;           /* in all */
    unsigned waiting, resets;
    struct helper_question question[64];
};

static struct relay_helper helper;
static bool helper_knows_all; /* tests that run twice: the file of keys is empty */

static inline const char *helper_on_ask(void *arg, unsigned service, const char *path,
                                        const struct helper_question *q)
{
    (void)arg;
    assert_int_equal(service, 0);
    assert_string_equal(path, "/helper");
    assert_true(helper.waiting < 64);
    helper.question[helper.waiting++] = *q;
    helper.asked++;
    return NULL;
}

static inline void helper_answer_one(enum helper_verdict failed, const char *why)
{
    const char *key = helper.key != NULL ? helper.key : CLIENT_KEY;
    const struct helper_question q = helper.question[0];
    struct helper_answer a = {.verdict = failed, .why = why};

    assert_true(helper.waiting > 0);
    memmove(helper.question, helper.question + 1, --helper.waiting * sizeof *helper.question);
    for (size_t i = 0; failed == HELPER_NONE && helper.knows[i] != NULL; i++) {
        if (strlen(helper.knows[i]) != q.len || memcmp(helper.knows[i], q.identity, q.len) != 0)
            continue;
        a = (struct helper_answer){.verdict = HELPER_KEY, .len = 16};
        memcpy(a.key, key, 16);
    }
    relay_on_answer(world->relay, q.token, &a, world->now);
}

static inline void helper_on_reset(void *arg, unsigned service, const char *why)
{
    (void)arg;
    (void)service;
    helper.resets++;
    while (helper.waiting > 0)
        helper_answer_one(HELPER_FAILED, why);
}

static inline void helper_answer_all(void)
{
    while (helper.waiting > 0)
        helper_answer_one(HELPER_NONE, NULL);
}

static inline void helper_answer_soon(void)
{
    if (!helper.is_slow)
        helper_answer_all();
}

/* From the next world on: its service needs HELPER_SETTING. */
static inline void helper_begin(const char *const knows[])
{
    helper = (struct relay_helper){.knows = knows};
    world_asker = (struct keyring_asker){helper_on_ask, helper_on_reset, NULL};
    world_behind = helper_answer_soon;
}

/* Settings, with the helper where it knows all. Valid until called again. */
static inline const char *const *helper_settings(const char *const settings[])
{
    static const char *all[8];
    size_t n = 0;

    for (; settings[n] != NULL; n++)
        all[n] = settings[n];
    assert_true(n + 2 < sizeof all / sizeof *all);
    if (helper_knows_all)
        all[n++] = HELPER_SETTING;
    all[n] = NULL;
    return all;
}

#endif
