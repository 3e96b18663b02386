/*
 * relay_world: a relay with stand-ins for what owns sockets, libssl clients in front of it and a
 * backend that the test plays. Time is a number that the test moves. Include it once a program.
 */
#ifndef DTLSGATE_TESTS_RELAY_WORLD_H
#define DTLSGATE_TESTS_RELAY_WORLD_H

#include "conf_text.h"
#include "dtls_client.h"
#include "log_text.h"
#include "mirror.h"

#include "proxy/pp2.h"
#include "proxy/relay.h"
#include "proxy/session.h"

#include <errno.h>
#include <unistd.h>

#define SENT_MAX 64
#define FLOWS_MAX 64
#define SERVICES_MAX 4
#define TEXT_MAX 16384

/* What has left for a client. */
struct sent {
    struct addr peer;
    size_t len;
    uint8_t data[17000];
};

/* The stand-in for upstream.c's, never reused in one world. */
struct flow {
    struct session *owner;
    struct list order;
    unsigned service;
    struct addr backend;
    bool is_open, is_shared;
    uint8_t mark;
    uint32_t source;
    struct addr as; /* what it borrows; family 0: nothing */
    uint16_t port;
    int taken;      /* the descriptor that another process has had */
    unsigned count; /* datagrams that the backend has got through it; the last one: */
    size_t len;
    uint8_t data[TEXT_MAX];
};

#include "flow_order.h"

struct listener {
    unsigned index;
};

struct world {
    struct relay *relay;
    struct stats stats;
    struct cookie_secrets cookies;
    uint64_t now;
    struct addr backends[SERVICES_MAX][BACKENDS_MAX]; /* that may speak on a shared socket */
    size_t backend_count[SERVICES_MAX];
    bool shares[SERVICES_MAX]; /* flows of the service share a socket */
    unsigned service_count;
    struct flow flows[FLOWS_MAX];
    unsigned flow_count;
    unsigned open_failures; /* of the next attempts to open a flow, with open_errno */
    int open_errno;
    bool is_backend_full; /* the kernel takes nothing for it */
    unsigned untaken;     /* datagrams, until the next flush */
    bool is_deaf;         /* nobody takes what leaves for clients */
    bool is_refused_late; /* a refusal shows when a flow closes */
    unsigned sent_first, sent_count;
    struct sent sent[SENT_MAX];
    uint8_t room[UDP_PAYLOAD_MAX], plain[PP2_MAX + WIRE_PLAINTEXT_MAX];
};

static struct world *world;

unsigned listener_index(const struct listener *l)
{
    return l->index;
}

/* Listener 1 is service 1's. */
unsigned listener_service(const struct listener *l)
{
    return l->index;
}

void listener_commit(struct listener *l, struct udp_outbox *out, size_t len,
                     const struct addr *peer, const struct addr *local)
{
    struct sent *s = &world->sent[(world->sent_first + world->sent_count) % SENT_MAX];

    (void)out;
    if (world->is_deaf)
        return;
    world->sent_count++;
    assert_true(world->sent_count <= SENT_MAX);
    assert_true(len > 0 && len <= sizeof s->data);
    assert_int_equal(local->port, 5684 + l->index);
    s->peer = *peer;
    s->len = len;
    memcpy(s->data, world->room, len);
}

uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max)
{
    (void)out;
    assert_true(max <= sizeof world->room);
    return world->room;
}

size_t udp_outbox_flush(struct udp_outbox *out)
{
    (void)out;
    return 0;
}

bool upstream_add(struct upstream *u, const struct upstream_service *service)
{
    (void)u;
    assert_true(world->service_count < SERVICES_MAX);
    world->shares[world->service_count++] = prefixes_range(service->source) != NULL;
    return true;
}

bool upstream_set_backends(struct upstream *u, unsigned service, const struct addr *list,
                           size_t count)
{
    (void)u;
    assert_true(service < world->service_count && count <= BACKENDS_MAX);
    memcpy(world->backends[service], list, count * sizeof(*list));
    world->backend_count[service] = count;
    return true;
}

static inline bool world_is_taken(unsigned service, uint32_t source)
{
    for (unsigned i = 0; i < world->flow_count; i++)
        if (world->flows[i].is_open && world->flows[i].service == service &&
            world->flows[i].source == source)
            return true;
    return false;
}

struct flow *upstream_open(struct upstream *u, unsigned service, const struct addr *to,
                           uint32_t number, void *owner)
{
    struct flow *f = &world->flows[world->flow_count];

    (void)u;
    assert_true(service < world->service_count);
    assert_true(world->flow_count < FLOWS_MAX);
    if (world->open_failures > 0) {
        world->open_failures--;
        errno = world->open_errno;
        return NULL;
    }
    if (number != UPSTREAM_ANY && world_is_taken(service, number)) {
        errno = EBUSY;
        return NULL;
    }
    f->owner = owner;
    list_init(&f->order);
    f->service = service;
    f->backend = *to;
    f->is_open = true;
    f->is_shared = world->shares[service];
    f->source = number != UPSTREAM_ANY ? number : world->flow_count;
    f->port = (uint16_t)(50000 + world->flow_count++);
    return f;
}

bool upstream_turn(struct flow *f, const struct addr *to)
{
    assert_true(f->is_open && f->is_shared);
    f->backend = *to;
    return true;
}

struct addr upstream_backend(const struct flow *f)
{
    return f->backend;
}

void upstream_mark(struct flow *f, uint8_t mark)
{
    f->mark = mark;
}

uint8_t upstream_mark_of(const struct flow *f)
{
    return f->mark;
}

struct flow *upstream_open_as(struct upstream *u, unsigned service, const struct addr *to,
                              const struct addr *as, void *owner)
{
    struct flow *f = upstream_open(u, service, to, UPSTREAM_ANY, owner);

    if (f)
        f->as = *as;
    return f;
}

/* The descriptor says nothing here, and stays the caller's. */
struct flow *upstream_take_over(struct upstream *u, unsigned service, int fd, uint32_t number,
                                void *owner)
{
    struct flow *f;

    assert_false(world->shares[service]);
    if (fd < 0)
        return NULL;
    f = upstream_open(u, service, &world->backends[service][0], number, owner);
    if (f)
        f->taken = fd;
    return f;
}

int upstream_shared_socket(const struct upstream *u, unsigned service)
{
    (void)u;
    return world->shares[service] ? 0 : -1;
}

/* Any will do. */
int upstream_socket(const struct flow *f)
{
    assert_false(f->is_shared);
    return 0;
}

bool upstream_is_shared(const struct flow *f)
{
    return f->is_shared;
}

uint32_t upstream_source(const struct flow *f)
{
    return f->source;
}

void upstream_close(struct flow *f)
{
    assert_true(f->is_open);
    list_remove(&f->order);
    if (world->is_refused_late)
        relay_refused(world->relay, f->owner, 1, world->now);
    if (f->taken > 0)
        close(f->taken);
    f->is_open = false;
}

uint16_t upstream_port(const struct flow *f)
{
    return f->port;
}

size_t upstream_count(const struct upstream *u)
{
    size_t n = 0;

    (void)u;
    for (unsigned i = 0; i < world->flow_count; i++)
        n += world->flows[i].is_open;
    return n;
}

uint8_t *upstream_reserve(struct upstream *u, size_t max)
{
    (void)u;
    assert_true(max <= sizeof world->plain);
    return world->plain;
}

/* The kernel gets it at once. */
void upstream_commit(struct flow *f, size_t len)
{
    assert_true(f->is_open && len <= sizeof f->data);
    if (world->is_backend_full) {
        world->untaken++;
        return;
    }
    memcpy(f->data, world->plain, len);
    f->len = len;
    f->count++;
}

size_t upstream_flush(struct upstream *u)
{
    size_t untaken = world->untaken;

    (void)u;
    world->untaken = 0;
    return untaken;
}

static inline struct addr world_addr(uint16_t port)
{
    return (struct addr){.ip = {127, 0, 0, 1}, .port = port, .family = AF_INET};
}

/* The settings of the tests: service "a", changed by `overrides`, which NULL ends. */
static inline struct relay_setup world_setup(const char *const overrides[])
{
    struct conf *conf = load_good(MINIMAL, overrides);
    struct relay_setup setup;
    char why[128];

    assert_true(relay_setup_make(&setup, conf, why, sizeof why));
    conf_unref(conf);
    return setup;
}

/* One of `workers` relays that share the caps. */
static inline void world_begin(const char *const overrides[], unsigned workers)
{
    static struct listener listeners[2] = {{0}, {1}};
    static struct listener *list[2] = {&listeners[0], &listeners[1]};
    struct relay_parts parts = {.worker_count = workers, .listeners = list, .listener_count = 2};
    struct relay_setup setup = world_setup(overrides);

    world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->now = 1000000;
    parts.stats = &world->stats;
    log_capture();
    cookie_secrets_init(&world->cookies);
    world->relay = relay_new(&parts, &setup, &world->cookies);
    assert_non_null(world->relay);
    assert_null(setup.conf);
}

static inline uint64_t world_sum(const _Atomic uint64_t *list, size_t n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += list[i];
    return total;
}

/* Ends all; whatever a test has done, the books balance. */
static inline void world_end(void)
{
    const struct stats *s = &world->stats;

    relay_end_all(world->relay, world->now);
    relay_free(world->relay);
    assert_int_equal(upstream_count(NULL), 0);
    assert_int_equal(s->client_records, world_sum(s->from_client, FATE_COUNT));
    assert_int_equal(s->backend_datagrams, world_sum(s->from_backend, BACK_COUNT));
    assert_int_equal(s->handshakes_started, s->handshakes_completed + s->handshakes_failed);
    assert_int_equal(s->handshakes_completed, s->sessions_ended);
    assert_int_equal(s->flows_opened, s->flows_closed);
    assert_int_equal(s->sessions + s->handshakes + s->flows, 0);
    free(world);
    world = NULL;
    log_release();
}

/* One datagram from the client with that port; `listener` 0 or 1. */
static inline void world_from(uint16_t port, unsigned listener, const void *data, size_t len)
{
    struct listener l = {listener};
    struct udp_datagram d = {
        .data = data, .len = len, .peer = world_addr(port), .local = world_addr(5684)};

    d.local.port = (uint16_t)(d.local.port + listener);
    relay_from_client(world->relay, &l, &d, world->now);
}

/* The oldest datagram that left, valid until more do; NULL: none. */
static inline const struct sent *world_take(void)
{
    const struct sent *s = &world->sent[world->sent_first];

    if (world->sent_count == 0)
        return NULL;
    world->sent_first = (world->sent_first + 1) % SENT_MAX;
    world->sent_count--;
    return s;
}

/* All that the client says reaches the relay. */
static inline void world_to_relay(struct dtls_client *c, uint16_t port)
{
    const struct client_datagram *d;

    while ((d = client_take(c)) != NULL)
        world_from(port, 0, d->data, d->len);
}

/* And all that leaves reaches the one client there is. */
static inline void world_to_client(struct dtls_client *c, uint16_t port)
{
    const struct sent *s;

    while ((s = world_take()) != NULL) {
        assert_int_equal(s->peer.port, port);
        client_give(c, s->data, s->len);
    }
}

/* To and fro until all is quiet. */
static inline void world_talk(struct dtls_client *c, uint16_t port)
{
    client_step(c);
    while (c->count > 0 || world->sent_count > 0) {
        world_to_relay(c, port);
        world_to_client(c, port);
    }
}

/* The client says something, which opens its flow or uses it. Returns the flow. */
static inline struct flow *world_say(struct dtls_client *c, uint16_t port, const char *text)
{
    uint64_t before = world->stats.from_client[FATE_FORWARDED];

    assert_true(client_say(c, text, strlen(text)));
    world_to_relay(c, port);
    assert_int_equal(world->stats.from_client[FATE_FORWARDED], before + 1);
    for (unsigned i = world->flow_count; i-- > 0;)
        if (world->flows[i].is_open && world->flows[i].owner->peer.port == port)
            return &world->flows[i];
    fail_msg("no flow of port %u", port);
    return NULL;
}

/* A client with a session and nothing else yet. */
static inline struct dtls_client *world_open(uint16_t port, const struct client_options *options)
{
    static const struct client_options usual = {0};
    struct dtls_client *c = client_new(options != NULL ? options : &usual);

    world_talk(c, port);
    assert_true(c->is_open);
    return c;
}

/* One datagram of the backend. */
static inline bool world_back(const struct flow *f, const void *data, size_t len)
{
    struct udp_datagram d = {.data = data, .len = len};

    assert_true(f->is_open);
    return relay_from_backend(world->relay, f->owner, &d, world->now);
}

/* A client whose cookied hello the relay has taken, and whose answer it has not seen. The two
 * hellos are left in `hello` where that is not NULL. */
static inline struct dtls_client *world_half_open(uint16_t port, struct client_datagram hello[2])
{
    static const struct client_options usual = {0};
    struct dtls_client *c = client_new(&usual);
    uint64_t before = world->stats.from_client[FATE_HELLO_ACCEPTED];

    client_step(c);
    for (int i = 0; i < 2; i++) {
        const struct client_datagram *d = client_take(c);
        assert_non_null(d);
        if (hello != NULL)
            hello[i] = *d;
        world_from(port, 0, d->data, d->len);
        if (i == 0)
            world_to_client(c, port);
    }
    assert_int_equal(world->stats.from_client[FATE_HELLO_ACCEPTED], before + 1);
    return c;
}

static inline void world_forget_sent(void)
{
    world->sent_count = 0;
}

/* A record under the keys of the client at the other end of `f`. */
static inline size_t world_seal(const struct flow *f, uint8_t type, uint64_t seq, const void *plain,
                                size_t len, uint8_t *out)
{
    struct record_crypt *crypt = record_crypt_new();
    const struct suite *suite = f->owner->association.suite;
    struct association a = {0};

    assert_non_null(crypt);
    memcpy(&a, &f->owner->association, association_size(suite));
    a.keys = mirror_keys(&a.keys, suite);
    a.write_seq = seq;
    size_t n = record_seal(crypt, &a, type, plain, len, out);
    record_crypt_free(crypt);
    assert_true(n > 0);
    return n;
}

/* The same, sent. */
static inline void world_forge(const struct flow *f, uint8_t type, uint64_t seq, const void *plain,
                               size_t len)
{
    uint8_t record[17000];
    uint16_t port = f->owner->peer.port;
    size_t n = world_seal(f, type, seq, plain, len, record);

    world_from(port, 0, record, n);
}

#define assert_fate(name, n) assert_int_equal(world->stats.from_client[FATE_##name], (n))
#define assert_back(name, n) assert_int_equal(world->stats.from_backend[BACK_##name], (n))

#endif
