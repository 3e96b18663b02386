/*
 * test_keyring: who is asked when, who is told what, how long it is kept; on virtual time, with the
 * test for a helper.
 */
#include "conf_text.h"
#include "log_text.h"

#include "base/timer.h"
#include "proxy/keyring.h"
#include "proxy/keyring_store.h"

#include <stdio.h>

#define QUESTIONS_MAX 2048
#define LATE 2001
#define MINUTE 60000

struct teller {
    struct keyring_seat seat;
    unsigned told;
    enum keyring_verdict verdict;
    uint8_t key_len;
};

static struct keyring *l;
static struct conf *conf;
static struct stats stats;
static uint64_t now;
static void *questions[QUESTIONS_MAX]; /* tokens, not answered yet, oldest first */
static unsigned question_count, resets;
static const char *unreachable;

static const char *on_ask(void *arg, unsigned service, const char *path,
                          const struct helper_question *q)
{
    (void)arg;
    if (strcmp(path, "/away") == 0)
        return "it is away";
    assert_int_equal(service, 0);
    assert_string_equal(path, "/helper");
    if (unreachable != NULL)
        return unreachable;
    assert_true(question_count < QUESTIONS_MAX);
    questions[question_count++] = q->token;
    return NULL;
}

static void answer_with(const struct helper_answer *a)
{
    void *token = questions[0];

    assert_true(question_count > 0);
    memmove(questions, questions + 1, --question_count * sizeof *questions);
    keyring_answer(l, token, a, now);
}

static void on_reset(void *arg, unsigned service, const char *why)
{
    const struct helper_answer failed = {.verdict = HELPER_FAILED, .why = why};

    (void)arg;
    (void)service;
    resets++;
    while (question_count > 0)
        answer_with(&failed);
}

static void on_tell(void *arg, void *owner, enum keyring_verdict verdict, const struct psk *named,
                    uint64_t at)
{
    struct teller *t = owner;

    (void)arg;
    assert_int_equal(at, now);
    t->told++;
    t->verdict = verdict;
    t->key_len = named->key_len;
}

static struct conf *load_with(const char *helper, const char *cache)
{
    char path[64], kept[64];
    const char *const overrides[] = {path, kept, NULL};

    snprintf(path, sizeof path, "service.a.psk-helper=%s", helper);
    snprintf(kept, sizeof kept, "service.a.psk-helper-cache=%s", cache);
    return load_good(MINIMAL, overrides);
}

static int setup(void **state)
{
    const struct keyring_hooks hooks = {
        .asker = {on_ask, on_reset, NULL}, .tell = on_tell, .stats = &stats};

    (void)state;
    log_capture();
    conf = load_with("/helper", "1m");
    stats = (struct stats){0};
    now = 1000000;
    question_count = resets = 0;
    unreachable = NULL;
    l = keyring_new(conf, &hooks);
    return l == NULL;
}

static int teardown(void **state)
{
    (void)state;
    keyring_free(l);
    conf_unref(conf);
    log_release();
    return 0;
}

static struct psk named(const char *identity)
{
    return (struct psk){.identity = (const uint8_t *)identity,
                        .identity_len = (uint16_t)strlen(identity)};
}

static struct psk with_key(const char *identity, const char *key)
{
    struct psk psk = named(identity);

    psk.key = (const uint8_t *)key;
    psk.key_len = (uint8_t)strlen(key);
    return psk;
}

static struct teller teller(void)
{
    return (struct teller){.told = 0};
}

static enum keyring_verdict ask(struct teller *t, const char *identity)
{
    struct psk who = named(identity);
    const struct psk *out;

    list_init(&t->seat.node);
    t->seat.owner = t;
    enum keyring_verdict verdict = keyring_ask(l, 0, &who, &t->seat, now, &out);
    if (verdict == KEYRING_KEY)
        t->key_len = out->key_len;
    return verdict;
}

#define KEY16 "0123456789abcdef"
#define OTHER16 "fedcba9876543210"

static void answer(const char *key)
{
    struct helper_answer a = {.verdict = key != NULL ? HELPER_KEY : HELPER_NONE};

    if (key != NULL) {
        a.len = strlen(key);
        memcpy(a.key, key, a.len);
    }
    answer_with(&a);
}

static void fail_one(void)
{
    const struct helper_answer failed = {.verdict = HELPER_FAILED, .why = "it broke"};

    answer_with(&failed);
}

static void assert_told(const struct teller *t, enum keyring_verdict verdict)
{
    assert_int_equal(t->told, 1);
    assert_int_equal(t->verdict, verdict);
}

static void test_one_question_for_all_who_wait(void **state)
{
    struct teller a = teller(), b = teller(), c = teller();

    (void)state;
    assert_int_equal(ask(&a, "dev"), KEYRING_LATER);
    assert_int_equal(ask(&b, "dev"), KEYRING_LATER);
    assert_int_equal(ask(&c, "dev2"), KEYRING_LATER);
    assert_int_equal(question_count, 2);
    keyring_leave_seat(&b.seat);
    answer(KEY16);
    assert_told(&a, KEYRING_KEY);
    assert_int_equal(a.key_len, 16);
    assert_int_equal(b.told + c.told, 0);
    answer(NULL);
    assert_told(&c, KEYRING_NONE);
    assert_int_equal(c.key_len, 0);
    assert_int_equal(stats.keys_asked, 2);
    assert_int_equal(stats.keys_found, 1);
    assert_int_equal(stats.keys_none, 1);
}

static void test_answers_are_kept_and_go(void **state)
{
    struct teller dev = teller(), none = teller();

    (void)state;
    ask(&dev, "dev");
    ask(&none, "none");
    answer(KEY16);
    answer(NULL);
    assert_int_equal(ask(&dev, "dev"), KEYRING_KEY);
    assert_int_equal(ask(&none, "none"), KEYRING_NONE);
    now += MINUTE / 10;
    keyring_tick(l, now);
    assert_int_equal(ask(&dev, "dev"), KEYRING_KEY);
    assert_int_equal(ask(&none, "none"), KEYRING_LATER);
    answer(NULL);
    now += MINUTE;
    keyring_tick(l, now);
    assert_int_equal(ask(&dev, "dev"), KEYRING_LATER);
}

static void test_what_is_kept_is_bounded(void **state)
{
    struct teller t = teller();
    char name[32];

    (void)state;
    for (unsigned i = 0; i <= KEYRING_NONE_MAX; i++) {
        snprintf(name, sizeof name, "none-%u", i);
        assert_int_equal(ask(&t, name), KEYRING_LATER);
        answer(NULL);
    }
    assert_int_equal(ask(&t, "none-1"), KEYRING_NONE);
    assert_int_equal(ask(&t, "none-0"), KEYRING_LATER);
}

static void test_questions_are_bounded(void **state)
{
    static struct teller many[KEYRING_ASKED_MAX];
    struct teller t = teller();
    char name[32];

    (void)state;
    for (unsigned i = 0; i < KEYRING_ASKED_MAX; i++) {
        snprintf(name, sizeof name, "dev-%u", i);
        assert_int_equal(ask(&many[i], name), KEYRING_LATER);
    }
    assert_int_equal(ask(&t, "one more"), KEYRING_FAILED);
    assert_int_equal(ask(&t, "dev-7"), KEYRING_LATER);
    keyring_leave_seat(&t.seat);
    answer(KEY16);
    assert_int_equal(ask(&t, "one more"), KEYRING_LATER);
    keyring_leave_seat(&t.seat);
    on_reset(NULL, 0, "the end");
}

static void test_no_answer_in_time(void **state)
{
    struct teller a = teller(), b = teller();

    (void)state;
    ask(&a, "dev");
    assert_int_equal(keyring_tick(l, now), now + 2000);
    now += LATE;
    keyring_tick(l, now);
    assert_told(&a, KEYRING_FAILED);
    assert_int_equal(ask(&b, "dev"), KEYRING_FAILED);
    assert_int_equal(resets, 0);
    answer(KEY16); /* late, and still worth something */
    assert_int_equal(ask(&b, "dev"), KEYRING_KEY);
    assert_int_equal(stats.keys_late, 1);
}

static void test_a_stuck_helper_is_given_up(void **state)
{
    struct teller a = teller(), b = teller();

    (void)state;
    ask(&a, "dev");
    now += LATE;
    keyring_tick(l, now);
    ask(&b, "dev2");
    now += LATE;
    keyring_tick(l, now);
    assert_int_equal(resets, 1);
    assert_told(&b, KEYRING_FAILED);
    assert_int_equal(question_count, 0);
    assert_int_equal(log_count("no answer came in time"), 1);
}

static void test_back_off(void **state)
{
    struct teller t = teller();

    (void)state;
    unreachable = "Connection refused";
    assert_int_equal(ask(&t, "dev"), KEYRING_FAILED);
    unreachable = NULL;
    assert_int_equal(ask(&t, "dev"), KEYRING_FAILED);
    now += 100;
    assert_int_equal(ask(&t, "dev"), KEYRING_LATER);
    fail_one();
    assert_told(&t, KEYRING_FAILED);
    now += 199;
    assert_int_equal(ask(&t, "dev"), KEYRING_FAILED);
    now += 1;
    assert_int_equal(ask(&t, "dev"), KEYRING_LATER);
    assert_int_equal(log_count("/helper: Connection refused"), 1);
    assert_int_equal(log_count("it broke"), 0); /* the log knows that it is down */
    answer(KEY16);
    assert_int_equal(log_count("answers again"), 1);
}

static void test_a_short_key_is_none(void **state)
{
    struct teller t = teller();

    (void)state;
    ask(&t, "dev");
    answer("0123456789abcde");
    assert_told(&t, KEYRING_NONE);
    assert_int_equal(log_count("fewer than 16 bytes"), 1);
    assert_int_equal(log_count("0123456789abcde"), 0);
}

/* ---- keys in use ---- */

static const struct psk *use(const char *identity, const char *key)
{
    struct psk psk = with_key(identity, key);

    return keyring_use(l, 0, &psk);
}

static void test_a_key_in_use_stays(void **state)
{
    struct teller t = teller();

    (void)state;
    ask(&t, "dev");
    answer(KEY16);
    const struct psk *used = use("dev", KEY16);
    assert_ptr_equal(use("dev", KEY16), used);
    assert_int_equal(keyring_enter(used), 1);
    assert_int_equal(keyring_enter(used), 2);
    keyring_exit(used);
    assert_int_equal(keyring_enter(used), 2);
    now += 2 * MINUTE;
    keyring_tick(l, now);
    assert_memory_equal(used->key, KEY16, 16);
    assert_int_equal(ask(&t, "dev"), KEYRING_LATER); /* that is not known any more */
    answer(KEY16);
    assert_ptr_equal(use("dev", KEY16), used);
    assert_null(use("dev", OTHER16));
    for (int i = 0; i < 3; i++)
        keyring_leave(used);
    assert_int_equal(ask(&t, "dev"), KEYRING_KEY);
    assert_false(keyring_has_changes(l, now));
}

static void change(const char *key, enum keyring_verdict expected)
{
    struct teller t = teller(), later = teller();

    ask(&t, "dev");
    answer(KEY16);
    const struct psk *used = use("dev", KEY16);
    now += MINUTE + 1;
    keyring_tick(l, now);
    assert_int_equal(keyring_change(used), KEYRING_FAILED);
    assert_int_equal(ask(&later, "dev"), KEYRING_LATER);
    answer(key);
    assert_told(&later, expected);
    assert_int_equal(keyring_change(used), expected);
    assert_memory_equal(used->key, KEY16, 16);
    assert_true(keyring_has_changes(l, now));
    assert_false(keyring_has_changes(l, now));
    keyring_leave(used);
    assert_int_equal(ask(&t, "dev"), expected);
}

static void test_another_key_revokes(void **state)
{
    (void)state;
    change(OTHER16, KEYRING_KEY);
}

static void test_no_key_revokes(void **state)
{
    (void)state;
    change(NULL, KEYRING_NONE);
}

static void test_a_reload_asks_for_what_is_in_use(void **state)
{
    struct teller t = teller();
    char name[32];

    (void)state;
    const struct psk *used[100];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "dev-%u", i);
        used[i] = use(name, KEY16);
    }
    ask(&t, "idle");
    answer(KEY16);
    keyring_use_conf(l, conf);
    keyring_renew(l, conf);
    keyring_tick(l, now);
    assert_int_equal(question_count, 64);
    fail_one();
    for (int i = 0; i < 63; i++)
        answer(KEY16);
    assert_int_equal(keyring_tick(l, now), now + 1000);
    now += 1000;
    keyring_tick(l, now);
    assert_int_equal(question_count, 37);
    while (question_count > 0)
        answer(KEY16);
    keyring_tick(l, now);
    assert_int_equal(question_count, 0);
    assert_false(keyring_has_changes(l, now));
    assert_int_equal(ask(&t, "idle"), KEYRING_LATER);
    answer(KEY16);
    for (unsigned i = 0; i < 100; i++)
        keyring_leave(used[i]);
}

static void test_a_reload_with_another_path(void **state)
{
    struct teller t = teller();

    (void)state;
    ask(&t, "dev");
    struct conf *next = load_with("", "1m");
    keyring_use_conf(l, next);
    keyring_renew(l, conf);
    assert_int_equal(resets, 1);
    assert_told(&t, KEYRING_FAILED);
    assert_int_equal(ask(&t, "dev"), KEYRING_FAILED);
    assert_int_equal(log_count("psk-helper"), 0);
    conf_unref(conf);
    conf = next;
}

static void test_a_key_left_while_it_is_asked_for(void **state)
{
    struct teller t = teller();

    (void)state;
    const struct psk *used = use("dev", KEY16);
    keyring_tick(l, now);
    assert_int_equal(question_count, 1); /* where it came from was not the helper */
    keyring_leave(used);
    answer(OTHER16);
    assert_false(keyring_has_changes(l, now));
    assert_int_equal(ask(&t, "dev"), KEYRING_KEY);
}

static void test_a_key_that_is_no_more_when_it_has_been_left(void **state)
{
    struct teller t = teller();

    (void)state;
    const struct psk *used = use("dev", KEY16);
    keyring_tick(l, now);
    keyring_leave(used);
    assert_int_equal(ask(&t, "dev"), KEYRING_LATER);
    answer(NULL);
    assert_told(&t, KEYRING_NONE);
    assert_int_equal(t.key_len, 0);
    assert_int_equal(ask(&t, "dev"), KEYRING_NONE);
    assert_int_equal(stats.keys_none, 1);
}

#define OTHER "[service b]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5685\npsk-file = keys\n"

static void test_a_helper_that_is_away_holds_up_nobody_elses_review(void **state)
{
    const struct keyring_hooks hooks = {
        .asker = {on_ask, on_reset, NULL}, .tell = on_tell, .stats = &stats};
    const char *const overrides[] = {"service.a.psk-helper=/helper", "service.b.psk-helper=/away",
                                     NULL};
    const struct psk *used[101];
    char name[32];

    (void)state;
    keyring_free(l);
    conf_unref(conf);
    conf = load_good(MINIMAL OTHER, overrides);
    l = keyring_new(conf, &hooks);
    assert_non_null(l);
    for (unsigned i = 0; i <= 100; i++) {
        snprintf(name, sizeof name, "dev-%u", i);
        struct psk psk = with_key(name, KEY16);
        used[i] = keyring_use(l, i < 100, &psk);
    }
    for (int i = 0; i < 3 && question_count == 0; i++)
        now = keyring_tick(l, now);
    assert_int_equal(question_count, 1);
    answer(KEY16);
    for (unsigned i = 0; i <= 100; i++)
        keyring_leave(used[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_question_for_all_who_wait),
        TEST(test_answers_are_kept_and_go),
        TEST(test_what_is_kept_is_bounded),
        TEST(test_questions_are_bounded),
        TEST(test_no_answer_in_time),
        TEST(test_a_stuck_helper_is_given_up),
        TEST(test_back_off),
        TEST(test_a_short_key_is_none),
        TEST(test_a_key_in_use_stays),
        TEST(test_another_key_revokes),
        TEST(test_no_key_revokes),
        TEST(test_a_reload_asks_for_what_is_in_use),
        TEST(test_a_reload_with_another_path),
        TEST(test_a_key_left_while_it_is_asked_for),
        TEST(test_a_key_that_is_no_more_when_it_has_been_left),
        TEST(test_a_helper_that_is_away_holds_up_nobody_elses_review),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
