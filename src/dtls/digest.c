/*
 * digest: libcrypto's hashes by the functions that take a plain struct. OpenSSL 3.0 calls them
 * deprecated because no provider has a say in them; they hash all the same. See the header.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "dtls/digest.h"

#include "base/bytes.h"

#include <string.h>

#define BLOCK_MAX SHA512_CBLOCK

void digest_init(struct digest *d, bool sha384)
{
    d->sha384 = sha384;
    if (sha384)
        SHA384_Init(&d->sha512);
    else
        SHA256_Init(&d->sha256);
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    if (d->sha384)
        SHA384_Update(&d->sha512, data, len);
    else
        SHA256_Update(&d->sha256, data, len);
}

size_t digest_finish(struct digest *d, uint8_t out[DIGEST_MAX])
{
    if (d->sha384) {
        SHA384_Final(out, &d->sha512);
        return SHA384_DIGEST_LENGTH;
    }
    SHA256_Final(out, &d->sha256);
    return SHA256_DIGEST_LENGTH;
}

static void begin_with(struct digest *d, bool sha384, const uint8_t block[BLOCK_MAX], uint8_t pad)
{
    size_t size = sha384 ? SHA512_CBLOCK : SHA256_CBLOCK;
    uint8_t padded[BLOCK_MAX];

    for (size_t i = 0; i < size; i++)
        padded[i] = block[i] ^ pad;
    digest_init(d, sha384);
    digest_add(d, padded, size);
    bytes_wipe(padded, sizeof padded);
}

void hmac_set_key(struct hmac *h, bool sha384, const void *key, size_t len)
{
    uint8_t block[BLOCK_MAX] = {0};

    if (len > (sha384 ? SHA512_CBLOCK : SHA256_CBLOCK)) {
        digest_init(&h->inner, sha384);
        digest_add(&h->inner, key, len);
        digest_finish(&h->inner, block);
    } else if (len > 0) {
        memcpy(block, key, len);
    }
    begin_with(&h->inner, sha384, block, 0x36);
    begin_with(&h->outer, sha384, block, 0x5c);
    bytes_wipe(block, sizeof block);
}

size_t hmac_make(const struct hmac *h, const void *a, size_t a_len, const void *b, size_t b_len,
                 uint8_t out[DIGEST_MAX])
{
    struct digest inner = h->inner, outer = h->outer;

    digest_add(&inner, a, a_len);
    digest_add(&inner, b, b_len);
    size_t len = digest_finish(&inner, out);
    digest_add(&outer, out, len);
    len = digest_finish(&outer, out);
    bytes_wipe(&inner, sizeof inner);
    bytes_wipe(&outer, sizeof outer);
    return len;
}
