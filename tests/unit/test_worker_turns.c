/* worker: how much one turn takes from clients, and that what it leaves is not lost. A relay that
 * only counts takes the real one's place. */
#include "proxy/worker.h"

#include "base/bytes.h"
#include "base/timer.h"
#include "proxy/mailbox.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SOCKETS 2
#define JOINED 64 /* the kernel joins no more */
#define MESSAGES 20
#define SMALL 10   /* bytes */
#define LARGE 8000 /* counts as eight */
#define TURN_MOST 128

/* The thread writes it; the test reads it behind a ring. */
struct relay {
    struct relay_parts parts;
    uint32_t next[SOCKETS]; /* the number that each socket's next datagram has */
    size_t turn, longest;   /* datagrams of this turn and of the longest */
    size_t count, expected;
    bool is_wrong;
};

static struct relay relay;
static struct worker_socket sockets[SOCKETS];
static struct cookie_secrets cookies;
static struct worker *worker;
static int acks, done;

void relay_setup_clear(struct relay_setup *setup)
{
    (void)setup;
}

struct relay *relay_new(const struct relay_parts *parts, struct relay_setup *setup,
                        const struct cookie_secrets *secrets)
{
    (void)setup;
    (void)secrets;
    relay = (struct relay){.parts = *parts};
    return &relay;
}

void relay_free(struct relay *r)
{
    (void)r;
}

/* Each begins with its number. */
void relay_from_client(struct relay *r, struct listener *l, const struct udp_datagram *d,
                       uint64_t now)
{
    struct reader reader = reader_of(d->data, d->len);

    r->is_wrong |= read_u32(&reader) != r->next[listener_index(l)]++ || now == 0;
    r->turn++;
    if (++r->count == r->expected)
        mailbox_ring(done);
}

bool relay_from_backend(struct relay *r, void *session, const struct udp_datagram *d, uint64_t now)
{
    (void)session;
    (void)d;
    (void)now;
    r->is_wrong = true;
    return false;
}

void relay_from_stranger(struct relay *r, const struct udp_datagram *d)
{
    (void)d;
    r->is_wrong = true;
}

void relay_refused(struct relay *r, void *session, unsigned n, uint64_t now)
{
    (void)session;
    (void)n;
    (void)now;
    r->is_wrong = true;
}

void relay_tell(struct relay *r, const struct relay_order *order, uint64_t now)
{
    (void)now;
    (void)r;
    (void)order;
}

const struct balance *relay_balance(const struct relay *r, unsigned service)
{
    (void)r;
    (void)service;
    return NULL;
}

/* Another worker hands on the next one before this one has been dealt with. */
void relay_from_worker(struct relay *r, const struct relay_record *record, uint64_t now)
{
    r->is_wrong |= now == 0;
    r->turn++;
    if (++r->count == r->expected)
        mailbox_ring(done);
    else if (!r->parts.elsewhere.pass(r->parts.elsewhere.arg, 0, record))
        r->is_wrong = true;
}

void relay_undrain(struct relay *r)
{
    (void)r;
}

void relay_inquire(struct relay *r, struct inquiry *q, uint64_t now)
{
    (void)r;
    (void)q;
    (void)now;
}

uint64_t relay_tick(struct relay *r, uint64_t now)
{
    (void)now;
    if (r->turn > r->longest)
        r->longest = r->turn;
    r->turn = 0;
    return TIMER_NEVER;
}

void relay_flush(struct relay *r)
{
    (void)r;
}

void relay_apply(struct relay *r, struct relay_setup *setup, uint64_t now)
{
    (void)r;
    (void)setup;
    (void)now;
}

void relay_set_wall(struct relay *r, uint64_t wall, uint64_t now)
{
    (void)r;
    (void)wall;
    (void)now;
}

void relay_set_cookies(struct relay *r, const struct cookie_secrets *secrets)
{
    (void)r;
    (void)secrets;
}

void relay_set_tickets(struct relay *r, const struct ticket_keys *tickets)
{
    (void)r;
    (void)tickets;
}

void relay_drain(struct relay *r, uint64_t now)
{
    (void)r;
    (void)now;
}

void relay_end_all(struct relay *r, uint64_t now)
{
    (void)r;
    (void)now;
}

void relay_leave_all(struct relay *r, uint64_t now)
{
    (void)r;
    (void)now;
}

bool relay_keep(struct relay *r, struct keep_shared *shared)
{
    (void)r;
    (void)shared;
    return true;
}

const char *relay_restore(struct relay *r, const struct restore *order)
{
    (void)r;
    (void)order;
    return NULL;
}

void relay_restored(struct relay *r, uint64_t now)
{
    (void)r;
    (void)now;
}

void relay_on_answer(struct relay *r, void *token, const struct helper_answer *answer, uint64_t now)
{
    (void)r;
    (void)token;
    (void)answer;
    (void)now;
}

bool relay_end_one(struct relay *r, struct relay_identity *who, uint64_t now)
{
    (void)r;
    (void)who;
    (void)now;
    return false;
}

static int new_eventfd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void await(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, 5000), 1);
}

static int set_up(void **state)
{
    static struct relay_setup setup;
    struct worker_params params = {
        .count = 2, .sockets = sockets, .socket_count = SOCKETS, .cookies = &cookies};
    struct addr any;

    (void)state;
    assert_true(addr_parse(&any, "127.0.0.1:0"));
    for (unsigned i = 0; i < SOCKETS; i++) {
        sockets[i].fd = udp_listen(&any, false, false, &sockets[i].bound);
        assert_true(sockets[i].fd >= 0);
        (void)udp_set_buffers(sockets[i].fd, 4 << 20);
    }
    params.acks = acks = new_eventfd();
    done = new_eventfd();
    cookie_secrets_init(&cookies);
    worker = worker_new(&params, &setup);
    assert_non_null(worker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    worker_free(worker);
    for (unsigned i = 0; i < SOCKETS; i++)
        close(sockets[i].fd);
    close(acks);
    close(done);
    return 0;
}

/* `count` datagrams of `size` bytes with the numbers from `first` on, as one message. False: the
 * kernel cannot. */
static bool send_joined(int fd, uint32_t first, size_t count, size_t size)
{
    static uint8_t data[65536];
    struct iovec payload = {.iov_base = data, .iov_len = count * size};
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
    struct msghdr m = {.msg_iov = &payload, .msg_iovlen = 1};
    uint16_t each = (uint16_t)size;

    for (size_t i = 0; i < count; i++) {
        struct writer w = writer_of(data + i * size, size);
        write_u32(&w, first + (uint32_t)i);
    }
    if (count > 1) {
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
                              .cmsg_type = UDP_SEGMENT,
                              .cmsg_len = CMSG_LEN(sizeof(each))};
        memcpy(CMSG_DATA(c), &each, sizeof(each));
    }
    return sendmsg(fd, &m, 0) == (ssize_t)(count * size);
}

static int client_of(unsigned socket)
{
    struct addr self;
    int fd = udp_connect(&sockets[socket].bound, &self);

    assert_true(fd >= 0);
    return fd;
}

static void run_until(size_t expected)
{
    relay.expected = expected;
    assert_true(worker_start(worker));
    await(done);
    worker_join(worker);
    assert_int_equal(relay.count, expected);
    assert_false(relay.is_wrong);
}

static void test_joined_datagrams_are_taken_in_many_turns(void **state)
{
    int one = client_of(0), other = client_of(1);

    (void)state;
    if (!udp_join_received(sockets[0].fd) || !send_joined(one, 0, JOINED, SMALL))
        skip();
    for (uint32_t i = 1; i < MESSAGES; i++)
        assert_true(send_joined(one, i * JOINED, JOINED, SMALL));
    for (uint32_t i = 0; i < 3; i++)
        assert_true(send_joined(other, i, 1, SMALL));
    run_until(MESSAGES * JOINED + 3);
    assert_int_equal(relay.next[0], MESSAGES * JOINED);
    assert_int_equal(relay.next[1], 3);
    assert_in_range(relay.longest, 3, TURN_MOST + 3);
    close(one);
    close(other);
}

/* The first ends just where the turn does, and the other's batch is one of its own. */
static void test_each_batch_stays_with_its_socket(void **state)
{
    int one = client_of(0), other = client_of(1);

    (void)state;
    if (!udp_join_received(sockets[0].fd) || !udp_join_received(sockets[1].fd) ||
        !send_joined(one, 0, JOINED, SMALL))
        skip();
    assert_true(send_joined(one, JOINED, JOINED, SMALL));
    for (uint32_t i = 0; i < MESSAGES; i++)
        assert_true(send_joined(other, i * JOINED, JOINED, SMALL));
    run_until((MESSAGES + 2) * JOINED);
    assert_int_equal(relay.next[0], 2 * JOINED);
    assert_int_equal(relay.next[1], MESSAGES * JOINED);
    assert_in_range(relay.longest, 1, 2 * TURN_MOST);
    close(one);
    close(other);
}

static void test_others_records_are_taken_in_many_turns(void **state)
{
    static const uint8_t data[SMALL];
    const struct relay_record record = {.len = sizeof(data), .data = data};

    (void)state;
    assert_true(relay.parts.elsewhere.pass(relay.parts.elsewhere.arg, 0, &record));
    run_until(MESSAGES * JOINED);
    assert_in_range(relay.longest, 1, TURN_MOST);
}

static void test_long_datagrams_count_for_more(void **state)
{
    int one = client_of(0);

    (void)state;
    for (uint32_t i = 0; i < MESSAGES; i++)
        assert_true(send_joined(one, i, 1, LARGE));
    run_until(MESSAGES);
    assert_in_range(relay.longest, 1, TURN_MOST / 8);
    close(one);
}

static void test_a_stop_does_not_wait_for_the_rest(void **state)
{
    int one = client_of(0);

    (void)state;
    if (!udp_join_received(sockets[0].fd) || !send_joined(one, 0, JOINED, SMALL))
        skip();
    for (uint32_t i = 1; i < MESSAGES; i++)
        assert_true(send_joined(one, i * JOINED, JOINED, SMALL));
    worker_post_stop(worker);
    assert_true(worker_start(worker));
    worker_join(worker);
    assert_in_range(relay.count, 0, TURN_MOST);
    close(one);
}

/* What has been read is nobody else's any more. */
static void test_one_that_is_told_to_rest_ends_its_batch(void **state)
{
    struct mailbox replies;
    struct moving m = {.replies = &replies, .step = MOVING_STOP};
    int one = client_of(0);

    (void)state;
    if (!udp_join_received(sockets[0].fd) || !send_joined(one, 0, JOINED, SMALL))
        skip();
    for (uint32_t i = 1; i < MESSAGES; i++)
        assert_true(send_joined(one, i * JOINED, JOINED, SMALL));
    assert_true(mailbox_init(&replies));
    worker_post_moving(worker, &m);
    assert_true(worker_start(worker));
    await(mailbox_fd(&replies));
    assert_ptr_equal(mailbox_take(&replies), &m.node);
    assert_int_equal(relay.count, MESSAGES * JOINED);
    assert_true(send_joined(one, MESSAGES * JOINED, JOINED, SMALL)); /* this waits */
    worker_join(worker);
    assert_int_equal(relay.count, MESSAGES * JOINED);
    mailbox_clear(&replies);
    close(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_joined_datagrams_are_taken_in_many_turns, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_each_batch_stays_with_its_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_records_are_taken_in_many_turns, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_long_datagrams_count_for_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_does_not_wait_for_the_rest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_is_told_to_rest_ends_its_batch, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
