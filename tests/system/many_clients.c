/*
 * many_clients: a thousand DTLS-PSK clients in one process, none of which may ever see what was
 * meant for another. Each round every session sends a text of its own, then all answers are read
 * and compared. Prints what went wrong; exit 0: nothing did.
 * It knows nothing of the gate but its address.
 *
 * many_clients HOST PORT IDENTITY KEYHEX SESSIONS ROUNDS
 */
#include "crowd.h"

#include <poll.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 32 /* handshakes, and answers awaited */
#define DEADLINE_SECONDS 60
#define TRIES 5
#define TEXT_MAX 256

struct peer {
    int fd;
    SSL *ssl;
    bool is_done; /* with the step under way */
};

static time_t started;

static void check_time(void)
{
    if (time(NULL) - started > DEADLINE_SECONDS)
        fail("the time is over");
}

/* False: libssl wants more from the gate. */
static bool step(struct peer *p, int result)
{
    int error = SSL_get_error(p->ssl, result);

    if (result > 0)
        return true;
    if (error != SSL_ERROR_WANT_READ)
        fail("a session broke");
    return false;
}

static void wait_any(struct peer *p, size_t count, int timeout)
{
    struct pollfd list[AT_ONCE];

    for (size_t i = 0; i < count; i++)
        list[i] = (struct pollfd){.fd = p[i].is_done ? -1 : p[i].fd, .events = POLLIN};
    if (poll(list, count, timeout) < 0)
        fail("poll");
    check_time();
}

static void shake_hands(struct peer *p, size_t count)
{
    for (size_t left = count; left > 0; wait_any(p, left > 0 ? count : 0, 100)) {
        for (size_t i = 0; i < count; i++) {
            if (p[i].is_done)
                continue;
            if (DTLSv1_handle_timeout(p[i].ssl) < 0)
                fail("no answer to a handshake");
            p[i].is_done = step(&p[i], SSL_do_handshake(p[i].ssl));
            left -= p[i].is_done;
        }
    }
}

/* What session `n` says in this round; its length depends on both. */
static size_t write_text(char text[TEXT_MAX], size_t n, unsigned round)
{
    int len = snprintf(text, TEXT_MAX, "session %zu round %u", n, round);
    size_t pad = (n * 7 + round) % 64;

    memset(text + len, 'a' + (int)(n % 26), pad);
    text[(size_t)len + pad] = '\0';
    return (size_t)len + pad;
}

static void say(struct peer *p, size_t n, unsigned round)
{
    char text[TEXT_MAX];
    size_t len = write_text(text, n, round);

    if (!step(p, SSL_write(p->ssl, text, (int)len)))
        fail("a write must not wait");
}

/* An answer to an earlier try of the same question is no fault. */
static bool hear(struct peer *p, size_t n, unsigned round)
{
    char text[TEXT_MAX], got[TEXT_MAX];
    int len = SSL_read(p->ssl, got, sizeof got - 1);

    if (!step(p, len))
        return false;
    got[len] = '\0';
    write_text(text, n, round);
    if (strcmp(text, got) == 0)
        return true;
    if (round > 0 && write_text(text, n, round - 1) > 0 && strcmp(text, got) == 0)
        return false;
    fprintf(stderr, "session %zu in round %u got: %s\n", n, round, got);
    fail("an answer went astray");
    return false;
}

static void talk(struct peer *p, size_t first, size_t count, unsigned round)
{
    size_t left = count;

    for (size_t i = 0; i < count; i++)
        p[i].is_done = false;
    for (int try = 0; left > 0; try++) {
        if (try == TRIES)
            fail("no answer");
        for (size_t i = 0; i < count; i++)
            if (!p[i].is_done)
                say(&p[i], first + i, round);
        for (time_t until = time(NULL) + 2; left > 0 && time(NULL) <= until;) {
            wait_any(p, count, 100);
            for (size_t i = 0; i < count; i++)
                if (!p[i].is_done && hear(&p[i], first + i, round)) {
                    p[i].is_done = true;
                    left--;
                }
        }
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

int main(int argc, char *argv[])
{
    if (argc != 7)
        fail("usage: many_clients HOST PORT IDENTITY KEYHEX SESSIONS ROUNDS");
    size_t count = strtoul(argv[5], NULL, 10);
    unsigned rounds = (unsigned)strtoul(argv[6], NULL, 10);
    started = time(NULL);

    SSL_CTX *ctx = crowd_begin(argv + 3, "PSK-AES128-GCM-SHA256", count);
    struct addrinfo *to = crowd_address(argv[1], argv[2]);
    struct peer *peers = calloc(count, sizeof *peers);
    if (peers == NULL)
        fail("out of memory");
    for (size_t i = 0; i < count; i++)
        peers[i].ssl = crowd_open(ctx, to, &peers[i].fd);
    for (size_t i = 0; i < count; i += AT_ONCE)
        shake_hands(peers + i, smaller(AT_ONCE, count - i));
    for (unsigned round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i += AT_ONCE)
            talk(peers + i, i, smaller(AT_ONCE, count - i), round);
    for (size_t i = 0; i < count; i++) {
        SSL_shutdown(peers[i].ssl);
        SSL_free(peers[i].ssl);
        close(peers[i].fd);
    }
    printf("%zu sessions, %u rounds, every answer its owner's\n", count, rounds);
    free(peers);
    SSL_CTX_free(ctx);
    freeaddrinfo(to);
    return 0;
}
