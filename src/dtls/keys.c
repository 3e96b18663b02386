/*
 * keys: the key schedule. The hashes are libcrypto's (dtls/digest); only the expansion of RFC 5246
 * 5 is written here. EVP's TLS1-PRF, which makes its contexts anew on each call, takes thrice as
 * long. Must never know of records, sessions or libssl.
 */
#include "dtls/keys.h"

#include "base/bytes.h"
#include "dtls/digest.h"
#include "dtls/psk.h"

#include <stdlib.h>
#include <string.h>

#define PREMASTER_MAX (2 + KEYS_SHARED_MAX + 2 + PSK_KEY_MAX)
#define LABEL_MAX 22 /* "extended master secret" */
#define SEED_MAX (LABEL_MAX + 2 * WIRE_RANDOM)

/* A secret or a seed that is put together from pieces. */
struct material {
    size_t len;
    uint8_t data[PREMASTER_MAX];
};

struct keys_kdf {
    struct hmac hmac;
    bool sha384;
    struct material secret; /* that the HMAC has; kept until the next or the free; len 0: none */
};

struct transcript {
    struct digest running;
};

_Static_assert(PREMASTER_MAX >= SEED_MAX, "a seed fits");

static void append(struct material *m, const void *data, size_t len)
{
    memcpy(m->data + m->len, data, len);
    m->len += len;
}

/* A master secret is used up to four times in a row, and keying takes two blocks of the hash. */
static void set_secret(struct keys_kdf *kdf, bool sha384, const struct material *secret)
{
    if (secret->len > 0 && kdf->secret.len == secret->len && kdf->sha384 == sha384 &&
        bytes_equal_secret(kdf->secret.data, secret->data, secret->len))
        return;
    hmac_set_key(&kdf->hmac, sha384, secret->data, secret->len);
    bytes_wipe(&kdf->secret, sizeof kdf->secret);
    kdf->sha384 = sha384;
    append(&kdf->secret, secret->data, secret->len);
}

/* P_hash of RFC 5246 5; `seed` begins with the label. */
static void prf(const struct keys_kdf *kdf, const struct material *seed, uint8_t *out, size_t len)
{
    uint8_t a[DIGEST_MAX], block[DIGEST_MAX];

    size_t size = hmac_make(&kdf->hmac, seed->data, seed->len, NULL, 0, a);
    while (len > 0) {
        size_t n = len < size ? len : size;

        hmac_make(&kdf->hmac, a, size, seed->data, seed->len, block);
        memcpy(out, block, n);
        out += n;
        len -= n;
        if (len > 0)
            hmac_make(&kdf->hmac, a, size, NULL, 0, a);
    }
    bytes_wipe(a, sizeof a);
    bytes_wipe(block, sizeof block);
}

struct keys_kdf *keys_kdf_new(void)
{
    return calloc(1, sizeof(struct keys_kdf));
}

void keys_kdf_free(struct keys_kdf *kdf)
{
    if (!kdf)
        return;
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
    set_secret(kdf, suite->sha384, &premaster);
    bytes_wipe(&premaster, sizeof premaster);
    prf(kdf, &seed, master, KEYS_MASTER);
    return true;
}

static void set_master(struct keys_kdf *kdf, const struct suite *suite,
                       const uint8_t master[KEYS_MASTER])
{
    struct material secret = {0};

    append(&secret, master, KEYS_MASTER);
    set_secret(kdf, suite->sha384, &secret);
    bytes_wipe(&secret, sizeof secret);
}

void keys_expand(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 const struct keys_randoms *randoms, struct record_keys *out)
{
    struct material seed = {0};

    append(&seed, "key expansion", 13);
    append(&seed, randoms->server, WIRE_RANDOM);
    append(&seed, randoms->client, WIRE_RANDOM);
    memset(out, 0, sizeof *out);
    set_master(kdf, suite, master);
    prf(kdf, &seed, out->block, keys_length(suite));
}

void keys_verify(struct keys_kdf *kdf, const struct suite *suite, const uint8_t master[KEYS_MASTER],
                 bool is_server, const uint8_t *hash, uint8_t out[KEYS_VERIFY])
{
    struct material seed = {0};

    append(&seed, is_server ? "server finished" : "client finished", 15);
    append(&seed, hash, suite->sha384 ? 48 : 32);
    set_master(kdf, suite, master);
    prf(kdf, &seed, out, KEYS_VERIFY);
}

struct transcript *transcript_new(bool sha384)
{
    struct transcript *t = calloc(1, sizeof *t);

    if (t)
        digest_init(&t->running, sha384);
    return t;
}

void transcript_free(struct transcript *t)
{
    free(t);
}

void transcript_add(struct transcript *t, const void *data, size_t len)
{
    digest_add(&t->running, data, len);
}

void transcript_hash(const struct transcript *t, const void *tail, size_t tail_len,
                     uint8_t out[DIGEST_MAX])
{
    struct digest copy = t->running;

    digest_add(&copy, tail, tail_len);
    digest_finish(&copy, out);
}
