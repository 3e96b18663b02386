/*
 * test_session_image: a session as bytes: all of it comes back, and nothing that no session can be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "proxy/roam.h"
#include "proxy/session_image.h"

#include <string.h>

#define GCM 0x00a8
#define CCM8 0xc0a8
#define CHACHA 0xccab

static struct session_image sample(uint16_t suite)
{
    struct session_image s = {
        .service = 2,
        .listener = 3,
        .peer = {.ip = {192, 0, 2, 1}, .port = 40000, .family = AF_INET},
        .local = {.ip = {192, 0, 2, 2}, .port = 5684, .family = AF_INET},
        .identity_len = 5,
        .identity = "dev-1",
        .secret_print = {9, 8, 7},
        .id = 77,
        .age = 123456789,
        .idle = 4567,
        .hello_print = 0xdeadbeef,
        .plain_max = WIRE_PLAINTEXT_MAX,
        .has_ems = true,
        .in_datagrams = 1,
        .in_bytes = 2,
        .out_datagrams = 3,
        .out_bytes = 4,
        .drops = 5,
        .refused = 6,
        .flow = {.is_open = true,
                 .is_lone = true,
                 .is_listed = true,
                 .source = 7,
                 .port = 50000,
                 .backend = {.ip = {127, 0, 0, 1}, .port = 53, .family = AF_INET}},
        .has_farewell = true,
        .farewell = {.finished = {WIRE_FINISHED, 0, 0, 12}, .ccs_seq = 11},
    };

    s.association = (struct association){.suite = suite_find(suite),
                                         .write_seq = 0x123456789a,
                                         .window = {.top = 0x1111111111, .map = 0x8001},
                                         .forged = 13};
    assert_non_null(s.association.suite);
    for (size_t i = 0; i < keys_length(s.association.suite); i++)
        s.association.keys.block[i] = (uint8_t)(i + 1);
    return s;
}

static const struct addr HOME = {.ip = {198, 51, 100, 7}, .port = 41000, .family = AF_INET};

/* One with connection ids that has just moved. */
static struct session_image roaming(uint8_t peer_len)
{
    struct session_image s = sample(GCM);

    s.has_cid = true;
    s.cid = (struct association_cid){.own = "ourcid7", .has_rrc = true, .peer_len = peer_len};
    for (unsigned i = 0; i < peer_len; i++)
        s.cid.peer[i] = (uint8_t)(i + 1);
    s.moves = (struct session_image_moves){.count = 3,
                                           .is_unproven = true,
                                           .budget = 1234,
                                           .has_proof = true,
                                           .home_peer = HOME,
                                           .home_local = s.local,
                                           .home_listener = 1,
                                           .asked = s.peer,
                                           .cookie = "cookie7",
                                           .asked_ago = 100,
                                           .left = 900};
    return s;
}

/* All that the access log counts, the most of it. */
static void add_tally(struct session_image *s)
{
    s->has_tally = true;
    s->tally = (struct tally){.newest = 99, .opened = 90, .late = 8, .handshake_ms = 7};
    for (unsigned i = 0; i < TALLY_CLIENT_DROPS; i++)
        s->tally.from_client[i] = UINT32_MAX - i;
    for (unsigned i = 0; i < TALLY_BACKEND_DROPS; i++)
        s->tally.from_backend[i] = 1000 + i;
    s->tally.too_old = 6;
}

static void add_key(struct session_image *s, size_t len)
{
    s->key_len = len;
    memset(s->key, 'k', len);
}

/* The record that goes in front of its farewell; `len` is that of the ticket in it. */
static void add_ticket(struct session_image *s, size_t len)
{
    static uint8_t record[RESUME_RECORD_MAX];
    struct writer w = writer_of(record, sizeof record);

    write_u8(&w, WIRE_HANDSHAKE);
    write_u16(&w, 0xfefd);
    write_u64(&w, 9);
    write_u16(&w, (uint16_t)(WIRE_MESSAGE_HEADER + 6 + len));
    write_u8(&w, WIRE_NEW_TICKET);
    write_u24(&w, (uint32_t)(6 + len));
    write_u16(&w, 5);
    write_u24(&w, 0);
    write_u24(&w, (uint32_t)(6 + len));
    write_u32(&w, 7200);
    write_u16(&w, (uint16_t)len);
    memset(w.at, 't', len);
    s->ticket = record;
    s->ticket_len = RESUME_RECORD_MIN + len;
}

static size_t write_one(const struct session_image *s, uint8_t out[SESSION_IMAGE_MAX])
{
    struct writer w = writer_of(out, SESSION_IMAGE_MAX);

    session_image_write(&w, s);
    assert_false(w.bad);
    return SESSION_IMAGE_MAX - w.left;
}

static bool reads(const uint8_t *data, size_t len, struct session_image *out)
{
    struct reader r = reader_of(data, len);

    return session_image_read(&r, out) && r.left == 0;
}

/* Both are zeroed before, so all bytes count. */
static void all_comes_back(void **unused)
{
    static const uint16_t suites[] = {GCM, CCM8, CHACHA};
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
        struct session_image before = sample(suites[i]), after;
        size_t len = write_one(&before, bytes);
        assert_true(reads(bytes, len, &after));
        assert_memory_equal(&before.peer, &after.peer, sizeof after.peer);
        assert_memory_equal(&before.local, &after.local, sizeof after.local);
        assert_memory_equal(&before.identity, &after.identity, sizeof after.identity);
        assert_memory_equal(&before.association, &after.association, sizeof after.association);
        assert_memory_equal(&before.farewell, &after.farewell, sizeof after.farewell);
        assert_memory_equal(&before.flow.backend, &after.flow.backend, sizeof(struct addr));
        assert_true(after.flow.is_open && after.flow.is_lone && after.flow.is_listed);
        assert_false(after.flow.was_refused);
        assert_int_equal(after.flow.source, 7);
        assert_int_equal(after.flow.port, 50000);
        assert_int_equal(after.service, 2);
        assert_int_equal(after.listener, 3);
        assert_int_equal(after.id, 77);
        assert_int_equal(after.age, before.age);
        assert_int_equal(after.idle, before.idle);
        assert_int_equal(after.hello_print, before.hello_print);
        assert_int_equal(after.plain_max, before.plain_max);
        assert_int_equal(after.in_datagrams, 1);
        assert_int_equal(after.in_bytes, 2);
        assert_int_equal(after.out_datagrams, 3);
        assert_int_equal(after.out_bytes, 4);
        assert_int_equal(after.drops, 5);
        assert_int_equal(after.refused, 6);
        assert_true(after.has_ems && after.has_farewell);
    }
}

static void ids_come_back_whatever_their_length(void **unused)
{
    static const uint8_t lengths[] = {0, 8, 255};
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    for (size_t i = 0; i < sizeof lengths; i++) {
        struct session_image before = roaming(lengths[i]), after;
        assert_true(reads(bytes, write_one(&before, bytes), &after));
        assert_true(after.has_cid && after.cid.has_rrc && !after.association.has_cid);
        assert_memory_equal(&before.cid, &after.cid, sizeof after.cid);
        assert_true(after.moves.is_unproven && after.moves.has_proof);
        assert_int_equal(after.moves.count, 3);
        assert_int_equal(after.moves.budget, 1234);
        assert_int_equal(after.moves.home_listener, 1);
        assert_true(addr_equal(&after.moves.home_peer, &HOME));
        assert_true(addr_equal(&after.moves.home_local, &before.local));
        assert_true(addr_equal(&after.moves.asked, &before.peer));
        assert_memory_equal(after.moves.cookie, "cookie7", 8);
        assert_int_equal(after.moves.asked_ago, 100);
        assert_int_equal(after.moves.left, 900);
    }
}

static void the_longest_of_all_has_room(void **unused)
{
    struct session_image before = roaming(255), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    before.identity_len = PSK_IDENTITY_MAX;
    memset(before.identity, 'i', PSK_IDENTITY_MAX);
    add_tally(&before);
    add_key(&before, PSK_KEY_MAX);
    add_ticket(&before, TICKET_MAX);
    before.tally.is_resumed = true;
    assert_true(reads(bytes, write_one(&before, bytes), &after));
    assert_memory_equal(&before.tally, &after.tally, sizeof after.tally);
    assert_int_equal(after.key_len, PSK_KEY_MAX);
    assert_memory_equal(before.key, after.key, PSK_KEY_MAX);
    assert_int_equal(after.ticket_len, RESUME_RECORD_MAX);
    assert_memory_equal(before.ticket, after.ticket, RESUME_RECORD_MAX);
}

static void a_reason_that_is_not_known_is_nobodys_loss(void **unused)
{
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX];
    size_t len;

    (void)unused;
    s.has_tally = true;
    s.tally.opened = 1;
    s.tally.from_backend[0] = 5;
    len = write_one(&s, bytes);
    bytes[len - 1] ^= 1; /* of its name */
    assert_true(reads(bytes, len, &after));
    assert_int_equal(after.tally.opened, 1);
    assert_int_equal(after.tally.from_backend[0], 0);
}

static void what_is_wrong_with_ids_and_moves_is_refused(void **unused)
{
    struct session_image s = roaming(3), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    s.has_cid = false; /* who has none does not move */
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s = roaming(3);
    s.moves.left = ROAM_PROOF_MS + 1;
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s = roaming(3);
    s.moves.home_peer.port = 0;
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s = roaming(3);
    s.has_tally = true;
    s.tally.too_old = 1; /* of no replay at all */
    assert_false(reads(bytes, write_one(&s, bytes), &after));
}

static void what_no_ticket_can_be_is_refused(void **unused)
{
    static const struct {
        uint8_t at, value;
    } wrong[] = {
        {0, WIRE_DATA}, {1, 3},  {4, 1},  {12, 0}, {12, 0xff}, /* the record's */
        {13, 11},       {16, 0}, {21, 1}, {24, 0},             /* the message's */
    };
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    add_ticket(&s, 20);
    assert_true(reads(bytes, write_one(&s, bytes), &after));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t len = write_one(&s, bytes);
        bytes[len - s.ticket_len + wrong[i].at] = wrong[i].value;
        if (reads(bytes, len, &after))
            fail_msg("row %zu", i);
    }
    add_ticket(&s, TICKET_MAX);
    uint8_t longer[RESUME_RECORD_MAX + 1] = {0};
    memcpy(longer, s.ticket, RESUME_RECORD_MAX);
    longer[12]++;
    longer[16]++;
    longer[24]++;
    s.ticket = longer;
    s.ticket_len++;
    assert_false(reads(bytes, write_one(&s, bytes), &after));
}

static void what_needs_another_field_is_refused_alone(void **unused)
{
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    add_ticket(&s, 20);
    s.has_farewell = false;
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s = sample(GCM);
    size_t len = write_one(&s, bytes);
    memcpy(bytes + len, (const uint8_t[]){14, 0, 0}, 3);
    put_u16(bytes, (uint16_t)(len + 1));
    assert_false(reads(bytes, len + 3, &after));
    s.has_tally = true;
    len = write_one(&s, bytes);
    assert_true(reads(bytes, len, &after) && !after.tally.is_resumed);
    memcpy(bytes + len, (const uint8_t[]){14, 0, 0}, 3);
    put_u16(bytes, (uint16_t)(len + 1));
    assert_true(reads(bytes, len + 3, &after) && after.tally.is_resumed);
}

static void a_session_without_flow_and_farewell_is_shorter(void **unused)
{
    struct session_image s = sample(CCM8), after;
    uint8_t bytes[SESSION_IMAGE_MAX];
    size_t whole = write_one(&s, bytes), len;

    (void)unused;
    s.has_farewell = false;
    s.flow = (struct session_image_flow){0};
    len = write_one(&s, bytes);
    assert_int_equal(whole - len, 3 + 30 + 3 + 30);
    assert_true(reads(bytes, len, &after));
    assert_false(after.flow.is_open || after.has_farewell);
}

static void a_piece_of_one_is_refused_and_leaves_no_key(void **unused)
{
    struct session_image s = sample(CHACHA), after;
    const struct session_image nothing = {0};
    uint8_t bytes[SESSION_IMAGE_MAX];
    size_t len = write_one(&s, bytes);

    (void)unused;
    for (size_t part = 0; part < len; part++) {
        uint8_t copy[SESSION_IMAGE_MAX];
        memcpy(copy, bytes, part);
        assert_false(reads(copy, part, &after));
        if (part < 2)
            continue;
        put_u16(copy, (uint16_t)(part - 2)); /* even where the length agrees */
        if (part < len - 33 - 33)
            assert_false(reads(copy, part, &after));
        if (!reads(copy, part, &after))
            assert_memory_equal(&after, &nothing, sizeof nothing);
    }
}

/* The content of the first field with this tag. */
static uint8_t *content_of(uint8_t *bytes, uint8_t tag)
{
    uint8_t *at = bytes + 2;

    while (*at != tag)
        at += 3 + (at[1] << 8 | at[2]);
    return at + 3;
}

static void what_no_session_can_be_is_refused(void **unused)
{
    static const struct {
        uint8_t tag, at, value;
    } wrong[] = {
        {1, 4, 5},     /* an address family */
        {1, 4, 0},     /* none at all */
        {1, 10, 1},    /* more than four bytes of an IPv4 address */
        {1, 24, 1},    /* its scope */
        {2, 2, 0},     /* a NUL in an identity */
        {3, 0, 0xff},  /* a suite */
        {3, 1, 0xab},  /* one with longer keys, 0x00ab */
        {3, 21, 0},    /* a window that has not seen its own top */
        {3, 22, 0x80}, /* more forgeries than can be counted */
        {5, 6, 0xff},  /* an age, which makes nothing; but see below */
        {5, 14, 1},    /* idle for longer than it lives */
        {5, 26, 0xff}, /* largest plaintext */
        {5, 28, 2},    /* flags */
        {7, 0, 0x3f},  {7, 0, 0x07}, {7, 0, 0x16}, {7, 7, 0}, {8, 0, 21}, /* not a Finished */
    };
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t len = write_one(&s, bytes);
        content_of(bytes, wrong[i].tag)[wrong[i].at] = wrong[i].value;
        bool is_age = wrong[i].tag == 5 && wrong[i].at == 6;
        if (reads(bytes, len, &after) != is_age)
            fail_msg("row %zu", i);
    }
}

static void numbers_at_their_start_are_refused(void **unused)
{
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX];

    (void)unused;
    s.association.write_seq = 0;
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s.association.write_seq = WIRE_SEQ_MAX + 1; /* all numbers are used up */
    assert_false(reads(bytes, write_one(&s, bytes), &after));
    s.association.write_seq = WIRE_SEQ_MAX;
    assert_true(reads(bytes, write_one(&s, bytes), &after));
}

static void an_unknown_or_repeated_field_is_refused(void **unused)
{
    struct session_image s = sample(GCM), after;
    uint8_t bytes[SESSION_IMAGE_MAX + 64];
    size_t len = write_one(&s, bytes);
    uint8_t tags[] = {15, 0, 0x80, 2};

    (void)unused;
    for (size_t i = 0; i < sizeof tags; i++) {
        uint8_t *at = bytes + len;
        at[0] = tags[i];
        put_u16(at + 1, 1);
        at[3] = 'x';
        put_u16(bytes, (uint16_t)(len + 4 - 2));
        assert_false(reads(bytes, len + 4, &after));
    }
}

static void several_stand_behind_each_other(void **unused)
{
    struct session_image s = sample(GCM), after;
    uint8_t bytes[2 * SESSION_IMAGE_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);

    (void)unused;
    session_image_write(&w, &s);
    s.id = 78;
    session_image_write(&w, &s);
    struct reader r = reader_of(bytes, sizeof bytes - w.left);
    assert_true(session_image_read(&r, &after) && after.id == 77);
    assert_true(session_image_read(&r, &after) && after.id == 78);
    assert_int_equal(r.left, 0);
}

static void the_print_of_a_secret_tells_keys_apart(void **unused)
{
    struct session_image s = sample(CCM8), other = sample(CCM8);
    struct psk one = {.key = (const uint8_t *)"0123456789abcdef", .key_len = 16};
    struct psk two = {.key = (const uint8_t *)"0123456789abcdeg", .key_len = 16};
    uint8_t a[SESSION_SECRET_PRINT], b[SESSION_SECRET_PRINT];

    (void)unused;
    session_image_print(&s.association, &one, a);
    session_image_print(&s.association, &one, b);
    assert_memory_equal(a, b, sizeof a);
    session_image_print(&s.association, &two, b);
    assert_memory_not_equal(a, b, sizeof a);
    memset(other.association.keys.block, 1, sizeof other.association.keys.block);
    session_image_print(&other.association, &one, b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void one_that_is_made_anew_is_the_same(void **unused)
{
    static const struct psk psk = {.identity = (const uint8_t *)"dev-1",
                                   .identity_len = 5,
                                   .key = (const uint8_t *)"0123456789abcdef",
                                   .key_len = 16};
    struct session_image before = sample(GCM), after;
    struct session_memory memory;
    struct session_service service = {.memory = &memory};
    struct session *s;
    uint8_t one[SESSION_IMAGE_MAX], two[SESSION_IMAGE_MAX];

    (void)unused;
    session_prepare(&memory);
    before.flow = (struct session_image_flow){.source = 7, .port = 50000};
    before.local = (struct addr){0}; /* where it is, the peers know */
    before.service = before.listener = 0;
    session_image_print(&before.association, &psk, before.secret_print);
    s = session_image_restore(&before, &service, &psk, UINT64_C(1) << 40);
    assert_non_null(s);
    s->peer = before.peer;
    session_image_save(&after, s, UINT64_C(1) << 40);
    assert_int_equal(write_one(&before, one), write_one(&after, two));
    assert_memory_equal(one, two, write_one(&before, one));
    session_free(s);
    s = session_image_restore(&before, &service, &psk, 1000); /* of a host that was started anew */
    assert_true(s->opened == 1 && s->used == 1);
    session_free(s);
    session_memory_clear(&memory);
}

/* Its own copy, for what was read goes. */
static void one_with_a_ticket_is_the_same(void **unused)
{
    static const struct psk psk = {.identity = (const uint8_t *)"dev-1",
                                   .identity_len = 5,
                                   .key = (const uint8_t *)"0123456789abcdef",
                                   .key_len = 16};
    struct session_image before = sample(GCM), after, read;
    struct session_memory memory;
    struct session_service service = {.memory = &memory};
    uint8_t one[SESSION_IMAGE_MAX], two[SESSION_IMAGE_MAX], gone[SESSION_IMAGE_MAX];

    (void)unused;
    session_prepare(&memory);
    before.flow = (struct session_image_flow){0};
    before.service = before.listener = 0;
    add_ticket(&before, 300);
    session_image_print(&before.association, &psk, before.secret_print);
    assert_true(reads(gone, write_one(&before, gone), &read));
    struct session *s = session_image_restore(&read, &service, &psk, UINT64_C(1) << 40);
    assert_non_null(s);
    memset(gone, 0, sizeof gone);
    s->peer = before.peer;
    session_image_save(&after, s, UINT64_C(1) << 40);
    after.local = before.local; /* which the peers know */
    assert_int_equal(write_one(&before, one), write_one(&after, two));
    assert_memory_equal(one, two, write_one(&before, one));
    assert_int_equal(s->tail->farewell.ticket_len, RESUME_RECORD_MIN + 300);
    session_free(s);
    session_memory_clear(&memory);
}

/* What is behind the ids is as it was, too: the budget, the question, and the one who may answer.
 */
static void one_that_roams_is_the_same(void **unused)
{
    static const uint8_t lengths[] = {0, 8, 255};
    static const struct psk psk = {.identity = (const uint8_t *)"dev-1",
                                   .identity_len = 5,
                                   .key = (const uint8_t *)"0123456789abcdef",
                                   .key_len = 16};
    const uint64_t now = UINT64_C(1) << 40;
    struct session_memory memory;
    struct session_service service = {.memory = &memory};
    uint8_t one[SESSION_IMAGE_MAX], two[SESSION_IMAGE_MAX];

    (void)unused;
    session_prepare(&memory);
    for (size_t i = 0; i < sizeof lengths; i++) {
        struct session_image before = roaming(lengths[i]), after;
        before.flow = (struct session_image_flow){.source = 7, .port = 50000};
        before.local = (struct addr){0};
        before.service = before.listener = 0;
        add_tally(&before);
        session_image_print(&before.association, &psk, before.secret_print);
        struct session *s = session_image_restore(&before, &service, &psk, now);
        assert_non_null(s);
        s->peer = before.peer;
        const struct roam *roam = roam_of(&s->association);
        assert_ptr_equal(roam->session, s);
        assert_true(roam_is_answer(roam, &before.peer, (const uint8_t *)"cookie7"));
        assert_false(roam_is_overdue(roam, now + 899));
        assert_true(roam_is_overdue(roam, now + 900));
        session_image_save(&after, s, now);
        assert_int_equal(write_one(&before, one), write_one(&after, two));
        assert_memory_equal(one, two, write_one(&before, one));
        assert_false(roam_may_send(&s->association, 1234));
        assert_true(roam_may_send(&s->association, 100));
        session_free(s);
        assert_int_equal(memory.proofs.used, 0);
    }
    session_memory_clear(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_comes_back),
        cmocka_unit_test(ids_come_back_whatever_their_length),
        cmocka_unit_test(the_longest_of_all_has_room),
        cmocka_unit_test(a_reason_that_is_not_known_is_nobodys_loss),
        cmocka_unit_test(what_is_wrong_with_ids_and_moves_is_refused),
        cmocka_unit_test(what_no_ticket_can_be_is_refused),
        cmocka_unit_test(what_needs_another_field_is_refused_alone),
        cmocka_unit_test(a_session_without_flow_and_farewell_is_shorter),
        cmocka_unit_test(a_piece_of_one_is_refused_and_leaves_no_key),
        cmocka_unit_test(what_no_session_can_be_is_refused),
        cmocka_unit_test(numbers_at_their_start_are_refused),
        cmocka_unit_test(an_unknown_or_repeated_field_is_refused),
        cmocka_unit_test(several_stand_behind_each_other),
        cmocka_unit_test(the_print_of_a_secret_tells_keys_apart),
        cmocka_unit_test(one_that_is_made_anew_is_the_same),
        cmocka_unit_test(one_with_a_ticket_is_the_same),
        cmocka_unit_test(one_that_roams_is_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
