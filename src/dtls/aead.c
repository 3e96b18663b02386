/*
 * aead: keyed EVP contexts and which of them to use. See the header.
 * EVP's TLS mode is the shortest way through it: additional data and nonce in one call, nonce, text
 * and tag in another; libssl seals its records by the same one. Records with a connection id have
 * additional data that it cannot make, and go by EVP's plain mode, in contexts of their own. Must
 * never know of sequence numbers' rules, windows or associations.
 */
#include "dtls/aead.h"

#include "base/bytes.h"
#include "dtls/wire.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <stdlib.h>
#include <string.h>

#define NONCE_LEN 12
#define AAD_LEN EVP_AEAD_TLS1_AAD_LEN
#define CID_AAD_MAX (8 + 3 + 2 + AEAD_NUMBER + WIRE_CID_MAX + 2)
#define KEY_MAX 32
#define SLOT_BITS 6 /* 64 owners each way; each keyed context is 1 KB */
#define SLOTS (1u << SLOT_BITS)

/* A context and whose key it has. */
struct slot {
    EVP_CIPHER_CTX *ctx; /* NULL: not made yet */
    bool is_plain;       /* EVP's plain mode: for records with a connection id */
    const struct suite *suite;
    uint8_t key[KEY_MAX], iv[NONCE_LEN];
    const void *claimant; /* who was sent away last */
};

struct direction {
    struct slot shared[2][AEAD_COUNT]; /* for all who have none of their own, by is_plain */
    struct slot own[SLOTS];
};

struct aead_contexts {
    struct direction direction[2]; /* by `seal` */
};

static const struct cipher {
    const char *name;
    bool is_ccm;
    int tag_len;
} CIPHERS[AEAD_COUNT] = {
    [AEAD_AES128_GCM] = {"AES-128-GCM", false, 16},
    [AEAD_AES256_GCM] = {"AES-256-GCM", false, 16},
    [AEAD_AES128_CCM] = {"AES-128-CCM", true, 16},
    [AEAD_AES256_CCM] = {"AES-256-CCM", true, 16},
    [AEAD_AES128_CCM8] = {"AES-128-CCM", true, 8},
    [AEAD_AES256_CCM8] = {"AES-256-CCM", true, 8},
    [AEAD_CHACHA20] = {"ChaCha20-Poly1305", false, 16},
};

/* A context that only lacks key and nonce. CCM must have its lengths before the key. */
static EVP_CIPHER_CTX *context_new(const struct cipher *which, bool seal)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, which->name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = cipher && ctx && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, seal, NULL) &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, NONCE_LEN, NULL) > 0;

    if (ok && which->is_ccm)
        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, which->tag_len, NULL) > 0;
    EVP_CIPHER_free(cipher); /* the context holds its own reference */
    if (ok)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

/* What a record asks of a context. */
struct want {
    const struct aead_side *side;
    bool seal, is_plain;
};

/* No secret: it tells no more than whether two associations are the same. */
static bool has_key(const struct slot *slot, const struct want *want)
{
    const struct aead_side *side = want->side;

    return slot->suite == side->suite && slot->is_plain == want->is_plain &&
           memcmp(slot->key, side->key, side->suite->key_len) == 0 &&
           memcmp(slot->iv, side->iv, side->suite->iv_len) == 0;
}

static void slot_clear(struct slot *slot)
{
    EVP_CIPHER_CTX_free(slot->ctx); /* wipes its key */
    bytes_wipe(slot, sizeof *slot);
}

/* Gives the slot another key, which takes the old one's place everywhere. */
static bool slot_key(struct slot *slot, const struct want *want)
{
    const struct aead_side *side = want->side;
    const OSSL_PARAM fixed[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED, slot->iv,
                                side->suite->iv_len),
        OSSL_PARAM_END,
    };

    if (slot->suite && (slot->suite->aead != side->suite->aead || slot->is_plain != want->is_plain))
        slot_clear(slot);
    if (!slot->ctx)
        slot->ctx = context_new(&CIPHERS[side->suite->aead], want->seal);
    slot->is_plain = want->is_plain;
    slot->suite = NULL; /* nobody's, unless all goes well */
    memcpy(slot->key, side->key, side->suite->key_len);
    memcpy(slot->iv, side->iv, side->suite->iv_len);
    /* GCM's sealing side gets its whole nonce with each record, as the plain mode does. */
    bool is_fixed = !want->is_plain && !(want->seal && suite_is_gcm(side->suite));
    bool ok = slot->ctx && EVP_CipherInit_ex2(slot->ctx, NULL, slot->key, NULL, -1, NULL) &&
              (!is_fixed || EVP_CIPHER_CTX_set_params(slot->ctx, fixed));
    if (ok)
        slot->suite = side->suite;
    else
        slot_clear(slot); /* or another cipher's suite would meet this context */
    return ok;
}

/* A slot changes hands when the same owner comes to it twice with nobody else turned away between:
 * the busy ones get one, and a crowd does not wear them all out. */
static struct slot *slot_for(struct aead_contexts *c, const struct want *want)
{
    const struct aead_side *side = want->side;
    struct direction *d = &c->direction[want->seal];
    uint64_t hash = (uint64_t)(uintptr_t)side->owner * UINT64_C(0x9e3779b97f4a7c15);
    struct slot *slot = &d->own[hash >> (64 - SLOT_BITS)];

    if (has_key(slot, want))
        return slot;
    if (slot->claimant != side->owner) {
        slot->claimant = side->owner;
        slot = &d->shared[want->is_plain][side->suite->aead];
        if (has_key(slot, want))
            return slot;
    }
    return slot_key(slot, want) ? slot : NULL;
}

/* RFC 5246 6.2.3.3; EVP itself takes nonce and tag off the length. */
static void put_aad(uint8_t aad[AAD_LEN], const struct aead_header *header, size_t len)
{
    memcpy(aad, header->number, AEAD_NUMBER);
    aad[AEAD_NUMBER] = header->type;
    put_u16(aad + AEAD_NUMBER + 1, header->version);
    put_u16(aad + AEAD_NUMBER + 3, (uint16_t)len);
}

static bool seal_in(struct slot *slot, const struct aead_side *side,
                    const struct aead_header *header, uint8_t *body, size_t len)
{
    uint8_t aad[AAD_LEN], nonce[NONCE_LEN];
    const bool is_gcm = suite_is_gcm(side->suite);
    /* The size -1 sets all of the nonce, where else EVP would choose a random one. */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD, aad, AAD_LEN),
        is_gcm ? (OSSL_PARAM)OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_IV_FIXED, nonce,
                                                     (size_t)-1)
               : (OSSL_PARAM)OSSL_PARAM_END,
        OSSL_PARAM_END,
    };
    int n;

    put_aad(aad, header, len - side->suite->tag_len);
    if (is_gcm) { /* RFC 5288 3 */
        memcpy(nonce, side->iv, side->suite->iv_len);
        memcpy(nonce + side->suite->iv_len, body, side->suite->explicit_len);
    }
    return EVP_CIPHER_CTX_set_params(slot->ctx, params) &&
           EVP_EncryptUpdate(slot->ctx, body, &n, body, (int)len);
}

static bool open_in(struct slot *slot, const struct aead_header *header, uint8_t *body, size_t len)
{
    uint8_t aad[AAD_LEN];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD, aad, AAD_LEN),
        OSSL_PARAM_END,
    };
    int n;

    put_aad(aad, header, len);
    return EVP_CIPHER_CTX_set_params(slot->ctx, params) &&
           EVP_DecryptUpdate(slot->ctx, body, &n, body, (int)len);
}

/* ---- with a connection id: EVP's plain mode ---- */

/* RFC 9146 5.3; `len` is the inner plaintext's. */
static size_t put_cid_aad(uint8_t aad[CID_AAD_MAX], const struct aead_header *header, size_t len)
{
    struct writer w = writer_of(aad, CID_AAD_MAX);

    write_u64(&w, UINT64_MAX); /* no record number, so it is mistaken for none */
    write_u8(&w, WIRE_CID);
    write_u8(&w, header->cid_len);
    write_u8(&w, WIRE_CID);
    write_u16(&w, header->version);
    write_bytes(&w, header->number, AEAD_NUMBER);
    write_bytes(&w, header->cid, header->cid_len);
    write_u16(&w, (uint16_t)len);
    return CID_AAD_MAX - w.left;
}

/* RFC 5288 3 and 6655 3: the implicit part, then the explicit one. RFC 7905 2: the number, padded,
 * over the implicit one. */
static void put_nonce(uint8_t nonce[NONCE_LEN], const struct aead_side *side,
                      const struct aead_header *header, const uint8_t *body)
{
    memcpy(nonce, side->iv, side->suite->iv_len);
    if (side->suite->explicit_len > 0) {
        memcpy(nonce + side->suite->iv_len, body, side->suite->explicit_len);
        return;
    }
    for (size_t i = 0; i < AEAD_NUMBER; i++)
        nonce[NONCE_LEN - AEAD_NUMBER + i] ^= header->number[i];
}

/* CCM is told the text's length before the additional data. */
static bool feed_aad(EVP_CIPHER_CTX *ctx, const struct aead_side *side,
                     const struct aead_header *header, size_t text_len)
{
    uint8_t aad[CID_AAD_MAX];
    size_t aad_len = put_cid_aad(aad, header, text_len);
    int n;

    return (!CIPHERS[side->suite->aead].is_ccm ||
            EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)text_len)) &&
           EVP_CipherUpdate(ctx, NULL, &n, aad, (int)aad_len);
}

/* CCM has done all with its one update, and said whether a record authenticates. */
static bool crypt_plain(EVP_CIPHER_CTX *ctx, const struct want *want,
                        const struct aead_header *header, uint8_t *body, size_t len)
{
    const struct suite *suite = want->side->suite;
    size_t text_len = len - suite->explicit_len - suite->tag_len;
    uint8_t nonce[NONCE_LEN], *text = body + suite->explicit_len, *tag = text + text_len;
    int n;

    put_nonce(nonce, want->side, header, body);
    return EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, -1, NULL) &&
           (want->seal ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, suite->tag_len, tag) > 0) &&
           feed_aad(ctx, want->side, header, text_len) &&
           EVP_CipherUpdate(ctx, text, &n, text, (int)text_len) &&
           (CIPHERS[suite->aead].is_ccm || EVP_CipherFinal_ex(ctx, text + n, &n)) &&
           (!want->seal ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, suite->tag_len, tag) > 0);
}

static bool crypt(struct aead_contexts *c, const struct want *want,
                  const struct aead_header *header, uint8_t *body, size_t len)
{
    struct slot *slot = slot_for(c, want);

    if (slot && (want->is_plain ? crypt_plain(slot->ctx, want, header, body, len)
                 : want->seal   ? seal_in(slot, want->side, header, body, len)
                                : open_in(slot, header, body, len)))
        return true;
    bytes_wipe(body, len); /* it may hold plaintext, which EVP writes before it knows of the tag */
    ERR_clear_error();     /* libssl reads this thread's queue, too */
    return false;
}

bool aead_seal(struct aead_contexts *c, const struct aead_side *side,
               const struct aead_header *header, uint8_t *body, size_t len)
{
    const struct want want = {side, true, header->cid != NULL};

    return crypt(c, &want, header, body, len);
}

bool aead_open(struct aead_contexts *c, const struct aead_side *side,
               const struct aead_header *header, uint8_t *body, size_t len)
{
    const struct want want = {side, false, header->cid != NULL};

    return crypt(c, &want, header, body, len);
}

struct aead_contexts *aead_new(void)
{
    struct aead_contexts *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    for (int seal = 0; seal < 2; seal++) {
        for (int i = 0; i < AEAD_COUNT; i++) {
            struct slot *slot = &c->direction[seal].shared[false][i];
            slot->ctx = context_new(&CIPHERS[i], seal);
            if (!slot->ctx) {
                aead_free(c);
                return NULL;
            }
        }
    }
    return c;
}

void aead_free(struct aead_contexts *c)
{
    if (!c)
        return;
    for (int seal = 0; seal < 2; seal++) {
        for (int i = 0; i < AEAD_COUNT; i++)
            for (int plain = 0; plain < 2; plain++)
                slot_clear(&c->direction[seal].shared[plain][i]);
        for (unsigned i = 0; i < SLOTS; i++)
            slot_clear(&c->direction[seal].own[i]);
    }
    free(c);
}
