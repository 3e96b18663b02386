/*
 * test_keep_entry: a slot's bytes: whole, torn, foreign.
 */
#include "keep_rig.h"

static _Alignas(8) uint8_t slot[KEEP_SLOT_LARGE];

static void fill(struct vault *v, const struct keep_entry *e)
{
    memset(slot, 0, sizeof slot);
    assert_true(keep_entry_write(v, 3, e, slot));
}

static enum keep_verdict read_slot(struct vault *v, struct keep_entry *e)
{
    return keep_entry_read(v, 3, slot, KEEP_SLOT_SMALL, e);
}

static void all_comes_back(void **unused)
{
    struct vault *v = keep_vault("one");
    struct keep_entry e = keep_sample(9, 77), back;

    (void)unused;
    assert_int_equal(keep_entry_size(&e), KEEP_SLOT_SMALL);
    fill(v, &e);
    assert_int_equal(read_slot(v, &back), KEEP_FINE);
    assert_int_equal(back.generation, 77);
    assert_int_equal(back.service_print, e.service_print);
    assert_int_equal(back.written, 1000);
    assert_int_equal(back.lease.write_end, e.lease.write_end);
    assert_int_equal(back.lease.read_end, e.lease.read_end);
    assert_int_equal(back.lease.used, e.lease.used);
    assert_int_equal(back.image.id, 9);
    assert_memory_equal(&back.image.association, &e.image.association, sizeof e.image.association);
    vault_free(v);
}

static void no_key_stands_there_in_clear(void **unused)
{
    struct vault *v = keep_vault("one");
    const struct keep_entry e = keep_sample(9, 77);

    (void)unused;
    fill(v, &e);
    assert_null(memmem(slot, sizeof slot, e.image.association.keys.block, 16));
    assert_null(memmem(slot, sizeof slot, "dev-1", 5));
    vault_free(v);
}

static void a_long_name_takes_a_large_slot(void **unused)
{
    struct vault *v = keep_vault("one");
    struct keep_entry e = keep_sample(9, 77), back;

    (void)unused;
    memset(e.image.identity, 'x', PSK_IDENTITY_MAX);
    e.image.identity_len = PSK_IDENTITY_MAX;
    e.image.association.suite = suite_find(0xccab);
    e.image.has_farewell = true;
    e.image.farewell.finished[0] = WIRE_FINISHED;
    assert_int_equal(keep_entry_size(&e), KEEP_SLOT_LARGE);
    fill(v, &e);
    assert_int_equal(keep_entry_read(v, 3, slot, KEEP_SLOT_LARGE, &back), KEEP_FINE);
    assert_int_equal(back.image.identity_len, PSK_IDENTITY_MAX);
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED); /* it would reach beyond its end */
    vault_free(v);
}

static void it_is_of_one_place_generation_and_key(void **unused)
{
    struct vault *v = keep_vault("one"), *other = keep_vault("two");
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;

    (void)unused;
    fill(v, &e);
    assert_int_equal(keep_entry_read(v, 4, slot, KEEP_SLOT_SMALL, &back), KEEP_DAMAGED);
    assert_int_equal(read_slot(other, &back), KEEP_DAMAGED);
    slot[71]++;
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    vault_free(v);
    vault_free(other);
}

/* Byte 64 to 87 and the body; nothing of it is left in what was read. */
static void each_torn_byte_of_the_body_is_seen(void **unused)
{
    static const struct keep_entry nothing;
    struct vault *v = keep_vault("one");
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;
    size_t body;

    (void)unused;
    fill(v, &e);
    body = (size_t)slot[72] << 8 | slot[73];
    for (size_t i = 64; i < 88 + body + VAULT_TAG; i++) {
        if (i >= 74 && i < 80)
            continue; /* not in use */
        fill(v, &e);
        slot[i] ^= 1;
        assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
        assert_memory_equal(&back, &nothing, sizeof nothing);
    }
    vault_free(v);
}

/* A crash may leave a lease half written: the new one up to some byte, the old one from there. */
static struct keep_entry renew_in_part(struct vault *v, const struct keep_lease *lease, size_t done)
{
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;
    uint8_t before[64];

    fill(v, &e);
    memcpy(before, slot, 64);
    keep_entry_renew(v, 3, lease, slot);
    memcpy(slot + done, before + done, 64 - done);
    assert_int_equal(read_slot(v, &back), KEEP_FINE);
    return back;
}

static void at_each_moment_of_a_renewal_one_lease_is_whole(void **unused)
{
    const struct keep_lease next = {.write_end = 600, .read_end = 50, .used = 2};
    struct vault *v = keep_vault("one");

    (void)unused;
    for (size_t done = 0; done <= 64; done++) {
        struct keep_entry back = renew_in_part(v, &next, done);
        assert_int_equal(back.lease.write_end, done < 32 ? 257 : 600);
        assert_int_equal(back.lease.read_end, 9); /* is not the lease's to change */
    }
    vault_free(v);
}

static void a_lease_that_is_drawn_back_is_so_only_as_a_whole(void **unused)
{
    const struct keep_lease less = {.write_end = 200, .used = 3};
    struct vault *v = keep_vault("one");

    (void)unused;
    for (size_t done = 0; done <= 64; done++) {
        uint64_t end = renew_in_part(v, &less, done).lease.write_end;
        assert_true(end == 200 || (end == 257 && done < 64));
        assert_true(done >= 32 || end == 257);
    }
    vault_free(v);
}

static void what_was_delivered_is_one_word(void **unused)
{
    struct vault *v = keep_vault("one");
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;

    (void)unused;
    fill(v, &e);
    *keep_entry_top(slot) = lease_word(1234567, keep_entry_check(v, 3, 77));
    assert_int_equal(read_slot(v, &back), KEEP_FINE);
    assert_int_equal(back.lease.read_end, 1234567);
    *keep_entry_top(slot) = lease_word(1234567, keep_entry_check(v, 3, 78));
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    *keep_entry_top(slot) = lease_word(1234567, keep_entry_check(v, 4, 77));
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    *keep_entry_top(slot) = 0;
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    vault_free(v);
}

static void with_both_leases_torn_it_is_refused(void **unused)
{
    struct vault *v = keep_vault("one");
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;

    (void)unused;
    fill(v, &e);
    slot[0] ^= 1;
    slot[63] ^= 1;
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    vault_free(v);
}

static void the_lease_of_an_earlier_entry_is_not_taken(void **unused)
{
    struct vault *v = keep_vault("one");
    const struct keep_entry first = keep_sample(9, 77), second = keep_sample(10, 78);
    struct keep_entry back;
    uint8_t old[64];

    (void)unused;
    fill(v, &first);
    memcpy(old, slot, 64);
    fill(v, &second);
    memcpy(slot, old, 64);
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    vault_free(v);
}

static void a_lease_behind_what_was_done_is_refused(void **unused)
{
    struct vault *v = keep_vault("one");
    struct keep_entry e = keep_sample(9, 77), back;

    (void)unused;
    e.image.association.write_seq = e.lease.write_end + 1;
    fill(v, &e);
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    e = keep_sample(9, 77);
    e.image.association.window.top = e.lease.read_end + 1;
    fill(v, &e);
    assert_int_equal(read_slot(v, &back), KEEP_DAMAGED);
    vault_free(v);
}

static void what_is_wiped_is_empty_and_zero(void **unused)
{
    static const uint8_t nothing[KEEP_SLOT_SMALL];
    struct vault *v = keep_vault("one");
    const struct keep_entry e = keep_sample(9, 77);
    struct keep_entry back;

    (void)unused;
    fill(v, &e);
    keep_entry_wipe(slot, KEEP_SLOT_SMALL);
    assert_memory_equal(slot, nothing, sizeof nothing);
    assert_int_equal(read_slot(v, &back), KEEP_EMPTY);
    vault_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_comes_back),
        cmocka_unit_test(no_key_stands_there_in_clear),
        cmocka_unit_test(a_long_name_takes_a_large_slot),
        cmocka_unit_test(it_is_of_one_place_generation_and_key),
        cmocka_unit_test(each_torn_byte_of_the_body_is_seen),
        cmocka_unit_test(at_each_moment_of_a_renewal_one_lease_is_whole),
        cmocka_unit_test(a_lease_that_is_drawn_back_is_so_only_as_a_whole),
        cmocka_unit_test(what_was_delivered_is_one_word),
        cmocka_unit_test(with_both_leases_torn_it_is_refused),
        cmocka_unit_test(the_lease_of_an_earlier_entry_is_not_taken),
        cmocka_unit_test(a_lease_behind_what_was_done_is_refused),
        cmocka_unit_test(what_is_wiped_is_empty_and_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
