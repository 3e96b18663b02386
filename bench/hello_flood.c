/*
 * hello_flood: ClientHellos from very many addresses of 127/8, at a steady rate or flat out: what
 * somebody sends who can write any source address, or owns many.
 *
 *     hello_flood [-m hello|cookie|half-open] [-r PER-SECOND] [-d SECONDS] [-k COUNT]
 *                 [-p PREFIX] [-g] ADDR:PORT
 *
 * hello: without a cookie, and nobody hears the answer. cookie: with a made-up one. half-open: the
 * answer is heard, its cookie echoed, and then nothing more is said. -r 0: flat out. -k: ends after
 * so many, if not earlier. -p: how many bits all source addresses share, 9 (default, 8 million
 * addresses) to 30. -g: prints "ready" and waits for a line on stdin before it begins. The result
 * is one line of key=value on stdout.
 * It must never know a key.
 */
#include "args.h"
#include "sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 1000000
#define COOKIE_BYTES 17 /* what dtlsgate's have: a made-up one should look like one */
#define COOKIE_MAX 255
#define HELLO_MAX 512

enum mode { HELLO, COOKIE, HALF_OPEN };

/* Who a hello comes from. `turn` makes it another hello when the same source comes again. */
struct source {
    struct in_addr addr;
    unsigned port; /* its index */
    uint8_t turn;
};

struct counters {
    uint64_t sent, failed, echoed, server_hellos;
};

static enum mode mode;
static uint64_t rate = 50000;
static uint64_t limit; /* of first hellos; 0: none */
static unsigned seconds = 5, prefix = 9;
static bool waits_for_go;
static struct sockaddr_in target;
static struct counters count;
static const int *port_fd;
static uint64_t next_source;
static uint8_t source_turn[SOURCES_PORTS][65536]; /* by the low half of the address */
static struct sources_batch out, in;

/* Noise that depends on the seed alone (splitmix64). */
static uint64_t noise(uint64_t seed)
{
    uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* --- hellos ---------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
    memcpy(at, data, len);
    return at + len;
}

static uint8_t *put_number(uint8_t *at, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        *at++ = (uint8_t)(number >> (8 * bytes));
    return at;
}

/* Two PSK suites and the extended master secret. The random follows from the source, so that the
 * second hello is the first one with a cookie. */
static uint8_t *put_body(uint8_t *at, const struct source *from, const uint8_t *cookie, size_t len)
{
    static const uint8_t rest[] = {0x00, 0x06, 0x00, 0xa8, 0x00, 0xae, 0x00, 0xff,
                                   0x01, 0x00, 0x00, 0x04, 0x00, 0x17, 0x00, 0x00};

    at = put_number(at, 0xfefd, 2);
    for (uint64_t i = 0; i < 4; i++)
        at = put_number(at,
                        noise((uint64_t)from->addr.s_addr << 32 | from->port << 16 |
                              (uint64_t)from->turn << 8 | i),
                        8);
    *at++ = 0;
    *at++ = (uint8_t)len;
    at = put(at, cookie, len);
    return put(at, rest, sizeof(rest));
}

/* Returns its length; at most HELLO_MAX. `number` is the record's and the message's. */
static size_t write_hello(uint8_t *to, const struct source *from, unsigned number,
                          const uint8_t *cookie, size_t len)
{
    uint8_t body[HELLO_MAX], *at = to;
    size_t body_len = (size_t)(put_body(body, from, cookie, len) - body);

    *at++ = 22; /* handshake, version 1.0 as before the choice is made, epoch 0 */
    at = put_number(at, 0xfeff, 2);
    at = put_number(at, number, 8);
    at = put_number(at, 12 + body_len, 2);
    *at++ = 1; /* ClientHello, in one fragment */
    at = put_number(at, body_len, 3);
    at = put_number(at, number, 2);
    at = put_number(at, 0, 3);
    at = put_number(at, body_len, 3);
    return (size_t)(put(at, body, body_len) - to);
}

/* --- datagrams ------------------------------------------------------------------------------- */

/* Each address once before any comes again, in no order that a hash table could be ready for. */
static struct source make_source(unsigned port)
{
    uint32_t low = (uint32_t)(next_source++ * 2654435761u) & (UINT32_MAX >> prefix);

    return (struct source){.addr.s_addr = htonl(SOURCES_FIRST | low),
                           .port = port,
                           .turn = ++source_turn[port][low & 0xffff]};
}

static struct source find_source(struct in_addr addr, unsigned port)
{
    return (struct source){
        .addr = addr, .port = port, .turn = source_turn[port][ntohl(addr.s_addr) & 0xffff]};
}

static void send_all(unsigned port)
{
    unsigned messages = out.count, sent = sources_send(&out, port_fd[port]);

    count.sent += sent;
    count.failed += messages - sent;
}

static void add(const struct source *from, unsigned number, const uint8_t *cookie, size_t len)
{
    sources_add(&out, write_hello(sources_room(&out), from, number, cookie, len), from->addr,
                &target);
}

/* First hellos; all of a batch leave from one port. */
static void send_batch(unsigned messages)
{
    static unsigned port;

    port = (port + 1) % SOURCES_PORTS;
    for (unsigned i = 0; i < messages; i++) {
        struct source from = make_source(port);
        uint8_t cookie[24];
        for (uint64_t part = 0; part < 3; part++)
            put_number(cookie + 8 * part, noise(~(next_source << 2 | part)), 8);
        add(&from, mode == COOKIE, cookie, mode == COOKIE ? COOKIE_BYTES : 0);
    }
    send_all(port);
}

/* The cookie of a HelloVerifyRequest; NULL: it is something else. */
static const uint8_t *cookie_of(const uint8_t *data, size_t len, size_t *cookie_len)
{
    const size_t at = 13 + 12 + 2;

    if (len <= at || data[0] != 22 || data[13] != 3 || len < at + 1 + data[at])
        return NULL;
    *cookie_len = data[at];
    return data + at + 1;
}

/* Echoes the cookies that have come; whatever else comes is counted at most. */
static void answer(unsigned port)
{
    sources_receive(&in, port_fd[port]);
    for (unsigned i = 0; i < in.count; i++) {
        const uint8_t *data = in.parcel[i].data, *cookie;
        size_t len = in.message[i].msg_len, cookie_len;
        struct in_addr addr;
        if (!sources_destination(&in, i, &addr))
            continue;
        struct source from = find_source(addr, port);
        cookie = cookie_of(data, len, &cookie_len);
        if (cookie)
            add(&from, 1, cookie, cookie_len);
        else if (len > 13 && data[0] == 22 && data[13] == 2)
            count.server_hellos++;
    }
    count.echoed += out.count;
    send_all(port);
}

/* --- the run --------------------------------------------------------------------------------- */

/* How many first hellos are to be sent now; 0: none, and the time until the next tick was slept. */
static unsigned await_due(uint64_t begun, uint64_t offered)
{
    uint64_t passed = clock_ns() - begun, due;

    if (rate == 0)
        return SOURCES_BATCH;
    due = passed / 1000 * rate / 1000000;
    if (due <= offered) {
        struct timespec tick = {.tv_nsec = TICK_NS};
        nanosleep(&tick, NULL);
        return 0;
    }
    return due - offered < SOURCES_BATCH ? (unsigned)(due - offered) : SOURCES_BATCH;
}

static void flood(void)
{
    uint64_t begun = clock_ns(), end = begun + (uint64_t)seconds * 1000000000u, offered = 0;

    while (clock_ns() < end && (limit == 0 || offered < limit)) {
        unsigned messages = await_due(begun, offered);
        if (limit != 0 && messages > limit - offered)
            messages = (unsigned)(limit - offered);
        send_batch(messages);
        offered += messages;
        for (unsigned port = 0; mode == HALF_OPEN && port < SOURCES_PORTS; port++)
            answer(port);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* --- the command line ------------------------------------------------------------------------ */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: hello_flood [-m hello|cookie|half-open] [-r PER-SECOND] [-d SECONDS]\n"
                    "       [-k COUNT] [-p PREFIX] [-g] ADDR:PORT\n");
    exit(2);
}

static enum mode mode_of(const char *text)
{
    if (strcmp(text, "hello") == 0)
        return HELLO;
    if (strcmp(text, "cookie") == 0)
        return COOKIE;
    if (strcmp(text, "half-open") != 0)
        usage();
    return HALF_OPEN;
}

static void read_options(int argc, char **argv)
{
    int letter;

    while ((letter = getopt(argc, argv, "m:r:d:k:p:g")) != -1) {
        if (letter == 'm')
            mode = mode_of(optarg);
        else if (letter == 'r')
            rate = args_number(optarg, 0, 10000000);
        else if (letter == 'd')
            seconds = (unsigned)args_number(optarg, 1, 86400);
        else if (letter == 'k')
            limit = args_number(optarg, 1, UINT32_MAX);
        else if (letter == 'p')
            prefix = (unsigned)args_number(optarg, 9, 30);
        else if (letter == 'g')
            waits_for_go = true;
        else
            usage();
    }
    if (optind != argc - 1 || !args_address(argv[optind], &target))
        usage();
}

int main(int argc, char **argv)
{
    double cpu;

    read_options(argc, argv);
    port_fd = sources_open(mode != HALF_OPEN);
    if (waits_for_go)
        wait_for_go();
    cpu = cpu_seconds();
    flood();
    printf("mode=%s sent=%" PRIu64 " failed=%" PRIu64 " echoed=%" PRIu64 " server_hellos=%" PRIu64
           " seconds=%u per_second=%" PRIu64 " cpu=%.2f\n",
           mode == HELLO    ? "hello"
           : mode == COOKIE ? "cookie"
                            : "half-open",
           count.sent, count.failed, count.echoed, count.server_hellos, seconds,
           count.sent / seconds, cpu_seconds() - cpu);
    return 0;
}
