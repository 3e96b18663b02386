/*
 * pp2: writes PROXY protocol headers. See the header.
 */
#include "proxy/pp2.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define VERSION_2_PROXY 0x21
#define INET_DGRAM 0x12
#define INET6_DGRAM 0x22

#define TYPE_UNIQUE_ID 0x05
#define TYPE_SSL 0x20
#define SUBTYPE_SSL_VERSION 0x21
#define SUBTYPE_SSL_CN 0x22
#define SUBTYPE_SSL_CIPHER 0x23
#define CLIENT_SSL 0x01

#define VERSION_MAX 8
#define CIPHER_MAX 64

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static void write_addresses(struct writer *w, const struct addr *peer, const struct addr *local)
{
    size_t len = peer->family == AF_INET ? 4 : 16;

    write_bytes(w, peer->ip, len);
    write_bytes(w, local->ip, len);
    write_u16(w, peer->port);
    write_u16(w, local->port);
}

static void write_tlv(struct writer *w, uint8_t type, const void *value, size_t len)
{
    write_u8(w, type);
    write_u16(w, (uint16_t)len);
    write_bytes(w, value, len);
}

static size_t at_most(size_t len, size_t max)
{
    return len < max ? len : max;
}

/* Its length is known when its parts are written. */
static void write_ssl(struct writer *w, const struct pp2_facts *facts)
{
    uint8_t *length;

    write_u8(w, TYPE_SSL);
    length = w->at;
    write_u16(w, 0);
    write_u8(w, CLIENT_SSL);
    write_u32(w, 0);
    write_tlv(w, SUBTYPE_SSL_VERSION, facts->version, at_most(strlen(facts->version), VERSION_MAX));
    write_tlv(w, SUBTYPE_SSL_CIPHER, facts->cipher, at_most(strlen(facts->cipher), CIPHER_MAX));
    write_tlv(w, SUBTYPE_SSL_CN, facts->identity, at_most(facts->identity_len, PP2_NAME_MAX));
    put_u16(length, (uint16_t)(w->at - length - 2));
}

size_t pp2_write(const struct pp2_facts *facts, uint8_t out[PP2_MAX])
{
    struct writer w = writer_of(out, PP2_MAX);
    uint8_t *length;

    write_bytes(&w, signature, sizeof(signature));
    write_u8(&w, VERSION_2_PROXY);
    write_u8(&w, facts->peer->family == AF_INET ? INET_DGRAM : INET6_DGRAM);
    length = w.at;
    write_u16(&w, 0);
    write_addresses(&w, facts->peer, facts->local);
    write_u8(&w, TYPE_UNIQUE_ID);
    write_u16(&w, 8);
    write_u64(&w, facts->id);
    write_ssl(&w, facts);
    assert(!w.bad);
    put_u16(length, (uint16_t)(w.at - length - 2));
    return (size_t)(w.at - out);
}
