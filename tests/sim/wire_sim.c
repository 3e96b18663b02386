/*
 * wire_sim: see the header.
 */
#include "wire_sim.h"

#include "base/bytes.h"
#include "proxy/session.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define PACKETS_MAX 4096
#define PACKET_SIZE 2048
#define DELAY_MS 10
/* A device whose handshake does not come to an end begins anew, from the same port. */
#define PATIENCE_MS 90000

enum way { TO_SERVER, TO_CLIENT, FROM_BACKEND };

struct packet {
    uint64_t at, order;
    enum way way;
    unsigned client;
    struct flow *flow; /* FROM_BACKEND */
    size_t len;
    uint8_t data[PACKET_SIZE];
};

/* The stand-in for upstream.c's flow. Never freed while the sim runs, so that late replies find it.
 */
struct flow {
    struct flow *next;
    struct list order;
    void *owner;
    unsigned client;
    bool is_open, is_shared;
};

#include "../unit/flow_order.h"

struct client {
    SSL *ssl;
    unsigned index;
    const uint8_t *in;
    size_t in_len;
    bool is_fresh; /* has not said hello yet */
    bool is_connected;
    uint64_t began;
    unsigned sent, life;
    uint64_t send_at;
    bool is_done;
};

struct sim {
    const struct sim_rules *rules;
    struct sim_result result;
    uint64_t random;
    struct packet *packets[PACKETS_MAX];
    size_t packet_count;
    uint64_t order;
    struct flow *flows;
    struct client clients[SIM_CLIENTS];
    SSL_CTX *ctx;
    struct relay *relay;
    struct stats stats;
    bool delivered[SIM_CLIENTS][64][SIM_MESSAGES];
};

static struct sim *sim; /* the one that runs; libssl's clock and the stand-ins need it */
static uint64_t virtual_ms = 1000000;

/* libssl's clients take their time from here. */
int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    (void)tz;
    tv->tv_sec = (time_t)(virtual_ms / 1000);
    tv->tv_usec = (suseconds_t)(virtual_ms % 1000 * 1000);
    return 0;
}

static uint64_t next_random(void)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return sim->random;
}

static bool chance(unsigned percent)
{
    return next_random() % 100 < percent;
}

static void post(enum way way, unsigned client, const void *data, size_t len, uint64_t delay)
{
    struct packet *p = calloc(1, sizeof *p);

    assert(p != NULL && len <= sizeof p->data && sim->packet_count < PACKETS_MAX);
    p->at = virtual_ms + delay;
    p->order = sim->order++;
    p->way = way;
    p->client = client;
    p->len = len;
    memcpy(p->data, data, len);
    sim->packets[sim->packet_count++] = p;
}

/* The public side: where things go wrong. */
static void post_lossy(enum way way, unsigned client, const void *data, size_t len)
{
    unsigned copies = chance(sim->rules->repeat) ? 2 : 1;

    for (unsigned i = 0; i < copies; i++) {
        if (chance(sim->rules->loss))
            continue;
        uint64_t delay = DELAY_MS;
        if (chance(sim->rules->reorder))
            delay += next_random() % (8 * DELAY_MS);
        post(way, client, data, len, delay);
    }
}

static struct packet *take_earliest(void)
{
    size_t best = 0;

    if (sim->packet_count == 0)
        return NULL;
    for (size_t i = 1; i < sim->packet_count; i++) {
        const struct packet *a = sim->packets[i], *b = sim->packets[best];
        if (a->at < b->at || (a->at == b->at && a->order < b->order))
            best = i;
    }
    struct packet *p = sim->packets[best];
    sim->packets[best] = sim->packets[--sim->packet_count];
    return p;
}

static uint64_t earliest(void)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < sim->packet_count; i++)
        at = sim->packets[i]->at < at ? sim->packets[i]->at : at;
    return at;
}

/* ---- stand-ins for what owns sockets ---- */

struct listener {
    unsigned index;
};

static struct listener the_listener;
static uint8_t outgoing[UDP_PAYLOAD_MAX];
static char plain[WIRE_PLAINTEXT_MAX + 1];

unsigned listener_index(const struct listener *l)
{
    return l->index;
}

unsigned listener_service(const struct listener *l)
{
    (void)l;
    return 0;
}

void listener_commit(struct listener *l, struct udp_outbox *out, size_t len,
                     const struct addr *peer, const struct addr *local)
{
    (void)l;
    (void)out;
    assert(local->port == 5684);
    post_lossy(TO_CLIENT, peer->port - 40000u, outgoing, len);
}

uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max)
{
    (void)out;
    assert(max <= sizeof outgoing);
    return outgoing;
}

size_t udp_outbox_flush(struct udp_outbox *out)
{
    (void)out;
    return 0;
}

struct flow *upstream_open(struct upstream *u, unsigned service, const struct addr *to,
                           uint32_t number, void *owner)
{
    const struct session *s = owner;
    struct flow *f = calloc(1, sizeof *f);

    (void)u;
    (void)service;
    (void)to;
    (void)number;
    assert(f != NULL);
    f->owner = owner;
    f->client = s->peer.port - 40000u;
    f->is_open = true;
    list_init(&f->order);
    f->next = sim->flows;
    sim->flows = f;
    return f;
}

struct flow *upstream_open_as(struct upstream *u, unsigned service, const struct addr *to,
                              const struct addr *as, void *owner)
{
    (void)as;
    return upstream_open(u, service, to, UPSTREAM_ANY, owner);
}

void upstream_close(struct flow *f)
{
    assert(f->is_open);
    list_remove(&f->order);
    f->is_open = false;
}

uint8_t *upstream_reserve(struct upstream *u, size_t max)
{
    (void)u;
    return max < sizeof plain ? (uint8_t *)plain : NULL;
}

/* The echo: the reply goes to whoever owns the flow then, if it is still open. */
void upstream_commit(struct flow *f, size_t len)
{
    assert(f->is_open && len < sizeof plain);
    plain[len] = '\0';
    unsigned client, life, message;
    int got = sscanf(plain, "client %u life %u message %u", &client, &life, &message);
    bool is_ours = got == 3 && client == f->client;
    sim->result.crossed += !is_ours;
    if (!is_ours)
        return;
    sim->result.delivered++;
    sim->result.twice += sim->delivered[client][life][message];
    sim->delivered[client][life][message] = true;
    post(FROM_BACKEND, client, plain, len, 1);
    sim->packets[sim->packet_count - 1]->flow = f;
}

/* ---- clients ---- */

static int client_write(BIO *bio, const char *data, int len)
{
    const struct client *c = BIO_get_data(bio);
    post_lossy(TO_SERVER, c->index, data, (size_t)len);
    return len;
}

static int client_read(BIO *bio, char *out, int size)
{
    struct client *c = BIO_get_data(bio);
    size_t n = c->in_len;

    BIO_clear_retry_flags(bio);
    if (c->in == NULL) {
        BIO_set_retry_read(bio);
        return -1;
    }
    assert(n <= (size_t)size);
    memcpy(out, c->in, n);
    c->in = NULL;
    return (int)n;
}

static long client_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *client_method(void)
{
    static BIO_METHOD *method;

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sim client");
        BIO_meth_set_write(method, client_write);
        BIO_meth_set_read(method, client_read);
        BIO_meth_set_ctrl(method, client_ctrl);
    }
    return method;
}

static unsigned int client_psk(SSL *ssl, const char *hint, char *identity,
                               unsigned int max_identity, unsigned char *psk, unsigned int max_psk)
{
    (void)ssl;
    (void)hint;
    (void)max_psk;
    snprintf(identity, max_identity, "sim");
    memset(psk, 0x5a, 32);
    return 32;
}

static void client_begin(struct client *c)
{
    BIO *bio = BIO_new(client_method());

    SSL_free(c->ssl);
    c->ssl = SSL_new(sim->ctx);
    assert(bio != NULL && c->ssl != NULL);
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_connect_state(c->ssl);
    SSL_set_options(c->ssl, SSL_OP_NO_QUERY_MTU);
    DTLS_set_link_mtu(c->ssl, 1400);
    c->is_fresh = true;
    c->is_connected = false;
    c->sent = 0;
    c->began = virtual_ms;
    c->send_at = 0;
}

static void client_check_echo(const struct client *c, const char *text)
{
    char want[64];
    unsigned message = 0;

    sscanf(text, "client %*u life %*u message %u", &message);
    snprintf(want, sizeof want, "client %u life %u message %u", c->index, c->life, message);
    if (strcmp(text, want) == 0)
        sim->result.echoed++;
    else
        sim->result.crossed++;
}

static void client_read_all(struct client *c)
{
    char text[128];
    int n;

    while ((n = SSL_read(c->ssl, text, sizeof text - 1)) > 0) {
        text[n] = '\0';
        client_check_echo(c, text);
    }
}

static void client_connected(struct client *c)
{
    uint64_t took = virtual_ms - c->began;

    c->is_connected = true;
    c->send_at = virtual_ms;
    sim->result.connected++;
    if (took > sim->result.slowest_ms)
        sim->result.slowest_ms = took;
}

/* Sends the next message, or comes again, or says goodbye. */
static void client_next(struct client *c)
{
    char text[64];

    if (c->sent < sim->rules->messages) {
        int n = snprintf(text, sizeof text, "client %u life %u message %u", c->index, c->life,
                         c->sent++);
        SSL_write(c->ssl, text, n);
        c->send_at = virtual_ms + 40;
    } else if (c->life < sim->rules->reconnects) {
        c->life++;
        client_begin(c);
    } else {
        SSL_shutdown(c->ssl);
        c->is_done = true;
    }
}

static void client_step(struct client *c)
{
    struct timeval left;

    if (c->is_done)
        return;
    if (!c->is_connected && virtual_ms - c->began >= PATIENCE_MS)
        client_begin(c);
    ERR_clear_error();
    c->is_fresh = false;
    if (!c->is_connected && SSL_do_handshake(c->ssl) == 1)
        client_connected(c);
    if (c->is_connected)
        client_read_all(c);
    if (c->is_connected && virtual_ms >= c->send_at)
        client_next(c);
    if (DTLSv1_get_timeout(c->ssl, &left) == 1 && left.tv_sec == 0 && left.tv_usec == 0)
        DTLSv1_handle_timeout(c->ssl);
}

static uint64_t client_wakes(const struct client *c)
{
    struct timeval left;
    uint64_t at = c->send_at == 0 ? UINT64_MAX : c->send_at;

    if (c->is_done)
        return UINT64_MAX;
    if (c->is_fresh)
        return virtual_ms;
    if (!c->is_connected)
        at = c->began + PATIENCE_MS;
    if (DTLSv1_get_timeout(c->ssl, &left) == 1) {
        uint64_t due =
            virtual_ms + (uint64_t)left.tv_sec * 1000 + (uint64_t)left.tv_usec / 1000 + 1;
        at = due < at ? due : at;
    }
    return at;
}

/* ---- the run ---- */

static void arrive(struct packet *p)
{
    struct client *c = &sim->clients[p->client];

    if (p->way == TO_CLIENT) {
        c->in = p->data;
        c->in_len = p->len;
        client_step(c);
        c->in = NULL;
        return;
    }
    struct udp_datagram d = {.data = p->data, .len = p->len};
    if (p->way == FROM_BACKEND) {
        if (p->flow->is_open)
            relay_from_backend(sim->relay, p->flow->owner, &d, virtual_ms);
        return;
    }
    char text[ADDR_TEXT_MAX];
    snprintf(text, sizeof text, "192.0.2.1:%u", 40000 + p->client);
    bool fine = addr_parse(&d.peer, text) && addr_parse(&d.local, "192.0.2.2:5684");
    assert(fine);
    (void)fine;
    relay_from_client(sim->relay, &the_listener, &d, virtual_ms);
}

static bool all_done(void)
{
    for (unsigned i = 0; i < sim->rules->clients; i++) {
        if (!sim->clients[i].is_done)
            return false;
    }
    return sim->packet_count == 0;
}

static void step(uint64_t limit)
{
    uint64_t next = relay_tick(sim->relay, virtual_ms);

    for (unsigned i = 0; i < sim->rules->clients; i++) {
        uint64_t at = client_wakes(&sim->clients[i]);
        next = at < next ? at : next;
    }
    next = earliest() < next ? earliest() : next;
    virtual_ms = next > limit ? limit : next > virtual_ms ? next : virtual_ms;
    while (earliest() <= virtual_ms) {
        struct packet *p = take_earliest();
        arrive(p);
        free(p);
    }
    for (unsigned i = 0; i < sim->rules->clients; i++)
        client_step(&sim->clients[i]);
}

static struct relay *make_relay(const char *dir)
{
    static struct listener *listeners[] = {&the_listener};
    char psk[256], overrides[5][300], why[256];
    const char *list[5];
    struct errors errors = {0};
    struct relay_setup setup;
    struct cookie_secrets cookies;
    struct relay_parts parts = {.worker_count = 1, .stats = &sim->stats, .listeners = listeners};

    snprintf(psk, sizeof psk, "%s/psk", dir);
    snprintf(overrides[0], sizeof overrides[0], "service.sim.listen=192.0.2.2:5684");
    snprintf(overrides[1], sizeof overrides[1], "service.sim.backend=192.0.2.3:7");
    snprintf(overrides[2], sizeof overrides[2], "service.sim.psk-file=%s", psk);
    snprintf(overrides[3], sizeof overrides[3], "service.sim.min-version=%s",
             sim->rules->old_devices ? "1.0" : "1.2");
    snprintf(overrides[4], sizeof overrides[4], "daemon.log-level=error");
    for (int i = 0; i < 5; i++)
        list[i] = overrides[i];
    const struct conf_source source = {.overrides = list, .override_count = 5};
    struct conf *conf = conf_load(&source, &errors);
    errors_print(&errors, stderr, "");
    assert(conf != NULL);
    bool fine = relay_setup_make(&setup, conf, why, sizeof why);
    assert(fine);
    (void)fine;
    conf_unref(conf);
    cookie_secrets_init(&cookies);
    struct relay *relay = relay_new(&parts, &setup, &cookies);
    assert(relay != NULL);
    return relay;
}

static void write_key(char dir[32])
{
    char path[64];
    FILE *f;

    strcpy(dir, "/tmp/dtlsgate-sim-XXXXXX");
    char *made = mkdtemp(dir);
    assert(made != NULL);
    (void)made;
    snprintf(path, sizeof path, "%s/psk", dir);
    f = fopen(path, "w");
    assert(f != NULL);
    fchmod(fileno(f), 0600);
    fputs("sim:", f);
    for (int i = 0; i < 32; i++)
        fputs("5a", f);
    fputc('\n', f);
    fclose(f);
}

static void remove_key(const char *dir)
{
    char path[64];
    snprintf(path, sizeof path, "%s/psk", dir);
    unlink(path);
    rmdir(dir);
}

static void make_clients(void)
{
    sim->ctx = SSL_CTX_new(DTLS_client_method());
    assert(sim->ctx != NULL);
    SSL_CTX_set_psk_client_callback(sim->ctx, client_psk);
    SSL_CTX_set_cipher_list(sim->ctx, sim->rules->client_ciphers);
    SSL_CTX_set_min_proto_version(sim->ctx, sim->rules->dtls10 ? DTLS1_VERSION : DTLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(sim->ctx, sim->rules->dtls10 ? DTLS1_VERSION : DTLS1_2_VERSION);
    for (unsigned i = 0; i < sim->rules->clients; i++) {
        sim->clients[i].index = i;
        client_begin(&sim->clients[i]);
    }
}

static void clear(void)
{
    struct packet *p;

    while ((p = take_earliest()) != NULL)
        free(p);
    for (unsigned i = 0; i < sim->rules->clients; i++)
        SSL_free(sim->clients[i].ssl);
    while (sim->flows != NULL) {
        struct flow *f = sim->flows;
        sim->flows = f->next;
        assert(!f->is_open);
        free(f);
    }
    SSL_CTX_free(sim->ctx);
}

struct sim_result sim_run(const struct sim_rules *rules, uint64_t seed, uint64_t limit_ms)
{
    char dir[32];
    uint64_t limit = virtual_ms + limit_ms;

    assert(rules->clients <= SIM_CLIENTS && rules->messages <= SIM_MESSAGES);
    sim = calloc(1, sizeof *sim);
    assert(sim != NULL);
    sim->rules = rules;
    sim->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    write_key(dir);
    log_set_level(LOG_LEVEL_ERROR);
    sim->relay = make_relay(dir);
    remove_key(dir);
    make_clients();
    while (!all_done() && virtual_ms < limit)
        step(limit);
    relay_end_all(sim->relay, virtual_ms);
    relay_free(sim->relay);
    clear();
    sim->result.stats = sim->stats;
    struct sim_result result = sim->result;
    free(sim);
    sim = NULL;
    return result;
}
