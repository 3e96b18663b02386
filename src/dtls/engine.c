/*
 * engine: libssl for one peer, record by record, through a BIO of our own. See the header.
 * The BIO keeps the borders of datagrams, which memory BIOs of OpenSSL 3.0 do not.
 */
#include "dtls/engine.h"

#include "base/bytes.h"
#include "dtls/cid.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define WHY_MAX 96

struct engine {
    SSL *ssl;
    size_t mtu;
    const uint8_t *in; /* the record that libssl may read next; borrowed for one call */
    size_t in_len;
    engine_fn on_record;
    void *arg;
    uint8_t key[ENGINE_KEY_MAX];
    size_t key_len;
    struct cid_offer cid;
    char why[WHY_MAX];
};

static int bio_write(BIO *bio, const char *data, int len)
{
    struct engine *e = BIO_get_data(bio);
    struct reader r = reader_of(data, (size_t)len);
    struct wire_record rec;

    BIO_clear_retry_flags(bio);
    while (wire_next_record(&r, &rec))
        e->on_record(e->arg, rec.whole, wire_record_size(&rec));
    return len;
}

static int bio_read(BIO *bio, char *out, int size)
{
    struct engine *e = BIO_get_data(bio);
    size_t n = e->in_len;

    BIO_clear_retry_flags(bio);
    if (e->in == NULL) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > (size_t)size)
        n = (size_t)size;
    memcpy(out, e->in, n);
    e->in = NULL;
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "record");
    if (method == NULL)
        return;
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO_meth_set_create(method, bio_create);
}

/* The identity as libssl tells it is cut at a NUL; whoever feeds the engine has read the real one.
 */
static unsigned int give_key(SSL *ssl, const char *identity, unsigned char *out, unsigned int size)
{
    const struct engine *e = SSL_get_app_data(ssl);
    (void)identity;
    if (e->key_len > size)
        return 0;
    memcpy(out, e->key, e->key_len);
    return (unsigned int)e->key_len;
}

/* Flights are repeated by the handshake's own timer, which is told the time; libssl's, which reads
 * the wall clock, is put off past every deadline. */
static unsigned int never(SSL *ssl, unsigned int us)
{
    (void)ssl;
    (void)us;
    return UINT_MAX;
}

static bool attach(struct engine *e)
{
    BIO *bio = NULL;

    pthread_once(&method_once, make_method);
    if (method != NULL)
        bio = BIO_new(method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, e);
    SSL_set_bio(e->ssl, bio, bio);
    SSL_set_app_data(e->ssl, e);
    SSL_set_accept_state(e->ssl);
    SSL_set_psk_server_callback(e->ssl, give_key);
    DTLS_set_link_mtu(e->ssl, (long)e->mtu);
    return true;
}

struct engine *engine_new(struct tlsctx *ctx, size_t mtu, engine_fn on_record, void *arg)
{
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->on_record = on_record;
    e->arg = arg;
    e->mtu = mtu;
    e->ssl = tlsctx_new_ssl(ctx);
    if (e->ssl == NULL || !attach(e)) {
        engine_free(e);
        return NULL;
    }
    return e;
}

void engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    SSL_free(e->ssl);
    bytes_wipe(e, sizeof *e);
    free(e);
}

void engine_offer_cid(struct engine *e, const uint8_t own[WIRE_OWN_CID])
{
    cid_offer(e->ssl, &e->cid, own);
}

void engine_set_sink(struct engine *e, engine_fn on_record, void *arg)
{
    e->on_record = on_record;
    e->arg = arg;
}

void engine_set_key(struct engine *e, const uint8_t *key, size_t len)
{
    e->key_len = len <= sizeof e->key ? len : sizeof e->key;
    memcpy(e->key, key, e->key_len);
}

/* True when `result` only means that libssl waits for more. */
static bool is_waiting(struct engine *e, int result)
{
    int error = SSL_get_error(e->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return true;
    tlsctx_error(e->why, sizeof e->why);
    return false;
}

/* With an empty error queue: SSL_get_error() looks at it. */
static enum engine_status go_on(struct engine *e)
{
    int result = SSL_accept(e->ssl);
    e->in = NULL;
    if (result == 1) {
        bytes_wipe(e->key, sizeof e->key);
        return ENGINE_DONE;
    }
    return is_waiting(e, result) ? ENGINE_WAIT : ENGINE_DEAD;
}

enum engine_status engine_hello(struct engine *e, const uint8_t *record, size_t len)
{
    BIO_ADDR *ignored = BIO_ADDR_new();
    if (ignored == NULL)
        return ENGINE_DEAD;
    e->in = record;
    e->in_len = len;
    /* It begins with an empty error queue, and leaves it so when it is content. */
    int result = DTLSv1_listen(e->ssl, ignored);
    e->in = NULL;
    BIO_ADDR_free(ignored);
    if (result != 1) {
        tlsctx_error(e->why, sizeof e->why);
        return ENGINE_DEAD;
    }
    /* SSL_clear() in there may reset what the connection was given. */
    DTLS_set_timer_cb(e->ssl, never);
    DTLS_set_link_mtu(e->ssl, (long)e->mtu);
    return go_on(e);
}

enum engine_status engine_feed(struct engine *e, const uint8_t *record, size_t len)
{
    ERR_clear_error();
    e->in = record;
    e->in_len = len;
    return go_on(e);
}

const char *engine_why(const struct engine *e)
{
    return e->why;
}

size_t engine_shared_secret(const struct engine *e, const uint8_t *public_value, size_t len,
                            uint8_t out[KEYS_SHARED_MAX])
{
    EVP_PKEY *own = NULL;
    EVP_PKEY *peer = EVP_PKEY_new();
    EVP_PKEY_CTX *ctx = NULL;
    size_t out_len = KEYS_SHARED_MAX;

    bool fine = SSL_get_tmp_key(e->ssl, &own) == 1 && peer != NULL &&
                EVP_PKEY_copy_parameters(peer, own) == 1 &&
                EVP_PKEY_set1_encoded_public_key(peer, public_value, len) == 1;
    ctx = fine ? EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL) : NULL;
    fine = ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
           EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, out, &out_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    ERR_clear_error(); /* a forged public value must not leave its error to others */
    return fine ? out_len : 0;
}

enum engine_read_status engine_read(struct engine *e, const uint8_t *record, size_t len,
                                    uint8_t plain[WIRE_PLAINTEXT_MAX], size_t *plain_len)
{
    ERR_clear_error();
    e->in = record;
    e->in_len = len;
    int result = SSL_read(e->ssl, plain, WIRE_PLAINTEXT_MAX);
    e->in = NULL;
    if (result > 0) {
        *plain_len = (size_t)result;
        return ENGINE_READ_DATA;
    }
    int error = SSL_get_error(e->ssl, result);
    if (error == SSL_ERROR_ZERO_RETURN)
        return ENGINE_READ_CLOSED;
    /* An authentic empty record reads as 0 with SSL_ERROR_SYSCALL and an empty error queue. */
    if (error == SSL_ERROR_WANT_READ || (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0))
        return ENGINE_READ_NOTHING;
    tlsctx_error(e->why, sizeof e->why);
    return ENGINE_READ_DEAD;
}

bool engine_write(struct engine *e, const uint8_t *plain, size_t len)
{
    ERR_clear_error();
    int result = SSL_write(e->ssl, plain, (int)len);
    if (result > 0)
        return true;
    tlsctx_error(e->why, sizeof e->why);
    return false;
}

void engine_close(struct engine *e)
{
    ERR_clear_error();
    SSL_shutdown(e->ssl);
    ERR_clear_error();
}

enum suite_exchange engine_exchange(const struct engine *e)
{
    switch (SSL_CIPHER_get_kx_nid(SSL_get_pending_cipher(e->ssl))) {
    case NID_kx_ecdhe_psk:
        return EXCHANGE_ECDHE_PSK;
    case NID_kx_dhe_psk:
        return EXCHANGE_DHE_PSK;
    default:
        return EXCHANGE_PSK;
    }
}

const char *engine_suite_name(const struct engine *e)
{
    return SSL_CIPHER_get_name(SSL_get_current_cipher(e->ssl));
}

void engine_master(const struct engine *e, uint8_t master[KEYS_MASTER])
{
    memset(master, 0, KEYS_MASTER);
    (void)SSL_SESSION_get_master_key(SSL_get_session(e->ssl), master, KEYS_MASTER);
}

uint16_t engine_version(const struct engine *e)
{
    return (uint16_t)SSL_version(e->ssl);
}

size_t engine_max_fragment(const struct engine *e)
{
    uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get_session(e->ssl));
    return code == TLSEXT_max_fragment_length_DISABLED ? WIRE_PLAINTEXT_MAX : (size_t)256 << code;
}
