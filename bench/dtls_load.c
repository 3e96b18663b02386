/*
 * dtls_load: many DTLS-PSK clients (DTLS 1.2) in one thread, or as many plaintext ones, that load
 * an echo service through a proxy and check each answer: its owner, its place, its content.
 *
 *     dtls_load [-m traffic] [-n SESSIONS] [-w IN-FLIGHT] [-p BYTES] [-d SECONDS | -k COUNT]
 *               ADDR:PORT
 *     dtls_load -m paced -r PER-SECOND [-n SESSIONS] [-p BYTES] [-d SECONDS | -k COUNT] ADDR:PORT
 *     dtls_load -m handshakes [-k COUNT] [-j CONCURRENT] [-r PER-SECOND] ADDR:PORT
 *     dtls_load -m idle [-n SESSIONS] [-j CONCURRENT] ADDR:PORT
 *
 * -x: plaintext; -l: clients of libssl, which take any suite, or with -i '' a server's certificate;
 * -c, -i, -s: suite, identity and key in hex; -j: handshakes at a time; -t: a datagram without
 * answer for that many ms is lost; -g: print "ready" and wait for a line on stdin before the
 * measured part. traffic: a closed loop, the answer to a datagram sets off the next one. paced: an
 * open loop at a steady rate, with the latency of each datagram from when it was due. handshakes:
 * full handshakes, each from a port of its own, closed at once; -r: so many begin per second,
 * whether those before are done or not, but never more than -j at a time. idle: opens its sessions,
 * prints the line, holds them until stdin ends or SIGTERM. The result is one line of key=value on
 * stdout.
 */
#include "args.h"
#include "load.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 256

static struct load load = {
    .opt =
        {
            .sessions = 1,
            .window = 1,
            .payload = 64,
            .concurrent = 16,
            .timeout_ms = 1000,
            .client = {.suite = "PSK-AES128-GCM-SHA256", .identity = "bench"},
        },
};
static struct load_options *const opt = &load.opt;
volatile sig_atomic_t load_terminated;

static void on_terminate(int number)
{
    (void)number;
    load_terminated = 1;
}

static void read_clock(void)
{
    load.now_us = clock_ns() / 1000;
}

/* --- opening --------------------------------------------------------------------------------- */

/* When a handshake has come to an end, either way. */
static void on_settled(struct load_session *s)
{
    load.shaking--;
    if (s->client.state != CLIENT_OPEN) {
        load.count.failed++;
        return;
    }
    load.count.opened++;
    read_clock();
    s->shaken_us = load.now_us - s->client.begun_us;
    if (opt->mode == LOAD_HANDSHAKES) {
        client_close(&s->client);
    } else if (opt->mode == LOAD_IDLE) {
        client_forget(&s->client);
        epoll_ctl(load.poller, EPOLL_CTL_DEL, s->client.fd, NULL);
    }
}

static void start_session(struct load_session *s, uint32_t id)
{
    s->id = id;
    load.shaking++;
    client_start(&s->client, load.poller, s, load.now_us);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

static void go_on_shaking(struct load_session *s)
{
    if (s->client.state != CLIENT_SHAKING)
        return;
    client_shake(&s->client);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

static void tick_shaking(struct load_session *s)
{
    if (s->client.state != CLIENT_SHAKING)
        return;
    client_tick(&s->client, load.now_us);
    if (s->client.state != CLIENT_SHAKING)
        on_settled(s);
}

/* How many handshakes may have begun by now. */
static size_t due_by_now(uint64_t rate, uint64_t start_us, size_t n)
{
    uint64_t due = (load.now_us - start_us) * rate / 1000000 + 1;

    return rate == 0 || due > n ? n : (size_t)due;
}

/* Opens n sessions, at most opt->concurrent at a time. */
static void open_all(size_t n, uint64_t rate)
{
    struct load_session *session = load.session;
    struct epoll_event event[EVENTS];
    uint64_t start_us, next_tick_us = 0;
    size_t started = 0, oldest = 0;

    read_clock();
    start_us = load.now_us;
    while (!load_terminated && (started < n || load.shaking > 0)) {
        read_clock();
        for (; started < due_by_now(rate, start_us, n) && load.shaking < opt->concurrent; started++)
            start_session(&session[started], (uint32_t)started);
        int wait_ms = rate > 0 ? 1 : load.shaking > 0 ? LOAD_TICK_MS : 0;
        int ready = epoll_wait(load.poller, event, EVENTS, wait_ms);
        for (int i = 0; i < ready; i++)
            go_on_shaking(event[i].data.ptr);
        if (load.now_us < next_tick_us)
            continue;
        next_tick_us = load.now_us + LOAD_TICK_MS * 1000;
        while (oldest < started && session[oldest].client.state != CLIENT_SHAKING)
            oldest++;
        for (size_t i = oldest; i < started; i++)
            tick_shaking(&session[i]);
    }
}

/* --- the modes ------------------------------------------------------------------------------- */

static void start_measuring(void)
{
    if (opt->wait_for_go)
        wait_for_go();
    read_clock();
}

static double seconds_since(uint64_t start_us)
{
    read_clock();
    return (double)(load.now_us - start_us) / 1e6;
}

static void run_traffic(void)
{
    open_all(opt->sessions, 0);
    load_warm_up(&load);
    start_measuring();
    if (opt->mode == LOAD_PACED)
        load_paced(&load);
    else
        load_traffic(&load);
    for (unsigned i = 0; i < opt->sessions; i++)
        if (load.session[i].client.state == CLIENT_OPEN)
            client_close(&load.session[i].client);
}

static int compare_shaken(const void *a, const void *b)
{
    const struct load_session *one = a, *other = b;

    return (one->shaken_us > other->shaken_us) - (one->shaken_us < other->shaken_us);
}

/* Of the handshakes that were completed; once sorted, they stand behind those that were not. */
static double shaken_ms(double part)
{
    uint64_t opened = load.count.opened, rank = (uint64_t)((double)opened * part);

    if (opened == 0)
        return 0;
    rank = rank < opened ? rank : opened - 1;
    return (double)load.session[opt->count - opened + rank].shaken_us / 1000;
}

static void run_handshakes(void)
{
    uint64_t start_us;
    double seconds;

    start_measuring();
    start_us = load.now_us;
    open_all(opt->count, opt->rate);
    seconds = seconds_since(start_us);
    printf("mode=handshakes handshakes=%" PRIu64 " failed=%" PRIu64 " concurrent=%u seconds=%.3f"
           " per_second=%.0f",
           load.count.opened, load.count.failed, opt->concurrent, seconds,
           seconds > 0 ? (double)load.count.opened / seconds : 0);
    qsort(load.session, opt->count, sizeof(*load.session), compare_shaken);
    printf(" p50_ms=%.3f p99_ms=%.3f max_ms=%.3f\n", shaken_ms(0.5), shaken_ms(0.99), shaken_ms(1));
}

static void run_idle(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t start_us;
    char byte;

    start_measuring();
    start_us = load.now_us;
    open_all(opt->sessions, 0);
    printf("mode=idle sessions=%" PRIu64 " failed=%" PRIu64 " seconds=%.3f\n", load.count.opened,
           load.count.failed, seconds_since(start_us));
    printf("idle\n");
    fflush(stdout);
    while (!load_terminated) {
        int ready = poll(&input, 1, 200); /* a signal just before the call is seen after it */
        if (ready > 0 && read(STDIN_FILENO, &byte, 1) <= 0)
            break;
    }
}

/* --- the command line ------------------------------------------------------------------------ */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: dtls_load [-m traffic|paced|handshakes|idle] [-l | -x] [-g]\n"
                    "       [-n SESSIONS] [-w IN-FLIGHT] [-p BYTES] [-d SECONDS | -k COUNT]\n"
                    "       [-j CONCURRENT] [-r PER-SECOND] [-t TIMEOUT-MS] [-c SUITE]\n"
                    "       [-i IDENTITY] [-s HEXKEY] ADDR:PORT\n");
    exit(2);
}

static enum load_mode mode_of(const char *text)
{
    static const char *const names[] = {"traffic", "paced", "handshakes", "idle"};

    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum load_mode)i;
    usage();
}

static void set_key(const char *hex)
{
    opt->client.key_len = args_hex(hex, opt->client.key, sizeof(opt->client.key));
    if (opt->client.key_len == 0)
        usage();
}

static void set_number(int letter, const char *text)
{
    if (letter == 'n')
        opt->sessions = (unsigned)args_number(text, 1, 1000000);
    else if (letter == 'w')
        opt->window = (unsigned)args_number(text, 1, 65536);
    else if (letter == 'p')
        opt->payload = (unsigned)args_number(text, LOAD_HEADER, RAW_PLAIN_MAX);
    else if (letter == 'd')
        opt->seconds = (unsigned)args_number(text, 1, 86400);
    else if (letter == 'k')
        opt->count = args_number(text, 1, 1000000000);
    else if (letter == 'j')
        opt->concurrent = (unsigned)args_number(text, 1, 65536);
    else if (letter == 'r')
        opt->rate = args_number(text, 1, 1000000);
    else if (letter == 't')
        opt->timeout_ms = (unsigned)args_number(text, 1, 60000);
    else
        usage();
}

static void set_option(int letter, const char *text)
{
    if (letter == 'm')
        opt->mode = mode_of(text);
    else if (letter == 'x')
        opt->client.kind = CLIENT_PLAIN;
    else if (letter == 'l')
        opt->client.kind = CLIENT_LIBSSL;
    else if (letter == 'g')
        opt->wait_for_go = true;
    else if (letter == 'c')
        opt->client.suite = text;
    else if (letter == 'i')
        opt->client.identity = text;
    else if (letter == 's')
        set_key(text);
    else
        set_number(letter, text);
}

static void read_options(int argc, char **argv)
{
    bool sends = false;
    int letter;

    set_key("000102030405060708090a0b0c0d0e0f");
    while ((letter = getopt(argc, argv, "m:xlgn:w:p:d:k:j:r:t:c:i:s:")) != -1)
        set_option(letter, optarg);
    sends = opt->mode == LOAD_TRAFFIC || opt->mode == LOAD_PACED;
    if (optind != argc - 1 || (opt->client.kind == CLIENT_PLAIN && !sends) ||
        (opt->mode == LOAD_PACED && opt->rate == 0) || strlen(opt->client.identity) > 128 ||
        !args_address(argv[optind], &opt->client.target))
        usage();
    if (sends && opt->seconds == 0 && opt->count == 0)
        opt->seconds = 3;
    if (opt->mode == LOAD_PACED && opt->count == 0)
        opt->count = opt->seconds * opt->rate;
    if (opt->mode == LOAD_HANDSHAKES && opt->count == 0)
        opt->count = 1000;
}

int main(int argc, char **argv)
{
    static void (*const run[])(void) = {run_traffic, run_traffic, run_handshakes, run_idle};

    read_options(argc, argv);
    raise_descriptors();
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_terminate}, NULL);
    load.poller = epoll_create1(EPOLL_CLOEXEC);
    if (load.poller < 0)
        die("epoll_create1");
    client_init(&opt->client);
    load.session =
        calloc(opt->mode == LOAD_HANDSHAKES ? opt->count : opt->sessions, sizeof(*load.session));
    if (!load.session)
        die("calloc");
    run[opt->mode]();
    free(load.session);
    return load.count.failed != 0 || load.count.wrong != 0;
}
