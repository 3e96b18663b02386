/* test_udp: what goes out comes in, whatever the size and the address, joined or not; and what the
 * probe says of a kernel that can and of two that cannot. */
#include "udp_rig.h"

#define SIZES 5
static const size_t sizes[SIZES] = {0, 1, 1200, 16384, 65507};

/* Of setsockopt: what an old kernel says, or one that takes everything and does nothing. */
static int option_error;
static bool is_option_ignored;

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    if (level == IPPROTO_UDP && is_option_ignored)
        return 0;
    if (level == IPPROTO_UDP && option_error != 0) {
        errno = option_error;
        return -1;
    }
    return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

static void size_is_kept(size_t len)
{
    queue_connected(pattern, len, client, NULL);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    struct udp_datagram d = receive_one(server);
    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, pattern, len);
    assert_true(addr_equal(&d.peer, &local));

    queue(pattern, len, server, &d.peer);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    d = receive_one(client);
    assert_int_equal(d.len, len);
    assert_memory_equal(d.data, pattern, len);
    assert_true(addr_equal(&d.peer, &bound));
}

static void test_sizes_are_kept_over_ipv4(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        size_is_kept(sizes[i]);
}

static void test_sizes_are_kept_over_ipv6(void **state)
{
    (void)state;
    open_pair("[::1]:0", false, "[::1]:0");
    for (size_t i = 0; i < SIZES; i++)
        size_is_kept(sizes[i]);
    size_is_kept(UDP_PAYLOAD_MAX);
}

static void test_boundaries_are_kept_within_a_batch(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZES; i++)
        queue(pattern, sizes[i], server, &local);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    for (size_t i = 0; i < SIZES; i++) {
        const struct udp_datagram *d = udp_next(inbox);
        assert_non_null(d);
        assert_int_equal(d->len, sizes[i]);
        assert_memory_equal(d->data, pattern, sizes[i]);
    }
    assert_null(udp_next(inbox));
}

/* A connected client hears an answer only when it comes from the very address it has written to. */
static void local_is_kept(const char *listen, bool dual, const char *to)
{
    struct addr target = open_pair(listen, dual, to), expected = parse(to);
    struct addr peer, at;

    send_plain(client, "ping", 4);
    struct udp_datagram d = receive_one(server);
    assert_true(addr_equal(&d.peer, &local));
    assert_true(addr_equal(&d.local, &expected));
    peer = d.peer;
    at = d.local;

    const struct udp_way way = {.fd = server, .family = bound.family, .peer = &peer, .local = &at};
    for (int i = 0; i < 2; i++) { /* joined where that can be */
        memcpy(udp_outbox_reserve(outbox, 1500), "pong", 4);
        udp_outbox_commit(outbox, 4, &way);
    }
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(udp_receive(client, inbox, UDP_BATCH_MAX), UDP_OK);
    for (int i = 0; i < 2; i++) {
        const struct udp_datagram *answer = udp_next(inbox);
        assert_non_null(answer);
        assert_int_equal(answer->len, 4);
        assert_memory_equal(answer->data, "pong", 4);
        assert_true(addr_equal(&answer->peer, &target));
        assert_int_equal(answer->local.family, 0); /* a connected socket does not report it */
    }
}

static void test_local_address_is_kept_on_ipv4_wildcard(void **state)
{
    (void)state;
    local_is_kept("0.0.0.0:0", false, "127.0.0.1:0");
    local_is_kept("0.0.0.0:0", false, "127.0.0.2:0");
}

static void test_local_address_is_kept_on_ipv6_wildcard(void **state)
{
    (void)state;
    local_is_kept("[::]:0", false, "[::1]:0");
}

static void test_local_address_is_kept_on_dual_wildcard(void **state)
{
    (void)state;
    local_is_kept("[::]:0", true, "127.0.0.1:0");
    local_is_kept("[::]:0", true, "127.0.0.2:0");
    local_is_kept("[::]:0", true, "[::1]:0");
}

static void test_a_socket_with_an_address_does_not_report_it(void **state)
{
    (void)state;
    send_plain(client, "ping", 4);
    assert_int_equal(receive_one(server).local.family, 0);
}

static void test_foreign_source_address_is_refused(void **state)
{
    struct addr foreign = parse("192.0.2.1:0");

    (void)state;
    open_pair("0.0.0.0:0", false, "127.0.0.1:0");
    const struct udp_way way = {.fd = server, .family = AF_INET, .peer = &local, .local = &foreign};
    for (int i = 0; i < 2; i++) {
        memcpy(udp_outbox_reserve(outbox, 1), "x", 1);
        udp_outbox_commit(outbox, 1, &way);
    }
    assert_int_equal(udp_outbox_flush(outbox), 2);
    assert_silent(client);
}

/* An address that refuses the client, held so that nobody else takes its port meanwhile: its socket
 * hears one peer only, and that is not the client. */
static int hold_refusing_address(void)
{
    struct addr discard = parse("127.0.0.1:9"), closed;
    int holder = connect_to(&discard, &closed);

    close(client);
    client = connect_to(&closed, &local);
    bound = closed;
    return holder;
}

static void test_refusal_is_told_once_by_receive(void **state)
{
    int holder = hold_refusing_address();

    (void)state;
    for (unsigned max = 1; max <= 2; max++) {
        send_plain(client, "x", 1);
        assert_true(wait_for(client, 0)); /* POLLERR */
        assert_int_equal(udp_receive(client, inbox, max), UDP_REFUSED);
        assert_int_equal(udp_received(inbox), 0);
        assert_null(udp_next(inbox));
        assert_silent(client);
    }
    close(holder);
}

/* `count` alike: so many refusals before, none of them lost behind. */
static void refusal_is_stepped_over(unsigned count)
{
    int owner, holder = hold_refusing_address();
    struct addr at;

    queue_connected("x", 1, client, &owner);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(refusals, 0);
    assert_true(wait_for(client, 0));
    close(holder);

    close(server);
    server = udp_listen(&bound, false, false, &at);
    assert_true(server >= 0);
    for (unsigned i = 0; i < count; i++)
        queue_connected(&i, sizeof(i), client, &owner);
    assert_int_equal(udp_outbox_flush(outbox), 0);
    assert_int_equal(refusals, 1);
    assert_ptr_equal(refused_owner, &owner);
    assert_sequence(server, 0, 1, count);
}

static void test_send_counts_a_refusal_and_sends_all_the_same(void **state)
{
    (void)state;
    refusal_is_stepped_over(1);
}

static void test_send_counts_a_refusal_and_sends_many_all_the_same(void **state)
{
    (void)state;
    refusal_is_stepped_over(5);
}

static void test_probe_finds_what_this_kernel_has(void **state)
{
    struct udp_offload found = udp_probe_offload();
    int on = 1;

    (void)state;
    assert_int_equal(found.send,
                     setsockopt(client, IPPROTO_UDP, UDP_SEGMENT, &on, sizeof(on)) == 0);
    assert_int_equal(found.receive, udp_join_received(server));
}

static void test_probe_finds_nothing_in_an_old_kernel(void **state)
{
    struct udp_offload found;

    (void)state;
    option_error = ENOPROTOOPT;
    found = udp_probe_offload();
    assert_false(udp_join_received(server));
    option_error = 0;
    assert_false(found.send || found.receive);
}

static void test_probe_believes_no_promises(void **state)
{
    struct udp_offload found;

    (void)state;
    is_option_ignored = true;
    found = udp_probe_offload();
    is_option_ignored = false;
    assert_false(found.send || found.receive);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_sizes_are_kept_over_ipv4),
        BOTH(test_sizes_are_kept_over_ipv6),
        BOTH(test_boundaries_are_kept_within_a_batch),
        BOTH(test_local_address_is_kept_on_ipv4_wildcard),
        BOTH(test_local_address_is_kept_on_ipv6_wildcard),
        BOTH(test_local_address_is_kept_on_dual_wildcard),
        BOTH(test_a_socket_with_an_address_does_not_report_it),
        BOTH(test_foreign_source_address_is_refused),
        BOTH(test_refusal_is_told_once_by_receive),
        BOTH(test_send_counts_a_refusal_and_sends_all_the_same),
        BOTH(test_send_counts_a_refusal_and_sends_many_all_the_same),
        SINGLE(test_probe_finds_what_this_kernel_has),
        SINGLE(test_probe_finds_nothing_in_an_old_kernel),
        SINGLE(test_probe_believes_no_promises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
