/*
 * record: one record's nonce and additional data, EVP's AEAD calls, and the two counters that must
 * never go back. Must never know of datagrams, peers, time or what a content type means.
 */
#include "dtls/record.h"

#include "base/bytes.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <stdlib.h>
#include <string.h>

#define EPOCH 1 /* the only protected one: renegotiation is refused */
#define NONCE_LEN 12
#define AAD_LEN 13
#define TAG_MAX 16
#define WINDOW_SIZE 64

struct record_crypt {
    EVP_CIPHER_CTX *seal[AEAD_COUNT];
    EVP_CIPHER_CTX *open[AEAD_COUNT];
};

/* The write side of one end. */
struct half {
    const struct suite *suite;
    const uint8_t *key;
    const uint8_t *iv;
};

static struct half client_half(const struct association *a)
{
    return (struct half){a->suite, keys_client_key(&a->keys), keys_client_iv(&a->keys, a->suite)};
}

static struct half server_half(const struct association *a)
{
    return (struct half){a->suite, keys_server_key(&a->keys, a->suite),
                         keys_server_iv(&a->keys, a->suite)};
}

/* What the AEAD needs besides the text. */
struct frame {
    uint8_t nonce[NONCE_LEN];
    uint8_t aad[AAD_LEN];
};

struct text {
    const uint8_t *data;
    size_t len;
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

/* What sealing and opening begin with: key, nonce, for CCM the length ahead, additional data. */
static bool context_begin(EVP_CIPHER_CTX *ctx, const struct half *half, const struct frame *f,
                          size_t len)
{
    int n;

    return (!CIPHERS[half->suite->aead].is_ccm ||
            EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)len)) &&
           EVP_CipherUpdate(ctx, NULL, &n, f->aad, AAD_LEN);
}

/* Writes the sealed text, then the tag. */
static bool aead_seal(EVP_CIPHER_CTX *ctx, const struct half *half, const struct frame *f,
                      struct text plain, uint8_t *out)
{
    int n;

    return EVP_EncryptInit_ex2(ctx, NULL, half->key, f->nonce, NULL) &&
           context_begin(ctx, half, f, plain.len) &&
           EVP_EncryptUpdate(ctx, out, &n, plain.data, (int)plain.len) &&
           EVP_EncryptFinal_ex(ctx, out + plain.len, &n) &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, half->suite->tag_len, out + plain.len) >
               0;
}

/* `sealed` is without its tag, which follows it. */
static bool aead_open(EVP_CIPHER_CTX *ctx, const struct half *half, const struct frame *f,
                      struct text sealed, uint8_t *plain)
{
    uint8_t tag[TAG_MAX]; /* EVP wants it writable */
    int n;

    memcpy(tag, sealed.data + sealed.len, half->suite->tag_len);
    if (!EVP_DecryptInit_ex2(ctx, NULL, half->key, f->nonce, NULL) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, half->suite->tag_len, tag) <= 0 ||
        !context_begin(ctx, half, f, sealed.len) ||
        !EVP_DecryptUpdate(ctx, plain, &n, sealed.data, (int)sealed.len))
        return false;
    /* CCM has checked the tag by now; its last call has nothing to tell. */
    return CIPHERS[half->suite->aead].is_ccm || EVP_DecryptFinal_ex(ctx, plain + sealed.len, &n);
}

/* Nonce and additional data of a record. `sent` is the nonce part that travels in the record, eight
 * bytes, for suites that have one. */
static void frame_make(struct frame *f, const struct half *half, const struct wire_record *rec,
                       const uint8_t *sent, size_t plain_len)
{
    uint8_t number[8]; /* epoch and sequence number */

    put_u64(number, (uint64_t)EPOCH << 48 | rec->seq);
    memcpy(f->nonce, half->iv, half->suite->iv_len);
    if (half->suite->explicit_len > 0) { /* RFC 5288 3, RFC 6655 3 */
        memcpy(f->nonce + half->suite->iv_len, sent, sizeof number);
    } else { /* RFC 7905 2 */
        for (size_t i = 0; i < sizeof number; i++)
            f->nonce[NONCE_LEN - sizeof number + i] ^= number[i];
    }
    memcpy(f->aad, number, sizeof number); /* RFC 5246 6.2.3.3 */
    f->aad[8] = rec->type;
    put_u16(f->aad + 9, rec->version);
    put_u16(f->aad + 11, (uint16_t)plain_len);
}

static enum record_verdict check_shape(const struct suite *suite, const struct wire_record *rec)
{
    size_t extra = (size_t)suite->explicit_len + suite->tag_len;

    if (rec->epoch != EPOCH)
        return RECORD_EPOCH;
    if (rec->len < extra || rec->len - extra > WIRE_PLAINTEXT_MAX)
        return RECORD_SIZE;
    return RECORD_OK;
}

/* Opens a record whose shape was checked. */
static enum record_verdict open_checked(struct record_crypt *c, const struct half *half,
                                        const struct wire_record *rec, uint8_t *plain, size_t *len)
{
    const struct suite *suite = half->suite;
    struct text sealed = {rec->body + suite->explicit_len,
                          rec->len - suite->explicit_len - suite->tag_len};
    struct frame f;

    frame_make(&f, half, rec, rec->body, sealed.len);
    if (!aead_open(c->open[suite->aead], half, &f, sealed, plain)) {
        bytes_wipe(plain, sealed.len); /* EVP writes plaintext before it knows of the tag */
        ERR_clear_error();             /* libssl reads this thread's queue, too */
        return RECORD_FORGED;
    }
    *len = sealed.len;
    return RECORD_OK;
}

struct record_crypt *record_crypt_new(void)
{
    struct record_crypt *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    for (int i = 0; i < AEAD_COUNT; i++) {
        c->seal[i] = context_new(&CIPHERS[i], true);
        c->open[i] = context_new(&CIPHERS[i], false);
        if (!c->seal[i] || !c->open[i]) {
            record_crypt_free(c);
            return NULL;
        }
    }
    return c;
}

void record_crypt_free(struct record_crypt *c)
{
    if (!c)
        return;
    for (int i = 0; i < AEAD_COUNT; i++) {
        EVP_CIPHER_CTX_free(c->seal[i]);
        EVP_CIPHER_CTX_free(c->open[i]);
    }
    free(c);
}

enum record_verdict record_open(struct record_crypt *c, struct association *a,
                                const struct wire_record *rec, uint8_t *plain, size_t *len)
{
    struct half client = client_half(a);
    enum record_verdict verdict = check_shape(a->suite, rec);

    if (verdict != RECORD_OK)
        return verdict;
    if (!record_window_allows(&a->window, rec->seq))
        return RECORD_REPLAY;
    verdict = open_checked(c, &client, rec, plain, len);
    if (verdict == RECORD_OK)
        record_window_mark(&a->window, rec->seq);
    else
        a->forged++;
    return verdict;
}

enum record_verdict record_open_own(struct record_crypt *c, const struct association *a,
                                    const struct wire_record *rec, uint8_t *plain, size_t *len)
{
    struct half server = server_half(a);
    enum record_verdict verdict = check_shape(a->suite, rec);

    return verdict == RECORD_OK ? open_checked(c, &server, rec, plain, len) : verdict;
}

size_t record_seal(struct record_crypt *c, struct association *a, uint8_t type,
                   const uint8_t *plain, size_t len, uint8_t *out)
{
    const struct suite *suite = a->suite;
    struct half server = server_half(a);
    struct wire_record rec = {.type = type, .version = WIRE_DTLS12, .epoch = EPOCH};
    struct text text = {plain ? plain : out, len}; /* NULL means other things to EVP */
    uint64_t number = (uint64_t)EPOCH << 48 | a->write_seq;
    uint8_t *body = out + WIRE_RECORD_HEADER;
    struct frame f;

    if (len > WIRE_PLAINTEXT_MAX || a->write_seq > WIRE_SEQ_MAX)
        return 0;
    rec.seq = a->write_seq++;
    rec.len = suite->explicit_len + len + suite->tag_len;
    wire_put_record_header(out, type, WIRE_DTLS12, number, rec.len);
    if (suite->explicit_len > 0)
        put_u64(body, CIPHERS[suite->aead].is_ccm ? number : a->write_nonce++);
    frame_make(&f, &server, &rec, body, len);
    if (aead_seal(c->seal[suite->aead], &server, &f, text, body + suite->explicit_len))
        return WIRE_RECORD_HEADER + rec.len;
    ERR_clear_error();
    return 0;
}

bool record_window_allows(const struct record_window *w, uint64_t seq)
{
    if (seq > w->top)
        return true;
    return w->top - seq < WINDOW_SIZE && !(w->map >> (w->top - seq) & 1);
}

void record_window_mark(struct record_window *w, uint64_t seq)
{
    if (seq > w->top) {
        uint64_t ahead = seq - w->top;

        w->map = ahead < WINDOW_SIZE ? w->map << ahead | 1 : 1;
        w->top = seq;
    } else if (w->top - seq < WINDOW_SIZE) {
        w->map |= UINT64_C(1) << (w->top - seq);
    }
}
