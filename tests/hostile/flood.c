/*
 * flood: an attacker who knows a client's addresses and ports, the names of identities and all of
 * DTLS, but no key and nothing of what is said. Sends forged datagrams of every kind at a fixed
 * rate on sockets that it has inherited, until its input ends; then tells how many it has sent.
 * It knows nothing of the gate.
 *
 * flood RATE IDENTITY OTHER-IDENTITY KIND|all FD...
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define RECORD_HEADER 13
#define MESSAGE_HEADER 12
#define SEQ_MAX 0xffffffffffffu
#define NS 1000000000ll
#define TICK_NS 1000000ll

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };
enum { CLIENT_HELLO = 1, CERTIFICATE = 11, KEY_EXCHANGE = 16, FINISHED = 20 };

static uint8_t out[4096];
static size_t used;
static const char *identity, *other;

static void fail(const char *what)
{
    fprintf(stderr, "flood: %s\n", what);
    exit(1);
}

/* ---- bytes ---- */

static uint64_t any(void)
{
    static uint64_t state = 88172645463325252u; /* xorshift64: the same flood each time */

    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t below(uint64_t n)
{
    return any() % n;
}

static void put(uint64_t value, size_t size)
{
    while (size-- > 0)
        out[used++] = (uint8_t)(value >> (8 * size));
}

static void put_bytes(const void *bytes, size_t size)
{
    memcpy(out + used, bytes, size);
    used += size;
}

static void put_junk(size_t size)
{
    while (size-- > 0)
        out[used++] = (uint8_t)any();
}

/* Numbers that a client is about to use, later ones, and those that would jump its window. */
static uint64_t some_seq(void)
{
    switch (below(4)) {
    case 0:
        return below(5);
    case 1:
        return below(80);
    case 2:
        return SEQ_MAX - below(2);
    default:
        return any() & SEQ_MAX;
    }
}

static size_t open_record(uint8_t kind, uint16_t epoch, uint64_t seq)
{
    put(kind, 1);
    put(0xfefd, 2);
    put(epoch, 2);
    put(seq, 6);
    put(0, 2);
    return used;
}

static void close_record(size_t body)
{
    out[body - 2] = (uint8_t)((used - body) >> 8);
    out[body - 1] = (uint8_t)(used - body);
}

static void put_message_header(uint8_t kind, uint32_t length, uint32_t offset, uint32_t piece)
{
    put(kind, 1);
    put(length, 3);
    put(kind == CLIENT_HELLO ? below(2) : 2 + (below(4) == 0), 2);
    put(offset, 3);
    put(piece, 3);
}

static size_t open_message(uint8_t kind)
{
    put_message_header(kind, 0, 0, 0);
    return used;
}

static void close_message(size_t body)
{
    out[body - 10] = out[body - 2] = (uint8_t)((used - body) >> 8);
    out[body - 9] = out[body - 1] = (uint8_t)(used - body);
}

static void put_record(uint8_t kind, uint16_t epoch, const void *bytes, size_t size)
{
    size_t body = open_record(kind, epoch, some_seq());

    put_bytes(bytes, size);
    close_record(body);
}

static void put_junk_record(uint8_t kind, uint16_t epoch, size_t size)
{
    size_t body = open_record(kind, epoch, some_seq());

    put_junk(size);
    close_record(body);
}

/* ---- hellos ---- */

/* Not the numbers of the client's own: the answers would be the attacker's word to the client,
 * which it can as well send itself, and no server can help that. */
static uint64_t hello_seq(void)
{
    return 80 + below(below(2) ? 1000 : SEQ_MAX - 80);
}

static void put_hello(uint16_t version, uint16_t suite, size_t cookie)
{
    size_t record = open_record(HANDSHAKE, 0, hello_seq());
    size_t message = open_message(CLIENT_HELLO);

    put(version, 2);
    put_junk(32);
    put(0, 1);
    put(cookie, 1);
    put_junk(cookie);
    put(2, 2);
    put(suite, 2);
    put(0x0100, 2);
    put(0, 2);
    close_message(message);
    close_record(record);
}

static void hello(void)
{
    put_hello(0xfefd, 0x00a8, 0);
}

static void hello_cookie(void)
{
    put_hello(0xfefd, 0x00a8, below(4) == 0 ? 255 : 17);
}

static void hello_odd(void)
{
    static const uint16_t suites[] = {0x0000, 0x002c, 0x00b0, 0xc039, 0x008c};

    put_hello(below(2) ? 0xfeff : (uint16_t)any(), suites[below(5)], 0);
}

static void hello_piece(void)
{
    size_t record = open_record(HANDSHAKE, 0, some_seq());

    put_message_header(CLIENT_HELLO, 60, (uint32_t)below(2) * 20, 20);
    put_junk(20);
    close_record(record);
}

/* ---- what would end or wedge a handshake ---- */

static void alert(void)
{
    static const uint8_t alerts[][2] = {{2, 40}, {2, 10}, {1, 0}, {2, 0}, {2, 51}, {2, 80}};

    put_record(ALERT, 0, alerts[below(6)], 2);
}

static void alert_sealed(void)
{
    put_junk_record(ALERT, 1, 26);
}

static void ccs(void)
{
    size_t body = open_record(CCS, 0, below(8));

    put(1, 1);
    close_record(body);
}

static void ccs_far(void)
{
    size_t body = open_record(CCS, (uint16_t)below(3), SEQ_MAX);

    put(1, 1);
    close_record(body);
}

static void put_key_exchange(const char *name, bool has_point)
{
    size_t record = open_record(HANDSHAKE, 0, some_seq());
    size_t message = open_message(KEY_EXCHANGE);

    put(strlen(name), 2);
    put_bytes(name, strlen(name));
    if (has_point) {
        put(32, 1);
        put_junk(32);
    }
    close_message(message);
    close_record(record);
}

static void put_finished(void)
{
    static const size_t sizes[] = {48, 40, 64};

    put_junk_record(HANDSHAKE, 1, sizes[below(3)]);
}

/* As if the attacker had a key: the client's flight in one datagram. */
static void put_flight(const char *name, bool has_point)
{
    put_key_exchange(name, has_point);
    ccs();
    put_finished();
}

static void key_unknown(void)
{
    char name[32];

    snprintf(name, sizeof name, "nobody-%u", (unsigned)below(100000));
    put_key_exchange(name, below(2));
}

static void key_other(void)
{
    put_key_exchange(other, false);
}

static void key_same(void)
{
    put_key_exchange(identity, false);
}

static void key_point_other(void)
{
    put_key_exchange(other, true);
}

static void key_point_same(void)
{
    put_key_exchange(identity, true);
}

static void flight(void)
{
    put_flight(below(2) ? identity : other, false);
}

static void flight_point(void)
{
    put_flight(below(2) ? identity : other, true);
}

static void flight_unknown(void)
{
    put_flight("nobody", below(2));
}

static void finished(void)
{
    put_finished();
}

static void finished_plain(void)
{
    size_t record = open_record(HANDSHAKE, 0, some_seq());
    size_t message = open_message(FINISHED);

    put_junk(12);
    close_message(message);
    close_record(record);
}

static void piece_empty(void)
{
    size_t record = open_record(HANDSHAKE, 0, some_seq());

    for (int i = 0; i < 20; i++)
        put_message_header(KEY_EXCHANGE, 60, 10, 0);
    close_record(record);
}

static void piece_huge(void)
{
    static const uint8_t kinds[] = {KEY_EXCHANGE, FINISHED, CERTIFICATE, 0, 2, 14};
    size_t record = open_record(HANDSHAKE, 0, some_seq());

    put_message_header(kinds[below(6)], below(2) ? 0xffffff : 601, (uint32_t)below(0xffffff), 4);
    put_junk(4);
    close_record(record);
}

static void piece(void)
{
    size_t record = open_record(HANDSHAKE, 0, some_seq());

    put_message_header(KEY_EXCHANGE, 8 + (uint32_t)below(50), (uint32_t)below(4), 4);
    put_junk(4);
    close_record(record);
}

/* ---- what would end or spoil a session ---- */

static void data(void)
{
    put_junk_record(DATA, (uint16_t)below(3), 24 + below(40));
}

static void data_last_epoch(void)
{
    put_junk_record(DATA, below(2) ? 65535 : 2, 40);
}

static void handshake_sealed(void)
{
    put_junk_record(HANDSHAKE, 1, 16 + below(600));
}

static void strange(void)
{
    static const uint8_t kinds[] = {0, 1, 19, 24, 25, 26, 99, 255};

    put_junk_record(kinds[below(8)], (uint16_t)below(3), below(40));
}

static void junk(void)
{
    put_junk(below(200));
}

static void cut(void)
{
    put_key_exchange(identity, true);
    used = below(used);
}

static void nested(void)
{
    for (int i = 0; i < 100; i++)
        put_junk_record((uint8_t)(CCS + below(4)), (uint16_t)below(2), 0);
}

#define KIND(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct kind {
    const char *name;
    void (*write)(void);
} kinds[] = {
    KIND(hello),
    KIND(hello_cookie),
    KIND(hello_odd),
    KIND(hello_piece),
    KIND(alert),
    KIND(alert_sealed),
    KIND(ccs),
    KIND(ccs_far),
    KIND(key_unknown),
    KIND(key_other),
    KIND(key_same),
    KIND(key_point_other),
    KIND(key_point_same),
    KIND(flight),
    KIND(flight_point),
    KIND(flight_unknown),
    KIND(finished),
    KIND(finished_plain),
    KIND(piece_empty),
    KIND(piece_huge),
    KIND(piece),
    KIND(data),
    KIND(data_last_epoch),
    KIND(handshake_sealed),
    KIND(strange),
    KIND(junk),
    KIND(cut),
    KIND(nested),
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

/* ---- the pace ---- */

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS + t.tv_nsec;
}

static bool is_over(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};

    return poll(&input, 1, 0) != 0;
}

static const struct kind *find(const char *name)
{
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static void send_one(const struct kind *only, int fd)
{
    used = 0;
    (only ? only : &kinds[below(KIND_COUNT)])->write();
    /* A queue that is full takes the next one: it is the rate that counts. */
    if (send(fd, out, used, 0) < 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED)
        fail(strerror(errno));
}

int main(int argc, char *argv[])
{
    long long rate, begun, sent = 0;

    if (argc < 6)
        fail("usage: flood RATE IDENTITY OTHER-IDENTITY KIND|all FD...");
    rate = atoll(argv[1]);
    identity = argv[2];
    other = argv[3];
    const struct kind *only = find(argv[4]);
    if (rate <= 0 || (!only && strcmp(argv[4], "all") != 0))
        fail("no such rate or kind");
    if (strlen(identity) > 256 || strlen(other) > 256)
        fail("the identities are too long");
    begun = now();
    while (!is_over()) {
        for (long long due = (now() - begun) * rate / NS; sent < due; sent++)
            send_one(only, atoi(argv[5 + sent % (argc - 5)]));
        nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
    }
    printf("%lld datagrams in %lld ms\n", sent, (now() - begun) / (NS / 1000));
    return 0;
}
