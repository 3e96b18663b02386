/*
 * devices: a fleet of DTLS-PSK devices (DTLS 1.2, raw_dtls) that make their sessions and sleep,
 * each at an address of its own of 127/8, a million of them and more. A sleeping one is 48 bytes.
 *
 *     devices [-c SUITE] [-i IDENTITY] [-s HEXKEY] [-j CONCURRENT] ADDR:PORT
 *
 * Prints "ready", then does what each line of stdin says and answers with a line of key=value:
 *
 *     open N     makes sessions until N are open in all
 *     shake K    K handshakes from other addresses, each closed at once
 *     wake K     K of the open sessions, from all over, each send a datagram and must get it back
 *     end        ends, as does the end of stdin; says goodbye to nobody
 *
 * Must never know what answers, nor keep what it does not need.
 */
#include "args.h"
#include "raw_dtls.h"
#include "sources.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/random.h>

/* Half of the sources there are: the last one of all is loopback's broadcast address. */
#define DEVICES_MAX (1u << (SOURCES_BITS - 1))
#define CONCURRENT_MAX 1024
#define REPEAT_NS 1000000000u
#define SHAKE_LIMIT_NS (20 * UINT64_C(1000000000))
#define WAKE_BYTES 40
#define WAKE_TRIES 3
/* Odd, so that no two devices share an address; by the golden ratio, so that devices which follow
 * one another share no prefix. */
#define STRIDE 2592243u

enum task { NOTHING, SHAKING, WAKING };

/* A device that waits for an answer. */
struct busy {
    enum task task;
    uint32_t id;
    unsigned tries;
    uint64_t begun_ns, sent_ns;
    struct raw_shake shake;
};

struct counters {
    uint64_t done, failed, repeated, wrong;
};

static struct sockaddr_in target;
static const char *suite = "PSK-AES128-GCM-SHA256", *identity = "bench";
static uint8_t key[64];
static size_t key_len;
static unsigned concurrent = 64;

static const int *port_fd;
static struct raw_keys *session; /* by id */
static uint32_t sessions;        /* open ones: ids 0 up to this */
static bool closes;              /* each new session at once */
static uint32_t next_spare;      /* id of those that are closed at once */
static uint32_t stride_inverse;
static uint32_t wake_step;
static struct busy busy[CONCURRENT_MAX];
static unsigned busy_count;
static uint64_t now_ns;
static struct counters count;
static struct sources_batch out, in;
static unsigned out_port;

/* --- who is where ---------------------------------------------------------------------------- */

static struct in_addr address_of(uint32_t id)
{
    return (struct in_addr){.s_addr = htonl(SOURCES_FIRST | ((id * STRIDE) & (DEVICES_MAX - 1)))};
}

static unsigned port_of(uint32_t id)
{
    return id % SOURCES_PORTS;
}

static uint32_t id_of(struct in_addr addr)
{
    return ntohl(addr.s_addr) * stride_inverse & (DEVICES_MAX - 1);
}

/* By Newton's iteration; each step doubles the bits that are right. */
static uint32_t inverse(uint32_t odd)
{
    uint32_t x = odd;

    for (int i = 0; i < 5; i++)
        x *= 2 - odd * x;
    return x;
}

static struct busy *find_busy(uint32_t id)
{
    for (unsigned i = 0; i < concurrent; i++)
        if (busy[i].task != NOTHING && busy[i].id == id)
            return &busy[i];
    return NULL;
}

static struct busy *take_free(enum task task, uint32_t id)
{
    struct busy *b = busy;

    while (b->task != NOTHING)
        b++;
    b->task = task;
    b->id = id;
    b->tries = 0;
    b->begun_ns = now_ns;
    busy_count++;
    return b;
}

static void settle(struct busy *b, bool well)
{
    b->task = NOTHING;
    busy_count--;
    count.done += well;
    count.failed += !well;
}

/* --- datagrams ------------------------------------------------------------------------------- */

static void flush(void)
{
    (void)sources_send(&out, port_fd[out_port]);
}

static uint8_t *room_for(uint32_t id)
{
    if (out.count == SOURCES_BATCH || out_port != port_of(id))
        flush();
    out_port = port_of(id);
    return sources_room(&out);
}

static void add(uint32_t id, size_t len)
{
    sources_add(&out, len, address_of(id), &target);
}

/* What a device says when it wakes: its id, and noise that is its own. */
static void put_greeting(uint32_t id, uint8_t greeting[WAKE_BYTES])
{
    for (unsigned i = 0; i < WAKE_BYTES; i++)
        greeting[i] = (uint8_t)((id + 1) * 2654435761u >> i % 24);
    memcpy(greeting, &id, sizeof(id));
}

static void send_turn(struct busy *b)
{
    uint8_t greeting[WAKE_BYTES], *to = room_for(b->id);

    b->sent_ns = now_ns;
    count.repeated += b->tries++ > 0;
    if (b->task == SHAKING) {
        add(b->id, raw_write(&b->shake, to));
    } else {
        put_greeting(b->id, greeting);
        add(b->id, raw_seal(&session[b->id], RAW_DATA, greeting, WAKE_BYTES, to));
    }
}

static void on_open(struct busy *b)
{
    if (closes) {
        uint8_t *to = room_for(b->id);
        add(b->id, raw_close(&b->shake.keys, to));
    } else {
        session[b->id] = b->shake.keys;
    }
    settle(b, true);
}

static void on_handshake(struct busy *b, const uint8_t *data, size_t len)
{
    bool due = raw_read(&b->shake, data, len);

    if (b->shake.state == RAW_OPEN) {
        on_open(b);
    } else if (b->shake.state == RAW_FAILED) {
        settle(b, false);
    } else if (due) {
        b->tries = 0;
        send_turn(b);
    }
}

static void on_echo(struct busy *b, const uint8_t *data, size_t len)
{
    struct raw_rest rest = {.at = data, .left = len};
    uint8_t plain[RAW_PLAIN_MAX], greeting[WAKE_BYTES];
    size_t n;

    if (raw_take(&session[b->id], &rest, plain, &n) != RAW_PLAIN)
        return;
    put_greeting(b->id, greeting);
    if (n == WAKE_BYTES && memcmp(plain, greeting, n) == 0)
        settle(b, true);
    else
        count.wrong++;
}

/* What comes for a device that waits for nothing is an echo of an earlier turn, or a goodbye. */
static void on_datagram(uint32_t id, const uint8_t *data, size_t len)
{
    struct busy *b = find_busy(id);

    if (b && b->task == SHAKING)
        on_handshake(b, data, len);
    else if (b)
        on_echo(b, data, len);
}

static void take_all(unsigned port)
{
    do {
        sources_receive(&in, port_fd[port]);
        for (unsigned i = 0; i < in.count; i++) {
            struct in_addr to;
            if (sources_destination(&in, i, &to) && port_of(id_of(to)) == port)
                on_datagram(id_of(to), in.parcel[i].data, in.message[i].msg_len);
        }
    } while (in.count == SOURCES_BATCH);
    flush();
}

/* Sends again what has had no answer; who had none for too long has failed. */
static void tick(void)
{
    for (unsigned i = 0; i < concurrent; i++) {
        struct busy *b = &busy[i];
        bool over =
            b->task == SHAKING ? now_ns - b->begun_ns > SHAKE_LIMIT_NS : b->tries == WAKE_TRIES;
        if (b->task == NOTHING || now_ns - b->sent_ns < REPEAT_NS)
            continue;
        if (over)
            settle(b, false);
        else
            send_turn(b);
    }
    flush();
}

/* --- the commands ---------------------------------------------------------------------------- */

static void start_shaking(uint32_t id)
{
    struct busy *b = take_free(SHAKING, id);
    uint8_t random[32];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        die("getrandom");
    raw_start(&b->shake, random);
    send_turn(b);
}

static void start_waking(uint32_t turn)
{
    send_turn(take_free(WAKING, (uint32_t)((uint64_t)turn * wake_step % sessions)));
}

/* Starts `n` tasks, `concurrent` at a time, and sees all of them to their end. */
static void work(uint32_t n, uint32_t first, void (*start)(uint32_t))
{
    struct pollfd ready[SOURCES_PORTS];
    uint64_t next_tick_ns = 0;
    uint32_t started = 0;

    for (int i = 0; i < SOURCES_PORTS; i++)
        ready[i] = (struct pollfd){.fd = port_fd[i], .events = POLLIN};
    while (started < n || busy_count > 0) {
        now_ns = clock_ns();
        for (; started < n && busy_count < concurrent; started++)
            start(first + started);
        flush();
        if (poll(ready, SOURCES_PORTS, 20) < 0)
            die("poll");
        for (unsigned i = 0; i < SOURCES_PORTS; i++)
            if (ready[i].revents != 0)
                take_all(i);
        if (now_ns < next_tick_ns)
            continue;
        next_tick_ns = now_ns + 20000000;
        tick();
    }
}

static void run(const char *name, uint32_t n, uint32_t first, void (*start)(uint32_t))
{
    uint64_t start_ns = clock_ns();
    double seconds;

    count = (struct counters){0};
    work(n, first, start);
    seconds = (double)(clock_ns() - start_ns) / 1e9;
    printf("mode=%s done=%" PRIu64 " failed=%" PRIu64 " wrong=%" PRIu64 " repeated=%" PRIu64
           " sessions=%" PRIu32 " seconds=%.3f per_second=%.0f\n",
           name, count.done, count.failed, count.wrong, count.repeated, sessions, seconds,
           (double)count.done / seconds);
    fflush(stdout);
}

static void open_up_to(uint32_t n)
{
    uint32_t more = n > sessions ? n - sessions : 0, first = sessions;

    session = realloc(session, (size_t)(first + more) * sizeof(*session));
    if (!session)
        die("realloc");
    sessions = first + more;
    closes = false;
    run("open", more, first, start_shaking);
}

/* From the other end of the ids, which open sessions do not reach. */
static void shake(uint32_t k)
{
    if (next_spare < k || next_spare - k < sessions)
        next_spare = DEVICES_MAX;
    next_spare -= k;
    closes = true;
    run("shake", k, next_spare, start_shaking);
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* From anywhere, in steps of the golden ratio that meet each session once before any again. */
static void wake(uint32_t k)
{
    uint32_t first;

    wake_step = (uint32_t)(0.618 * sessions) + 1;
    while (common_divisor(wake_step, sessions) != 1)
        wake_step++;
    if (getrandom(&first, sizeof(first), 0) != sizeof(first))
        die("getrandom");
    run("wake", k, first % sessions, start_waking);
}

static bool obey(const char *line)
{
    uint32_t n = 0;
    char verb[8];
    int words = sscanf(line, "%7s %" SCNu32, verb, &n);

    if (words == 2 && n <= DEVICES_MAX / 2 && strcmp(verb, "open") == 0)
        open_up_to(n);
    else if (words == 2 && n <= DEVICES_MAX / 2 && strcmp(verb, "shake") == 0)
        shake(n);
    else if (words == 2 && sessions > 0 && n <= sessions && strcmp(verb, "wake") == 0)
        wake(n);
    else
        return false;
    return true;
}

/* --- the command line ------------------------------------------------------------------------ */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: devices [-c SUITE] [-i IDENTITY] [-s HEXKEY] [-j CONCURRENT]"
                    " ADDR:PORT\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    int letter;

    key_len = args_hex("000102030405060708090a0b0c0d0e0f", key, sizeof(key));
    while ((letter = getopt(argc, argv, "c:i:s:j:")) != -1) {
        if (letter == 'c')
            suite = optarg;
        else if (letter == 'i')
            identity = optarg;
        else if (letter == 's')
            key_len = args_hex(optarg, key, sizeof(key));
        else if (letter == 'j')
            concurrent = (unsigned)args_number(optarg, 1, CONCURRENT_MAX);
        else
            usage();
    }
    if (optind != argc - 1 || key_len == 0 || strlen(identity) > 128 ||
        !args_address(argv[optind], &target) || !raw_crypt_init(suite, key, key_len))
        usage();
    raw_dtls_init(identity);
}

int main(int argc, char **argv)
{
    char line[64];

    read_options(argc, argv);
    port_fd = sources_open(false);
    stride_inverse = inverse(STRIDE);
    next_spare = DEVICES_MAX;
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) && obey(line))
        ;
    for (unsigned i = 0; i < concurrent; i++)
        raw_clear(&busy[i].shake);
    free(session);
    return 0;
}
