/*
 * fuzz_ticket: hellos with tickets, and records at a handshake that one has begun. The first byte
 * says what the rest is: 0: the ticket; 1: more extensions beside a good ticket; else records, as
 * in fuzz_handshake: one in epoch 2 is sealed with the client's keys first. Nobody can make such a
 * Finished, so no input may complete the handshake.
 */
#include "../unit/mirror.h"
#include "../unit/psk_text.h"

#include "dtls/handshake.h"

#include <stdlib.h>
#include <string.h>

#define MTU 600
#define SUITE 0xccac
#define NAME "someone"

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t HELLO_RANDOM[WIRE_RANDOM] = "a client's random, and no other";
static const uint8_t MASTER[KEYS_MASTER] = "a master secret that both ends have kept";

enum mode { TICKET, EXTENSIONS, RECORDS };

struct world {
    struct handshake *h;
    struct association client; /* seals as the client does */
    uint64_t now;
};

/* Made once. */
static struct handshake_params params;
static struct ticket_keys ticket_keys;

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool may(const void *arg, const struct psk *psk, const struct suite *suite, uint64_t wall)
{
    (void)arg;
    (void)wall;
    return psk != NULL && suite != NULL;
}

static void prepare(void)
{
    const struct tlsctx_params tls = {.ciphers = "ECDHE-PSK-CHACHA20-POLY1305"};
    char why[128];

    ticket_keys_init(&ticket_keys);
    params = (struct handshake_params){
        .tls = tlsctx_new(&tls, why, sizeof why),
        .keys = keys_of(NAME ":00112233445566778899aabbccddeeff\n"),
        .crypt = record_crypt_new(),
        .kdf = keys_kdf_new(),
        .mtu = MTU,
        .retransmit_first = 300,
        .retransmit_cap = 1000,
        .retransmit_total = 5000,
        .timeout = 10000,
        .resumption = {&ticket_keys, "service", 100000, may, NULL},
    };
    require(params.tls != NULL && params.crypt != NULL && params.kdf != NULL);
}

static size_t good_ticket(uint8_t out[TICKET_MAX])
{
    struct ticket t = {.suite = suite_find(SUITE),
                       .born = 500,
                       .identity = NAME,
                       .identity_len = strlen(NAME),
                       .max_fragment = WIRE_PLAINTEXT_MAX};

    memcpy(t.master, MASTER, sizeof MASTER);
    require(ticket_prove(psk_at(params.keys, 0), t.master, t.proof));
    size_t len = ticket_seal(&ticket_keys, "service", &t, out);
    require(len > 0);
    return len;
}

static void put_extension(struct writer *w, uint16_t type, const void *body, size_t len)
{
    write_u16(w, type);
    write_u16(w, (uint16_t)len);
    if (len > 0)
        write_bytes(w, body, len);
}

static void put_extensions(struct writer *w, enum mode mode, const uint8_t *data, size_t size)
{
    uint8_t ticket[TICKET_MAX];
    struct writer length = *w;

    write_u16(w, 0);
    put_extension(w, 10, "\0\2\0\x1d", 4); /* X25519 alone */
    put_extension(w, 23, NULL, 0);         /* extended master secret */
    if (mode == TICKET)
        put_extension(w, 35, data, size);
    else
        put_extension(w, 35, ticket, good_ticket(ticket));
    if (mode == EXTENSIONS && size > 0)
        write_bytes(w, data, size);
    write_u16(&length, (uint16_t)(w->at - length.at - 2));
}

/* A ClientHello with any cookie: whoever begins a handshake has checked it. */
static size_t write_hello(enum mode mode, const uint8_t *data, size_t size, uint8_t out[4096])
{
    uint8_t *message = out + WIRE_RECORD_HEADER, *body = message + WIRE_MESSAGE_HEADER;
    struct writer w = writer_of(body, 4096 - WIRE_RECORD_HEADER - WIRE_MESSAGE_HEADER);

    write_u16(&w, WIRE_DTLS12);
    write_bytes(&w, HELLO_RANDOM, sizeof HELLO_RANDOM);
    write_u8(&w, 4);
    write_bytes(&w, "mine", 4); /* session id */
    write_u8(&w, 1);
    write_u8(&w, 'c'); /* cookie */
    write_u16(&w, 2);
    write_u16(&w, SUITE);
    write_u16(&w, 0x0100); /* null compression */
    put_extensions(&w, mode, data, size);
    require(!w.bad);
    size_t len = (size_t)(w.at - body);
    wire_put_message_header(message, WIRE_CLIENT_HELLO, 1, (uint32_t)len);
    wire_put_record_header(out, WIRE_HANDSHAKE, WIRE_DTLS12, 1, WIRE_MESSAGE_HEADER + len);
    return WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + len;
}

/* The keys that follow from the ServerHello in this datagram. */
static void learn_keys(struct world *w, const uint8_t *datagram, size_t len)
{
    struct reader r = reader_of(datagram, len);
    struct wire_server_hello hello;
    struct record_keys keys;
    struct wire_record rec;
    struct wire_message m;

    require(wire_next_record(&r, &rec));
    r = reader_of(rec.body, rec.len);
    require(wire_next_message(&r, &m) &&
            wire_parse_server_hello(m.body, m.fragment_length, &hello));
    const struct keys_randoms randoms = {HELLO_RANDOM, hello.random};
    w->client.suite = suite_find(hello.suite);
    require(keys_expand(params.kdf, w->client.suite, MASTER, &randoms, &keys));
    w->client.keys = mirror_keys(&keys, w->client.suite);
}

/* Takes all there is to send: whole records, none of them over the mtu. */
static void drain(struct world *w, bool learns)
{
    uint8_t out[MTU];
    struct wire_record rec;
    size_t n;

    while ((n = handshake_take(w->h, out)) > 0) {
        struct reader r = reader_of(out, n);
        require(n <= MTU);
        if (learns)
            learn_keys(w, out, n);
        learns = false;
        while (wire_next_record(&r, &rec))
            continue;
        require(!r.bad && r.left == 0);
    }
}

static enum fate give(struct world *w, const struct wire_record *rec)
{
    uint8_t sealed[1024 + RECORD_OVERHEAD_MAX];
    struct wire_record own;

    if (rec->epoch != 2 || rec->len > 1024 || rec->type == WIRE_CID) /* it has no id to seal with */
        return handshake_feed(w->h, rec, w->now);
    w->client.write_seq = rec->seq;
    size_t n = record_seal(params.crypt, &w->client, rec->type, rec->body, rec->len, sealed);
    struct reader r = reader_of(sealed, n);
    require(wire_next_record(&r, &own));
    return handshake_feed(w->h, &own, w->now);
}

static void run_records(struct world *w, const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    struct wire_record rec;

    while (wire_next_record(&r, &rec)) {
        w->now += rec.seq & 0x1ff;
        if (w->now >= handshake_next_timer(w->h))
            handshake_on_timer(w->h, w->now);
        require(give(w, &rec) < FATE_COUNT);
        require(handshake_state(w->h) != HANDSHAKE_DONE);
        drain(w, false);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t hello[4096];
    struct wire_hello parsed;
    struct wire_record rec;
    struct world w = {.now = 1000};

    if (size == 0 || size > 3000)
        return 0;
    if (params.tls == NULL)
        prepare();
    enum mode mode = data[0] < RECORDS ? data[0] : RECORDS;
    struct reader r = reader_of(hello, write_hello(mode, data + 1, size - 1, hello));
    require(wire_next_record(&r, &rec));
    w.h = handshake_new(&params, &rec, w.now);
    require((w.h != NULL) == (wire_parse_hello(&rec, &parsed) == WIRE_HELLO_OK));
    if (w.h == NULL)
        return 0;
    const struct handshake_tickets *t = handshake_tickets(w.h);
    require(!(t->is_resumed && t->is_refused) && !t->is_issued);
    require(mode != TICKET || (!t->is_resumed && t->is_refused == (size > 1)));
    require(mode != RECORDS || t->is_resumed);
    drain(&w, t->is_resumed);
    if (mode == RECORDS)
        run_records(&w, data + 1, size - 1);
    handshake_free(w.h);
    return 0;
}
