/* test_udp_inbox: batches, what was joined on the way, and control messages that make no sense. */
#include "udp_rig.h"

static void test_receive_says_empty_and_batches_what_waits(void **state)
{
    (void)state;
    assert_silent(server);
    for (unsigned i = 0; i < 40; i++)
        send_plain(client, &i, sizeof(i));
    assert_int_equal(udp_receive(server, inbox, UDP_BATCH_MAX), UDP_OK);
    assert_int_equal(udp_received(inbox), 32);
    for (unsigned i = 0; i < 32; i++)
        assert_non_null(udp_next(inbox));
    assert_null(udp_next(inbox));
    assert_sequence(server, 32, 1, 8);
}

static void test_no_more_are_taken_than_asked_for(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++)
        send_plain(client, &i, sizeof(i));
    for (unsigned max = 1; max <= 4; max++) {
        assert_int_equal(udp_receive(server, inbox, max), UDP_OK);
        assert_int_equal(udp_received(inbox), max);
        for (unsigned i = 0; i < max; i++)
            assert_int_equal(udp_next(inbox)->data[0], (max - 1) * max / 2 + i);
        assert_null(udp_next(inbox));
    }
    assert_int_equal(receive_calls, 4);
    assert_silent(server);
}

static void test_what_was_not_looked_at_is_gone_with_the_next_batch(void **state)
{
    (void)state;
    send_plain(client, "a", 1);
    send_plain(client, "b", 1);
    assert_int_equal(udp_receive(server, inbox, 2), UDP_OK);
    assert_int_equal(udp_next(inbox)->data[0], 'a');
    assert_silent(server);
    send_plain(client, "c", 1);
    assert_received(server, "c", 1);
}

static void test_empty_datagrams_are_datagrams(void **state)
{
    static const size_t lens[] = {0, 1, 0, 0, 2};

    (void)state;
    for (size_t i = 0; i < 5; i++)
        send_plain(client, "xy", lens[i]);
    assert_int_equal(udp_receive(server, inbox, UDP_BATCH_MAX), UDP_OK);
    for (size_t i = 0; i < 5; i++) {
        const struct udp_datagram *d = udp_next(inbox);
        assert_non_null(d);
        assert_int_equal(d->len, lens[i]);
        assert_true(addr_equal(&d->peer, &local));
    }
    assert_null(udp_next(inbox));
}

static void test_an_inbox_for_connected_sockets_reads_no_address(void **state)
{
    struct udp_inbox *plain = udp_inbox_new(true);

    (void)state;
    for (unsigned max = 1; max <= 2; max++) {
        send_plain(client, "abc", 3);
        assert_int_equal(udp_receive(server, plain, max), UDP_OK);
        const struct udp_datagram *d = udp_next(plain);
        assert_non_null(d);
        assert_int_equal(d->len, 3);
        assert_memory_equal(d->data, "abc", 3);
        assert_int_equal(d->peer.family, 0);
        assert_int_equal(d->local.family, 0);
        assert_null(udp_next(plain));
    }
    udp_inbox_free(plain);
}

static void cut(struct mmsghdr *m)
{
    m->msg_hdr.msg_flags |= MSG_TRUNC;
}

static void test_truncated_datagram_is_not_passed_on(void **state)
{
    (void)state;
    spoil = cut;
    send_plain(client, "cut", 3);
    send_plain(client, "whole", 5);
    assert_received(server, "whole", 5);

    for (unsigned max = 1; max <= 2; max++) {
        spoil = cut;
        send_plain(client, "cut", 3);
        assert_int_equal(udp_receive(server, inbox, max), UDP_OK);
        assert_null(udp_next(inbox));
        assert_silent(server);
    }
}

static void orphan(struct mmsghdr *m)
{
    memset(m->msg_hdr.msg_name, 0, sizeof(struct sockaddr_in));
}

static void test_datagram_of_nobody_is_not_passed_on(void **state)
{
    (void)state;
    spoil = orphan;
    send_plain(client, "x", 1);
    send_plain(client, "y", 1);
    assert_received(server, "y", 1);
}

static void test_receive_reports_a_bad_descriptor(void **state)
{
    (void)state;
    for (unsigned max = 1; max <= 2; max++) {
        assert_int_equal(udp_receive(-1, inbox, max), UDP_BROKEN);
        assert_int_equal(errno, EBADF);
    }
}

/* ---- joined ---- */

/* Sent as one message of pieces of `size`, which loopback leaves joined. */
static void send_joined(const void *data, size_t len, uint16_t size)
{
    int on = size, off = 0;

    assert_int_equal(setsockopt(client, IPPROTO_UDP, UDP_SEGMENT, &on, sizeof(on)), 0);
    send_plain(client, data, len);
    assert_int_equal(setsockopt(client, IPPROTO_UDP, UDP_SEGMENT, &off, sizeof(off)), 0);
}

static void assert_next(const char *text)
{
    const struct udp_datagram *d = udp_next(inbox);

    assert_non_null(d);
    assert_int_equal(d->len, strlen(text));
    assert_memory_equal(d->data, text, d->len);
    assert_true(addr_equal(&d->peer, &local));
}

static void test_joined_ones_are_cut_apart(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    for (unsigned max = 1; max <= 2; max++) {
        send_joined("aaabbbccd", 9, 3);
        if (max == 2)
            send_plain(client, "single", 6);
        assert_int_equal(udp_receive(server, inbox, max), UDP_OK);
        assert_int_equal(udp_received(inbox), max);
        assert_next("aaa");
        assert_next("bbb");
        assert_next("ccd");
        if (max == 2)
            assert_next("single");
        assert_null(udp_next(inbox));
    }
    send_joined("aaabb", 5, 3);
    assert_int_equal(udp_receive(server, inbox, 1), UDP_OK);
    assert_next("aaa");
    assert_next("bb");
    assert_null(udp_next(inbox));
}

static void test_many_joined_ones_are_one_message(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    send_joined(pattern, 64000, 1000);
    assert_int_equal(udp_receive(server, inbox, UDP_BATCH_MAX), UDP_OK);
    assert_int_equal(udp_received(inbox), 1);
    for (size_t i = 0; i < 64; i++) {
        const struct udp_datagram *d = udp_next(inbox);
        assert_non_null(d);
        assert_int_equal(d->len, 1000);
        assert_memory_equal(d->data, pattern + i * 1000, 1000);
    }
    assert_null(udp_next(inbox));
}

static void test_a_local_address_lasts_for_its_message(void **state)
{
    struct addr changed = parse("192.0.2.1:7");
    struct udp_datagram *d;

    (void)state;
    if (!is_joined)
        skip();
    open_pair("0.0.0.0:0", false, "127.0.0.2:0");
    send_joined("aabb", 4, 2);
    send_plain(client, "c", 1);
    assert_int_equal(udp_receive(server, inbox, UDP_BATCH_MAX), UDP_OK);
    d = udp_next(inbox);
    assert_int_equal(d->local.ip[3], 2);
    d->local = changed;
    d = udp_next(inbox);
    assert_int_equal(d->len, 2);
    assert_true(addr_equal(&d->local, &changed));
    d = udp_next(inbox);
    assert_int_equal(d->len, 1);
    assert_int_equal(d->local.port, 0);
    assert_int_equal(d->local.ip[3], 2);
}

/* What the kernel would have to say to make us read beyond a message, or go on for ever. */
static int forged_len;
static size_t forged_size;

static void forge_length(struct mmsghdr *m)
{
    struct cmsghdr *c = m->msg_hdr.msg_control;

    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_GRO;
    c->cmsg_len = CMSG_LEN(forged_size);
    memset(CMSG_DATA(c), 0xee, 8);
    memcpy(CMSG_DATA(c), &forged_len, sizeof(forged_len));
    m->msg_hdr.msg_controllen = CMSG_SPACE(forged_size);
}

static void test_a_length_that_makes_no_sense_is_none(void **state)
{
    static const int lens[] = {0, -1, INT32_MIN, INT32_MAX, 65536, 9, 8};

    (void)state;
    forged_size = sizeof(int);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        forged_len = lens[i];
        spoil = forge_length;
        send_plain(client, "12345678", 8);
        assert_received(server, "12345678", 8);
        spoil = forge_length;
        send_plain(client, "", 0);
        assert_received(server, "", 0);
    }
}

static void test_a_length_of_an_odd_form_is_none(void **state)
{
    static const size_t forms[] = {0, 1, 2, 3, 5, 8};

    (void)state;
    forged_len = 2;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        forged_size = forms[i];
        spoil = forge_length;
        send_plain(client, "12345678", 8);
        assert_received(server, "12345678", 8);
    }
}

static void test_a_length_of_one_byte_is_taken(void **state)
{
    const struct udp_datagram *d;
    size_t count = 0;

    (void)state;
    forged_len = 1;
    forged_size = sizeof(int);
    spoil = forge_length;
    send_plain(client, pattern, 65507);
    assert_int_equal(udp_receive(server, inbox, UDP_BATCH_MAX), UDP_OK);
    for (; (d = udp_next(inbox)) != NULL; count++) {
        assert_int_equal(d->len, 1);
        assert_int_equal(d->data[0], pattern[count]);
    }
    assert_int_equal(count, 65507);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_receive_says_empty_and_batches_what_waits),
        BOTH(test_no_more_are_taken_than_asked_for),
        BOTH(test_what_was_not_looked_at_is_gone_with_the_next_batch),
        BOTH(test_empty_datagrams_are_datagrams),
        BOTH(test_an_inbox_for_connected_sockets_reads_no_address),
        BOTH(test_truncated_datagram_is_not_passed_on),
        BOTH(test_datagram_of_nobody_is_not_passed_on),
        BOTH(test_receive_reports_a_bad_descriptor),
        JOINED(test_joined_ones_are_cut_apart),
        JOINED(test_many_joined_ones_are_one_message),
        JOINED(test_a_local_address_lasts_for_its_message),
        SINGLE(test_a_length_that_makes_no_sense_is_none),
        SINGLE(test_a_length_of_an_odd_form_is_none),
        SINGLE(test_a_length_of_one_byte_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
