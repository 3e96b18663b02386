/*
 * vault: HKDF, GCM and SipHash. See the header.
 * Must never choose a nonce by itself.
 */
#include "dtls/vault.h"

#include "base/bytes.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_LEN 12

struct vault {
    EVP_CIPHER_CTX *ctx;
    struct hash_key mark;
    uint8_t key[32];
};

struct material {
    const uint8_t *secret, *salt;
    size_t secret_len, salt_len;
};

static bool derive_one(EVP_KDF_CTX *ctx, const struct material *from, const char *what,
                       uint8_t *out, size_t len)
{
    char digest[] = "SHA256";
    int mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    uint8_t *secret = (uint8_t *)(uintptr_t)from->secret, *salt = (uint8_t *)(uintptr_t)from->salt;
    char *info = (char *)(uintptr_t)what; /* only read, as those are */

    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, secret, from->secret_len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, salt, from->salt_len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(what)),
        OSSL_PARAM_END,
    };

    EVP_KDF_CTX_reset(ctx);
    return EVP_KDF_derive(ctx, out, len, params) > 0;
}

bool vault_derive(struct vault_keys *keys, const uint8_t *secret, size_t secret_len,
                  const uint8_t *salt, size_t salt_len)
{
    const struct material from = {secret, salt, secret_len, salt_len};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = ctx && derive_one(ctx, &from, "dtlsgate seal", keys->seal, sizeof keys->seal) &&
              derive_one(ctx, &from, "dtlsgate mark", keys->mark.bytes, sizeof keys->mark.bytes) &&
              derive_one(ctx, &from, "dtlsgate print", keys->print, sizeof keys->print);

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (!ok) {
        bytes_wipe(keys, sizeof *keys);
        ERR_clear_error();
    }
    return ok;
}

struct vault *vault_new(const struct vault_keys *keys)
{
    struct vault *v = calloc(1, sizeof *v);
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);

    if (v) {
        v->mark = keys->mark;
        memcpy(v->key, keys->seal, sizeof v->key);
        v->ctx = EVP_CIPHER_CTX_new();
    }
    bool ok = v && cipher && v->ctx && EVP_CipherInit_ex2(v->ctx, cipher, NULL, NULL, 1, NULL) > 0;
    EVP_CIPHER_free(cipher);
    if (ok)
        return v;
    vault_free(v);
    ERR_clear_error();
    return NULL;
}

void vault_free(struct vault *v)
{
    if (!v)
        return;
    EVP_CIPHER_CTX_free(v->ctx);
    bytes_wipe(v, sizeof *v);
    free(v);
}

/* The context's direction may have been the other one. */
static bool begin(struct vault *v, const struct vault_label *label, bool seal)
{
    uint8_t nonce[NONCE_LEN] = {0}, place[8];
    int n;

    put_u64(nonce + NONCE_LEN - 8, label->generation);
    put_u64(place, label->place);
    return EVP_CipherInit_ex2(v->ctx, NULL, v->key, nonce, seal, NULL) > 0 &&
           EVP_CipherUpdate(v->ctx, NULL, &n, place, sizeof place) > 0;
}

bool vault_seal(struct vault *v, const struct vault_label *label, uint8_t *data, size_t len)
{
    int n;

    if (begin(v, label, true) && EVP_CipherUpdate(v->ctx, data, &n, data, (int)len) > 0 &&
        EVP_CipherFinal_ex(v->ctx, data + n, &n) > 0 &&
        EVP_CIPHER_CTX_ctrl(v->ctx, EVP_CTRL_AEAD_GET_TAG, VAULT_TAG, data + len) > 0)
        return true;
    bytes_wipe(data, len + VAULT_TAG);
    ERR_clear_error();
    return false;
}

bool vault_open(struct vault *v, const struct vault_label *label, uint8_t *data, size_t len)
{
    int n;

    if (begin(v, label, false) &&
        EVP_CIPHER_CTX_ctrl(v->ctx, EVP_CTRL_AEAD_SET_TAG, VAULT_TAG, data + len) > 0 &&
        EVP_CipherUpdate(v->ctx, data, &n, data, (int)len) > 0 &&
        EVP_CipherFinal_ex(v->ctx, data + n, &n) > 0)
        return true;
    bytes_wipe(data, len + VAULT_TAG);
    ERR_clear_error();
    return false;
}

void vault_mark(const struct vault *v, const void *data, size_t len, uint8_t out[VAULT_TAG])
{
    siphash128(&v->mark, data, len, out);
}
