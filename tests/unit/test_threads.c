/*
 * test_threads: two workers with all that belongs to them, clients and a backend over loopback, and
 * a reload every few milliseconds. There for the thread sanitizer; the counts are checked, too.
 */
#include "conf_text.h"
#include "dtls_client.h"
#include "log_text.h"

#include "base/clock.h"
#include "daemon/fleet.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define DURATION_MS 2000
#define CLIENTS 6
#define ROUNDS 8 /* of data, then a client comes again with a fresh association */
#define LIFE_MS 300

#define KEY "00112233445566778899aabbccddeeff"
#define OTHER_KEY "ff112233445566778899aabbccddeeff"

/* Six identities, of which a reload keeps the first two for sure. */
static const char *const identities[CLIENTS] = {"a", "b", "c", "d", "stranger", "c"};
static const char *const ciphers[CLIENTS] = {"PSK-AES128-GCM-SHA256", "ECDHE-PSK-CHACHA20-POLY1305",
                                             "PSK-AES128-CCM8",       "PSK-AES256-GCM-SHA384",
                                             "PSK-AES128-GCM-SHA256", "PSK-CHACHA20-POLY1305"};
static const char *const key_files[] = {
    "a:" KEY "\nb:" KEY "\nc:" KEY "\nd:" KEY "\n",
    "a:" KEY "\nb:" KEY "\nc:" OTHER_KEY "\nd:" KEY "\n",
    "d:" KEY "\nb:" KEY "\na:" KEY "\n",
    "a:" KEY "\nb:" KEY "\nc:" KEY "\n",
};
#define KEY_FILES (sizeof key_files / sizeof key_files[0])

static atomic_bool is_over;
static struct addr backend_at, gate_at;
static int backend_fd;

struct crowd {
    unsigned opened, answered, sure; /* answers to the two whose keys stay */
};

static void *run_backend(void *arg)
{
    struct pollfd p = {.fd = backend_fd, .events = POLLIN};
    struct sockaddr_storage from;
    char data[256];

    (void)arg;
    while (!atomic_load(&is_over)) {
        socklen_t len = sizeof from;
        if (poll(&p, 1, 20) != 1)
            continue;
        ssize_t n =
            recvfrom(backend_fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (n >= 0)
            (void)sendto(backend_fd, data, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
    return NULL;
}

/* Sends what the client has to say, and gives it what has come. */
static void exchange(struct dtls_client *c, int fd)
{
    const struct client_datagram *d;
    uint8_t data[2048];
    ssize_t n;

    while ((n = recv(fd, data, sizeof data, MSG_DONTWAIT)) >= 0)
        client_give(c, data, (size_t)n);
    client_step(c);
    while ((d = client_take(c)) != NULL)
        (void)send(fd, d->data, d->len, 0);
}

/* One association: a handshake, a few rounds, most often a goodbye. Returns the answers. */
static unsigned live(struct dtls_client *c, int fd, unsigned life)
{
    uint64_t until = clock_now_ms() + LIFE_MS;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    unsigned said = 0;

    client_restart(c);
    while (clock_now_ms() < until && !c->is_dead && !c->is_closed && c->answers < ROUNDS) {
        exchange(c, fd);
        if (c->is_open && said == c->answers) {
            said++;
            (void)client_say(c, "round", 5);
            exchange(c, fd);
        }
        (void)poll(&p, 1, 10);
    }
    if (c->is_open && life % 4 != 0)
        SSL_shutdown(c->ssl);
    exchange(c, fd);
    return c->answers;
}

static void *run_client(void *arg)
{
    static struct crowd crowds[CLIENTS];
    unsigned i = *(unsigned *)arg, life = 0;
    struct crowd *crowd = &crowds[i];
    struct client_options options = {
        .identity = identities[i], .ciphers = ciphers[i], .key = CLIENT_KEY};
    struct dtls_client *c = client_new(&options);
    struct addr self;
    int fd = udp_connect(&gate_at, &self);

    while (fd >= 0 && !atomic_load(&is_over)) {
        unsigned answers = live(c, fd, life++);
        crowd->opened += c->is_open;
        crowd->answered += answers;
        if (i < 2)
            crowd->sure += answers;
        if (life % 3 == 0) { /* another port, perhaps of the other worker */
            close(fd);
            fd = udp_connect(&gate_at, &self);
        }
    }
    close(fd);
    client_free(c);
    return crowd;
}

static void await_settled(struct fleet *f)
{
    struct pollfd p = {.fd = fleet_acks(f), .events = POLLIN};

    while (!fleet_is_settled(f)) {
        assert_int_equal(poll(&p, 1, 10000), 1);
        fleet_take_acks(f);
    }
}

static struct conf *settings(unsigned turn)
{
    char backend[64], text[ADDR_TEXT_MAX];
    const char *const overrides[] = {
        "daemon.workers=2",
        "daemon.max-sessions=6",
        "service.a.max-sessions-per-identity=1",
        turn % 2 == 0 ? "service.a.flow-timeout=0" : "service.a.mtu=600",
        backend,
        NULL,
    };

    snprintf(backend, sizeof backend, "service.a.backend=%s", addr_format(&backend_at, text));
    write_file("keys", key_files[turn % KEY_FILES], 0600);
    return load_good(MINIMAL, overrides);
}

static unsigned reload_until(struct fleet *f, uint64_t end)
{
    unsigned turn = 0;
    char why[128];

    while (clock_now_ms() < end) {
        struct conf *next = settings(++turn);
        struct fleet_settings *prepared = fleet_prepare(f, next, why, sizeof why);
        assert_non_null(prepared);
        conf_unref(next);
        assert_int_equal(fleet_commit(f, prepared), 0);
        if (turn % 8 == 0)
            fleet_rotate_cookies(f);
        await_settled(f);
        (void)poll(NULL, 0, 5);
    }
    return turn;
}

static void open_backend(void)
{
    struct addr any;

    assert_true(addr_parse(&any, "127.0.0.1:0"));
    backend_fd = udp_listen(&any, false, false, &backend_at);
    assert_true(backend_fd >= 0);
}

/* All that began has ended. */
static void assert_books(void)
{
    assert_int_equal(log_count("info totals: workers=2 "), 1);
    assert_int_equal(log_count_both("info totals: ", " sessions="), 0);
    assert_int_equal(log_count_both("info totals: ", " handshakes="), 0);
    assert_int_equal(log_count_both("info totals: ", " flows="), 0);
}

static void test_reloads_under_load(void **state)
{
    static unsigned number[CLIENTS];
    pthread_t backend, client[CLIENTS];
    struct crowd all = {0};
    struct sockets sockets;
    char why[128];

    (void)state;
    open_backend();
    client_method(); /* while there is one thread */
    log_capture();
    struct conf *conf = settings(0);
    assert_true(sockets_open(&sockets, conf, "x.ini", &errors));
    gate_at = sockets_of(&sockets, 0)->bound;
    struct fleet *f = fleet_new(conf, &sockets, why, sizeof why);
    assert_non_null(f);
    conf_unref(conf);
    assert_true(fleet_start(f, why, sizeof why));
    assert_int_equal(pthread_create(&backend, NULL, run_backend, NULL), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&client[i], NULL, run_client, &number[i]), 0);
    }
    unsigned turns = reload_until(f, clock_now_ms() + DURATION_MS);
    fleet_stop(f); /* in the middle of it all */
    await_settled(f);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        void *got;
        assert_int_equal(pthread_join(client[i], &got), 0);
        const struct crowd *one = got;
        all.opened += one->opened;
        all.answered += one->answered;
        all.sure += one->sure;
    }
    pthread_join(backend, NULL);
    fleet_log_totals(f);
    fleet_free(f);
    print_message("%u reloads, %u associations, %u answers\n", turns, all.opened, all.answered);
    assert_books();
    assert_true(turns > 1 && all.opened > CLIENTS && all.sure > 0);
    sockets_close(&sockets);
    close(backend_fd);
    log_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reloads_under_load),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
