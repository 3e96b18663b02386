/*
 * fuzz_record: any records through record_open(), for each suite. The first byte takes the suite,
 * and in its first bit whether there are connection ids.
 * A record in epoch 2 is sealed first, so that those that open are met as well; then the window is
 * held against a plain list of what was seen.
 */
#include "../unit/mirror.h"

#include <stdlib.h>
#include <string.h>

#define SEEN_MAX 1024

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct record_crypt *crypt_contexts;

struct world {
    union association_room server;
    union association_room client; /* the same keys seen from the other side */
    uint64_t seen[SEEN_MAX];
    size_t seen_count;
    uint64_t top;
};

static const uint16_t SUITES[] = {0x00a8, 0x00a9, 0xc0a4, 0xc0a5, 0xc0a8, 0xc0a9, 0xccab};

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static void begin(struct world *w, uint8_t choice)
{
    memset(w, 0, sizeof *w);
    struct association *server = &w->server.association, *client = &w->client.association;
    const struct association_cid ids = {.own = "ourid678", .peer_len = 3, .peer = "its"};
    struct association_cid mirrored = {.peer_len = WIRE_OWN_CID};

    server->suite = suite_find(SUITES[(choice & 0x7f) % (sizeof SUITES / sizeof SUITES[0])]);
    for (size_t i = 0; i < sizeof server->keys.block; i++)
        server->keys.block[i] = (uint8_t)(0x11 + i);
    client->suite = server->suite;
    client->keys = mirror_keys(&server->keys, server->suite);
    if (!(choice & 0x80))
        return;
    memcpy(mirrored.peer, ids.own, WIRE_OWN_CID);
    association_set_cid(server, &ids);
    association_set_cid(client, &mirrored);
}

/* RFC 6347 4.1.2.6 in its plainest form. */
static bool may_come(const struct world *w, uint64_t seq)
{
    if (w->seen_count > 0 && w->top >= 64 && seq <= w->top - 64)
        return false;
    for (size_t i = 0; i < w->seen_count; i++) {
        if (w->seen[i] == seq)
            return false;
    }
    return true;
}

/* What nobody has sealed: must not open, and must change nothing but a count. */
static void check_forged(struct world *w, struct wire_record *rec)
{
    static uint8_t plain[WIRE_PLAINTEXT_MAX];
    struct record_window before = w->server.association.window;
    uint64_t forged = w->server.association.forged;
    size_t len;

    enum record_verdict verdict =
        record_open(crypt_contexts, &w->server.association, rec, plain, &len);
    require(verdict != RECORD_OK);
    require((verdict == RECORD_EPOCH) == (rec->epoch != 1));
    require(verdict != RECORD_REPLAY || !may_come(w, rec->seq));
    require(w->server.association.forged == forged + (verdict == RECORD_FORGED));
    require(w->server.association.window.top == before.top &&
            w->server.association.window.map == before.map);
}

static void check_genuine(struct world *w, const struct wire_record *like)
{
    static uint8_t sealed[WIRE_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX], plain[WIRE_PLAINTEXT_MAX];
    struct wire_record rec;
    size_t len;

    w->client.association.write_seq = like->seq;
    size_t n = record_seal(crypt_contexts, &w->client.association, like->type, like->body,
                           like->len, sealed);
    require((n == 0) == (like->len > WIRE_PLAINTEXT_MAX));
    if (n == 0)
        return;
    struct reader r = reader_of(sealed, n);
    require(wire_next_record(&r, &rec) && r.left == 0);
    require(rec.type == (w->server.association.has_cid ? WIRE_CID : like->type));
    require(rec.epoch == 1 && rec.seq == like->seq);
    bool expected = may_come(w, rec.seq);
    enum record_verdict verdict =
        record_open(crypt_contexts, &w->server.association, &rec, plain, &len);
    require(verdict == (expected ? RECORD_OK : RECORD_REPLAY));
    if (!expected)
        return;
    require(rec.type == like->type);
    require(len == like->len && memcmp(plain, like->body, len) == 0);
    w->top = w->seen_count == 0 || rec.seq > w->top ? rec.seq : w->top;
    w->seen[w->seen_count++] = rec.seq;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct wire_record rec;

    if (size == 0)
        return 0;
    if (crypt_contexts == NULL)
        crypt_contexts = record_crypt_new();
    require(crypt_contexts != NULL);
    begin(&w, data[0]);
    struct reader r = reader_of(data + 1, size - 1);
    while (w.seen_count < SEEN_MAX && wire_next_record(&r, &rec)) {
        bool is_sealable = rec.type != WIRE_CID && rec.type != 0; /* those are no real types */
        if (rec.epoch == 2 && is_sealable)
            check_genuine(&w, &rec);
        else
            check_forged(&w, &rec);
    }
    return 0;
}
