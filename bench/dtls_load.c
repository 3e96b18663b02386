/*
 * dtls_load: many DTLS-PSK clients (DTLS 1.2, load_client) in one thread, or as many plaintext
 * ones, that load an echo service through a proxy and check each answer: its owner, its place, its
 * content.
 *
 *     dtls_load [-m traffic] [-x] [-n SESSIONS] [-w IN-FLIGHT] [-p BYTES] [-d SECONDS | -k COUNT]
 *               ADDR:PORT
 *     dtls_load -m handshakes [-k COUNT] [-j CONCURRENT] [-r PER-SECOND] ADDR:PORT
 *     dtls_load -m idle [-n SESSIONS] [-j CONCURRENT] ADDR:PORT
 *
 * -x: plaintext; -c, -i, -s: suite, identity and key in hex; -j: handshakes at a time; -t: a
 * datagram without answer for that many ms is lost; -g: print "ready" and wait for a line on stdin
 * before the measured part. traffic: a closed loop, the answer to a datagram sets off the next one.
 * handshakes: full handshakes, each from a port of its own, closed at once; -r: so many begin per
 * second, whether those before are done or not, but never more than -j at a time. idle: opens its
 * sessions, prints the line, holds them until stdin ends or SIGTERM. The result is one line of
 * key=value on stdout.
 */
#include "load_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#define EVENTS 256
#define TICK_MS 20
#define PAYLOAD_MAX 16384
/* Each datagram: session (4 bytes), slot (4), turn (8), then a stretch of the noise. */
#define HEADER 16
#define NOISE_STARTS 256

enum mode { TRAFFIC, HANDSHAKES, IDLE };

struct options {
    enum mode mode;
    bool wait_for_go;
    unsigned sessions;
    unsigned window;
    unsigned payload;
    unsigned seconds; /* 0: until `count` */
    uint64_t count;
    unsigned concurrent;
    unsigned rate; /* of handshakes, per second; 0: as `concurrent` allows */
    unsigned timeout_ms;
    struct client_setup client;
};

/* One datagram of a window. */
struct slot {
    uint64_t turn;
    uint64_t sent_us;
    bool flying;
};

struct session {
    struct client client;
    uint32_t id;
    struct slot *slot;
    uint64_t shaken_us; /* how long its handshake took */
};

struct counters {
    uint64_t opened, failed, closed;
    uint64_t sent, round_trips, lost, late, wrong;
};

static struct options opt = {
    .sessions = 1,
    .window = 1,
    .payload = 64,
    .concurrent = 16,
    .timeout_ms = 1000,
    .client = {.suite = "PSK-AES128-GCM-SHA256", .identity = "bench"},
};
static struct counters count;
static int poller;
static uint64_t now_us;      /* read once per turn of the loop */
static uint64_t last_end_us; /* when the last datagram came back or was given up */
static uint64_t stop_us;     /* no new datagrams from then on; 0: no such time */
static unsigned shaking;
static uint8_t noise[NOISE_STARTS + PAYLOAD_MAX];
static volatile sig_atomic_t terminated;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "dtls_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_terminate(int number)
{
    (void)number;
    terminated = 1;
}

static void read_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* --- opening --------------------------------------------------------------------------------- */

/* When a handshake has come to an end, either way. */
static void on_settled(struct session *s)
{
    shaking--;
    if (s->client.state != CLIENT_OPEN) {
        count.failed++;
        return;
    }
    count.opened++;
    read_clock();
    s->shaken_us = now_us - s->client.begun_us;
    if (opt.mode == HANDSHAKES) {
        client_close(&s->client);
    } else if (opt.mode == IDLE) {
        client_forget(&s->client);
        epoll_ctl(poller, EPOLL_CTL_DEL, s->client.fd, NULL);
    }
}

static void start_session(struct session *s, uint32_t id)
{
    s->id = id;
    shaking++;
    client_start(&s->client, poller, s, now_us);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

static void go_on_shaking(struct session *s)
{
    if (s->client.state != CLIENT_SHAKING)
        return;
    client_shake(&s->client);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

static void tick_shaking(struct session *s)
{
    if (s->client.state != CLIENT_SHAKING)
        return;
    client_tick(&s->client, now_us);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

/* How many handshakes may have begun by now. */
static size_t due_by_now(uint64_t start_us, size_t n)
{
    uint64_t due = (now_us - start_us) * opt.rate / 1000000 + 1;

    return opt.rate == 0 || due > n ? n : (size_t)due;
}

/* Opens all sessions, at most opt.concurrent at a time. */
static void open_all(struct session *sessions, size_t n)
{
    struct epoll_event event[EVENTS];
    uint64_t start_us, next_tick_us = 0;
    size_t started = 0, oldest = 0;

    read_clock();
    start_us = now_us;
    while (!terminated && (started < n || shaking > 0)) {
        read_clock();
        for (; started < due_by_now(start_us, n) && shaking < opt.concurrent; started++)
            start_session(&sessions[started], (uint32_t)started);
        int wait_ms = opt.rate > 0 ? 1 : shaking > 0 ? TICK_MS : 0;
        int ready = epoll_wait(poller, event, EVENTS, wait_ms);
        for (int i = 0; i < ready; i++)
            go_on_shaking(event[i].data.ptr);
        if (now_us < next_tick_us)
            continue;
        next_tick_us = now_us + TICK_MS * 1000;
        while (oldest < started && sessions[oldest].client.state != CLIENT_SHAKING)
            oldest++;
        for (size_t i = oldest; i < started; i++)
            tick_shaking(&sessions[i]);
    }
}

/* --- traffic --------------------------------------------------------------------------------- */

/* Neighbours in session, slot or turn carry different bytes. */
static const uint8_t *noise_of(uint32_t session, uint32_t slot, uint64_t turn)
{
    return noise + (session * 31 + slot * 7 + turn) % NOISE_STARTS;
}

static bool may_send(void)
{
    if (terminated || (opt.count != 0 && count.sent >= opt.count))
        return false;
    return stop_us == 0 || now_us < stop_us;
}

static void send_next(struct session *s, uint32_t at)
{
    uint8_t data[PAYLOAD_MAX];
    struct slot *slot = &s->slot[at];

    slot->turn++;
    slot->sent_us = now_us;
    slot->flying = true;
    count.sent++;
    memcpy(data, &s->id, 4);
    memcpy(data + 4, &at, 4);
    memcpy(data + 8, &slot->turn, 8);
    memcpy(data + HEADER, noise_of(s->id, at, slot->turn), opt.payload - HEADER);
    client_send(&s->client, data, opt.payload);
}

static void end_flight(struct session *s, uint32_t at)
{
    s->slot[at].flying = false;
    last_end_us = now_us;
    if (s->client.state == CLIENT_OPEN && may_send())
        send_next(s, at);
}

static void on_answer(struct session *s, const uint8_t *data, size_t len)
{
    uint32_t id, at;
    uint64_t turn;

    if (len != opt.payload) {
        count.wrong++;
        return;
    }
    memcpy(&id, data, 4);
    memcpy(&at, data + 4, 4);
    memcpy(&turn, data + 8, 8);
    if (id != s->id || at >= opt.window || turn == 0 || turn > s->slot[at].turn ||
        memcmp(data + HEADER, noise_of(id, at, turn), opt.payload - HEADER) != 0) {
        count.wrong++;
    } else if (turn < s->slot[at].turn || !s->slot[at].flying) {
        count.late++; /* after it was given up, or a second time */
    } else {
        count.round_trips++;
        end_flight(s, at);
    }
}

static void on_readable(struct session *s)
{
    uint8_t data[PAYLOAD_MAX + 1];
    size_t n;

    while ((n = client_receive(&s->client, data, sizeof(data))) > 0)
        on_answer(s, data, n);
    count.closed += s->client.state != CLIENT_OPEN;
}

/* Gives up what has waited too long; returns how many are still on their way. */
static size_t give_up_overdue(struct session *sessions)
{
    uint64_t wait_us = (uint64_t)opt.timeout_ms * 1000;
    size_t flying = 0;

    for (unsigned i = 0; i < opt.sessions; i++) {
        for (uint32_t at = 0; at < opt.window; at++) {
            struct slot *slot = &sessions[i].slot[at];
            if (slot->flying &&
                (sessions[i].client.state != CLIENT_OPEN || now_us > slot->sent_us + wait_us)) {
                count.lost++;
                end_flight(&sessions[i], at);
            }
            flying += slot->flying;
        }
    }
    return flying;
}

static void exchange(struct session *sessions)
{
    struct epoll_event event[EVENTS];
    uint64_t next_tick_us = 0;
    bool running = true;

    for (unsigned i = 0; i < opt.sessions; i++)
        for (uint32_t at = 0; at < opt.window; at++)
            if (sessions[i].client.state == CLIENT_OPEN && may_send())
                send_next(&sessions[i], at);
    while (running) {
        int ready = epoll_wait(poller, event, EVENTS, TICK_MS);
        read_clock();
        for (int i = 0; i < ready; i++)
            on_readable(event[i].data.ptr);
        if (now_us >= next_tick_us || count.round_trips + count.lost == count.sent) {
            next_tick_us = now_us + TICK_MS * 1000;
            running = give_up_overdue(sessions) > 0;
        }
    }
}

/* --- the three modes ------------------------------------------------------------------------- */

static void wait_for_go(void)
{
    char line[16];

    if (!opt.wait_for_go)
        return;
    printf("ready\n");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

static double seconds_since(uint64_t start_us, uint64_t end_us)
{
    return end_us > start_us ? (double)(end_us - start_us) / 1e6 : 0;
}

static void run_traffic(struct session *sessions)
{
    struct slot *slots = calloc((size_t)opt.sessions * opt.window, sizeof(*slots));
    uint64_t start_us;
    double seconds;

    if (!slots)
        die("calloc");
    for (unsigned i = 0; i < opt.sessions; i++)
        sessions[i].slot = slots + (size_t)i * opt.window;
    open_all(sessions, opt.sessions);
    wait_for_go();
    read_clock();
    start_us = last_end_us = now_us;
    if (opt.seconds != 0)
        stop_us = start_us + (uint64_t)opt.seconds * 1000000;
    exchange(sessions);
    seconds = seconds_since(start_us, last_end_us);
    printf("mode=traffic sessions=%" PRIu64 " failed=%" PRIu64 " closed=%" PRIu64
           " window=%u payload=%u round_trips=%" PRIu64 " lost=%" PRIu64 " late=%" PRIu64
           " wrong=%" PRIu64 " refused=%" PRIu64 " seconds=%.3f per_second=%.0f\n",
           count.opened, count.failed, count.closed, opt.window, opt.payload, count.round_trips,
           count.lost, count.late, count.wrong, client_refusals(), seconds,
           seconds > 0 ? (double)count.round_trips / seconds : 0);
    for (unsigned i = 0; i < opt.sessions; i++)
        if (sessions[i].client.state == CLIENT_OPEN)
            client_close(&sessions[i].client);
    free(slots);
}

static int compare_shaken(const void *a, const void *b)
{
    const struct session *one = a, *other = b;

    return (one->shaken_us > other->shaken_us) - (one->shaken_us < other->shaken_us);
}

/* Of the handshakes that were completed; once sorted, they stand behind those that were not. */
static double shaken_ms(const struct session *sorted, double part)
{
    uint64_t rank = (uint64_t)((double)count.opened * part);

    if (count.opened == 0)
        return 0;
    rank = rank < count.opened ? rank : count.opened - 1;
    return (double)sorted[opt.count - count.opened + rank].shaken_us / 1000;
}

static void run_handshakes(struct session *sessions)
{
    uint64_t start_us;
    double seconds;

    wait_for_go();
    read_clock();
    start_us = now_us;
    open_all(sessions, opt.count);
    read_clock();
    seconds = seconds_since(start_us, now_us);
    printf("mode=handshakes handshakes=%" PRIu64 " failed=%" PRIu64 " concurrent=%u seconds=%.3f"
           " per_second=%.0f",
           count.opened, count.failed, opt.concurrent, seconds,
           seconds > 0 ? (double)count.opened / seconds : 0);
    qsort(sessions, opt.count, sizeof(*sessions), compare_shaken);
    printf(" p50_ms=%.3f p99_ms=%.3f max_ms=%.3f\n", shaken_ms(sessions, 0.5),
           shaken_ms(sessions, 0.99), shaken_ms(sessions, 1));
}

static void run_idle(struct session *sessions)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t start_us;
    char byte;

    wait_for_go();
    read_clock();
    start_us = now_us;
    open_all(sessions, opt.sessions);
    read_clock();
    printf("mode=idle sessions=%" PRIu64 " failed=%" PRIu64 " seconds=%.3f\n", count.opened,
           count.failed, seconds_since(start_us, now_us));
    printf("idle\n");
    fflush(stdout);
    while (!terminated) {
        int ready = poll(&input, 1, 200); /* a signal just before the call is seen after it */
        if (ready > 0 && read(STDIN_FILENO, &byte, 1) <= 0)
            break;
    }
}

/* --- the command line ------------------------------------------------------------------------ */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: dtls_load [-m traffic|handshakes|idle] [-x] [-g] [-n SESSIONS]\n"
                    "       [-w IN-FLIGHT] [-p BYTES] [-d SECONDS | -k COUNT] [-j CONCURRENT]\n"
                    "       [-r PER-SECOND] [-t TIMEOUT-MS] [-c SUITE] [-i IDENTITY]\n"
                    "       [-s HEXKEY] ADDR:PORT\n");
    exit(2);
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (end == text || *end != '\0' || n < min || n > max) {
        fprintf(stderr, "dtls_load: %s: a number from %u to %u is needed\n", text, min, max);
        exit(2);
    }
    return (unsigned)n;
}

static enum mode mode_of(const char *text)
{
    if (strcmp(text, "traffic") == 0)
        return TRAFFIC;
    if (strcmp(text, "handshakes") == 0)
        return HANDSHAKES;
    if (strcmp(text, "idle") != 0)
        usage();
    return IDLE;
}

static void set_key(const char *hex)
{
    size_t size = sizeof(opt.client.key);

    if (!OPENSSL_hexstr2buf_ex(opt.client.key, size, &opt.client.key_len, hex, '\0'))
        usage();
}

static void set_target(const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN];

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        usage();
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    opt.client.target.sin_family = AF_INET;
    opt.client.target.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
    if (inet_pton(AF_INET, host, &opt.client.target.sin_addr) != 1)
        usage();
}

static void set_option(int letter, const char *text)
{
    switch (letter) {
    case 'm':
        opt.mode = mode_of(text);
        break;
    case 'x':
        opt.client.plain = true;
        break;
    case 'g':
        opt.wait_for_go = true;
        break;
    case 'n':
        opt.sessions = number(text, 1, 1000000);
        break;
    case 'w':
        opt.window = number(text, 1, 65536);
        break;
    case 'p':
        opt.payload = number(text, HEADER, PAYLOAD_MAX);
        break;
    case 'd':
        opt.seconds = number(text, 1, 86400);
        break;
    case 'k':
        opt.count = number(text, 1, 1000000000);
        break;
    case 'j':
        opt.concurrent = number(text, 1, 65536);
        break;
    case 'r':
        opt.rate = number(text, 1, 1000000);
        break;
    case 't':
        opt.timeout_ms = number(text, 1, 60000);
        break;
    case 'c':
        opt.client.suite = text;
        break;
    case 'i':
        opt.client.identity = text;
        break;
    case 's':
        set_key(text);
        break;
    default:
        usage();
    }
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
}

static void read_options(int argc, char **argv)
{
    int letter;

    set_key("000102030405060708090a0b0c0d0e0f");
    while ((letter = getopt(argc, argv, "m:xgn:w:p:d:k:j:r:t:c:i:s:")) != -1)
        set_option(letter, optarg);
    if (optind != argc - 1 || (opt.client.plain && opt.mode != TRAFFIC))
        usage();
    set_target(argv[optind]);
    if (opt.mode == TRAFFIC && opt.seconds == 0 && opt.count == 0)
        opt.seconds = 3;
    if (opt.mode == HANDSHAKES && opt.count == 0)
        opt.count = 1000;
}

int main(int argc, char **argv)
{
    struct session *sessions;

    read_options(argc, argv);
    raise_descriptors();
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)((i * 2654435761u) >> 13);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_terminate}, NULL);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        die("epoll_create1");
    client_init(&opt.client);
    sessions = calloc(opt.mode == HANDSHAKES ? opt.count : opt.sessions, sizeof(*sessions));
    if (!sessions)
        die("calloc");
    if (opt.mode == TRAFFIC)
        run_traffic(sessions);
    else if (opt.mode == HANDSHAKES)
        run_handshakes(sessions);
    else
        run_idle(sessions);
    free(sessions);
    return count.failed != 0 || count.wrong != 0;
}
