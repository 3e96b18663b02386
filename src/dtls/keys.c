/*
 * keys: P_hash over one re-used HMAC context of EVP_MAC, which is half the time of EVP's TLS1-PRF
 * (that one makes its contexts anew on each call). The HMAC is libcrypto's; only the expansion of
 * RFC 5246 5 is written here. Must never know of records, sessions or libssl.
 */
#include "dtls/keys.h"

#include "base/bytes.h"
#include "dtls/psk.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <stdlib.h>
#include <string.h>

#define HASH_MAX 48 /* SHA-384 */
#define PREMASTER_MAX (2 + KEYS_SHARED_MAX + 2 + PSK_KEY_MAX)
#define LABEL_MAX 22 /* "extended master secret" */
#define SEED_MAX (LABEL_MAX + 2 * WIRE_RANDOM)

/* A secret or a seed that is put together from pieces. */
struct material {
    size_t len;
    uint8_t data[PREMASTER_MAX];
};

struct hmac {
    EVP_MAC_CTX *ctx;
    struct material secret; /* that it has; kept until the next or the free; len 0: none */
};

struct keys_kdf {
    struct hmac mac[2]; /* by sha384 */
    EVP_MD *md[2];
};

struct transcript {
    EVP_MD_CTX *running;
    EVP_MD_CTX *copy;
};

_Static_assert(PREMASTER_MAX >= SEED_MAX, "a seed fits");

static void append(struct material *m, const void *data, size_t len)
{
    memcpy(m->data + m->len, data, len);
    m->len += len;
}

static EVP_MAC_CTX *hmac_new(const char *digest)
{
    char name[16];
    OSSL_PARAM params[2];
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);

    EVP_MAC_free(hmac); /* the context holds its own reference */
    strcpy(name, digest);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (ctx && EVP_MAC_CTX_set_params(ctx, params))
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

/* HMAC of `a` then `b` (which may be NULL) under the key that `mac` was given before. Returns the
 * hash's length, or 0. */
static size_t hmac(EVP_MAC_CTX *mac, const uint8_t *a, size_t a_len, const struct material *b,
                   uint8_t out[HASH_MAX])
{
    size_t size;

    if (EVP_MAC_init(mac, NULL, 0, NULL) && EVP_MAC_update(mac, a, a_len) &&
        (!b || EVP_MAC_update(mac, b->data, b->len)) && EVP_MAC_final(mac, out, &size, HASH_MAX))
        return size;
    return 0;
}

/* A master secret is used up to four times in a row, and keying takes two blocks of the hash. */
static bool set_secret(struct hmac *mac, const struct material *secret)
{
    if (secret->len > 0 && mac->secret.len == secret->len &&
        bytes_equal_secret(mac->secret.data, secret->data, secret->len))
        return true;
    bytes_wipe(&mac->secret, sizeof mac->secret);
    if (!EVP_MAC_init(mac->ctx, secret->data, secret->len, NULL))
        return false;
    append(&mac->secret, secret->data, secret->len);
    return true;
}

/* P_hash of RFC 5246 5; `seed` begins with the label. */
static bool prf(struct hmac *mac, const struct material *secret, const struct material *seed,
                uint8_t *out, size_t len)
{
    uint8_t a[HASH_MAX], block[HASH_MAX];
    size_t size = 0;

    if (set_secret(mac, secret))
        size = hmac(mac->ctx, seed->data, seed->len, NULL, a);
    while (size > 0 && len > 0) {
        size_t n = len < size ? len : size;

        size = hmac(mac->ctx, a, size, seed, block);
        if (size == 0)
            break;
        memcpy(out, block, n);
        out += n;
        len -= n;
        if (len > 0)
            size = hmac(mac->ctx, a, size, NULL, a);
    }
    bytes_wipe(a, sizeof a);
    bytes_wipe(block, sizeof block);
    return len == 0;
}

struct keys_kdf *keys_kdf_new(void)
{
    static const char *const DIGESTS[2] = {"SHA2-256", "SHA2-384"};
    struct keys_kdf *kdf = calloc(1, sizeof *kdf);

    if (!kdf)
        return NULL;
    for (int i = 0; i < 2; i++) {
        kdf->mac[i].ctx = hmac_new(DIGESTS[i]);
        kdf->md[i] = EVP_MD_fetch(NULL, DIGESTS[i], NULL);
        if (!kdf->mac[i].ctx || !kdf->md[i]) {
            keys_kdf_free(kdf);
            return NULL;
        }
    }
    return kdf;
}

void keys_kdf_free(struct keys_kdf *kdf)
{
    if (!kdf)
        return;
    for (int i = 0; i < 2; i++) {
        EVP_MAC_CTX_free(kdf->mac[i].ctx);
        EVP_MD_free(kdf->md[i]);
    }
    bytes_wipe(kdf, sizeof *kdf);
    free(kdf);
}

static void append_vector(struct material *m, const void *data, size_t len)
{
    uint8_t length[2];

    put_u16(length, (uint16_t)len);
    append(m, length, sizeof length);
    append(m, data, len);
}

bool keys_master(struct keys_kdf *kdf, const struct suite *suite,
                 const struct keys_secrets *secrets, const struct keys_randoms *randoms,
                 const uint8_t *session_hash, uint8_t master[KEYS_MASTER])
{
    static const uint8_t ZEROS[PSK_KEY_MAX];
    struct material premaster = {0}, seed = {0};
    bool is_plain = suite->exchange == EXCHANGE_PSK;
    bool ok;

    if (secrets->psk_len > PSK_KEY_MAX || secrets->shared_len > KEYS_SHARED_MAX ||
        is_plain != (secrets->shared == NULL))
        return false;
    if (is_plain)
        append_vector(&premaster, ZEROS, secrets->psk_len);
    else
        append_vector(&premaster, secrets->shared, secrets->shared_len);
    append_vector(&premaster, secrets->psk, secrets->psk_len);
    if (session_hash) {
        append(&seed, "extended master secret", 22);
        append(&seed, session_hash, suite->sha384 ? 48 : 32);
    } else {
        append(&seed, "master secret", 13);
        append(&seed, randoms->client, WIRE_RANDOM);
        append(&seed, randoms->server, WIRE_RANDOM);
    }
    ok = prf(&kdf->mac[suite->sha384], &premaster, &seed, master, KEYS_MASTER);
    bytes_wipe(&premaster, sizeof premaster);
    return ok;
}

bool keys_expand(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 const struct keys_randoms *randoms, struct record_keys *out)
{
    struct material secret = {0}, seed = {0};
    bool ok;

    append(&secret, master, KEYS_MASTER);
    append(&seed, "key expansion", 13);
    append(&seed, randoms->server, WIRE_RANDOM);
    append(&seed, randoms->client, WIRE_RANDOM);
    memset(out, 0, sizeof *out);
    ok = prf(&kdf->mac[suite->sha384], &secret, &seed, out->block, keys_length(suite));
    if (!ok)
        bytes_wipe(out, sizeof *out);
    bytes_wipe(&secret, sizeof secret);
    return ok;
}

bool keys_verify(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 bool is_server, const uint8_t *hash, uint8_t out[KEYS_VERIFY])
{
    struct material secret = {0}, seed = {0};

    append(&secret, master, KEYS_MASTER);
    append(&seed, is_server ? "server finished" : "client finished", 15);
    append(&seed, hash, suite->sha384 ? 48 : 32);
    bool ok = prf(&kdf->mac[suite->sha384], &secret, &seed, out, KEYS_VERIFY);
    bytes_wipe(&secret, sizeof secret);
    return ok;
}

struct transcript *transcript_new(struct keys_kdf *kdf, bool sha384)
{
    struct transcript *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->running = EVP_MD_CTX_new();
    t->copy = EVP_MD_CTX_new();
    if (t->running && t->copy && EVP_DigestInit_ex2(t->running, kdf->md[sha384], NULL))
        return t;
    transcript_free(t);
    return NULL;
}

void transcript_free(struct transcript *t)
{
    if (!t)
        return;
    EVP_MD_CTX_free(t->running);
    EVP_MD_CTX_free(t->copy);
    free(t);
}

bool transcript_add(struct transcript *t, const void *data, size_t len)
{
    return EVP_DigestUpdate(t->running, data, len);
}

bool transcript_hash(struct transcript *t, const void *tail, size_t tail_len, uint8_t out[48])
{
    return EVP_MD_CTX_copy_ex(t->copy, t->running) && EVP_DigestUpdate(t->copy, tail, tail_len) &&
           EVP_DigestFinal_ex(t->copy, out, NULL);
}
