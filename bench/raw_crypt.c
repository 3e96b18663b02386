/*
 * raw_crypt: P_SHA256 over one HMAC context, and one AEAD context for each direction.
 */
#include "raw_crypt.h"

#include "args.h"

#include <errno.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#define EXPLICIT 8
#define NONCE 12
#define SEED_MAX 96
#define PREMASTER_MAX (2 * (2 + 64))

struct suite {
    const char *name;
    uint16_t id;
    const char *cipher;
    int tag_len;
    bool ccm;
};

struct direction {
    EVP_CIPHER_CTX *context;
    uint8_t key[16]; /* what the context is keyed with */
    bool keyed;
};

static const struct suite suites[] = {
    {"PSK-AES128-GCM-SHA256", 0x00a8, "AES-128-GCM", 16, false},
    {"PSK-AES128-CCM8", 0xc0a8, "AES-128-CCM", 8, true},
};

static const struct suite *suite;
static EVP_CIPHER *cipher;
static EVP_MD *sha256;
static EVP_MAC_CTX *hmac;
static EVP_MD_CTX *spare; /* a copy of a transcript, while it is finished */
static struct direction outward, inward;
static uint8_t premaster[PREMASTER_MAX];
static size_t premaster_len;

/* Only a lack of memory or a broken libcrypto gets here. */
static void must(int ok)
{
    if (ok > 0)
        return;
    errno = ENOTRECOVERABLE;
    die("libcrypto");
}

/* --- the PRF --------------------------------------------------------------------------------- */

static void hmac_of(const uint8_t *one, size_t one_len, const uint8_t *other, size_t other_len,
                    uint8_t out[32])
{
    size_t len;

    must(EVP_MAC_init(hmac, NULL, 0, NULL));
    must(EVP_MAC_update(hmac, one, one_len));
    must(EVP_MAC_update(hmac, other, other_len));
    must(EVP_MAC_final(hmac, out, &len, 32));
}

/* RFC 5246 5; `seed` is the label with what follows it. */
static void prf(const uint8_t *secret, size_t secret_len, const uint8_t *seed, size_t seed_len,
                uint8_t *out, size_t out_len)
{
    uint8_t a[32], block[32];

    must(EVP_MAC_init(hmac, secret, secret_len, NULL));
    hmac_of(seed, seed_len, NULL, 0, a);
    for (size_t at = 0; at < out_len; at += sizeof(block)) {
        size_t n = out_len - at < sizeof(block) ? out_len - at : sizeof(block);
        hmac_of(a, sizeof(a), seed, seed_len, block);
        memcpy(out + at, block, n);
        if (at + n < out_len)
            hmac_of(a, sizeof(a), NULL, 0, a);
    }
}

static size_t put_seed(uint8_t seed[SEED_MAX], const char *label, const void *data, size_t len)
{
    size_t label_len = strlen(label);

    memcpy(seed, label, label_len);
    memcpy(seed + label_len, data, len);
    return label_len + len;
}

void raw_master(const uint8_t session_hash[32], uint8_t master[48])
{
    uint8_t seed[SEED_MAX];
    size_t len = put_seed(seed, "extended master secret", session_hash, 32);

    prf(premaster, premaster_len, seed, len, master, 48);
}

void raw_expand(const uint8_t master[48], const uint8_t server_random[32],
                const uint8_t client_random[32], struct raw_keys *out)
{
    uint8_t seed[SEED_MAX], block[2 * 16 + 2 * 4];
    size_t len = put_seed(seed, "key expansion", server_random, 32);

    memcpy(seed + len, client_random, 32);
    prf(master, 48, seed, len + 32, block, sizeof(block));
    memcpy(out->client_key, block, 16);
    memcpy(out->server_key, block + 16, 16);
    memcpy(out->client_iv, block + 32, 4);
    memcpy(out->server_iv, block + 36, 4);
    out->write_seq = 0;
}

void raw_finished(const uint8_t master[48], const char *label, const uint8_t hash[32],
                  uint8_t out[RAW_VERIFY])
{
    uint8_t seed[SEED_MAX];
    size_t len = put_seed(seed, label, hash, 32);

    prf(master, 48, seed, len, out, RAW_VERIFY);
}

/* --- transcripts ----------------------------------------------------------------------------- */

EVP_MD_CTX *raw_transcript_new(void)
{
    EVP_MD_CTX *t = EVP_MD_CTX_new();

    must(t != NULL);
    return t;
}

void raw_transcript_start(EVP_MD_CTX *t)
{
    must(EVP_DigestInit_ex2(t, sha256, NULL));
}

void raw_transcript_add(EVP_MD_CTX *t, const void *data, size_t len)
{
    must(EVP_DigestUpdate(t, data, len));
}

void raw_transcript_hash(const EVP_MD_CTX *t, uint8_t hash[32])
{
    must(EVP_MD_CTX_copy_ex(spare, t));
    must(EVP_DigestFinal_ex(spare, hash, NULL));
}

/* --- records --------------------------------------------------------------------------------- */

static void put_number(uint8_t *at, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        *at++ = (uint8_t)(number >> (8 * bytes));
}

void raw_put_header(uint8_t out[RAW_HEADER], uint8_t type, uint64_t epoch_and_seq, size_t len)
{
    out[0] = type;
    put_number(out + 1, 0xfefd, 2);
    put_number(out + 3, epoch_and_seq, 8);
    put_number(out + 11, len, 2);
}

/* Keyed anew only when the key is another one: with few sessions it mostly is not. CCM wants the
 * tag, or with `tag` NULL its length, before the nonce. */
static void set_up(struct direction *d, const uint8_t key[16], const uint8_t nonce[NONCE],
                   bool seals, uint8_t *tag)
{
    bool same = d->keyed && memcmp(d->key, key, 16) == 0;

    if (suite->ccm)
        must(EVP_CIPHER_CTX_ctrl(d->context, EVP_CTRL_AEAD_SET_TAG, suite->tag_len, tag));
    must(EVP_CipherInit_ex2(d->context, NULL, same ? NULL : key, nonce, seals, NULL));
    if (!suite->ccm && tag)
        must(EVP_CIPHER_CTX_ctrl(d->context, EVP_CTRL_AEAD_SET_TAG, suite->tag_len, tag));
    memcpy(d->key, key, 16);
    d->keyed = true;
}

/* The additional data of RFC 5246 6.2.3.3: number, type, version, length. CCM wants the length of
 * the text before it. */
static void add_header(EVP_CIPHER_CTX *context, const uint8_t header[RAW_HEADER], size_t len)
{
    uint8_t aad[RAW_HEADER];
    int n;

    memcpy(aad, header + 3, 8);
    memcpy(aad + 8, header, 3);
    put_number(aad + 11, len, 2);
    if (suite->ccm)
        must(EVP_CipherUpdate(context, NULL, &n, NULL, (int)len));
    must(EVP_CipherUpdate(context, NULL, &n, aad, sizeof(aad)));
}

size_t raw_seal(struct raw_keys *k, uint8_t type, const void *plain, size_t len, uint8_t *out)
{
    uint64_t number = UINT64_C(1) << 48 | k->write_seq++;
    size_t body_len = EXPLICIT + len + (size_t)suite->tag_len;
    uint8_t nonce[NONCE], *text = out + RAW_HEADER + EXPLICIT;
    int n;

    raw_put_header(out, type, number, body_len);
    put_number(out + RAW_HEADER, number, EXPLICIT);
    memcpy(nonce, k->client_iv, 4);
    memcpy(nonce + 4, out + RAW_HEADER, EXPLICIT);
    set_up(&outward, k->client_key, nonce, true, NULL);
    add_header(outward.context, out, len);
    must(EVP_CipherUpdate(outward.context, text, &n, plain, (int)len));
    if (!suite->ccm)
        must(EVP_CipherFinal_ex(outward.context, text + len, &n));
    must(EVP_CIPHER_CTX_ctrl(outward.context, EVP_CTRL_AEAD_GET_TAG, suite->tag_len, text + len));
    return RAW_HEADER + body_len;
}

bool raw_open(const struct raw_keys *k, const uint8_t *record, size_t len, uint8_t *plain,
              size_t *plain_len)
{
    size_t overhead = RAW_HEADER + EXPLICIT + (size_t)suite->tag_len;
    const uint8_t *text = record + RAW_HEADER + EXPLICIT;
    uint8_t nonce[NONCE], tag[16];
    int n, ok;

    if (len < overhead || len - overhead > RAW_PLAIN_MAX || record[3] != 0 || record[4] != 1)
        return false;
    *plain_len = len - overhead;
    memcpy(nonce, k->server_iv, 4);
    memcpy(nonce + 4, record + RAW_HEADER, EXPLICIT);
    memcpy(tag, text + *plain_len, (size_t)suite->tag_len);
    set_up(&inward, k->server_key, nonce, false, tag);
    add_header(inward.context, record, *plain_len);
    ok = EVP_CipherUpdate(inward.context, plain, &n, text, (int)*plain_len);
    if (ok > 0 && !suite->ccm)
        ok = EVP_CipherFinal_ex(inward.context, plain + *plain_len, &n);
    return ok > 0;
}

/* --- once ------------------------------------------------------------------------------------ */

static void open_direction(struct direction *d, bool seals)
{
    d->context = EVP_CIPHER_CTX_new();
    must(d->context != NULL);
    must(EVP_CipherInit_ex2(d->context, cipher, NULL, NULL, seals, NULL));
    must(EVP_CIPHER_CTX_ctrl(d->context, EVP_CTRL_AEAD_SET_IVLEN, NONCE, NULL));
}

static void open_hmac(void)
{
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    must(mac != NULL);
    hmac = EVP_MAC_CTX_new(mac);
    must(hmac != NULL);
    must(EVP_MAC_CTX_set_params(hmac, parameters));
    EVP_MAC_free(mac);
}

/* RFC 4279 2: as many zeros as the key is long, then the key, each with its length. */
static void set_premaster(const uint8_t *key, size_t len)
{
    premaster_len = 2 * (2 + len);
    memset(premaster, 0, premaster_len);
    put_number(premaster, len, 2);
    put_number(premaster + 2 + len, len, 2);
    memcpy(premaster + 4 + len, key, len);
}

bool raw_crypt_init(const char *name, const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(*suites); i++)
        if (strcmp(suites[i].name, name) == 0)
            suite = &suites[i];
    if (!suite || key_len > (PREMASTER_MAX - 4) / 2)
        return false;
    cipher = EVP_CIPHER_fetch(NULL, suite->cipher, NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    spare = EVP_MD_CTX_new();
    must(cipher && sha256 && spare);
    open_direction(&outward, true);
    open_direction(&inward, false);
    open_hmac();
    set_premaster(key, key_len);
    return true;
}

uint16_t raw_crypt_suite_id(void)
{
    return suite->id;
}
