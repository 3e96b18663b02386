/*
 * test_roam: what may go to an address that a session has moved to, what proves it, and how peers
 * finds sessions with connection ids by these and by their route.
 */
#include "proxy/roam.h"

#include "proxy/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 5000
#define GCM 0x00a8

/* A session with connection ids, as long as those of the worker's are. */
struct piece {
    struct session session;
    uint8_t behind[sizeof(struct association_cid) + sizeof(struct roam) + 8];
};

static struct session_memory memory;
static struct peers peers;
static struct piece a, b;

/* The stand-in for upstream.c's. */
struct flow {
    struct list order;
    struct session *owner;
    bool is_shared;
};

#include "flow_order.h"

static struct addr address(const char *text)
{
    struct addr at;

    assert_true(addr_parse(&at, text));
    return at;
}

static struct session *piece_make(struct piece *p, uint8_t peer_len, const char *peer,
                                  const char *own)
{
    struct association_cid cid = {.peer_len = peer_len};

    memset(p, 0, sizeof *p);
    memcpy(cid.own, own, WIRE_OWN_CID);
    p->session.state = SESSION_OPEN;
    p->session.peer = address(peer);
    p->session.association.suite = suite_find(GCM);
    association_set_cid(&p->session.association, &cid);
    roam_of(&p->session.association)->session = &p->session;
    list_init(&p->session.idle);
    return &p->session;
}

static void add(struct session *s)
{
    const struct session_route route = {.peer = s->peer, .local = address("192.0.2.1:5684")};

    assert_true(peers_set_route(&peers, s, &route));
    peers_add(&peers, s);
}

static void leave(struct session *s)
{
    peers_remove(&peers, s);
    peers_forget_route(&peers, s);
}

static int set_up(void **state)
{
    (void)state;
    session_prepare(&memory);
    assert_true(peers_init(&peers, 1, 8, 8));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(memory.proofs.used, 0);
    assert_int_equal(peers.cids.count, 0);
    peers_clear(&peers);
    session_memory_clear(&memory);
    return 0;
}

static const struct roam_place HOME = {.listener = 3};

static void test_what_lies_behind_the_ids_keeps_clear_of_them(void **state)
{
    (void)state;
    for (unsigned len = 0; len <= WIRE_CID_MAX; len++) {
        struct session *s = piece_make(&a, (uint8_t)len, "192.0.2.7:1", "ourcid78");
        struct roam *r = roam_of(&s->association);
        const struct association_cid *cid = association_cid(&s->association);

        assert_int_equal((uintptr_t)r % 8, 0);
        assert_true((const uint8_t *)r >= cid->peer + len);
        assert_true((uint8_t *)(r + 1) <= (uint8_t *)(&a + 1));
        /* And what the worker's memory gives is as long. */
        const struct slab *slab = session_memory_of(&memory, s->association.suite, cid, false);
        assert_true((size_t)((uint8_t *)(r + 1) - (uint8_t *)s) <= slab->size);
    }
}

static void test_sessions_without_ids_are_as_small_as_ever(void **state)
{
    (void)state;
    assert_int_equal(session_memory_of(&memory, suite_find(GCM), NULL, false)->size, 232);
    assert_int_equal(
        session_memory_of(&memory, suite_find(GCM), &(struct association_cid){0}, false)->size,
        328);
}

static void test_three_times_what_came_may_go_there(void **state)
{
    struct session *s = piece_make(&a, 0, "192.0.2.7:1", "ourcid78");
    struct roam *r = roam_of(&s->association);
    size_t size = record_sealed_size(&s->association, 10);

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_true(roam_may_send(&s->association, 16384)); /* it has not moved */
    roam_move(r, &HOME, size, &memory.proofs, NOW);
    for (int i = 0; i < 3; i++)
        assert_true(roam_may_send(&s->association, 10));
    assert_false(roam_may_send(&s->association, 0));
    roam_hear(r, size);
    assert_false(roam_may_send(&s->association, 10 + 2 * size + 1));
    assert_true(roam_may_send(&s->association, 10 + 2 * size));
    assert_false(roam_may_send(&s->association, 0));
    roam_move(r, &HOME, 1, &memory.proofs, NOW); /* what was left is of another address */
    assert_false(roam_may_send(&s->association, 0));
    assert_false(roam_may_believe(r, NOW)); /* of the same datagram */
    assert_true(roam_may_believe(r, NOW + 1));
    roam_prove(r);
    assert_true(roam_may_send(&s->association, 16384));
    assert_null(r->proof);
}

static void test_home_is_the_last_place_that_was_proven(void **state)
{
    struct session *s = piece_make(&a, 5, "192.0.2.7:1", "ourcid78");
    struct roam *r = roam_of(&s->association);
    const struct roam_place other = {.listener = 4};

    (void)state;
    roam_move(r, &HOME, 10, &memory.proofs, NOW);
    roam_move(r, &other, 10, &memory.proofs, NOW); /* which was none */
    assert_int_equal(r->proof->home.listener, HOME.listener);
    roam_prove(r);
    roam_move(r, &other, 10, &memory.proofs, NOW);
    assert_int_equal(r->proof->home.listener, other.listener);
    roam_clear(&s->association);
    roam_clear(&s->association);
    s->association.has_cid = false;
    roam_clear(&s->association);
}

static void test_a_challenge_is_paced_and_for_one_address(void **state)
{
    struct session *s = piece_make(&a, 5, "192.0.2.7:1", "ourcid78");
    struct roam *r = roam_of(&s->association);
    const struct addr one = address("192.0.2.8:1"), other = address("192.0.2.8:2");
    uint8_t first[WIRE_RRC_COOKIE], wrong[WIRE_RRC_COOKIE];

    (void)state;
    assert_false(roam_asks(r, &one, NOW)); /* there is nothing to prove */
    roam_move(r, &HOME, 10, &memory.proofs, NOW);
    assert_false(roam_is_overdue(r, NOW)); /* nobody was asked */
    assert_true(roam_asks(r, &one, NOW));
    memcpy(first, r->proof->cookie, sizeof first);
    assert_false(roam_asks(r, &one, NOW + ROAM_ASK_MS - 1));
    assert_true(roam_asks(r, &one, NOW + ROAM_ASK_MS));
    assert_memory_equal(first, r->proof->cookie, sizeof first);
    assert_true(roam_is_answer(r, &one, first));
    assert_false(roam_is_answer(r, &other, first));
    for (size_t i = 0; i < sizeof wrong; i++) {
        memcpy(wrong, first, sizeof wrong);
        wrong[i] ^= 1;
        assert_false(roam_is_answer(r, &one, wrong));
    }
    assert_false(roam_is_overdue(r, NOW + ROAM_PROOF_MS - 1));
    assert_true(roam_is_overdue(r, NOW + ROAM_PROOF_MS)); /* to ask again gives no more time */
    roam_move(r, &HOME, 10, &memory.proofs, NOW);
    assert_true(roam_asks(r, &other, NOW + ROAM_ASK_MS));
    assert_false(roam_is_answer(r, &other, first));
    assert_false(roam_is_answer(r, &one, first));
    assert_true(roam_is_answer(r, &other, r->proof->cookie));
    assert_true(roam_is_overdue(r, NOW + ROAM_PROOF_MS)); /* nor does another address */
    roam_clear(&s->association);
}

static void test_peers_find_by_id_and_forget_it(void **state)
{
    struct session *s = piece_make(&a, 255, "192.0.2.7:1", "ourcid78");
    struct session *t = piece_make(&b, 0, "192.0.2.7:2", "ourcid79");
    uint8_t cid[WIRE_OWN_CID];

    (void)state;
    add(s);
    t->state = SESSION_HANDSHAKE;
    add(t);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid78"), s);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid79"), t);
    assert_null(peers_find_cid(&peers, (const uint8_t *)"ourcid77"));
    peers_remove(&peers, t);
    assert_null(peers_find_cid(&peers, (const uint8_t *)"ourcid79"));
    t->state = SESSION_OPEN;
    peers_add(&peers, t);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid79"), t);
    for (int i = 0; i < 100; i++) {
        peers_make_cid(&peers, 77, cid);
        assert_int_equal(cid[0], 77);
        assert_null(peers_find_cid(&peers, cid));
    }
    leave(s);
    leave(t);
}

static void test_a_session_that_moves_is_found_at_its_new_route_alone(void **state)
{
    struct session *s = piece_make(&a, 8, "192.0.2.7:1", "ourcid78");
    struct session_route before, there = {.peer = address("[2001:db8::1]:9"),
                                          .local = address("[2001:db8::2]:5684"),
                                          .listener = 1};

    (void)state;
    add(s);
    before = peers_route(&peers, s);
    uint64_t hash = s->link.hash;
    assert_true(peers_move(&peers, s, &there));
    assert_null(peers_find_open(&peers, &before));
    assert_ptr_equal(peers_find_open(&peers, &there), s);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid78"), s);
    const struct session_route now = peers_route(&peers, s);
    assert_true(addr_equal(&now.peer, &there.peer) && addr_equal(&now.local, &there.local));
    assert_int_equal(now.listener, 1);
    assert_int_equal(peers.locals.table.count, 1);
    assert_int_equal(peers.routes.count, 1);
    assert_true(s->link.hash == hash); /* a walk through all meets it where it was */
    leave(s);
}

static void test_of_several_at_one_route_that_without_an_id_has_it(void **state)
{
    static struct session plain;
    struct session *s = piece_make(&a, 8, "192.0.2.7:1", "ourcid78");
    struct session *t = piece_make(&b, 8, "192.0.2.7:1", "ourcid79");
    const struct session_route route = {.peer = s->peer, .local = address("192.0.2.1:5684")};
    const struct psk one = {0}, other = {0};

    (void)state;
    s->psk = &one;
    t->psk = &other;
    add(s);
    assert_ptr_equal(peers_find_open(&peers, &route), s);
    plain = (struct session){.peer = s->peer, .state = SESSION_OPEN, .psk = &other};
    list_init(&plain.idle);
    add(&plain);
    assert_ptr_equal(peers_find_open(&peers, &route), &plain);
    assert_ptr_equal(peers_find(&peers, &route).open, &plain);
    /* A new one of another identity takes the place of that alone, one of the same of both. */
    assert_true(peers_set_route(&peers, t, &route));
    assert_ptr_equal(peers_find_replaced(&peers, t), &plain);
    leave(&plain);
    assert_null(peers_find_replaced(&peers, t));
    t->psk = &one;
    assert_ptr_equal(peers_find_replaced(&peers, t), s);
    peers_forget_route(&peers, t);
    leave(s);
}

/* Those of another process come the newest first. */
static void test_one_that_was_there_before_takes_no_route_from_others(void **state)
{
    struct session *s = piece_make(&a, 8, "192.0.2.7:1", "ourcid78");
    struct session *t = piece_make(&b, 8, "192.0.2.7:1", "ourcid79");
    const struct session_route route = {.peer = s->peer, .local = address("192.0.2.1:5684")};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(peers_set_route(&peers, i == 0 ? s : t, &route));
        peers_add_idlest(&peers, i == 0 ? s : t);
    }
    assert_ptr_equal(peers_find_open(&peers, &route), s);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid79"), t);
    leave(s);
    assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)"ourcid79"), t);
    leave(t);
}

/* Else whoever has a key could make each look at an address as long as he likes. */
static void test_a_crowd_at_one_address_is_no_longer_to_look_at(void **state)
{
    enum { CROWD = 100 };
    struct piece *crowd = calloc(CROWD, sizeof *crowd);
    struct session_route route;
    unsigned chained = 0;
    char own[WIRE_OWN_CID + 1];

    (void)state;
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(own, sizeof own, "%08u", i);
        struct session *s = piece_make(&crowd[i], 8, "192.0.2.7:1", own);
        s->peer.port = (uint16_t)(i < CROWD / 2 ? 1 : 2 + i);
        add(s);
    }
    route = peers_route(&peers, &crowd[0].session);
    assert_ptr_equal(peers_find_open(&peers, &route), &crowd[CROWD / 2 - 1].session);
    for (unsigned i = CROWD / 2; i < CROWD; i++) {
        assert_true(peers_move(&peers, &crowd[i].session, &route));
        assert_ptr_equal(peers_find_open(&peers, &route), &crowd[i].session);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(own, sizeof own, "%08u", i);
        assert_ptr_equal(peers_find_cid(&peers, (const uint8_t *)own), &crowd[i].session);
        chained += roam_of(&crowd[i].session.association)->is_at;
    }
    assert_int_equal(chained, 1);
    assert_int_equal(peers.routes.count, 1);
    assert_int_equal(peers.open.count, CROWD);
    for (unsigned i = 0; i < CROWD; i++)
        leave(&crowd[i].session);
    assert_int_equal(peers.open.count + peers.routes.count, 0);
    free(crowd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_what_lies_behind_the_ids_keeps_clear_of_them),
        TEST(test_sessions_without_ids_are_as_small_as_ever),
        TEST(test_three_times_what_came_may_go_there),
        TEST(test_home_is_the_last_place_that_was_proven),
        TEST(test_a_challenge_is_paced_and_for_one_address),
        TEST(test_peers_find_by_id_and_forget_it),
        TEST(test_a_session_that_moves_is_found_at_its_new_route_alone),
        TEST(test_of_several_at_one_route_that_without_an_id_has_it),
        TEST(test_one_that_was_there_before_takes_no_route_from_others),
        TEST(test_a_crowd_at_one_address_is_no_longer_to_look_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
