/*
 * pp2: writes PROXY protocol headers. See the header.
 */
#include "proxy/pp2.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define HEAD 16 /* signature, version, kind, length of the rest */
#define VERSION_2_PROXY 0x21
#define VERSION_2_LOCAL 0x20
#define UNSPECIFIED 0
#define INET_DGRAM 0x12
#define INET6_DGRAM 0x22

#define TYPE_UNIQUE_ID 0x05
#define TYPE_SSL 0x20
#define SUBTYPE_SSL_VERSION 0x21
#define SUBTYPE_SSL_CN 0x22
#define SUBTYPE_SSL_CIPHER 0x23
#define CLIENT_SSL 0x01

#define VERSION_PREFIX "DTLSv"
#define VERSION_MAX 8 /* with it */
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

/* How much is told of each text. */
struct lengths {
    size_t version, cipher, identity;
};

static struct lengths measure(const struct pp2_facts *facts)
{
    const size_t prefix = sizeof(VERSION_PREFIX) - 1;

    return (struct lengths){.version =
                                prefix + at_most(strlen(facts->version), VERSION_MAX - prefix),
                            .cipher = at_most(strlen(facts->cipher), CIPHER_MAX),
                            .identity = at_most(facts->identity_len, PP2_NAME_MAX)};
}

static size_t ssl_length(const struct lengths *l)
{
    return 5 + 3 + l->version + 3 + l->cipher + 3 + l->identity;
}

static void write_ssl(struct writer *w, const struct pp2_facts *facts, const struct lengths *l)
{
    const size_t prefix = sizeof(VERSION_PREFIX) - 1;

    write_u8(w, TYPE_SSL);
    write_u16(w, (uint16_t)ssl_length(l));
    write_u8(w, CLIENT_SSL);
    write_u32(w, 0);
    write_u8(w, SUBTYPE_SSL_VERSION);
    write_u16(w, (uint16_t)l->version);
    write_bytes(w, VERSION_PREFIX, prefix);
    write_bytes(w, facts->version, l->version - prefix);
    write_tlv(w, SUBTYPE_SSL_CIPHER, facts->cipher, l->cipher);
    write_tlv(w, SUBTYPE_SSL_CN, facts->identity, l->identity);
}

static size_t body_length(const struct pp2_facts *facts, const struct lengths *l)
{
    size_t addresses = facts->peer->family == AF_INET ? 12 : 36;

    return addresses + 3 + 8 + 3 + ssl_length(l);
}

size_t pp2_length(const struct pp2_facts *facts)
{
    const struct lengths l = measure(facts);

    return HEAD + body_length(facts, &l);
}

void pp2_write(const struct pp2_facts *facts, uint8_t *out)
{
    const struct lengths l = measure(facts);
    size_t body = body_length(facts, &l);
    struct writer w = writer_of(out, HEAD + body);

    write_bytes(&w, signature, sizeof(signature));
    write_u8(&w, VERSION_2_PROXY);
    write_u8(&w, facts->peer->family == AF_INET ? INET_DGRAM : INET6_DGRAM);
    write_u16(&w, (uint16_t)body);
    write_addresses(&w, facts->peer, facts->local);
    write_u8(&w, TYPE_UNIQUE_ID);
    write_u16(&w, 8);
    write_u64(&w, facts->id);
    write_ssl(&w, facts, &l);
    assert(!w.bad && w.at == out + HEAD + body);
}

_Static_assert(HEAD == PP2_LOCAL_SIZE, "a header without addresses is its head alone");

void pp2_write_local(uint8_t out[PP2_LOCAL_SIZE])
{
    struct writer w = writer_of(out, PP2_LOCAL_SIZE);

    write_bytes(&w, signature, sizeof(signature));
    write_u8(&w, VERSION_2_LOCAL);
    write_u8(&w, UNSPECIFIED);
    write_u16(&w, 0);
    assert(!w.bad && w.at == out + PP2_LOCAL_SIZE);
}
