/*
 * steady_clients: DTLS-PSK clients that each speak at a steady rate, and their backend, in one
 * process: what is lost on the way, what comes twice, and how long the longest silence was. It also
 * reads the record numbers off the wire: within a session they may only grow.
 * It knows nothing of the gate but its address.
 *
 * steady_clients HOST PORT IDENTITY KEYHEX SESSIONS RATE BACKEND_PORT
 *
 * Says "connected" once all are, goes on until its input ends, then waits for what is on its way
 * and prints one JSON object. Exit 0: it came to its end, whatever it has seen.
 */
#include "crowd.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 32
#define WINDOW 4096 /* answers of one client that may be outstanding */
#define LINGER_MS 3000
#define CONNECT_MS 60000

struct peer {
    int fd;
    SSL *ssl;
    bool is_open, is_ended;
    uint64_t sent, answered, number, nonce;
    uint8_t seen[WINDOW / 8];
    uint16_t backend_sees; /* the port it has there */
    uint64_t heard_at;
};

static size_t count;
static struct peer *peers;
static uint64_t twice, strange, backwards, moved, ended, longest_ms;

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t number_at(const uint8_t *at, int bytes)
{
    uint64_t n = 0;

    while (bytes-- > 0)
        n = n << 8 | *at++;
    return n;
}

/* Epoch and sequence number of the record that libssl is about to read, and the explicit nonce. */
static void look_at_record(struct peer *p)
{
    uint8_t head[21];
    ssize_t n = recv(p->fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
    uint64_t number, nonce;

    if (n < (ssize_t)sizeof head || head[3] != 0 || head[4] != 1)
        return;
    number = number_at(head + 3, 8);
    nonce = number_at(head + 13, 8);
    if (p->number != 0 && (number <= p->number || nonce <= p->nonce))
        backwards++;
    p->number = number;
    p->nonce = nonce;
}

static void take_answer(struct peer *p, const char *text)
{
    unsigned long who, n;
    uint64_t now = now_ms();

    if (sscanf(text, "%lu %lu", &who, &n) != 2 || &peers[who] != p || n >= p->sent) {
        strange++;
        return;
    }
    size_t bit = n % WINDOW;
    if (p->seen[bit / 8] >> bit % 8 & 1) {
        twice++;
        return;
    }
    p->seen[bit / 8] |= (uint8_t)(1 << bit % 8);
    p->answered++;
    if (p->heard_at != 0 && now - p->heard_at > longest_ms)
        longest_ms = now - p->heard_at;
    p->heard_at = now;
}

static void read_peer(struct peer *p)
{
    char text[256];
    int n;

    do {
        look_at_record(p);
        n = SSL_read(p->ssl, text, sizeof text - 1);
        if (n > 0) {
            text[n] = '\0';
            take_answer(p, text);
        }
    } while (n > 0);
    if (SSL_get_error(p->ssl, n) == SSL_ERROR_ZERO_RETURN && !p->is_ended) {
        p->is_ended = true;
        ended++;
    }
    ERR_clear_error();
}

static void send_one(size_t i)
{
    struct peer *p = &peers[i];
    char text[64];
    int len = snprintf(text, sizeof text, "%zu %llu", i, (unsigned long long)p->sent);
    size_t bit = p->sent % WINDOW;

    p->seen[bit / 8] &= (uint8_t) ~(1 << bit % 8);
    p->sent++;
    if (SSL_write(p->ssl, text, len) != len)
        fail("SSL_write");
}

static void echo(int fd)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char text[256];
    unsigned long who;
    ssize_t n;

    while ((n = recvfrom(fd, text, sizeof text - 1, MSG_DONTWAIT, (struct sockaddr *)&from, &len)) >
           0) {
        text[n] = '\0';
        if (sscanf(text, "%lu", &who) == 1 && who < count) {
            uint16_t port = ntohs(from.sin_port);
            moved += peers[who].backend_sees != 0 && peers[who].backend_sees != port;
            peers[who].backend_sees = port;
        }
        (void)!sendto(fd, text, (size_t)n, 0, (struct sockaddr *)&from, len);
        len = sizeof from;
    }
}

static int open_backend(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        fail("backend");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd;
}

/* Some at a time; each asks libssl whether it is time to repeat. */
static void connect_all(SSL_CTX *ctx, const struct addrinfo *to)
{
    uint64_t until = now_ms() + CONNECT_MS;
    size_t first = 0, next = 0;

    while (first < count) {
        if (now_ms() > until)
            fail("the time for handshakes is over");
        for (; next < count && next - first < AT_ONCE; next++)
            peers[next].ssl = crowd_open(ctx, to, &peers[next].fd);
        for (size_t i = first; i < next; i++) {
            struct peer *p = &peers[i];
            if (p->is_open)
                continue;
            DTLSv1_handle_timeout(p->ssl);
            p->is_open = SSL_do_handshake(p->ssl) == 1;
            ERR_clear_error();
        }
        while (first < next && peers[first].is_open)
            first++;
        (void)poll(NULL, 0, 1);
    }
}

static void watch(int epoll, int fd, uint64_t what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = what};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        fail("epoll");
}

/* One turn: what waits, for at most `wait` ms. False: the input has ended. */
static bool turn(int epoll, int backend, int wait)
{
    struct epoll_event e[64];
    int n = epoll_wait(epoll, e, 64, wait);
    bool goes_on = true;

    for (int i = 0; i < n; i++) {
        if (e[i].data.u64 < count)
            read_peer(&peers[e[i].data.u64]);
        else if (e[i].data.u64 == count)
            echo(backend);
        else
            goes_on = false;
    }
    return goes_on;
}

static void print_report(void)
{
    uint64_t sent = 0, answered = 0;

    for (size_t i = 0; i < count; i++) {
        sent += peers[i].sent;
        answered += peers[i].answered;
    }
    printf("{\"sent\": %llu, \"answered\": %llu, \"twice\": %llu, \"strange\": %llu, "
           "\"backwards\": %llu, \"moved\": %llu, \"ended\": %llu, \"longest_ms\": %llu}\n",
           (unsigned long long)sent, (unsigned long long)answered, (unsigned long long)twice,
           (unsigned long long)strange, (unsigned long long)backwards, (unsigned long long)moved,
           (unsigned long long)ended, (unsigned long long)longest_ms);
}

/* Each client's turn comes at the same distance from its last one, all of them spread evenly. */
static void run(int epoll, int backend, double rate)
{
    double every_ms = 1000.0 / rate / (double)count, due = (double)now_ms();
    uint64_t until;
    size_t next = 0;

    while (turn(epoll, backend, 1))
        for (uint64_t now = now_ms(); due <= (double)now; due += every_ms) {
            send_one(next);
            next = (next + 1) % count;
        }
    epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    for (until = now_ms() + LINGER_MS; now_ms() < until;)
        (void)turn(epoll, backend, 10);
}

int main(int argc, char *argv[])
{
    int epoll = epoll_create1(0), backend;

    if (argc != 8)
        fail("usage: HOST PORT IDENTITY KEYHEX SESSIONS RATE BACKEND_PORT");
    count = strtoul(argv[5], NULL, 10);
    peers = calloc(count, sizeof *peers);
    SSL_CTX *ctx = crowd_begin(argv + 3, "PSK-AES128-GCM-SHA256:PSK-AES128-CCM8", count);
    backend = open_backend((uint16_t)atoi(argv[7]));
    connect_all(ctx, crowd_address(argv[1], argv[2]));
    for (size_t i = 0; i < count; i++)
        watch(epoll, peers[i].fd, i);
    watch(epoll, backend, count);
    watch(epoll, STDIN_FILENO, count + 1);
    puts("connected");
    fflush(stdout);
    run(epoll, backend, atof(argv[6]));
    print_report();
    return 0;
}
