/*
 * ticket: AES-256-GCM by EVP around a fixed form. See the header.
 * Must never take a byte that has not authenticated.
 */
#include "dtls/ticket.h"

#include "base/bytes.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum {
    FORM = 2, /* of the text; another one does not open */
    NONCE = 12,
    TAG = 16,
    HEAD = TICKET_NAME + NONCE,
    TEXT_MIN = TICKET_TEXT_MAX - PSK_IDENTITY_MAX,
};

static void make_key(struct ticket_key *k)
{
    bytes_random(k->name, sizeof k->name);
    bytes_random(k->key, sizeof k->key);
}

void ticket_keys_init(struct ticket_keys *k)
{
    make_key(&k->newest);
    make_key(&k->before);
    k->is_set = true;
}

void ticket_keys_rotate(struct ticket_keys *k)
{
    k->before = k->newest;
    make_key(&k->newest);
    k->is_set = true;
}

void ticket_keys_wipe(struct ticket_keys *k)
{
    bytes_wipe(k, sizeof *k);
}

bool ticket_prove(const struct psk *psk, const uint8_t master[KEYS_MASTER], uint8_t proof[16])
{
    uint8_t text[KEYS_MASTER + 1], mac[32];
    size_t len;

    memcpy(text, master, KEYS_MASTER);
    text[KEYS_MASTER] = psk->key_len; /* to HMAC a key is the same with zeros behind it */
    bool fine = EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, psk->key, psk->key_len, text,
                          sizeof text, mac, sizeof mac, &len) != NULL;
    bytes_wipe(text, sizeof text);
    if (!fine)
        return false;
    memcpy(proof, mac, 16);
    bytes_wipe(mac, sizeof mac);
    return true;
}

size_t ticket_size(size_t identity_len)
{
    return HEAD + TEXT_MIN + identity_len + TAG;
}

static size_t write_text(const struct ticket *t, uint8_t text[TICKET_TEXT_MAX])
{
    struct writer w = writer_of(text, TICKET_TEXT_MAX);

    write_u8(&w, FORM);
    write_u16(&w, t->suite->id);
    write_u64(&w, t->born);
    write_bytes(&w, t->master, KEYS_MASTER);
    write_bytes(&w, t->proof, sizeof t->proof);
    write_u16(&w, t->max_fragment);
    write_u16(&w, (uint16_t)t->identity_len);
    write_bytes(&w, t->identity, t->identity_len);
    return (size_t)(w.at - text);
}

static void copy(struct reader *r, void *to, size_t len)
{
    const uint8_t *from = read_bytes(r, len);

    if (from != NULL)
        memcpy(to, from, len);
}

static bool read_text(const uint8_t *text, size_t len, struct ticket *out)
{
    struct reader r = reader_of(text, len);
    uint8_t form = read_u8(&r);

    out->suite = suite_find(read_u16(&r));
    out->born = read_u64(&r);
    copy(&r, out->master, sizeof out->master);
    copy(&r, out->proof, sizeof out->proof);
    out->max_fragment = read_u16(&r);
    struct reader identity = read_vec16(&r);
    out->identity_len = identity.left;
    if (r.bad || r.left > 0 || identity.left == 0 || identity.left > sizeof out->identity)
        return false;
    memcpy(out->identity, identity.at, identity.left);
    return form == FORM && out->suite != NULL;
}

/* The key's name and the service's are authentic, too: of another service's there is no way in. */
static bool begin(EVP_CIPHER_CTX *ctx, const struct ticket_key *key, const uint8_t *nonce,
                  const char *service, bool seals)
{
    int len;

    return EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key, nonce, seals) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &len, key->name, TICKET_NAME) == 1 &&
           EVP_CipherUpdate(ctx, NULL, &len, (const uint8_t *)service, (int)strlen(service)) == 1;
}

size_t ticket_seal(const struct ticket_keys *keys, const char *service, const struct ticket *t,
                   uint8_t out[TICKET_MAX])
{
    uint8_t text[TICKET_TEXT_MAX];
    EVP_CIPHER_CTX *ctx = keys->is_set ? EVP_CIPHER_CTX_new() : NULL;
    size_t len = write_text(t, text);
    int n;

    memcpy(out, keys->newest.name, TICKET_NAME);
    bytes_random(out + TICKET_NAME, NONCE);
    bool fine = ctx != NULL && begin(ctx, &keys->newest, out + TICKET_NAME, service, true) &&
                EVP_CipherUpdate(ctx, out + HEAD, &n, text, (int)len) == 1 &&
                EVP_CipherFinal_ex(ctx, out + HEAD + len, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, out + HEAD + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    bytes_wipe(text, sizeof text);
    return fine ? HEAD + len + TAG : 0;
}

static const struct ticket_key *find_key(const struct ticket_keys *keys, const uint8_t *name)
{
    if (!keys->is_set)
        return NULL;
    if (memcmp(keys->newest.name, name, TICKET_NAME) == 0)
        return &keys->newest;
    return memcmp(keys->before.name, name, TICKET_NAME) == 0 ? &keys->before : NULL;
}

bool ticket_open(const struct ticket_keys *keys, const char *service, const uint8_t *sealed,
                 size_t len, struct ticket *out)
{
    uint8_t text[TICKET_TEXT_MAX], tag[TAG];
    const struct ticket_key *key;
    int n;

    if (len <= HEAD + TEXT_MIN + TAG || len > TICKET_MAX || (key = find_key(keys, sealed)) == NULL)
        return false;
    size_t text_len = len - HEAD - TAG;
    memcpy(tag, sealed + len - TAG, TAG);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool fine = ctx != NULL && begin(ctx, key, sealed + TICKET_NAME, service, false) &&
                EVP_CipherUpdate(ctx, text, &n, sealed + HEAD, (int)text_len) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
                EVP_CipherFinal_ex(ctx, text + text_len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    fine = fine && read_text(text, text_len, out);
    if (!fine)
        bytes_wipe(out, sizeof *out);
    bytes_wipe(text, sizeof text);
    ERR_clear_error(); /* a forged one must not leave its error to others */
    return fine;
}
