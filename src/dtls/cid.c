/*
 * cid: libssl's custom extensions 54 and 61. See the header.
 */
#include "dtls/cid.h"

#include "dtls/suites.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#define EXTENSION_CID 54
#define EXTENSION_RRC 61

static int offer_index = -1;
static pthread_once_t offer_once = PTHREAD_ONCE_INIT;

static void make_index(void)
{
    offer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int take(SSL *ssl, unsigned type, unsigned context, const unsigned char *in, size_t len,
                X509 *x, size_t chain_index, int *alert, void *arg)
{
    struct cid_offer *offer = SSL_get_ex_data(ssl, offer_index);

    (void)context;
    (void)x;
    (void)chain_index;
    (void)arg;
    if (type == EXTENSION_CID ? len == 0 || in[0] != len - 1 : len != 0) {
        *alert = SSL_AD_DECODE_ERROR;
        return 0;
    }
    if (offer != NULL && type == EXTENSION_CID)
        offer->is_asked = true;
    return 1;
}

/* Records that stay with libssl cannot have it. */
static bool is_possible(const SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_pending_cipher(ssl);

    return SSL_version(ssl) == DTLS1_2_VERSION && cipher != NULL &&
           suite_find(SSL_CIPHER_get_protocol_id(cipher)) != NULL;
}

/* libssl asks for what the client has asked for, no more. */
static int give(SSL *ssl, unsigned type, unsigned context, const unsigned char **out, size_t *len,
                X509 *x, size_t chain_index, int *alert, void *arg)
{
    const struct cid_offer *offer = SSL_get_ex_data(ssl, offer_index);

    (void)context;
    (void)x;
    (void)chain_index;
    (void)alert;
    (void)arg;
    if (offer == NULL || !offer->is_asked || !is_possible(ssl))
        return 0;
    *out = offer->own;
    *len = type == EXTENSION_CID ? sizeof offer->own : 0;
    return 1;
}

static bool add(SSL_CTX *ctx, unsigned type)
{
    return SSL_CTX_add_custom_ext(ctx, type, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO,
                                  give, NULL, NULL, take, NULL) == 1;
}

bool cid_enable(SSL_CTX *ctx)
{
    pthread_once(&offer_once, make_index);
    return offer_index >= 0 && add(ctx, EXTENSION_CID) && add(ctx, EXTENSION_RRC);
}

void cid_offer(SSL *ssl, struct cid_offer *offer, const uint8_t own[WIRE_OWN_CID])
{
    pthread_once(&offer_once, make_index);
    if (offer != NULL) {
        offer->own[0] = WIRE_OWN_CID;
        memcpy(offer->own + 1, own, WIRE_OWN_CID);
        offer->is_asked = false;
    }
    SSL_set_ex_data(ssl, offer_index, offer);
}
