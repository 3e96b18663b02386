/* identities: who is counted, who can be found, and what that takes. */
#include "psk_text.h"

#include "proxy/identities.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define KEYS                                                                                       \
    "me:00112233445566778899aabbccddeeff\n"                                                        \
    "you:ffeeddccbbaa99887766554433221100\n"

struct world {
    struct identities ids;
    struct conf_service conf;
    const struct psk *me, *you;
};

static struct world w;

static int set_up(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    assert_true(identities_init(&w.ids));
    w.conf.psk = keys_of(KEYS);
    w.conf.max_sessions_per_identity = 2;
    w.me = psk_find(w.conf.psk, (const uint8_t *)"me", 2);
    w.you = psk_find(w.conf.psk, (const uint8_t *)"you", 3);
    return 0;
}

/* What is left tells who did not leave. */
static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(w.ids.entries.used, 0);
    identities_clear(&w.ids);
    psk_free(w.conf.psk);
    return 0;
}

static struct session session(const struct psk *psk, uint64_t used)
{
    return (struct session){.psk = psk, .used = used};
}

static struct session *idlest(unsigned service, const char *identity, const struct session *except)
{
    return identities_idlest(&w.ids, service, (const uint8_t *)identity, strlen(identity), except);
}

static void test_the_longest_idle_of_an_identity_is_found(void **state)
{
    struct session a = session(w.me, 30), b = session(w.me, 10), c = session(w.me, 20);
    struct session other = session(w.you, 1), elsewhere = session(w.me, 2);

    (void)state;
    elsewhere.service = 1;
    assert_int_equal(identities_enter(&w.ids, &a, &w.conf), 1);
    assert_int_equal(identities_enter(&w.ids, &b, &w.conf), 2);
    assert_int_equal(identities_enter(&w.ids, &c, &w.conf), 3);
    assert_int_equal(identities_enter(&w.ids, &other, &w.conf), 1);
    assert_int_equal(identities_enter(&w.ids, &elsewhere, &w.conf), 4);
    assert_ptr_equal(idlest(0, "me", NULL), &b);
    assert_ptr_equal(idlest(0, "me", &b), &c);
    assert_ptr_equal(idlest(1, "me", NULL), &elsewhere);
    assert_ptr_equal(idlest(0, "you", NULL), &other);
    assert_null(idlest(0, "you", &other));
    assert_null(idlest(0, "nobody", NULL));
    identities_leave(&w.ids, &b, &w.conf);
    assert_ptr_equal(idlest(0, "me", NULL), &c);
    assert_int_equal(identities_enter(&w.ids, &b, &w.conf), 4);
    identities_leave(&w.ids, &a, &w.conf);
    identities_leave(&w.ids, &b, &w.conf);
    identities_leave(&w.ids, &c, &w.conf);
    identities_leave(&w.ids, &other, &w.conf);
    identities_leave(&w.ids, &elsewhere, &w.conf);
    assert_null(idlest(0, "me", NULL));
}

static void test_leaving_twice_or_without_having_come_is_harmless(void **state)
{
    struct session a = session(w.me, 1), b = session(w.me, 2);

    (void)state;
    identities_leave(&w.ids, &b, &w.conf);
    assert_int_equal(identities_enter(&w.ids, &a, &w.conf), 1);
    identities_leave(&w.ids, &a, &w.conf);
    identities_leave(&w.ids, &a, &w.conf);
    assert_int_equal(identities_enter(&w.ids, &b, &w.conf), 1);
    identities_leave(&w.ids, &b, &w.conf);
}

static void test_without_a_cap_they_are_only_counted(void **state)
{
    struct session a = session(w.me, 1), b = session(w.me, 2);

    (void)state;
    w.conf.max_sessions_per_identity = 0;
    assert_int_equal(identities_enter(&w.ids, &a, &w.conf), 1);
    assert_int_equal(identities_enter(&w.ids, &b, &w.conf), 2);
    assert_int_equal(w.ids.entries.used, 0);
    assert_null(idlest(0, "me", NULL));
    w.conf.max_sessions_per_identity = 1; /* they leave as they came, whatever the settings say */
    identities_leave(&w.ids, &a, &w.conf);
    identities_leave(&w.ids, &b, &w.conf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_longest_idle_of_an_identity_is_found),
        TEST(test_leaving_twice_or_without_having_come_is_harmless),
        TEST(test_without_a_cap_they_are_only_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
