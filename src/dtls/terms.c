/*
 * terms: the ServerHello, and how many messages there were. See the header.
 */
#include "dtls/terms.h"

#include <string.h>

static void learn_message(struct terms *t, const struct wire_message *m)
{
    struct wire_server_hello hello;

    if (m->type != WIRE_SERVER_HELLO || !wire_is_whole(m) ||
        !wire_parse_server_hello(m->body, m->length, &hello))
        return;
    memcpy(t->server_random, hello.random, WIRE_RANDOM);
    t->version = hello.version;
    t->suite = hello.version == WIRE_DTLS12 ? suite_find(hello.suite) : NULL;
    t->extended_master_secret = hello.extended_master_secret;
    t->has_cid = hello.has_cid;
    t->has_rrc = hello.has_rrc;
    if (hello.max_fragment > 0)
        t->max_fragment = hello.max_fragment;
}

void terms_init(struct terms *t)
{
    *t = (struct terms){.max_fragment = WIRE_PLAINTEXT_MAX};
}

void terms_learn(struct terms *t, const struct wire_record *rec)
{
    struct reader r = reader_of(rec->body, rec->len);
    struct wire_message m;

    if (rec->type != WIRE_HANDSHAKE)
        return;
    while (wire_next_message(&r, &m)) {
        learn_message(t, &m);
        t->next_message = (uint16_t)(m.seq + 1);
    }
}

bool terms_may_settle_cid(const struct wire_hello *hello, size_t mtu)
{
    const size_t ccs = WIRE_RECORD_HEADER + 1, finished = WIRE_MESSAGE_HEADER + KEYS_VERIFY;
    const uint8_t *peer;
    uint8_t len;

    return !wire_hello_cid(hello, &peer, &len) ||
           ccs + finished + RECORD_OVERHEAD_MAX - WIRE_CID_MAX + len <= mtu;
}

bool terms_settle_cid(const struct terms *t, const struct wire_hello *hello,
                      const uint8_t own[WIRE_OWN_CID], struct association_cid *out)
{
    const uint8_t *peer;
    uint8_t len;

    *out = (struct association_cid){0};
    if (!t->has_cid || t->suite == NULL || !wire_hello_cid(hello, &peer, &len))
        return false;
    memcpy(out->own, own, WIRE_OWN_CID);
    memcpy(out->peer, peer, len);
    out->peer_len = len;
    out->has_rrc = t->has_rrc;
    return true;
}
