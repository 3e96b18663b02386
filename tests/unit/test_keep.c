/*
 * test_keep: what a crash at any moment would leave: read from the file, while the sessions are
 * there.
 */
#include "keep_rig.h"

#include "proxy/session.h"

#define WALL0 UINT64_C(1700000000000)

struct rig {
    struct keep_folder folder;
    struct keep_shared shared;
    struct keep *keep;
    struct session_memory memory;
    struct session_service service;
    struct record_crypt *ours, *theirs;
    uint64_t now;
};

static struct rig *rig;

static const struct psk psk = {.identity = (const uint8_t *)"dev-1",
                               .identity_len = 5,
                               .key = (const uint8_t *)"0123456789abcdef",
                               .key_len = 16};

static int set_up(void **unused)
{
    unsigned number;

    (void)unused;
    rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->folder = keep_folder();
    rig->shared.keys = keep_keys("one");
    assert_true(mapped_create(&rig->shared.file, rig->folder.fd, "file", 4));
    mapped_unmap(mapped_add(&rig->shared.file, &number)); /* the head's */
    rig->keep = keep_new(&rig->shared);
    assert_non_null(rig->keep);
    session_prepare(&rig->memory);
    rig->service = (struct session_service){.memory = &rig->memory};
    rig->ours = record_crypt_new();
    rig->theirs = record_crypt_new();
    record_crypt_lend(rig->ours, keep_leases(rig->keep));
    rig->now = 1000000;
    keep_set_time(rig->keep, rig->now, WALL0);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    keep_free(rig->keep);
    mapped_close(&rig->shared.file);
    record_crypt_free(rig->ours);
    record_crypt_free(rig->theirs);
    session_memory_clear(&rig->memory);
    keep_folder_end(&rig->folder);
    free(rig);
    return 0;
}

static void pass(uint64_t ms)
{
    rig->now += ms;
    keep_set_time(rig->keep, rig->now, WALL0);
}

static struct session *open_one(uint64_t id)
{
    const struct session_image image = keep_image(id);
    struct session *s = session_image_restore(&image, &rig->service, &psk, rig->now);

    assert_non_null(s);
    assert_true(keep_store(rig->keep, s, "coap", &image));
    return s;
}

static void close_one(struct session *s)
{
    keep_drop(rig->keep, s);
    session_free(s);
}

static struct keep_entry the_one(void)
{
    struct keep_entry e[2];

    assert_int_equal(keep_left(&rig->shared, e, 2), 1);
    return e[0];
}

static void seal_one(struct session *s)
{
    uint8_t out[64];
    uint64_t number = s->association.write_seq;

    assert_true(record_seal(rig->ours, &s->association, WIRE_DATA, (const uint8_t *)"x", 1, out) >
                0);
    assert_true(number < the_one().lease.write_end);
}

/* Of the client, with this number: its side of the same keys. */
static enum record_verdict open_record(struct session *s, uint64_t number)
{
    struct association client;
    uint8_t out[64], plain[WIRE_PLAINTEXT_MAX], *block = client.keys.block;
    struct wire_record rec;
    size_t len;

    memcpy(&client, &s->association, association_size(s->association.suite));
    memcpy(block, s->association.keys.block + 16, 16); /* both keys, then both ivs, change places */
    memcpy(block + 16, s->association.keys.block, 16);
    memcpy(block + 32, s->association.keys.block + 36, 4);
    memcpy(block + 36, s->association.keys.block + 32, 4);
    client.lease = 0;
    client.write_seq = number;
    size_t n = record_seal(rig->theirs, &client, WIRE_DATA, (const uint8_t *)"y", 1, out);
    struct reader r = reader_of(out, n);
    assert_true(wire_next_record(&r, &rec));
    return record_open(rig->ours, &s->association, &rec, plain, &len);
}

static void receive(struct session *s, uint64_t number)
{
    assert_int_equal(open_record(s, number), RECORD_OK);
    assert_true(number <= the_one().lease.read_end);
}

static void it_is_there_as_soon_as_it_opens(void **unused)
{
    struct session *s = open_one(7);
    struct keep_entry e = the_one();

    (void)unused;
    assert_int_equal(e.image.id, 7);
    assert_int_equal(e.service_print, keep_entry_print("coap"));
    assert_int_equal(e.written, WALL0 + rig->now);
    assert_int_equal(e.lease.used, (WALL0 + rig->now) / 1000);
    assert_int_equal(e.lease.read_end, 0);
    assert_true(e.lease.write_end > s->association.write_seq);
    close_one(s);
    assert_int_equal(keep_left(&rig->shared, &e, 1), 0);
}

static void numbers_are_told_before_they_are_sent(void **unused)
{
    struct session *s = open_one(7);

    (void)unused;
    for (int i = 0; i < 1000; i++)
        seal_one(s);
    assert_true(the_one().lease.write_end <= s->association.write_seq + 256);
    close_one(s);
}

static void numbers_received_are_told_one_by_one(void **unused)
{
    struct session *s = open_one(7);

    (void)unused;
    for (uint64_t n = 1; n < 2000; n++) {
        if (n % 7 == 0)
            pass(n % 3);
        receive(s, n);
        assert_int_equal(the_one().lease.read_end, n);
    }
    receive(s, 2060); /* what it has lost on the way counts as lost */
    assert_int_equal(the_one().lease.read_end, 2060);
    receive(s, 2055);
    assert_int_equal(the_one().lease.read_end, 2060);
    close_one(s);
}

static void a_forgery_tells_nothing(void **unused)
{
    struct session *s = open_one(7);

    (void)unused;
    s->association.keys.block[0] ^= 1; /* another key than the client's */
    struct association *a = &s->association;
    uint8_t body[8 + 1 + 16] = {0}, plain[WIRE_PLAINTEXT_MAX];
    size_t len;
    struct wire_record rec = {.type = WIRE_DATA,
                              .version = WIRE_DTLS12,
                              .epoch = 1,
                              .seq = 1000000,
                              .body = body,
                              .len = sizeof body};
    assert_int_equal(record_open(rig->ours, a, &rec, plain, &len), RECORD_FORGED);
    assert_int_equal(the_one().lease.read_end, 0);
    close_one(s);
}

static void one_in_use_is_known_to_be(void **unused)
{
    struct session *s = open_one(7);

    (void)unused;
    for (int i = 0; i < 100; i++) { /* it only sends, and rarely */
        pass(20000);
        seal_one(s);
        assert_int_equal(the_one().lease.used, (WALL0 + rig->now) / 1000);
    }
    pass(10000);
    receive(s, 1);
    assert_int_equal(the_one().lease.used, (WALL0 + rig->now) / 1000);
    close_one(s);
}

static void a_stop_leaves_the_numbers_as_they_are(void **unused)
{
    struct session *s = open_one(7);

    (void)unused;
    for (uint64_t n = 1; n < 400; n++) {
        receive(s, n);
        seal_one(s);
    }
    keep_settle(rig->keep, s);
    assert_int_equal(the_one().lease.write_end, s->association.write_seq);
    assert_int_equal(the_one().lease.read_end, 399);
    keep_settle(rig->keep, s); /* harmless */
    keep_drop(rig->keep, s);
    assert_int_equal(the_one().image.id, 7);
    session_free(s);
}

static void another_address_takes_the_numbers_along(void **unused)
{
    struct session *s = open_one(7);
    struct session_image image = keep_image(7);

    (void)unused;
    for (int i = 0; i < 300; i++)
        seal_one(s);
    receive(s, 9);
    image.peer.port = 999;
    assert_true(keep_store(rig->keep, s, "coap", &image));
    assert_int_equal(the_one().image.peer.port, 999);
    assert_true(the_one().lease.write_end > s->association.write_seq);
    assert_int_equal(the_one().lease.read_end, 9);
    seal_one(s);
    receive(s, 10);
    close_one(s);
}

/* Room for two blocks of sessions, and a third for long names. */
static void what_finds_no_room_is_not_kept(void **unused)
{
    struct session *all[2000], *s;
    struct session_image image = keep_image(7);
    size_t count = 0;

    (void)unused;
    for (;;) {
        image.id = count + 1;
        s = session_image_restore(&image, &rig->service, &psk, rig->now);
        all[count] = s;
        if (!keep_store(rig->keep, s, "coap", &image))
            break;
        count++;
        assert_true(count < 2000);
    }
    assert_int_equal(s->association.lease, 0);
    assert_int_equal(count, 3 * ((MAPPED_BLOCK - 64) / KEEP_SLOT_SMALL));
    keep_drop(rig->keep, s); /* harmless */
    keep_drop(rig->keep, all[5]);
    assert_true(keep_store(rig->keep, s, "coap", &image));
    for (size_t i = 0; i <= count; i++)
        close_one(all[i]);
}

static void each_size_has_slots_of_its_own(void **unused)
{
    struct session *small = open_one(1), *large;
    struct session_image image = keep_image(2);
    struct keep_entry e[3];

    (void)unused;
    memset(image.identity, 'x', PSK_IDENTITY_MAX);
    image.identity_len = PSK_IDENTITY_MAX;
    large = session_image_restore(&image, &rig->service, &psk, rig->now);
    assert_true(keep_store(rig->keep, large, "coap", &image));
    assert_int_equal(keep_left(&rig->shared, e, 3), 2);
    assert_int_equal(e[0].image.id + e[1].image.id, 3);
    close_one(large);
    assert_int_equal(the_one().image.id, 1);
    close_one(small);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_there_as_soon_as_it_opens),
        TEST(numbers_are_told_before_they_are_sent),
        TEST(numbers_received_are_told_one_by_one),
        TEST(a_forgery_tells_nothing),
        TEST(one_in_use_is_known_to_be),
        TEST(a_stop_leaves_the_numbers_as_they_are),
        TEST(another_address_takes_the_numbers_along),
        TEST(what_finds_no_room_is_not_kept),
        TEST(each_size_has_slots_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
