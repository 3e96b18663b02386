/*
 * cookie: makes and checks HelloVerifyRequest cookies.
 * It must never keep anything about a peer, and never know OpenSSL: a flood of hellos ends here.
 */
#include "dtls/cookie.h"

#include <assert.h>

enum {
    ADDR_SIZE = 2 + 16 + 4 + 2,
    MAC_SIZE = COOKIE_SIZE - 1,
    ANSWER_BODY = 2 + 1 + COOKIE_SIZE,
    /* What cookie_answer() may not exceed: version, random, no session id, no cookie, one suite,
     * one compression method, no extensions. */
    SHORTEST_HELLO = WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 2 + WIRE_RANDOM + 1 + 1 + 4 + 2,
};

_Static_assert(COOKIE_ANSWER_SIZE <= SHORTEST_HELLO, "the answer would amplify");

static void write_addr(struct writer *w, const struct addr *a)
{
    write_u16(w, a->family);
    write_bytes(w, a->ip, sizeof a->ip);
    write_u32(w, a->scope);
    write_u16(w, a->port);
}

/* Every field has a fixed size or a length before it, so no two hellos share an input. The record's
 * and the message's sequence numbers stay out: they differ in the second hello. */
static void compute_mac(const struct hash_key *key, const struct wire_hello *hello,
                        const struct addr *peer, const struct addr *local, uint8_t out[MAC_SIZE])
{
    uint8_t input[2 * ADDR_SIZE + WIRE_PLAINTEXT_MAX];
    struct writer w = writer_of(input, sizeof input);

    write_addr(&w, peer);
    write_addr(&w, local);
    write_u16(&w, hello->version);
    write_bytes(&w, hello->random, WIRE_RANDOM);
    write_u8(&w, hello->session_id_len);
    write_bytes(&w, hello->session_id, hello->session_id_len);
    write_u16(&w, hello->suites_len);
    write_bytes(&w, hello->suites, hello->suites_len);
    write_u8(&w, hello->compression_len);
    write_bytes(&w, hello->compression, hello->compression_len);
    assert(!w.bad); /* a parsed hello, less its headers, is no longer than WIRE_PLAINTEXT_MAX */
    siphash128(key, input, sizeof input - w.left, out);
}

void cookie_secrets_init(struct cookie_secrets *s)
{
    s->generation = 0;
    hash_key_init(&s->key[0]);
    hash_key_init(&s->key[1]);
}

void cookie_secrets_rotate(struct cookie_secrets *s)
{
    s->generation++;
    hash_key_init(&s->key[s->generation & 1]);
}

void cookie_secrets_wipe(struct cookie_secrets *s)
{
    bytes_wipe(s, sizeof *s);
}

bool cookie_check(const struct cookie_secrets *s, const struct wire_hello *hello,
                  const struct addr *peer, const struct addr *local)
{
    uint8_t mac[MAC_SIZE];
    uint8_t age;

    if (hello->message_seq != 1 || hello->cookie_len != COOKIE_SIZE)
        return false;
    age = (uint8_t)(s->generation - hello->cookie[0]);
    if (age > 1)
        return false;
    compute_mac(&s->key[hello->cookie[0] & 1], hello, peer, local, mac);
    return bytes_equal_secret(mac, hello->cookie + 1, MAC_SIZE);
}

size_t cookie_answer(const struct cookie_secrets *s, const struct wire_hello *hello,
                     const struct addr *peer, const struct addr *local,
                     uint8_t out[COOKIE_ANSWER_SIZE])
{
    struct writer w = writer_of(out + WIRE_RECORD_HEADER, COOKIE_ANSWER_SIZE - WIRE_RECORD_HEADER);

    wire_put_record_header(out, WIRE_HANDSHAKE, WIRE_DTLS10, hello->record_seq,
                           COOKIE_ANSWER_SIZE - WIRE_RECORD_HEADER);
    write_u8(&w, WIRE_HELLO_VERIFY);
    write_u24(&w, ANSWER_BODY);
    write_u16(&w, 0); /* message_seq: it answers a first hello, or one that counts as such */
    write_u24(&w, 0);
    write_u24(&w, ANSWER_BODY);
    write_u16(&w, WIRE_DTLS10); /* RFC 6347 4.2.1: whatever is negotiated later */
    write_u8(&w, COOKIE_SIZE);
    write_u8(&w, s->generation);
    compute_mac(&s->key[s->generation & 1], hello, peer, local,
                out + COOKIE_ANSWER_SIZE - MAC_SIZE);
    return COOKIE_ANSWER_SIZE;
}
