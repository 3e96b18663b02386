/*
 * cookie: stateless HelloVerifyRequest cookies (RFC 6347 4.2.1), without OpenSSL.
 * A cookie is one byte that names the secret's generation and a SipHash-2-4-128 over both addresses
 * and all that the second hello must repeat: version, client random, session id, suites,
 * compression. Two secrets are valid at a time.
 * Each worker holds a copy of the secrets: the second hello of a client may reach another one.
 */
#ifndef DTLSGATE_DTLS_COOKIE_H
#define DTLSGATE_DTLS_COOKIE_H

#include "base/addr.h"
#include "base/hash.h"
#include "dtls/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COOKIE_SIZE 17
/* The whole answer: record header, message header, version, cookie length, cookie. */
#define COOKIE_ANSWER_SIZE (WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 2 + 1 + COOKIE_SIZE)

struct cookie_secrets {
    struct hash_key key[2];
    uint8_t generation; /* of the current one; key[generation & 1] is it */
};

/* Two fresh secrets. */
void cookie_secrets_init(struct cookie_secrets *s);
/* The older of the two is replaced by a fresh one, which is the current one from now on. Each
 * worker holds a copy of its own and gets the new one as a message. */
void cookie_secrets_rotate(struct cookie_secrets *s);
void cookie_secrets_wipe(struct cookie_secrets *s);

/* True when the hello carries a cookie that was made for just this hello and these addresses under
 * one of the two secrets, in constant time. A message_seq other than 1 counts as without cookie,
 * for libssl waits for ever after 0 and refuses 2 and more. */
bool cookie_check(const struct cookie_secrets *s, const struct wire_hello *hello,
                  const struct addr *peer, const struct addr *local);

/* Writes the HelloVerifyRequest for `hello`: record version fe ff, record sequence number of the
 * hello, message_seq 0. Never longer than the shortest hello that wire_parse_hello() takes, so it
 * cannot amplify. Returns COOKIE_ANSWER_SIZE. */
size_t cookie_answer(const struct cookie_secrets *s, const struct wire_hello *hello,
                     const struct addr *peer, const struct addr *local,
                     uint8_t out[COOKIE_ANSWER_SIZE]);

#endif
