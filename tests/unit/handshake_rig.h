/*
 * handshake_rig: a libssl client in memory and the server's end of its handshake, past the cookie.
 * A test carries each record from one to the other by hand, or leaves that to rig_finish().
 */
#ifndef DTLSGATE_TESTS_HANDSHAKE_RIG_H
#define DTLSGATE_TESTS_HANDSHAKE_RIG_H

#include "mirror.h"
#include "psk_text.h"

#include "base/addr.h"
#include "base/errors.h"
#include "dtls/cookie.h"
#include "dtls/handshake.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RIG_RECORDS 32
#define RIG_KEY "000102030405060708090a0b0c0d0e0f"
#define RIG_NOW 5000       /* when the handshake begins */
#define RIG_CID "\1its id" /* the server's, with the NUL */

struct rig_options {
    const char *suites;        /* NULL: the default ones */
    const char *client_suites; /* NULL: as the server's */
    const char *identity;      /* NULL: "known" */
    const char *key;           /* the client's, in hex; NULL: the right one */
    const char *hint;
    bool old_devices, dtls10, no_extended_master, alert_unknown, may_ask;
    uint8_t fragment_code; /* TLSEXT_max_fragment_length_... */
    size_t mtu;            /* of the server; 0: 1400 */
    uint64_t hello_seq;    /* record number of the hello; 0: the client's, which is 1 */
    const uint8_t *cid;    /* extension 54, as on the wire, its length first; NULL: none */
    size_t cid_len;
    bool has_no_cid;                     /* the server */
    const struct resumption *resumption; /* NULL: none */
    SSL_SESSION *session;                /* of the client, to be resumed; NULL: none */
    bool no_ticket;                      /* the client knows nothing of them */
    uint64_t wall0;
};

struct rig_record {
    uint8_t data[2048];
    size_t len;
};

/* Records one way, oldest first. */
struct rig_records {
    struct rig_record one[RIG_RECORDS];
    size_t count, taken;
};

struct rig {
    struct rig_options options;
    struct tlsctx *tls;
    struct psk_set *keys;
    struct handshake_params params;
    struct handshake *h;
    struct rig_record hello; /* the one with the cookie */
    SSL_CTX *ctx;
    SSL *client;
    BIO_METHOD *method;
    struct rig_records to_client, to_server;
};

static inline void rig_require(bool holds)
{
    if (!holds)
        abort();
}

/* Adds each record of a datagram. */
static inline void rig_put(struct rig_records *to, const void *data, size_t len)
{
    struct reader r = reader_of(data, len);
    struct wire_record rec;

    while (wire_next_record(&r, &rec)) {
        struct rig_record *slot = &to->one[to->count++];
        rig_require(to->count <= RIG_RECORDS);
        slot->len = wire_record_size(&rec);
        rig_require(slot->len <= sizeof slot->data);
        memcpy(slot->data, rec.whole, slot->len);
    }
    rig_require(!r.bad);
}

static inline void rig_clear(struct rig_records *records)
{
    records->count = records->taken = 0;
}

static inline struct wire_record rig_view(const struct rig_record *record)
{
    struct reader r = reader_of(record->data, record->len);
    struct wire_record rec;

    rig_require(wire_next_record(&r, &rec) && r.left == 0);
    return rec;
}

/* ---- the client ---- */

static inline int rig_bio_write(BIO *bio, const char *data, int len)
{
    struct rig *rig = BIO_get_data(bio);

    rig_put(&rig->to_server, data, (size_t)len);
    return len;
}

static inline int rig_bio_read(BIO *bio, char *data, int size)
{
    struct rig *rig = BIO_get_data(bio);
    struct rig_records *in = &rig->to_client;

    BIO_clear_retry_flags(bio);
    if (in->taken == in->count) {
        BIO_set_retry_read(bio);
        return -1;
    }
    const struct rig_record *record = &in->one[in->taken++];
    rig_require(record->len <= (size_t)size);
    memcpy(data, record->data, record->len);
    return (int)record->len;
}

static inline long rig_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static inline unsigned rig_on_psk(SSL *ssl, const char *hint, char *identity, unsigned size,
                                  unsigned char *key, unsigned key_size)
{
    const struct rig_options *o = &((struct rig *)SSL_get_app_data(ssl))->options;
    const char *name = o->identity ? o->identity : "known";
    const char *hex = o->key ? o->key : RIG_KEY;

    (void)hint;
    rig_require(strlen(name) < size);
    strcpy(identity, name);
    int len = hex_decode(key, key_size, hex, strlen(hex));
    rig_require(len > 0);
    return (unsigned)len;
}

static inline int rig_give_cid(SSL *ssl, unsigned type, unsigned context, const unsigned char **out,
                               size_t *len, X509 *x, size_t chain, int *alert, void *arg)
{
    const struct rig_options *o = arg;

    (void)ssl, (void)type, (void)context, (void)x, (void)chain, (void)alert;
    *out = o->cid;
    *len = o->cid_len;
    return 1;
}

static inline int rig_take_cid(SSL *ssl, unsigned type, unsigned context, const unsigned char *in,
                               size_t len, X509 *x, size_t chain, int *alert, void *arg)
{
    (void)ssl, (void)type, (void)context, (void)x, (void)chain, (void)alert, (void)arg;
    return len == 1 + WIRE_OWN_CID && in[0] == WIRE_OWN_CID &&
           memcmp(in + 1, RIG_CID, WIRE_OWN_CID) == 0;
}

static inline void rig_client_new(struct rig *rig)
{
    const struct rig_options *o = &rig->options;
    const char *suites = o->client_suites ? o->client_suites : o->suites;

    rig->ctx = SSL_CTX_new(DTLS_client_method());
    SSL_CTX_set_max_proto_version(rig->ctx, o->dtls10 ? DTLS1_VERSION : DTLS1_2_VERSION);
    rig_require(SSL_CTX_set_cipher_list(rig->ctx, suites ? suites : TLSCTX_DEFAULT_CIPHERS) == 1);
    SSL_CTX_set_psk_client_callback(rig->ctx, rig_on_psk);
    SSL_CTX_set_options(rig->ctx, SSL_OP_NO_QUERY_MTU);
    if (o->no_extended_master)
        SSL_CTX_set_options(rig->ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (o->no_ticket)
        SSL_CTX_set_options(rig->ctx, SSL_OP_NO_TICKET);
    if (o->fragment_code > 0)
        SSL_CTX_set_tlsext_max_fragment_length(rig->ctx, o->fragment_code);
    if (o->cid)
        rig_require(
            SSL_CTX_add_custom_ext(rig->ctx, 54, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO,
                                   rig_give_cid, NULL, &rig->options, rig_take_cid, NULL) == 1);
    rig->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rig");
    BIO_meth_set_write(rig->method, rig_bio_write);
    BIO_meth_set_read(rig->method, rig_bio_read);
    BIO_meth_set_ctrl(rig->method, rig_bio_ctrl);
    rig->client = SSL_new(rig->ctx);
    BIO *bio = BIO_new(rig->method);
    BIO_set_data(bio, rig);
    BIO_set_init(bio, 1);
    SSL_set_bio(rig->client, bio, bio);
    SSL_set_app_data(rig->client, rig);
    DTLS_set_link_mtu(rig->client, 1400);
    SSL_set_connect_state(rig->client);
    if (o->session)
        rig_require(SSL_set_session(rig->client, o->session) == 1);
}

/* Lets the client read what waits for it. Returns libssl's word. */
static inline int rig_client_step(struct rig *rig)
{
    return SSL_do_handshake(rig->client);
}

/* ---- the server ---- */

/* What the handshake has to send goes to the client. Returns the number of datagrams. */
static inline unsigned rig_take(struct rig *rig)
{
    uint8_t datagram[2048];
    unsigned count = 0;
    size_t n;

    while ((n = handshake_take(rig->h, datagram)) > 0) {
        rig_require(n <= rig->params.mtu);
        rig_put(&rig->to_client, datagram, n);
        count++;
    }
    return count;
}

static inline enum fate rig_feed(struct rig *rig, const struct rig_record *record, uint64_t now)
{
    struct wire_record rec = rig_view(record);

    ERR_clear_error(); /* the client has filled it */
    enum fate fate = handshake_feed(rig->h, &rec, now);
    rig_require(ERR_peek_error() == 0);
    return fate;
}

/* The way of the two hellos; leaves the one with the cookie in rig->hello. */
static inline void rig_hello(struct rig *rig)
{
    static const struct cookie_secrets secrets = {.key = {{{1}}, {{2}}}, .generation = 1};
    static const struct addr peer = {.ip = {127, 0, 0, 1}, .port = 4000, .family = 2};
    uint8_t answer[COOKIE_ANSWER_SIZE];
    struct wire_hello hello;

    rig_client_step(rig);
    struct wire_record rec = rig_view(&rig->to_server.one[0]);
    rig_require(wire_parse_hello(&rec, &hello) == WIRE_HELLO_OK);
    rig_put(&rig->to_client, answer, cookie_answer(&secrets, &hello, &peer, &peer, answer));
    rig_clear(&rig->to_server);
    rig_client_step(rig);
    rig_require(rig->to_server.count == 1);
    rig->hello = rig->to_server.one[0];
    if (rig->options.hello_seq > 0)
        put_u48(rig->hello.data + 5, rig->options.hello_seq);
    rig_clear(&rig->to_server);
    rig_clear(&rig->to_client);
}

static inline void rig_begin(struct rig *rig)
{
    struct wire_record rec = rig_view(&rig->hello);

    rig->h = handshake_new(&rig->params, &rec, RIG_NOW);
    rig_require(rig->h != NULL);
}

static inline struct psk_set *rig_keys(void)
{
    return keys_of("known:" RIG_KEY "\nother:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
}

/* A handshake that has got its hello, and a client that waits for the answer. */
static inline struct rig *rig_new(const struct rig_options *options)
{
    struct rig *rig = calloc(1, sizeof *rig);
    char why[128];

    rig_require(rig != NULL);
    rig->options = *options;
    const struct tlsctx_params params = {
        .ciphers = options->suites ? options->suites : TLSCTX_DEFAULT_CIPHERS,
        .old_devices = options->old_devices,
        .hint = options->hint,
        .cid = !options->has_no_cid,
    };
    rig->tls = tlsctx_new(&params, why, sizeof why);
    rig->keys = rig_keys();
    rig_require(rig->tls != NULL);
    rig->params = (struct handshake_params){
        .tls = rig->tls,
        .keys = rig->keys,
        .crypt = record_crypt_new(),
        .kdf = keys_kdf_new(),
        .mtu = options->mtu > 0 ? options->mtu : 1400,
        .may_ask = options->may_ask,
        .alert_unknown = options->alert_unknown,
        .retransmit_first = 1000,
        .retransmit_cap = 4000,
        .retransmit_total = 20000,
        .timeout = 30000,
        .offers_cid = true,
        .own_cid = RIG_CID,
        .wall0 = options->wall0,
    };
    if (options->resumption)
        rig->params.resumption = *options->resumption;
    rig_client_new(rig);
    rig_hello(rig);
    rig_begin(rig);
    return rig;
}

static inline void rig_free(struct rig *rig)
{
    handshake_free(rig->h);
    /* else it spoils the session that it may share */
    SSL_set_shutdown(rig->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(rig->client);
    SSL_CTX_free(rig->ctx);
    BIO_meth_free(rig->method);
    tlsctx_free(rig->tls);
    psk_free(rig->keys);
    record_crypt_free(rig->params.crypt);
    keys_kdf_free(rig->params.kdf);
    free(rig);
}

/* The client has answered: its second flight waits in to_server. */
static inline struct rig *rig_answered(const struct rig_options *options)
{
    struct rig *rig = rig_new(options);

    rig_take(rig);
    rig_client_step(rig);
    return rig;
}

/* Feeds what the client has sent, and gives it the answer. */
static inline void rig_exchange(struct rig *rig, uint64_t now)
{
    for (size_t i = 0; i < rig->to_server.count; i++)
        rig_feed(rig, &rig->to_server.one[i], now);
    rig_clear(&rig->to_server);
    rig_take(rig);
}

/* Carries records until both ends are done. False: they are not, or do not agree. */
static inline bool rig_finish(struct rig *rig, uint64_t now)
{
    rig_exchange(rig, now);
    for (int turn = 0; turn < 4 && rig_client_step(rig) != 1; turn++)
        rig_exchange(rig, now);
    return SSL_is_init_finished(rig->client) && handshake_state(rig->h) == HANDSHAKE_DONE;
}

/* ---- records made by hand ---- */

/* One of type 25 has a connection id of zeros. */
static inline struct rig_record rig_plain(uint8_t type, uint64_t seq, const void *body, size_t len)
{
    size_t cid_len = type == WIRE_CID ? WIRE_OWN_CID : 0;
    struct rig_record record = {.len = WIRE_RECORD_HEADER + cid_len + len};

    rig_require(record.len <= sizeof record.data);
    wire_put_record_header(record.data, type, WIRE_DTLS12, seq, len);
    if (cid_len > 0) {
        memset(record.data + WIRE_RECORD_HEADER - 2, 0, cid_len);
        put_u16(record.data + WIRE_RECORD_HEADER - 2 + cid_len, (uint16_t)len);
    }
    memcpy(record.data + WIRE_RECORD_HEADER + cid_len, body, len);
    return record;
}

/* One fragment of a message of `length` bytes. */
static inline struct rig_record rig_fragment(const struct wire_message *m)
{
    uint8_t body[1500];
    struct writer w = writer_of(body, sizeof body);

    write_u8(&w, m->type);
    write_u24(&w, m->length);
    write_u16(&w, m->seq);
    write_u24(&w, m->offset);
    write_u24(&w, m->fragment_length);
    if (m->fragment_length > 0)
        write_bytes(&w, m->body, m->fragment_length);
    rig_require(!w.bad);
    return rig_plain(WIRE_HANDSHAKE, 77, body, sizeof body - w.left);
}

static inline struct rig_record rig_message(uint8_t type, uint16_t seq, const void *body,
                                            size_t len)
{
    const struct wire_message m = {.type = type,
                                   .length = (uint32_t)len,
                                   .seq = seq,
                                   .body = body,
                                   .fragment_length = (uint32_t)len};

    return rig_fragment(&m);
}

static inline struct wire_message rig_message_of(const struct rig_record *record)
{
    struct wire_record rec = rig_view(record);
    struct reader r = reader_of(rec.body, rec.len);
    struct wire_message m;

    rig_require(wire_next_message(&r, &m) && r.left == 0);
    return m;
}

/* The association as the client sees it: record_seal() then writes the client's records. */
static inline struct association rig_client_association(const struct rig *rig)
{
    uint8_t client[WIRE_RANDOM], server[WIRE_RANDOM], master[KEYS_MASTER];
    const struct keys_randoms randoms = {client, server};
    struct association a = {0};
    struct record_keys keys;

    const SSL_CIPHER *cipher = SSL_get_current_cipher(rig->client);
    a.suite = suite_find(
        SSL_CIPHER_get_protocol_id(cipher ? cipher : SSL_get_pending_cipher(rig->client)));
    rig_require(a.suite != NULL);
    SSL_get_client_random(rig->client, client, sizeof client);
    SSL_get_server_random(rig->client, server, sizeof server);
    SSL_SESSION_get_master_key(SSL_get_session(rig->client), master, sizeof master);
    rig_require(keys_expand(rig->params.kdf, a.suite, master, &randoms, &keys));
    a.keys = mirror_keys(&keys, a.suite);
    return a;
}

#endif
