/*
 * tlsctx: one configured SSL_CTX for PSK over DTLS. See the header.
 * What may be negotiated is decided here and nowhere else.
 */
#include "dtls/tlsctx.h"

#include "dtls/cid.h"
#include "dtls/suites.h"

#include <openssl/dh.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 4096
#define SUITES_MAX 128 /* libssl 3.0 knows fewer with PSK */

struct tlsctx {
    SSL_CTX *ssl;
    uint16_t suites[SUITES_MAX]; /* in order of preference */
    size_t suite_count;
    char *hint; /* NULL: none */
    bool has_cid;
};

const char *tlsctx_error(char *buf, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (reason != NULL)
        snprintf(buf, size, "%s", reason);
    else
        snprintf(buf, size, "library error %lx", code);
    ERR_clear_error();
    return buf;
}

const char *tlsctx_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

/* PSK alone authenticates: RSA-PSK would need a certificate. */
static bool is_psk_alone(const SSL_CIPHER *c)
{
    int kx = SSL_CIPHER_get_kx_nid(c);
    return kx == NID_kx_psk || kx == NID_kx_dhe_psk || kx == NID_kx_ecdhe_psk;
}

static bool is_allowed(const SSL_CIPHER *c, bool old_devices)
{
    if (!is_psk_alone(c) || SSL_CIPHER_get_cipher_nid(c) == NID_undef)
        return false;
    return old_devices || suite_find(SSL_CIPHER_get_protocol_id(c)) != NULL;
}

/* Writes the allowed ones of ctx's list. Returns how many there are, or -1: `size` is too small. */
static int join_allowed(SSL_CTX *ctx, bool old_devices, char *out, size_t size)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    size_t used = 0;
    int found = 0;

    out[0] = '\0';
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (!is_allowed(c, old_devices))
            continue;
        int n =
            snprintf(out + used, size - used, "%s%s", found > 0 ? ":" : "", SSL_CIPHER_get_name(c));
        if (n < 0 || (size_t)n >= size - used)
            return -1;
        used += (size_t)n;
        found++;
    }
    return found;
}

static bool select_on(SSL_CTX *ctx, const struct tlsctx_params *params, char *out, size_t size,
                      char *why, size_t why_size)
{
    ERR_clear_error();
    if (SSL_CTX_set_cipher_list(ctx, params->ciphers) != 1) {
        ERR_clear_error();
        snprintf(why, why_size,
                 "selects no cipher suite; write OpenSSL names joined by ':', "
                 "such as PSK-AES128-GCM-SHA256");
        return false;
    }
    int found = join_allowed(ctx, params->old_devices, out, size);
    if (found > 0)
        return true;
    if (found < 0)
        snprintf(why, why_size, "selects too many cipher suites; name fewer");
    else if (!params->old_devices && join_allowed(ctx, true, out, size) > 0)
        snprintf(why, why_size, "selects only suites for old devices; they need min-version = 1.0");
    else
        snprintf(why, why_size,
                 "selects no PSK suite that encrypts; "
                 "write for instance PSK-AES128-GCM-SHA256");
    return false;
}

bool tlsctx_select(const struct tlsctx_params *params, char *out, size_t size, char *why,
                   size_t why_size)
{
    SSL_CTX *ctx = SSL_CTX_new(DTLS_server_method());
    if (ctx == NULL) {
        tlsctx_error(why, why_size);
        return false;
    }
    bool fine = select_on(ctx, params, out, size, why, why_size);
    SSL_CTX_free(ctx);
    return fine;
}

/* The records have been checked before libssl gets the hello, so it has nothing to add. */
static int accept_cookie(SSL *ssl, const unsigned char *cookie, unsigned int len)
{
    (void)ssl;
    (void)cookie;
    (void)len;
    return 1;
}

/* libssl makes one for each session, at random, and as there is no cache never shows it. */
static int make_session_id(SSL *ssl, unsigned char *id, unsigned int *len)
{
    (void)ssl;
    memset(id, 1, *len);
    return 1;
}

/* RFC 7919's 2048-bit group: libssl's own choice for PSK would be one of 1024 bits. */
static bool set_dh_group(SSL_CTX *ctx)
{
    EVP_PKEY_CTX *gen = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string("group", (char[]){"ffdhe2048"}, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *group = NULL;
    bool fine = gen != NULL && EVP_PKEY_fromdata_init(gen) == 1 &&
                EVP_PKEY_fromdata(gen, &group, EVP_PKEY_KEY_PARAMETERS, params) == 1 &&
                SSL_CTX_set0_tmp_dh_pkey(ctx, group) == 1;
    if (!fine)
        EVP_PKEY_free(group);
    EVP_PKEY_CTX_free(gen);
    return fine;
}

static bool set_curves(SSL_CTX *ctx)
{
    int curves[] = {NID_X25519, NID_X9_62_prime256v1};
    return SSL_CTX_set1_groups(ctx, curves, sizeof curves / sizeof curves[0]) == 1;
}

static bool configure(SSL_CTX *ctx, const struct tlsctx_params *params, const char *names)
{
    /* Encrypt-then-MAC is off because libssl 3.0 answers a record that fails it with a fatal alert
     * instead of dropping it (RFC 7366 3), so one forged datagram would end a CBC session. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_ENCRYPT_THEN_MAC | SSL_OP_NO_TICKET |
                                 SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_generate_session_id(ctx, make_session_id);
    SSL_CTX_set_cookie_verify_cb(ctx, accept_cookie);
    /* A PSK server reads no certificate; without this a peer could make libssl reserve 100 KB. */
    SSL_CTX_set_max_cert_list(ctx, 1024);
    if (SSL_CTX_set_min_proto_version(ctx, params->old_devices ? DTLS1_VERSION : DTLS1_2_VERSION) !=
        1)
        return false;
    if (params->hint != NULL && SSL_CTX_use_psk_identity_hint(ctx, params->hint) != 1)
        return false;
    if (params->cid && !cid_enable(ctx))
        return false;
    return SSL_CTX_set_cipher_list(ctx, names) == 1 && set_curves(ctx) && set_dh_group(ctx);
}

/* Those that are left of the list; libssl puts TLS 1.3's before them, which DTLS 1.2 has not. */
static bool list_suites(struct tlsctx *ctx, bool old_devices)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx->ssl);

    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        if (!is_allowed(c, old_devices))
            continue;
        if (ctx->suite_count == SUITES_MAX)
            return false;
        ctx->suites[ctx->suite_count++] = SSL_CIPHER_get_protocol_id(c);
    }
    return true;
}

struct tlsctx *tlsctx_new(const struct tlsctx_params *params, char *why, size_t why_size)
{
    char names[NAMES_MAX];
    struct tlsctx *ctx = calloc(1, sizeof *ctx);
    if (ctx != NULL) {
        ctx->ssl = SSL_CTX_new(DTLS_server_method());
        ctx->hint = params->hint != NULL ? strdup(params->hint) : NULL;
        ctx->has_cid = params->cid;
    }
    if (ctx == NULL || ctx->ssl == NULL || (params->hint != NULL && ctx->hint == NULL)) {
        snprintf(why, why_size, "out of memory");
        goto fail;
    }
    if (!select_on(ctx->ssl, params, names, sizeof names, why, why_size))
        goto fail;
    if (!configure(ctx->ssl, params, names)) {
        tlsctx_error(why, why_size);
        goto fail;
    }
    if (!list_suites(ctx, params->old_devices)) {
        snprintf(why, why_size, "selects too many cipher suites; name fewer");
        goto fail;
    }
    return ctx;
fail:
    tlsctx_free(ctx);
    return NULL;
}

void tlsctx_free(struct tlsctx *ctx)
{
    if (ctx == NULL)
        return;
    SSL_CTX_free(ctx->ssl);
    free(ctx->hint);
    free(ctx);
}

SSL *tlsctx_new_ssl(struct tlsctx *ctx)
{
    return SSL_new(ctx->ssl);
}

size_t tlsctx_suite_count(const struct tlsctx *ctx)
{
    return ctx->suite_count;
}

uint16_t tlsctx_suite(const struct tlsctx *ctx, size_t i)
{
    return ctx->suites[i];
}

bool tlsctx_has_cid(const struct tlsctx *ctx)
{
    return ctx->has_cid;
}

const char *tlsctx_hint(const struct tlsctx *ctx)
{
    return ctx->hint;
}
