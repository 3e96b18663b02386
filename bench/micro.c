/*
 * micro: what sealing and opening a record, answering a hello and serving a handshake cost, in
 * memory and without a system call. Only what stands in a function called measured_... is counted,
 * by the clock here or by callgrind (--toggle-collect='measured_*'); the clients are libssl's, in
 * the same process, and stand outside.
 *
 *   micro [-c PATTERN] [-n COUNT] [-l]
 *
 *   -c  only cases whose name fits the shell pattern
 *   -n  this many each; 0: as many as fill a tenth of a second
 *   -l  list the cases
 */
#include "base/bytes.h"
#include "base/errors.h"
#include "dtls/cookie.h"
#include "dtls/handshake.h"
#include "dtls/record.h"

#include "../tests/unit/mirror.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY "000102030405060708090a0b0c0d0e0f"
#define IDENTITY "meter-0001"
#define MTU 1400
#define DATAGRAM_MAX 4096
#define BATCH_MIN 2000 /* records sealed ahead and then opened in one go */
#define ENOUGH_NS 100000000u

struct tally {
    uint64_t ns, count;
};

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "micro: %s\n", what);
    exit(1);
}

/* Of this thread alone, so that others on the machine count less. */
static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool is_enough(const struct tally *t, uint64_t wanted)
{
    return wanted > 0 ? t->count >= wanted : t->ns >= ENOUGH_NS;
}

/* ---- records ---- */

struct batch {
    const char *suite;
    size_t len, sessions, count;
    struct association *server, *client;
    size_t *order; /* whose turn it is */
    uint8_t *sealed;
    size_t size; /* of one sealed record */
    struct record_crypt *crypt, *client_crypt;
    uint8_t plain[WIRE_PLAINTEXT_MAX], out[WIRE_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX];
};

static const struct suite *suite_named(const char *name)
{
    for (unsigned id = 0; id <= 0xffff; id++) {
        const struct suite *s = suite_find((uint16_t)id);
        if (s != NULL && strcmp(s->name, name) == 0)
            return s;
    }
    require(false, "no such suite");
    return NULL;
}

/* Keys of which only the difference matters. */
static void make_associations(struct batch *b)
{
    const struct suite *suite = suite_named(b->suite);

    for (size_t i = 0; i < b->sessions; i++) {
        struct association *s = &b->server[i], *c = &b->client[i];
        s->suite = c->suite = suite;
        put_u64(s->keys.block, i);
        put_u64(s->keys.block + suite->key_len, ~(uint64_t)i);
        c->keys = mirror_keys(&s->keys, suite);
    }
}

static struct batch *batch_new(const char *suite, size_t len, size_t sessions)
{
    struct batch *b = calloc(1, sizeof *b);

    require(b != NULL, "out of memory");
    b->suite = suite;
    b->len = len;
    b->sessions = sessions;
    b->count = sessions > BATCH_MIN ? sessions : BATCH_MIN;
    b->server = calloc(sessions, sizeof *b->server);
    b->client = calloc(sessions, sizeof *b->client);
    b->order = calloc(b->count, sizeof *b->order);
    b->sealed = calloc(b->count, len + RECORD_OVERHEAD_MAX);
    b->crypt = record_crypt_new();
    b->client_crypt = record_crypt_new();
    require(b->server && b->client && b->order && b->sealed && b->crypt && b->client_crypt,
            "out of memory");
    make_associations(b);
    for (size_t i = 0; i < b->count; i++)
        b->order[i] = i % sessions;
    return b;
}

static void batch_free(struct batch *b)
{
    record_crypt_free(b->crypt);
    record_crypt_free(b->client_crypt);
    free(b->server);
    free(b->client);
    free(b->order);
    free(b->sealed);
    free(b);
}

/* Another order, and a record of each session in it. */
static void batch_fill(struct batch *b)
{
    uint8_t *at = b->sealed;

    for (size_t i = b->count; i > 1; i--) {
        size_t j = (size_t)random() % i, swapped = b->order[i - 1];
        b->order[i - 1] = b->order[j];
        b->order[j] = swapped;
    }
    for (size_t i = 0; i < b->count; i++, at += b->size) {
        b->size =
            record_seal(b->client_crypt, &b->client[b->order[i]], WIRE_DATA, b->plain, b->len, at);
        require(b->size > 0, "sealing failed");
    }
}

static __attribute__((noinline)) void measured_records(struct batch *b, size_t count)
{
    const uint8_t *at = b->sealed;

    for (size_t i = 0; i < count; i++, at += b->size) {
        struct association *a = &b->server[b->order[i]];
        struct reader r = reader_of(at, b->size);
        struct wire_record rec;
        size_t len;

        if (!wire_next_record(&r, &rec) ||
            record_open(b->crypt, a, &rec, b->plain, &len) != RECORD_OK ||
            record_seal(b->crypt, a, WIRE_DATA, b->plain, len, b->out) == 0)
            require(false, "a record failed");
    }
}

static struct tally run_records(const char *suite, size_t len, size_t sessions, uint64_t wanted)
{
    struct batch *b = batch_new(suite, len, sessions);
    struct tally t = {0};

    while (!is_enough(&t, wanted)) {
        size_t count = b->count;
        if (wanted > 0 && wanted - t.count < count)
            count = wanted - t.count;
        batch_fill(b);
        uint64_t from = now_ns();
        measured_records(b, count);
        t.ns += now_ns() - from;
        t.count += count;
    }
    batch_free(b);
    return t;
}

/* ---- hellos and handshakes ---- */

struct server {
    struct cookie_secrets secrets;
    struct addr peer;
    struct tlsctx *tls;
    struct psk_set *keys;
    struct handshake_params params;
    struct handshake *handshake;
    struct ticket_keys tickets;
    uint8_t out[DATAGRAM_MAX]; /* to the client */
    size_t out_len;
};

static unsigned on_psk(SSL *ssl, const char *hint, char *identity, unsigned size,
                       unsigned char *key, unsigned key_size)
{
    (void)ssl;
    (void)hint;
    snprintf(identity, size, IDENTITY);
    return (unsigned)hex_decode(key, key_size, KEY, strlen(KEY));
}

static struct psk_set *make_keys(void)
{
    static const char text[] = IDENTITY ":" KEY "\n";
    struct errors errors = {0};
    struct psk_set *keys = psk_parse("keys", text, sizeof text - 1, false, &errors);

    errors_clear(&errors);
    return keys;
}

static bool may_resume(const void *arg, const struct psk *psk, const struct suite *suite,
                       uint64_t wall)
{
    (void)arg;
    (void)psk;
    (void)suite;
    (void)wall;
    return true;
}

static struct server *server_new(const char *suite)
{
    const struct tlsctx_params params = {.ciphers = suite};
    struct server *s = calloc(1, sizeof *s);
    char why[128];

    require(s != NULL, "out of memory");
    cookie_secrets_init(&s->secrets);
    s->peer = (struct addr){.ip = {127, 0, 0, 1}, .port = 4000, .family = 2};
    s->tls = tlsctx_new(&params, why, sizeof why);
    s->keys = make_keys();
    s->params = (struct handshake_params){
        .tls = s->tls,
        .keys = s->keys,
        .crypt = record_crypt_new(),
        .kdf = keys_kdf_new(),
        .mtu = MTU,
        .retransmit_first = 1000,
        .retransmit_cap = 4000,
        .retransmit_total = 20000,
        .timeout = 30000,
    };
    require(s->tls && s->keys && s->params.crypt && s->params.kdf, "no server");
    ticket_keys_init(&s->tickets);
    return s;
}

static void give_tickets(struct server *s)
{
    s->params.resumption =
        (struct resumption){&s->tickets, "bench", UINT64_C(86400000), may_resume, NULL, NULL};
}

static void server_free(struct server *s)
{
    record_crypt_free(s->params.crypt);
    keys_kdf_free(s->params.kdf);
    tlsctx_free(s->tls);
    psk_free(s->keys);
    free(s);
}

static SSL_CTX *clients_new(const char *suite)
{
    SSL_CTX *ctx = SSL_CTX_new(DTLS_client_method());

    require(ctx != NULL && SSL_CTX_set_max_proto_version(ctx, DTLS1_2_VERSION) == 1 &&
                SSL_CTX_set_cipher_list(ctx, suite) == 1,
            "no client");
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_psk_client_callback(ctx, on_psk);
    return ctx;
}

/* A memory BIO has no borders of datagrams, which libssl does not miss here: whole records are all
 * it looks for. */
static SSL *client_new(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);

    require(ssl != NULL, "out of memory");
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    DTLS_set_link_mtu(ssl, MTU);
    return ssl;
}

/* Gives the client what the server has said and takes its answer. */
static size_t client_step(SSL *ssl, struct server *s, uint8_t *answer)
{
    if (s->out_len > 0)
        BIO_write(SSL_get_rbio(ssl), s->out, (int)s->out_len);
    s->out_len = 0;
    SSL_do_handshake(ssl);
    int n = BIO_read(SSL_get_wbio(ssl), answer, DATAGRAM_MAX);
    return n > 0 ? (size_t)n : 0;
}

static __attribute__((noinline)) void measured_hello(struct server *s, const uint8_t *datagram,
                                                     size_t len)
{
    struct reader r = reader_of(datagram, len);
    struct wire_record rec;
    struct wire_hello hello;

    if (wire_next_record(&r, &rec) && wire_parse_hello(&rec, &hello) == WIRE_HELLO_OK &&
        !cookie_check(&s->secrets, &hello, &s->peer, &s->peer))
        s->out_len = cookie_answer(&s->secrets, &hello, &s->peer, &s->peer, s->out);
}

static void take_flight(struct server *s)
{
    size_t n;

    while ((n = handshake_take(s->handshake, s->out + s->out_len)) > 0)
        s->out_len += n;
}

static __attribute__((noinline)) void measured_begin(struct server *s, const uint8_t *datagram,
                                                     size_t len)
{
    struct reader r = reader_of(datagram, len);
    struct wire_record rec;
    struct wire_hello hello;

    if (!wire_next_record(&r, &rec) || wire_parse_hello(&rec, &hello) != WIRE_HELLO_OK ||
        !cookie_check(&s->secrets, &hello, &s->peer, &s->peer))
        return;
    s->handshake = handshake_new(&s->params, &rec, 1000);
    if (s->handshake != NULL)
        take_flight(s);
}

static __attribute__((noinline)) bool measured_end(struct server *s, const uint8_t *datagram,
                                                   size_t len)
{
    struct handshake_result result;
    struct reader r = reader_of(datagram, len);
    struct wire_record rec;

    while (wire_next_record(&r, &rec))
        (void)handshake_feed(s->handshake, &rec, 1000);
    take_flight(s);
    bool is_done = handshake_state(s->handshake) == HANDSHAKE_DONE;
    if (is_done) {
        handshake_finish(s->handshake, &result);
        handshake_farewell_clear(&result.farewell);
    }
    handshake_free(s->handshake);
    s->handshake = NULL;
    bytes_wipe(&result, sizeof result);
    return is_done;
}

static void run_hello(SSL *ssl, struct server *s, struct tally *t)
{
    uint8_t hello[DATAGRAM_MAX];
    size_t len = client_step(ssl, s, hello);
    uint64_t from = now_ns();

    for (int i = 0; i < BATCH_MIN; i++)
        measured_hello(s, hello, len);
    t->ns += now_ns() - from;
    t->count += BATCH_MIN;
}

static void run_handshake(SSL *ssl, struct server *s, struct tally *t)
{
    uint8_t in[DATAGRAM_MAX];
    size_t len = client_step(ssl, s, in);
    uint64_t from = now_ns();

    measured_hello(s, in, len);
    t->ns += now_ns() - from;
    len = client_step(ssl, s, in);
    from = now_ns();
    measured_begin(s, in, len);
    t->ns += now_ns() - from;
    require(s->handshake != NULL, "no handshake began");
    len = client_step(ssl, s, in);
    from = now_ns();
    bool is_done = measured_end(s, in, len);
    t->ns += now_ns() - from;
    (void)client_step(ssl, s, in);
    require(is_done && SSL_is_init_finished(ssl), "a handshake failed");
    t->count++;
}

static struct tally run_clients(const char *suite, bool whole, uint64_t wanted)
{
    struct server *s = server_new(suite);
    SSL_CTX *ctx = clients_new(suite);
    struct tally t = {0};

    while (!is_enough(&t, wanted)) {
        SSL *ssl = client_new(ctx);
        if (whole)
            run_handshake(ssl, s, &t);
        else
            run_hello(ssl, s, &t);
        s->out_len = 0;
        SSL_free(ssl);
    }
    SSL_CTX_free(ctx);
    server_free(s);
    return t;
}

/* Lets it be resumed by others. */
static SSL_SESSION *leave(SSL *ssl)
{
    SSL_SESSION *session = SSL_get1_session(ssl);

    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    return session;
}

static struct tally run_resumed(const char *suite, uint64_t wanted)
{
    struct server *s = server_new(suite);
    SSL_CTX *ctx = clients_new(suite);
    struct tally t = {0}, first = {0};

    give_tickets(s);
    SSL *ssl = client_new(ctx);
    run_handshake(ssl, s, &first);
    SSL_SESSION *session = leave(ssl);
    require(SSL_SESSION_has_ticket(session) == 1, "there is no ticket");
    while (!is_enough(&t, wanted)) {
        s->out_len = 0;
        ssl = client_new(ctx);
        require(SSL_set_session(ssl, session) == 1, "the session does not fit");
        run_handshake(ssl, s, &t);
        require(SSL_session_reused(ssl) == 1, "a session was not resumed");
        SSL_SESSION_free(leave(ssl));
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    server_free(s);
    return t;
}

/* ---- all of it ---- */

enum kind { RECORDS, HELLO, HANDSHAKE, RESUMED };

static const struct micro_case {
    const char *name;
    enum kind kind;
    const char *suite;
    size_t len, sessions;
} CASES[] = {
#define RECORD_CASES(name, suite)                                                                  \
    {"record-" name "-64-1", RECORDS, suite, 64, 1},                                               \
        {"record-" name "-64-16", RECORDS, suite, 64, 16},                                         \
        {"record-" name "-64-1000", RECORDS, suite, 64, 1000},                                     \
        {"record-" name "-64-20000", RECORDS, suite, 64, 20000},                                   \
        {"record-" name "-1200-1", RECORDS, suite, 1200, 1},                                       \
        {"record-" name "-1200-16", RECORDS, suite, 1200, 16},                                     \
    {                                                                                              \
        "record-" name "-1200-20000", RECORDS, suite, 1200, 20000                                  \
    }
    RECORD_CASES("gcm", "PSK-AES128-GCM-SHA256"),
    RECORD_CASES("ccm8", "PSK-AES128-CCM8"),
    RECORD_CASES("chacha", "PSK-CHACHA20-POLY1305"),
    {"hello", HELLO, "PSK-AES128-GCM-SHA256", 0, 0},
    {"handshake-gcm", HANDSHAKE, "PSK-AES128-GCM-SHA256", 0, 0},
    {"handshake-ccm8", HANDSHAKE, "PSK-AES128-CCM8", 0, 0},
    {"handshake-ecdhe", HANDSHAKE, "ECDHE-PSK-CHACHA20-POLY1305", 0, 0},
    {"handshake-resumed", RESUMED, "ECDHE-PSK-CHACHA20-POLY1305", 0, 0},
};

static struct tally run_case(const struct micro_case *c, uint64_t wanted)
{
    if (c->kind == RECORDS)
        return run_records(c->suite, c->len, c->sessions, wanted);
    if (c->kind == RESUMED)
        return run_resumed(c->suite, wanted);
    return run_clients(c->suite, c->kind == HANDSHAKE, wanted);
}

int main(int argc, char **argv)
{
    const char *pattern = "*";
    uint64_t wanted = 0;
    bool only_list = false;
    int option;

    while ((option = getopt(argc, argv, "c:n:l")) != -1) {
        switch (option) {
        case 'c':
            pattern = optarg;
            break;
        case 'n':
            wanted = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            only_list = true;
            break;
        default:
            return 2;
        }
    }
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (fnmatch(pattern, CASES[i].name, 0) != 0)
            continue;
        printf("%s", CASES[i].name);
        if (!only_list) {
            struct tally t = run_case(&CASES[i], wanted);
            printf(" ns=%.0f count=%llu", (double)t.ns / (double)t.count,
                   (unsigned long long)t.count);
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
