/* test_udp_outbox: what leaves joined and what does not, in which order, and that nothing is lost
 * when the kernel refuses. */
#include "udp_rig.h"

#define PEERS 6

static void test_order_is_kept_across_peers_and_sockets(void **state)
{
    struct addr at[2], from[4];
    int left[2], right[4];

    (void)state;
    for (int i = 0; i < 2; i++)
        left[i] = listen_at("127.0.0.1:0", false, &at[i]);
    for (int i = 0; i < 4; i++)
        right[i] = connect_to(&at[i % 2], &from[i]);
    for (unsigned i = 0; i < 60; i++)
        queue(&i, sizeof(i), left[i % 2], &from[i % 4]);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(send_calls, 2);
    assert_int_equal(seen_count, is_joined ? 4 : 60);
    for (unsigned i = 0; i < 4; i++) {
        assert_sequence(right[i], i, 4, 15);
        close(right[i]);
    }
    close(left[0]);
    close(left[1]);
}

/* Over several peers, so that what waits fits the sockets' buffers. */
static void full_outbox_flushes(size_t len, unsigned total)
{
    struct addr from[PEERS];
    int peer[PEERS];

    for (unsigned i = 0; i < PEERS; i++)
        peer[i] = connect_to(&bound, &from[i]);
    for (unsigned i = 0; i < total; i++) {
        const struct udp_way way = {.fd = server, .family = AF_INET, .peer = &from[i % PEERS]};
        uint8_t *room = udp_outbox_reserve(outbox, UDP_PAYLOAD_MAX);
        memset(room, (int)i, len);
        memcpy(room, &i, sizeof(i));
        udp_outbox_commit(outbox, len, &way);
    }
    assert_true(send_calls > 0);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    for (unsigned i = 0; i < PEERS; i++) {
        assert_sequence(peer[i], i, PEERS, total / PEERS);
        close(peer[i]);
    }
}

static void test_outbox_full_of_datagrams_flushes_by_itself(void **state)
{
    (void)state;
    full_outbox_flushes(sizeof(unsigned), 130 * PEERS);
    assert_int_equal(send_calls, 4);
}

static void test_outbox_full_of_bytes_flushes_by_itself(void **state)
{
    (void)state;
    full_outbox_flushes(65507, PEERS);
}

static void test_reserved_room_may_be_left_unused(void **state)
{
    (void)state;
    memset(udp_outbox_reserve(outbox, 100), 'x', 100);
    queue("kept", 4, server, &local);
    memset(udp_outbox_reserve(outbox, 100), 'x', 100);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_received(client, "kept", 4);
    assert_silent(client);
}

static void test_reserved_room_outlives_a_flush(void **state)
{
    const struct udp_way way = {.fd = server, .family = AF_INET, .peer = &local};

    (void)state;
    queue("first", 5, server, &local);
    memcpy(udp_outbox_reserve(outbox, 100), "second", 6);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_received(client, "first", 5);
    udp_outbox_commit(outbox, 6, &way);
    queue("third", 5, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    assert_memory_equal(udp_next(inbox)->data, "second", 6);
    assert_memory_equal(udp_next(inbox)->data, "third", 5);
}

static void test_refused_datagrams_are_skipped_and_counted(void **state)
{
    struct addr no_port = parse("127.0.0.1:0");
    struct addr broadcast = parse("255.255.255.255:9"); /* EACCES without SO_BROADCAST */

    (void)state;
    for (unsigned i = 0; i < 15; i++) {
        queue(&i, sizeof(i), server, &local);
        queue(&i, sizeof(i), server, i % 2 ? &no_port : &broadcast);
    }
    assert_int_equal(udp_outbox_flush(outbox), 15);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_sequence(client, 0, 1, 15);
}

static void test_flush_ends_when_the_kernel_takes_nothing(void **state)
{
    static const int errors[] = {EAGAIN, ENOBUFS, EPERM, ECONNREFUSED, EINTR, EMSGSIZE, EIO};

    (void)state;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        send_calls = 0;
        send_error = errors[e];
        for (unsigned i = 0; i < 100; i++)
            queue(&i, sizeof(i), server, &local);
        assert_int_equal(udp_outbox_flush(outbox), 100);
        assert_true(send_calls <= 102);
    }
    assert_silent(client);

    send_error = 0;
    queue("back", 4, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_received(client, "back", 4);
}

/* Each message is tried no more than a few times. */
static void test_flush_ends_when_a_connected_socket_takes_nothing(void **state)
{
    static const int errors[] = {EAGAIN, EPERM, ECONNREFUSED, EMSGSIZE, EBADF};
    int owner;

    (void)state;
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        send_calls = refusals = 0;
        send_error = errors[e];
        for (unsigned i = 0; i < 10; i++)
            queue_connected(&i, sizeof(i), client, &owner);
        assert_int_equal(udp_outbox_flush(outbox), 10);
        assert_true(send_calls <= 44);
        assert_int_equal(refusals, errors[e] == ECONNREFUSED ? send_calls : 0);
    }
    assert_silent(server);
}

static void test_too_long_a_datagram_is_counted(void **state)
{
    (void)state;
    queue_connected(pattern, 65508, client, NULL);
    queue_connected("x", 1, client, NULL);
    assert_int_equal(udp_outbox_flush(outbox), 1);
    assert_int_equal(refusals, 0);
    assert_received(server, "x", 1);
}

/* ---- joined ---- */

static void queue_many(unsigned count, size_t len, int fd, const struct addr *peer)
{
    for (unsigned i = 0; i < count; i++) {
        memcpy(pattern, &i, sizeof(i));
        queue(pattern, len, fd, peer);
    }
}

static void test_equal_ones_leave_as_one_message(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    queue_many(16, 64, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 1);
    assert_seen(0, 64, 16 * 64);
    assert_int_equal(seen[0].iovecs, 1);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    assert_int_equal(udp_received(inbox), 1); /* the receiver sees it joined */
    for (unsigned i = 0; i < 16; i++) {
        const struct udp_datagram *d = udp_next(inbox);
        assert_non_null(d);
        assert_int_equal(d->len, 64);
        assert_int_equal(d->data[0], i);
    }
    assert_null(udp_next(inbox));
}

static void test_who_knows_nothing_of_joining_receives_single_ones(void **state)
{
    int off = 0;

    (void)state;
    if (!is_joined)
        skip();
    assert_int_equal(setsockopt(client, IPPROTO_UDP, UDP_GRO, &off, sizeof(off)), 0);
    queue_many(16, 1200, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 1);
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    assert_int_equal(udp_received(inbox), 16);
}

static void test_single_ones_leave_as_they_are(void **state)
{
    (void)state;
    queue("alone", 5, server, &local);
    queue_connected("alone", 5, client, NULL);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_seen(0, 0, 5);
    assert_seen(1, 0, 5);
}

static void test_nothing_is_joined_where_that_is_off(void **state)
{
    (void)state;
    queue_many(10, 64, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 10);
    assert_seen(9, 0, 64);
    assert_int_equal(send_calls, 1);
    assert_sequence(client, 0, 1, 10);
}

static void test_a_shorter_one_ends_a_message_and_a_longer_one_begins_one(void **state)
{
    static const size_t lens[] = {8, 8, 5, 5, 5, 8, 0, 0, 8, 8, 8, 0, 5};
    static const size_t want[][2] = {{8, 21}, {5, 10}, {0, 8}, {0, 0},
                                     {0, 0},  {8, 24}, {0, 0}, {0, 5}};
    const size_t count = sizeof(lens) / sizeof(lens[0]), messages = sizeof(want) / sizeof(want[0]);

    (void)state;
    if (!is_joined)
        skip();
    for (size_t i = 0; i < count; i++) {
        pattern[0] = (uint8_t)i;
        queue(pattern, lens[i], server, &local);
    }
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, messages);
    for (size_t i = 0; i < messages; i++)
        assert_seen(i, want[i][0], want[i][1]);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    for (size_t i = 0; i < count; i++) {
        const struct udp_datagram *d = udp_next(inbox);
        assert_non_null(d);
        assert_int_equal(d->len, lens[i]);
        if (d->len > 0)
            assert_int_equal(d->data[0], i);
    }
    assert_null(udp_next(inbox));
}

static void test_no_message_has_more_than_64(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    queue_many(130, 4, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 3);
    assert_seen(0, 4, 256);
    assert_seen(1, 4, 256);
    assert_seen(2, 4, 8);
    assert_sequence(client, 0, 1, 130);
}

static void test_no_message_is_longer_than_a_packet_can_be(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    queue_many(60, 1200, server, &local);
    queue_many(5, 16384, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 4);
    assert_seen(0, 1200, 54 * 1200);
    assert_seen(1, 1200, 6 * 1200);
    assert_seen(2, 16384, 3 * 16384);
    assert_seen(3, 16384, 2 * 16384);
}

static void test_those_of_a_connected_socket_are_joined_too(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    for (unsigned i = 0; i < 20; i++)
        queue_connected(&i, sizeof(i), client, NULL);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 1);
    assert_seen(0, 4, 80);
    assert_sequence(server, 0, 1, 20);
}

static void test_peers_are_joined_each_for_itself(void **state)
{
    struct addr from[PEERS];
    int peer[PEERS];

    (void)state;
    if (!is_joined)
        skip();
    for (unsigned i = 0; i < PEERS; i++)
        peer[i] = connect_to(&bound, &from[i]);
    for (unsigned i = 0; i < 10 * PEERS; i++)
        queue(&i, sizeof(i), server, &from[i % PEERS]);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(send_calls, 1);
    assert_int_equal(seen_count, PEERS);
    for (unsigned i = 0; i < PEERS; i++) {
        assert_true(addr_equal(&seen[i].peer, &from[i]));
        assert_seen(i, 4, 40);
        assert_int_equal(seen[i].iovecs, 10);
        assert_sequence(peer[i], i, PEERS, 10);
        close(peer[i]);
    }
}

/* One socket, one peer, several addresses to send from. */
static void test_source_addresses_are_kept_apart(void **state)
{
    const struct addr at[3] = {parse("127.0.0.1:0"), parse("127.0.0.2:0"), {.family = 0}};
    struct addr any;
    int receiver, wildcard = listen_at("0.0.0.0:0", false, &any);

    (void)state;
    receiver = listen_at("127.0.0.3:0", false, &bound);
    for (unsigned i = 0; i < 12; i++) {
        const struct udp_way way = {
            .fd = wildcard, .family = AF_INET, .peer = &bound, .local = &at[i % 3]};
        memcpy(udp_outbox_reserve(outbox, 4), &i, sizeof(i));
        udp_outbox_commit(outbox, sizeof(i), &way);
    }
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(send_calls, 1);
    assert_int_equal(seen_count, is_joined ? 3 : 12);
    for (unsigned n = 0; n < 12;) {
        const struct udp_datagram *d;
        assert_int_equal(udp_receive(receiver, inbox, UDP_BATCH_MAX), UDP_OK);
        for (; (d = udp_next(inbox)) != NULL; n++) {
            unsigned i;
            memcpy(&i, d->data, sizeof(i));
            if (i % 3 < 2)
                assert_int_equal(d->peer.ip[3], at[i % 3].ip[3]);
        }
    }
    close(wildcard);
    close(receiver);
}

/* ---- any mixture ---- */

#define WAYS 400
#define MIXED 20000

static unsigned way_sent[WAYS], way_left[WAYS];
static size_t mixed_left;

static unsigned random_below(unsigned n)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)(x % n);
}

/* Each piece says its way and its number. */
static void check_piece(const uint8_t *data, size_t len, uint16_t port)
{
    unsigned way, number;

    assert_true(len >= 8);
    memcpy(&way, data, 4);
    memcpy(&number, data + 4, 4);
    assert_int_equal(way + 1, port);
    assert_int_equal(number, way_left[way]++);
    mixed_left++;
}

static void check_message(const struct msghdr *m, size_t size)
{
    static uint8_t whole[65536];
    size_t len = 0;
    struct addr peer;

    assert_true(addr_from_sockaddr(&peer, m->msg_name));
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        assert_true(len + m->msg_iov[i].iov_len <= sizeof(whole));
        memcpy(whole + len, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
        len += m->msg_iov[i].iov_len;
    }
    if (size == 0)
        size = len;
    assert_true(len <= 65000 && len <= 64 * size);
    for (size_t at = 0; at < len; at += size)
        check_piece(whole + at, len - at < size ? len - at : size, peer.port);
    seen_count = 0;
}

static void test_each_way_keeps_its_order_in_any_mixture(void **state)
{
    struct addr peer = parse("127.0.0.1:1");
    uint8_t data[64] = {0};

    (void)state;
    is_lost = true;
    on_lost = check_message;
    memset(way_sent, 0, sizeof(way_sent));
    memset(way_left, 0, sizeof(way_left));
    mixed_left = 0;
    for (unsigned i = 0; i < MIXED; i++) {
        unsigned way = random_below(i % 2000 < 1000 ? 5 : WAYS);
        size_t len = random_below(4) > 0 ? 16 : 8 + random_below(40);
        memcpy(data, &way, 4);
        memcpy(data + 4, &way_sent[way], 4);
        way_sent[way]++;
        peer.port = (uint16_t)(way + 1);
        queue(data, len, way % 3 ? server : client, &peer);
        if (random_below(300) == 0)
            assert_int_equal(udp_outbox_flush(outbox), 0);
    }
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(mixed_left, MIXED);
    assert_memory_equal(way_left, way_sent, sizeof(way_sent));
}

/* ---- where joining fails ---- */

static void test_what_fails_joined_leaves_one_by_one(void **state)
{
    static const int errors[] = {EINVAL, EMSGSIZE, EPERM, EOPNOTSUPP, EIO};
    struct addr from;
    int other;

    (void)state;
    if (!is_joined)
        skip();
    other = connect_to(&bound, &from);
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        seen_count = 0;
        join_error = errors[e];
        queue("before", 6, server, &from);
        for (unsigned i = 0; i < 10; i++)
            queue(&i, sizeof(i), server, &local);
        queue("last", 4, server, &from); /* joined with the first one */
        queue("behind", 6, server, &from);
        assert_int_equal(udp_outbox_flush(outbox), 0);
        assert_int_equal(seen_count, 13);
        assert_sequence(client, 0, 1, 10);
        assert_int_equal(udp_receive(other, inbox, UDP_BATCH_MAX), UDP_OK);
        assert_memory_equal(udp_next(inbox)->data, "before", 6);
        assert_memory_equal(udp_next(inbox)->data, "last", 4);
        assert_memory_equal(udp_next(inbox)->data, "behind", 6);
        assert_null(udp_next(inbox));
    }
    close(other);
}

static void test_what_fails_joined_on_a_connected_socket_leaves_one_by_one(void **state)
{
    static const int errors[] = {EINVAL, EMSGSIZE, ECONNREFUSED, EIO};

    (void)state;
    if (!is_joined)
        skip();
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        join_error = errors[e];
        for (unsigned i = 0; i < 10; i++)
            queue_connected(&i, sizeof(i), client, NULL);
        assert_int_equal(udp_outbox_flush(outbox), 0);
        assert_sequence(server, 0, 1, 10);
    }
}

static void test_a_device_that_cannot_do_sums_is_not_tried_again(void **state)
{
    (void)state;
    if (!is_joined)
        skip();
    join_error = EINVAL;
    queue_many(10, 64, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    join_error = EIO;
    queue_many(10, 64, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    join_error = 0;
    seen_count = 0;
    queue_many(10, 64, server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(seen_count, 10);
}

static void test_joined_ones_without_room_are_all_counted(void **state)
{
    static const int errors[] = {EAGAIN, ENOBUFS};

    (void)state;
    if (!is_joined)
        skip();
    for (size_t e = 0; e < 2; e++) {
        join_error = errors[e];
        queue_many(10, 64, server, &local);
        for (unsigned i = 0; i < 5; i++)
            queue_connected(&i, sizeof(i), client, NULL);
        assert_int_equal(udp_outbox_flush(outbox), 15);
        assert_int_equal(seen_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_order_is_kept_across_peers_and_sockets),
        BOTH(test_outbox_full_of_datagrams_flushes_by_itself),
        BOTH(test_outbox_full_of_bytes_flushes_by_itself),
        BOTH(test_reserved_room_may_be_left_unused),
        BOTH(test_reserved_room_outlives_a_flush),
        BOTH(test_refused_datagrams_are_skipped_and_counted),
        BOTH(test_flush_ends_when_the_kernel_takes_nothing),
        BOTH(test_flush_ends_when_a_connected_socket_takes_nothing),
        BOTH(test_too_long_a_datagram_is_counted),
        JOINED(test_equal_ones_leave_as_one_message),
        JOINED(test_who_knows_nothing_of_joining_receives_single_ones),
        BOTH(test_single_ones_leave_as_they_are),
        SINGLE(test_nothing_is_joined_where_that_is_off),
        JOINED(test_a_shorter_one_ends_a_message_and_a_longer_one_begins_one),
        JOINED(test_no_message_has_more_than_64),
        JOINED(test_no_message_is_longer_than_a_packet_can_be),
        JOINED(test_those_of_a_connected_socket_are_joined_too),
        JOINED(test_peers_are_joined_each_for_itself),
        BOTH(test_source_addresses_are_kept_apart),
        BOTH(test_each_way_keeps_its_order_in_any_mixture),
        JOINED(test_what_fails_joined_leaves_one_by_one),
        JOINED(test_what_fails_joined_on_a_connected_socket_leaves_one_by_one),
        JOINED(test_a_device_that_cannot_do_sums_is_not_tried_again),
        JOINED(test_joined_ones_without_room_are_all_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
