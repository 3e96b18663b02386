/*
 * fuzz_handshake: any records at a live handshake that a fixed hello has begun. The first byte
 * takes the suite, its first bit connection ids; a record's number tells how much time passes
 * before it. A record in epoch 2 is sealed with the client's keys first, so that what judges a
 * Finished is met. Nobody can know it, so no input may complete the handshake.
 */
#include "../unit/mirror.h"
#include "../unit/psk_text.h"

#include "dtls/handshake.h"

#include <stdlib.h>
#include <string.h>

#define MTU 600
#define KEY "00112233445566778899aabbccddeeff"

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first four have keys that the harness can derive: plain PSK, no extended master secret. */
static const uint16_t SUITES[] = {0x00a8, 0x00a9, 0xc0a8, 0xccab, 0xccac, 0x00aa, 0x00ae, 0x008c};
#define SUITE_COUNT (sizeof SUITES / sizeof SUITES[0])
#define PLAIN_COUNT 4

/* With their length: supported groups, X25519 alone, for the suites with ECDHE. */
static const uint8_t EXTENSIONS[] = {0, 8, 0, 10, 0, 4, 0, 2, 0, 0x1d};

/* The same with a connection id and rrc. */
static const uint8_t MORE_EXTENSIONS[] = {0,  20, 0, 10, 0,   4,   0,   2, 0,  0x1d, 0,
                                          54, 0,  4, 3,  'i', 't', 's', 0, 61, 0,    0};

static const uint8_t HELLO_RANDOM[WIRE_RANDOM] = "a client's random, and no other";

struct world {
    struct handshake *h;
    union association_room client; /* seals as the client does; no suite: it cannot */
    uint64_t now;
};

/* Made once. */
static struct handshake_params params;

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static void prepare(void)
{
    const struct tlsctx_params tls = {
        .ciphers = "PSK:kECDHEPSK:kDHEPSK:!ARIA", .old_devices = true, .cid = true};
    char why[128];

    params = (struct handshake_params){
        .tls = tlsctx_new(&tls, why, sizeof why),
        .keys = keys_of("someone:" KEY "\n"),
        .crypt = record_crypt_new(),
        .kdf = keys_kdf_new(),
        .mtu = MTU,
        .retransmit_first = 300,
        .retransmit_cap = 1000,
        .retransmit_total = 5000,
        .timeout = 10000,
        .own_cid = "ourid678",
    };
    require(params.tls != NULL && params.crypt != NULL && params.kdf != NULL);
}

/* A ClientHello with any cookie: whoever begins a handshake has checked it. */
static size_t write_hello(uint16_t suite, uint8_t *out, size_t size)
{
    uint8_t body[128];
    struct writer b = writer_of(body, sizeof body), w = writer_of(out, size);

    write_u16(&b, WIRE_DTLS12);
    write_bytes(&b, HELLO_RANDOM, sizeof HELLO_RANDOM);
    write_u8(&b, 0); /* session id */
    write_u8(&b, 1);
    write_u8(&b, 'c'); /* cookie */
    write_u16(&b, 2);
    write_u16(&b, suite);
    write_u16(&b, 0x0100); /* null compression */
    if (params.offers_cid)
        write_bytes(&b, MORE_EXTENSIONS, sizeof MORE_EXTENSIONS);
    else
        write_bytes(&b, EXTENSIONS, sizeof EXTENSIONS);
    size_t len = sizeof body - b.left;

    uint8_t record[WIRE_RECORD_HEADER], message[WIRE_MESSAGE_HEADER];
    wire_put_record_header(record, WIRE_HANDSHAKE, WIRE_DTLS12, 1, sizeof message + len);
    wire_put_message_header(message, WIRE_CLIENT_HELLO, 1, (uint32_t)len);
    write_bytes(&w, record, sizeof record);
    write_bytes(&w, message, sizeof message);
    write_bytes(&w, body, len);
    require(!b.bad && !w.bad);
    return size - w.left;
}

/* The keys that follow from the ServerHello in this datagram. */
static void learn_keys(struct world *w, const uint8_t *datagram, size_t len)
{
    struct reader r = reader_of(datagram, len);
    struct wire_server_hello hello;
    uint8_t key[16], master[KEYS_MASTER];
    struct record_keys keys;
    struct wire_record rec;
    struct wire_message m;

    require(wire_next_record(&r, &rec));
    r = reader_of(rec.body, rec.len);
    if (!wire_next_message(&r, &m) || !wire_parse_server_hello(m.body, m.fragment_length, &hello))
        return;
    const struct keys_randoms randoms = {HELLO_RANDOM, hello.random};
    w->client.association.suite = suite_find(hello.suite);
    require(hex_decode(key, sizeof key, KEY, strlen(KEY)) == sizeof key);
    const struct keys_secrets secrets = {.psk = key, .psk_len = sizeof key};
    require(
        keys_master(params.kdf, w->client.association.suite, &secrets, &randoms, NULL, master) &&
        keys_expand(params.kdf, w->client.association.suite, master, &randoms, &keys));
    w->client.association.keys = mirror_keys(&keys, w->client.association.suite);
    require(hello.has_cid == params.offers_cid && hello.has_rrc == params.offers_cid);
    struct association_cid cid = {.peer_len = WIRE_OWN_CID};
    memcpy(cid.peer, params.own_cid, WIRE_OWN_CID);
    if (params.offers_cid)
        association_set_cid(&w->client.association, &cid);
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
        while (wire_next_record_to(&r, 3, &rec))
            require(rec.epoch == 0 || handshake_state(w->h) != HANDSHAKE_PENDING);
        require(!r.bad && r.left == 0);
    }
}

static enum fate give(struct world *w, const struct wire_record *rec)
{
    uint8_t sealed[1024 + RECORD_OVERHEAD_MAX];
    struct wire_record own;

    bool has_no_form = rec->type == WIRE_CID && !w->client.association.has_cid;

    if (rec->epoch != 2 || rec->len > 1024 || w->client.association.suite == NULL || has_no_form)
        return handshake_feed(w->h, rec, w->now);
    w->client.association.write_seq = rec->seq;
    size_t n =
        record_seal(params.crypt, &w->client.association, rec->type, rec->body, rec->len, sealed);
    struct reader r = reader_of(sealed, n);
    require(wire_next_record(&r, &own));
    return handshake_feed(w->h, &own, w->now);
}

static void check_timer(struct world *w)
{
    if (handshake_state(w->h) != HANDSHAKE_PENDING || w->now < handshake_next_timer(w->h))
        return;
    handshake_on_timer(w->h, w->now);
    require(handshake_state(w->h) != HANDSHAKE_PENDING || handshake_next_timer(w->h) > w->now);
}

static void check_step(struct world *w, const struct wire_record *rec)
{
    char text[4 * PSK_IDENTITY_MAX + 1];
    size_t len;

    w->now += rec->seq & 0x1ff;
    check_timer(w);
    require(give(w, rec) < FATE_COUNT);
    require(handshake_state(w->h) != HANDSHAKE_DONE);
    const uint8_t *identity = handshake_identity(w->h, &len);
    require((identity == NULL) == (len == 0) && len <= PSK_IDENTITY_MAX);
    bytes_escape(text, sizeof text, identity, len); /* reads it all, for the sanitizer */
    require((handshake_state(w->h) == HANDSHAKE_PENDING) == (handshake_why(w->h)[0] == '\0'));
    drain(w, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t hello[256];
    struct wire_record rec;
    struct world w = {.now = 1000};

    if (size == 0)
        return 0;
    if (params.tls == NULL)
        prepare();
    size_t suite = (data[0] & 0x7f) % SUITE_COUNT;
    params.offers_cid = (data[0] & 0x80) != 0;
    struct reader r = reader_of(hello, write_hello(SUITES[suite], hello, sizeof hello));
    require(wire_next_record(&r, &rec));
    w.h = handshake_new(&params, &rec, w.now);
    require(w.h != NULL && handshake_state(w.h) == HANDSHAKE_PENDING);
    drain(&w, suite < PLAIN_COUNT);
    require((w.client.association.suite != NULL) == (suite < PLAIN_COUNT));
    r = reader_of(data + 1, size - 1);
    while (wire_next_record(&r, &rec))
        check_step(&w, &rec);
    handshake_free(w.h);
    return 0;
}
