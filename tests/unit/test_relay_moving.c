/*
 * test_relay_moving: sessions on their way from one relay to the next, as an upgrade has it: what
 * goes, what stays, what is taken back.
 */
#include "relay_world.h"

#include "base/bytes.h"
#include "proxy/moving.h"

#include <sys/socket.h>

#define ONE 40001
#define TWO 40002
#define PARCELS_MAX 16

#define KEY_OF_ME "me:00112233445566778899aabbccddeeff\n"
#define OTHER_KEY "me:ffeeddccbbaa99887766554433221100\n"

static const char *const usual[] = {NULL};

static struct parcel parcels[PARCELS_MAX];
static unsigned parcel_count;
static uint64_t left[8];
static size_t left_count;
static struct relay *before;

static bool do_step(struct relay *r, enum moving_step step, int socket)
{
    struct moving m = {.step = step, .socket = socket, .ids = left, .id_count = left_count};

    moving_carry_out(r, &m, world->now);
    return m.is_done;
}

/* What the old relay packs, in `parcels`. */
static void pack(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_true(do_step(world->relay, MOVING_PACK, ends[0]));
    close(ends[0]);
    for (parcel_count = 0; parcel_receive(ends[1], &parcels[parcel_count], 0) == PARCEL_OK;
         parcel_count++)
        assert_true(parcel_count < PARCELS_MAX - 1);
    close(ends[1]);
}

static void note_left(void *arg, uint64_t id)
{
    (void)arg;
    left[left_count++] = id;
}

static bool unpack(struct parcel *p, size_t *sessions)
{
    struct moving_arrival a = {.parcel = p, .content = parcel_reader(p), .left = note_left};
    const char *why = NULL;
    bool is_fine;

    assert_int_equal(read_u8(&a.content), MOVING_PARCEL);
    assert_int_equal(read_u16(&a.content), 0);
    is_fine = moving_unpack(world->relay, &a, world->now, &why);
    assert_true(is_fine == (why == NULL));
    *sessions += a.sessions;
    return is_fine;
}

static void set_flows(bool is_open, bool was_open[FLOWS_MAX])
{
    for (unsigned i = 0; i < FLOWS_MAX; i++) {
        if (is_open)
            world->flows[i].is_open |= was_open[i];
        else
            was_open[i] = world->flows[i].is_open;
        if (!is_open)
            world->flows[i].is_open = false;
    }
}

/* The next relay takes over; the old one is `before`, its flows are another process's. */
static size_t take_over(const char *const overrides[])
{
    static struct listener listeners[2] = {{0}, {1}};
    static struct listener *list[2] = {&listeners[0], &listeners[1]};
    const struct relay_parts parts = {
        .worker_count = 1, .listeners = list, .listener_count = 2, .stats = &world->stats};
    struct relay_setup setup = world_setup(overrides);
    bool was_open[FLOWS_MAX];
    size_t sessions = 0;

    pack();
    before = world->relay;
    left_count = 0;
    world->stats = (struct stats){0};
    world->service_count = 0;
    set_flows(false, was_open);
    world->relay = relay_new(&parts, &setup, &world->cookies);
    assert_non_null(world->relay);
    for (unsigned i = 0; i < parcel_count; i++) {
        assert_true(unpack(&parcels[i], &sessions));
        parcel_clear(&parcels[i]);
    }
    set_flows(true, was_open);
    return sessions;
}

/* The old one tells the rest goodbye, into other books. */
static void let_go(void)
{
    struct stats kept = world->stats;

    assert_true(do_step(before, MOVING_LET_GO, -1));
    relay_free(before);
    before = NULL;
    world->stats = kept;
}

static void carry_on(struct dtls_client *c, uint16_t port)
{
    unsigned answers = c->answers;
    struct flow *f = world_say(c, port, "on");

    assert_true(world_back(f, "and on", 6));
    world_to_client(c, port);
    assert_int_equal(c->answers, answers + 1);
}

static uint64_t number_of(const struct sent *s)
{
    struct reader r = reader_of(s->data + 3, 8);

    return read_u64(&r);
}

static void test_a_session_goes_on(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    assert_true(world_back(f, "1", 1));
    uint64_t number = number_of(world_take());
    uint64_t forwarded = world->stats.from_client[FATE_FORWARDED];
    assert_int_equal(take_over(usual), 1);
    assert_int_equal(left_count, 0);
    let_go();
    assert_null(world_take()); /* not a word */
    assert_false(f->is_open);
    assert_int_equal(world->stats.sessions, 1);
    assert_int_equal(world->stats.flows, 1);
    assert_int_equal(world->stats.from_client[FATE_FORWARDED], forwarded);
    assert_int_equal(world->stats.handshakes_completed, 1);
    struct flow *next = world_say(c, ONE, "y");
    assert_true(next != f && next->taken > 0);
    assert_int_equal(next->source, f->source);
    assert_true(world_back(next, "2", 1));
    const struct sent *s = world_take();
    assert_true(number_of(s) > number);
    client_give(c, s->data, s->len);
    assert_int_equal(c->answers, 1);
    client_free(c);
    world_end();
}

static void test_it_can_go_through_many(void **state)
{
    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    for (int i = 0; i < 5; i++) {
        carry_on(c, ONE);
        carry_on(other, TWO);
        assert_int_equal(take_over(usual), 2);
        let_go();
    }
    client_free(c);
    client_free(other);
    world_end();
}

static void test_a_failed_one_leaves_all_as_it_was(void **state)
{
    int ends[2];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    carry_on(c, ONE);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    close(ends[1]);
    assert_true(do_step(world->relay, MOVING_SETTLE, -1));
    assert_false(do_step(world->relay, MOVING_PACK, ends[0]));
    assert_true(do_step(world->relay, MOVING_GO_ON, -1));
    close(ends[0]);
    assert_null(world_take());
    carry_on(c, ONE);
    struct dtls_client *other = world_open(TWO, NULL);
    carry_on(other, TWO);
    client_free(c);
    client_free(other);
    world_end();
}

/* Whom the new one does not take, the old one has to tell. */
static void leave_one(const char *keys, const char *const overrides[], const char *reason)
{
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    write_file("keys", keys, 0600);
    assert_int_equal(take_over(overrides), 0);
    write_file("keys", KEY_OF_ME, 0600);
    assert_int_equal(left_count, 1);
    assert_int_equal(log_count(reason), 1);
    let_go();
    assert_false(f->is_open);
    world_to_client(c, ONE);
    client_step(c);
    assert_true(SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN);
    assert_int_equal(world->stats.sessions_ended, 1);
    client_free(c);
    world_end();
}

static void test_who_is_not_taken_is_told_goodbye(void **state)
{
    (void)state;
    leave_one("you:00112233445566778899aabbccddeeff\n", usual, "reason=\"identity removed\"");
    leave_one(OTHER_KEY, usual, "reason=\"key changed\"");
}

static void test_a_lower_cap_leaves_the_longest_idle(void **state)
{
    static const char *const one[] = {"daemon.max-sessions=1", NULL};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    world->now++;
    carry_on(c, ONE);
    assert_int_equal(take_over(one), 1);
    assert_int_equal(left_count, 1);
    let_go();
    world_to_client(other, TWO);
    carry_on(c, ONE);
    client_free(c);
    client_free(other);
    world_end();
}

/* Idle order and ages are as they were. */
static void test_idle_times_go_on(void **state)
{
    static const char *const soon[] = {"service.a.idle-timeout=10s", NULL};

    (void)state;
    world_begin(soon, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    world->now += 6000;
    carry_on(c, ONE);
    assert_int_equal(take_over(soon), 2);
    let_go();
    world->now += 6000;
    relay_tick(world->relay, world->now);
    assert_int_equal(world->stats.sessions, 1);
    world_to_client(other, TWO);
    carry_on(c, ONE);
    client_free(c);
    client_free(other);
    world_end();
}

static void test_while_it_settles_no_handshake_begins(void **state)
{
    static const struct client_options options = {0};

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *under_way = world_half_open(ONE, NULL), *late = client_new(&options);
    assert_int_equal(world->stats.handshakes, 1);
    assert_true(do_step(world->relay, MOVING_SETTLE, -1));
    world_to_client(under_way, ONE);
    world_talk(under_way, ONE);
    assert_int_equal(world->stats.sessions, 1);
    client_step(late);
    world_to_relay(late, TWO);
    world_to_client(late, TWO); /* cookies are made all the time */
    const struct client_datagram *hello = client_take(late);
    assert_non_null(hello);
    world_from(TWO, 0, hello->data, hello->len);
    assert_fate(DROP_DRAINING, 1);
    assert_true(do_step(world->relay, MOVING_GO_ON, -1));
    world_from(TWO, 0, hello->data, hello->len);
    world_to_client(late, TWO);
    world_talk(late, TWO);
    assert_int_equal(world->stats.sessions, 2);
    client_free(under_way);
    client_free(late);
    world_end();
}

/* One that has not come to its end begins again with the very hello that the client repeats. */
static void test_a_handshake_that_is_given_up_begins_again(void **state)
{
    struct client_datagram hello[2];

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_half_open(ONE, hello);
    world_forget_sent();
    assert_int_equal(take_over(usual), 0);
    let_go();
    assert_null(world_take());
    assert_int_equal(world->stats.handshakes_failed, 1);
    world_from(ONE, 0, hello[1].data, hello[1].len);
    world_to_client(c, ONE);
    world_talk(c, ONE);
    carry_on(c, ONE);
    /* And one that was used is known as such, even when its session is no more. */
    assert_int_equal(take_over(usual), 1);
    let_go();
    client_free(c);
    relay_end_all(world->relay, world->now);
    relay_undrain(world->relay);
    world_forget_sent();
    world_from(ONE, 0, hello[1].data, hello[1].len);
    assert_fate(DROP_HELLO_COPY, 1);
    c = world_open(TWO, NULL);
    client_free(c);
    world_end();
}

static void test_addresses_on_a_shared_socket_go_along(void **state)
{
    static const char *const range[] = {"service.a.backend-source=127.64.0.0/10", NULL};

    (void)state;
    world_begin(range, 1);
    struct dtls_client *c = world_open(ONE, NULL), *other = world_open(TWO, NULL);
    uint32_t one = world_say(c, ONE, "x")->source, two = world_say(other, TWO, "x")->source;
    assert_int_equal(take_over(range), 2);
    let_go();
    assert_int_equal(world_say(c, ONE, "y")->source, one);
    assert_int_equal(world_say(other, TWO, "y")->source, two);
    assert_int_equal(world->stats.flows_opened - world->stats.flows_closed, 2);
    client_free(c);
    client_free(other);
    world_end();
}

static void test_a_parcel_that_is_cut_is_refused(void **state)
{
    static struct parcel p;
    size_t sessions = 0;

    (void)state;
    world_begin(usual, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    world_say(c, ONE, "x");
    pack();
    /* The relay itself takes the pieces. */
    for (unsigned i = 0; i < parcel_count; i++) {
        for (size_t len = 4; len < parcels[i].len; len++) {
            bool is_list = parcels[i].bytes[3] != 3; /* of sessions or hellos, may be empty */
            memcpy(p.bytes, parcels[i].bytes, len);
            p.len = len;
            p.fds = 0;
            if (is_list && (len == 4 || (parcels[i].bytes[3] == 2 && (len - 4) % 8 == 0)))
                continue;
            struct stats kept = world->stats;
            assert_false(unpack(&p, &sessions));
            world->stats = kept;
        }
        parcel_clear(&parcels[i]);
    }
    client_free(c);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_goes_on),
        cmocka_unit_test(test_it_can_go_through_many),
        cmocka_unit_test(test_a_failed_one_leaves_all_as_it_was),
        cmocka_unit_test(test_who_is_not_taken_is_told_goodbye),
        cmocka_unit_test(test_a_lower_cap_leaves_the_longest_idle),
        cmocka_unit_test(test_idle_times_go_on),
        cmocka_unit_test(test_while_it_settles_no_handshake_begins),
        cmocka_unit_test(test_a_handshake_that_is_given_up_begins_again),
        cmocka_unit_test(test_addresses_on_a_shared_socket_go_along),
        cmocka_unit_test(test_a_parcel_that_is_cut_is_refused),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
