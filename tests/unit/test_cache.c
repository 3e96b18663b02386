/*
 * test_cache: sessions by their id: who is found, who gives way, and what is left of those who are
 * gone.
 */
#include "dtls/cache.h"

#include "base/bytes.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BORN UINT64_C(1700000000000)
#define LIFETIME UINT64_C(3600000)

static void name_of(uint8_t id[CACHE_ID], unsigned n)
{
    memset(id, 0, CACHE_ID);
    memcpy(id, &n, sizeof n);
}

static struct ticket ticket_of(unsigned n)
{
    struct ticket t = {.suite = suite_find(0xccac), .born = BORN + n, .identity_len = 5};

    memset(t.master, (int)n, sizeof t.master);
    memcpy(t.identity, "dev-1", 5);
    return t;
}

static bool put(struct cache *c, unsigned n)
{
    uint8_t id[CACHE_ID];
    const struct cache_name name = {"coap", id};
    const struct ticket t = ticket_of(n);

    name_of(id, n);
    return cache_put(c, &name, &t, LIFETIME);
}

static bool is_there_for(struct cache *c, const char *service, unsigned n)
{
    uint8_t id[CACHE_ID];
    const struct cache_name name = {service, id};
    struct ticket t, wanted = ticket_of(n);

    name_of(id, n);
    if (!cache_find(c, &name, &t))
        return false;
    assert_memory_equal(t.master, wanted.master, sizeof t.master);
    assert_memory_equal(t.identity, "dev-1", 5);
    assert_true(t.born == wanted.born && t.identity_len == 5 && t.suite == wanted.suite);
    return true;
}

static bool is_there(struct cache *c, unsigned n)
{
    return is_there_for(c, "coap", n);
}

static void forget(struct cache *c, unsigned n)
{
    uint8_t id[CACHE_ID];
    const struct cache_name name = {"coap", id};

    name_of(id, n);
    cache_forget(c, &name);
}

static void one_is_found_any_number_of_times(void **state)
{
    struct cache *c = cache_new(4);

    (void)state;
    assert_false(is_there(c, 1));
    assert_false(put(c, 1));
    for (int i = 0; i < 3; i++)
        assert_true(is_there(c, 1));
    assert_false(is_there(c, 2));
    cache_free(c);
}

static void another_service_knows_nothing_of_it(void **state)
{
    struct cache *c = cache_new(4);

    (void)state;
    put(c, 1);
    assert_false(is_there_for(c, "coaps", 1));
    assert_false(is_there_for(c, "", 1));
    assert_true(is_there(c, 1));
    cache_free(c);
}

static void the_oldest_gives_way(void **state)
{
    for (unsigned places = 1; places < 40; places++) {
        struct cache *c = cache_new(places);
        (void)state;
        for (unsigned n = 0; n < 3 * places; n++) {
            assert_int_equal(put(c, n), n >= places);
            for (unsigned other = 0; other <= n; other++)
                assert_int_equal(is_there(c, other), other + places > n);
        }
        cache_free(c);
    }
}

static void who_is_forgotten_leaves_the_others(void **state)
{
    struct cache *c = cache_new(64);

    (void)state;
    for (unsigned n = 0; n < 64; n++)
        put(c, n);
    for (unsigned n = 0; n < 64; n += 3) {
        forget(c, n);
        forget(c, n);
    }
    for (unsigned n = 0; n < 64; n++)
        assert_int_equal(is_there(c, n), n % 3 != 0);
    assert_false(put(c, 64)); /* in the place of one that is gone */
    assert_true(put(c, 65));
    cache_free(c);
}

static void time_ends_all(void **state)
{
    struct cache *c = cache_new(100);

    (void)state;
    cache_expire(NULL, BORN);
    cache_expire(c, BORN);
    for (unsigned n = 0; n < 80; n++)
        put(c, n);
    cache_expire(c, BORN + LIFETIME - 1);
    assert_true(is_there(c, 0));
    cache_expire(c, BORN + LIFETIME + 39);
    for (unsigned n = 0; n < 80; n++)
        assert_int_equal(is_there(c, n), n >= 40);
    cache_expire(c, 0); /* the clock was set back */
    assert_true(is_there(c, 40));
    cache_expire(c, UINT64_MAX);
    assert_false(is_there(c, 79));
    cache_free(c);
}

static void who_is_over_gives_way_without_a_loss(void **state)
{
    struct cache *c = cache_new(1);

    (void)state;
    put(c, 0);
    assert_true(put(c, LIFETIME - 1));
    assert_true(put(c, LIFETIME));
    assert_false(put(c, 2 * LIFETIME));
    cache_free(c);
}

/* ---- all at once ---- */

#define THREADS 4
#define ROUNDS 2000

struct share {
    struct cache *cache;
    unsigned first;
};

/* Own sessions are there as long as others leave them their places. */
static void *use(void *arg)
{
    const struct share *share = arg;

    for (unsigned n = share->first; n < share->first + ROUNDS; n++) {
        put(share->cache, n);
        (void)is_there(share->cache, n);
        (void)is_there(share->cache, n - ROUNDS);
        if (n % 5 == 0)
            forget(share->cache, n);
        if (n % 100 == 0)
            cache_expire(share->cache, BORN + LIFETIME + n);
    }
    return NULL;
}

static void threads_do_not_stand_in_each_others_way(void **state)
{
    struct cache *c = cache_new(50);
    pthread_t thread[THREADS];
    struct share share[THREADS];
    unsigned count = 0;

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        share[i] = (struct share){c, (i + 1) * ROUNDS};
        assert_int_equal(pthread_create(&thread[i], NULL, use, &share[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned n = 0; n < (THREADS + 2) * ROUNDS; n++)
        count += is_there(c, n);
    assert_in_range(count, 0, 50);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_found_any_number_of_times),
        cmocka_unit_test(another_service_knows_nothing_of_it),
        cmocka_unit_test(the_oldest_gives_way),
        cmocka_unit_test(who_is_forgotten_leaves_the_others),
        cmocka_unit_test(time_ends_all),
        cmocka_unit_test(who_is_over_gives_way_without_a_loss),
        cmocka_unit_test(threads_do_not_stand_in_each_others_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
