/*
 * suites: the table of AEAD suites with PSK that libssl 3.0 has, without RSA_PSK (needs a
 * certificate) and ARIA. Numbers by RFC 5487, 6655, 7905. Knows nothing of keys or records.
 */
#include "dtls/suites.h"

#include <stddef.h>

#define GCM_RECORDS_MAX UINT64_C(23726566) /* 2^24.5 */

static const struct suite TABLE[] = {
    /* id, name, exchange, aead, key, iv, explicit nonce and tag in bytes, sha384 */
    {0x00a8, "PSK-AES128-GCM-SHA256", EXCHANGE_PSK, AEAD_AES128_GCM, 16, 4, 8, 16, false},
    {0x00a9, "PSK-AES256-GCM-SHA384", EXCHANGE_PSK, AEAD_AES256_GCM, 32, 4, 8, 16, true},
    {0x00aa, "DHE-PSK-AES128-GCM-SHA256", EXCHANGE_DHE_PSK, AEAD_AES128_GCM, 16, 4, 8, 16, false},
    {0x00ab, "DHE-PSK-AES256-GCM-SHA384", EXCHANGE_DHE_PSK, AEAD_AES256_GCM, 32, 4, 8, 16, true},
    {0xc0a4, "PSK-AES128-CCM", EXCHANGE_PSK, AEAD_AES128_CCM, 16, 4, 8, 16, false},
    {0xc0a5, "PSK-AES256-CCM", EXCHANGE_PSK, AEAD_AES256_CCM, 32, 4, 8, 16, false},
    {0xc0a6, "DHE-PSK-AES128-CCM", EXCHANGE_DHE_PSK, AEAD_AES128_CCM, 16, 4, 8, 16, false},
    {0xc0a7, "DHE-PSK-AES256-CCM", EXCHANGE_DHE_PSK, AEAD_AES256_CCM, 32, 4, 8, 16, false},
    {0xc0a8, "PSK-AES128-CCM8", EXCHANGE_PSK, AEAD_AES128_CCM8, 16, 4, 8, 8, false},
    {0xc0a9, "PSK-AES256-CCM8", EXCHANGE_PSK, AEAD_AES256_CCM8, 32, 4, 8, 8, false},
    {0xc0aa, "DHE-PSK-AES128-CCM8", EXCHANGE_DHE_PSK, AEAD_AES128_CCM8, 16, 4, 8, 8, false},
    {0xc0ab, "DHE-PSK-AES256-CCM8", EXCHANGE_DHE_PSK, AEAD_AES256_CCM8, 32, 4, 8, 8, false},
    {0xccab, "PSK-CHACHA20-POLY1305", EXCHANGE_PSK, AEAD_CHACHA20, 32, 12, 0, 16, false},
    {0xccac, "ECDHE-PSK-CHACHA20-POLY1305", EXCHANGE_ECDHE_PSK, AEAD_CHACHA20, 32, 12, 0, 16,
     false},
    {0xccad, "DHE-PSK-CHACHA20-POLY1305", EXCHANGE_DHE_PSK, AEAD_CHACHA20, 32, 12, 0, 16, false},
};

const struct suite *suite_find(uint16_t id)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (TABLE[i].id == id)
            return &TABLE[i];
    return NULL;
}

bool suite_is_gcm(const struct suite *suite)
{
    return suite->aead == AEAD_AES128_GCM || suite->aead == AEAD_AES256_GCM;
}

uint64_t suite_usage_limit(const struct suite *suite)
{
    return suite_is_gcm(suite) ? GCM_RECORDS_MAX : UINT64_MAX;
}

uint64_t suite_forgery_limit(const struct suite *suite)
{
    switch (suite->aead) {
    case AEAD_AES128_CCM:
    case AEAD_AES256_CCM:
        return UINT64_C(1) << 23;
    case AEAD_AES128_CCM8:
    case AEAD_AES256_CCM8:
        return UINT64_MAX;
    default:
        return UINT64_C(1) << 36;
    }
}

bool suite_has_short_tag(const struct suite *suite)
{
    return suite->tag_len == 8;
}
