/*
 * test_greeting: our answer to a plain PSK hello, beside libssl's to the same one.
 */
#include "base/bytes.h"
#include "dtls/engine.h"
#include "dtls/greeting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MTU 1400

static const uint8_t OWN_CID[WIRE_OWN_CID] = {1, 2, 3, 4, 5, 6, 7, 8};
#define RECORDS_MAX 8

enum {
    GCM = 0x00a8,
    CHACHA = 0xccab,
    CCM8 = 0xc0a8,
    ECDHE = 0xccac,
    CBC = 0x008c,
    SCSV = 0x00ff,
    NOBODYS = 0x1301,
};

/* ---- hellos ---- */

struct hello {
    uint8_t data[1024];
    size_t len;
};

struct form {
    uint16_t version;
    const uint16_t *suites; /* ended by 0 */
    const uint8_t *extensions;
    size_t extensions_len;
};

static void write_suites(struct writer *w, const uint16_t *suites)
{
    uint16_t count = 0;

    while (suites[count] != 0)
        count++;
    write_u16(w, (uint16_t)(2 * count));
    for (uint16_t i = 0; i < count; i++)
        write_u16(w, suites[i]);
}

/* One record with a hello that repeats some cookie, as the first that libssl sees. */
static struct hello make_hello(const struct form *form)
{
    static const uint8_t random[WIRE_RANDOM] = "as good as any other thirty-two";
    struct hello h;
    uint8_t *body = h.data + WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER;
    struct writer w = writer_of(body, sizeof h.data - WIRE_RECORD_HEADER - WIRE_MESSAGE_HEADER);

    write_u16(&w, form->version);
    write_bytes(&w, random, sizeof random);
    write_u8(&w, 0);
    write_u8(&w, 4);
    write_bytes(&w, "cook", 4);
    write_suites(&w, form->suites);
    write_u16(&w, 0x0100); /* null compression */
    if (form->extensions != NULL) {
        write_u16(&w, (uint16_t)form->extensions_len);
        write_bytes(&w, form->extensions, form->extensions_len);
    }
    size_t len = (size_t)(w.at - body);
    assert_false(w.bad);
    wire_put_message_header(h.data + WIRE_RECORD_HEADER, WIRE_CLIENT_HELLO, 1, (uint32_t)len);
    wire_put_record_header(h.data, WIRE_HANDSHAKE, WIRE_DTLS12, 1, WIRE_MESSAGE_HEADER + len);
    h.len = WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + len;
    return h;
}

static struct wire_hello parse(const struct hello *h)
{
    struct reader r = reader_of(h->data, h->len);
    struct wire_record rec;
    struct wire_hello out;

    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(wire_parse_hello(&rec, &out), WIRE_HELLO_OK);
    return out;
}

/* ---- answers ---- */

struct answer {
    uint8_t type[RECORDS_MAX]; /* of the messages, in order */
    uint16_t seq[RECORDS_MAX];
    uint8_t body[RECORDS_MAX][512];
    size_t len[RECORDS_MAX];
    size_t count;
};

static void keep(void *arg, const uint8_t *record, size_t len)
{
    struct answer *a = arg;
    struct reader r = reader_of(record, len);
    struct wire_record rec;
    struct wire_message m;

    assert_true(wire_next_record(&r, &rec));
    assert_int_equal(rec.type, WIRE_HANDSHAKE);
    assert_int_equal(rec.version, WIRE_DTLS12);
    assert_int_equal(r.left, 0);
    r = reader_of(rec.body, rec.len);
    assert_true(wire_next_message(&r, &m) && wire_is_whole(&m) && r.left == 0);
    assert_true(a->count < RECORDS_MAX && m.length <= sizeof a->body[0]);
    a->type[a->count] = m.type;
    a->seq[a->count] = m.seq;
    a->len[a->count] = m.length;
    memcpy(a->body[a->count++], m.body, m.length);
}

static struct tlsctx *make_context(const char *ciphers, const char *hint)
{
    char why[128];
    struct tlsctx *ctx = tlsctx_new(
        &(struct tlsctx_params){.ciphers = ciphers, .hint = hint, .cid = true}, why, sizeof why);

    assert_non_null(ctx);
    return ctx;
}

static struct answer libssls_answer(struct tlsctx *ctx, const struct hello *h)
{
    struct answer a = {.count = 0};
    struct engine *e = engine_new(ctx, MTU, keep, &a);

    assert_non_null(e);
    engine_offer_cid(e, OWN_CID);
    assert_int_equal(engine_hello(e, h->data, h->len), ENGINE_WAIT);
    engine_free(e);
    return a;
}

/* What a ServerHello says, but for its random, its session id and the order of its extensions. */
struct said {
    uint16_t version, suite;
    uint8_t compression;
    bool has_block;
    struct {
        uint16_t type, len;
        uint8_t body[16];
    } extension[8];
    size_t count;
};

static int by_type(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(uint16_t));
}

static struct said what_says(const struct answer *a)
{
    struct reader r = reader_of(a->body[0], a->len[0]);
    struct said s;

    memset(&s, 0, sizeof s);
    assert_int_equal(a->type[0], WIRE_SERVER_HELLO);
    s.version = read_u16(&r);
    read_bytes(&r, WIRE_RANDOM);
    read_vec8(&r);
    s.suite = read_u16(&r);
    s.compression = read_u8(&r);
    s.has_block = r.left > 0;
    struct reader list = s.has_block ? read_vec16(&r) : reader_of(NULL, 0);
    while (list.left > 0) {
        s.extension[s.count].type = read_u16(&list);
        struct reader body = read_vec16(&list);
        assert_true(body.left <= sizeof s.extension[0].body);
        s.extension[s.count].len = (uint16_t)body.left;
        memcpy(s.extension[s.count++].body, body.at, body.left);
    }
    assert_false(r.bad || list.bad);
    assert_int_equal(r.left, 0);
    qsort(s.extension, s.count, sizeof s.extension[0], by_type);
    return s;
}

static void assert_same(const struct answer *ours, const struct answer *theirs)
{
    struct said a = what_says(ours), b = what_says(theirs);

    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(ours->count, theirs->count);
    for (size_t i = 0; i < ours->count; i++) {
        assert_int_equal(ours->type[i], theirs->type[i]);
        assert_int_equal(ours->seq[i], theirs->seq[i]);
        if (i == 0)
            continue;
        assert_int_equal(ours->len[i], theirs->len[i]);
        assert_memory_equal(ours->body[i], theirs->body[i], ours->len[i]);
    }
}

/* False: left to libssl. Else our answer has been compared with libssl's. */
static bool greets(struct tlsctx *ctx, const struct form *form, struct greeting *g)
{
    struct hello h = make_hello(form);
    struct wire_hello parsed = parse(&h);
    struct answer a = {.count = 0};

    if (!greeting_judge(ctx, MTU, &parsed, g))
        return false;
    greeting_write(g, &(struct greeting_words){tlsctx_hint(ctx), OWN_CID}, keep, &a);
    struct answer theirs = libssls_answer(ctx, &h);
    assert_same(&a, &theirs);
    return true;
}

#define SUITES(...) ((const uint16_t[]){__VA_ARGS__, 0})
#define PLAIN_LIST "PSK-AES128-GCM-SHA256:PSK-CHACHA20-POLY1305:PSK-AES128-CCM8"

static void test_the_servers_order_decides(void **state)
{
    struct tlsctx *ctx = make_context(PLAIN_LIST, NULL);
    struct form form = {.version = WIRE_DTLS12, .suites = SUITES(CCM8, NOBODYS, CHACHA, GCM)};
    struct greeting g;

    (void)state;
    assert_true(greets(ctx, &form, &g));
    assert_int_equal(g.suite->id, GCM);
    form.suites = SUITES(CCM8, CHACHA);
    assert_true(greets(ctx, &form, &g));
    assert_int_equal(g.suite->id, CHACHA);
    assert_false(g.extended_master_secret || g.renegotiation_info);
    form.suites = SUITES(CCM8, SCSV);
    assert_true(greets(ctx, &form, &g));
    assert_int_equal(g.suite->id, CCM8);
    assert_true(g.renegotiation_info);
    tlsctx_free(ctx);
}

static void test_other_suites_are_libssls(void **state)
{
    struct tlsctx *ctx = make_context(TLSCTX_DEFAULT_CIPHERS, NULL);
    struct form form = {.version = WIRE_DTLS12, .suites = SUITES(GCM, ECDHE)};
    struct greeting g;

    (void)state;
    assert_false(greets(ctx, &form, &g)); /* ECDHE comes first in the list */
    form.suites = SUITES(CBC, NOBODYS);
    assert_false(greets(ctx, &form, &g));
    form.suites = SUITES(CBC, GCM);
    assert_true(greets(ctx, &form, &g));
    form.version = WIRE_DTLS10;
    assert_false(greets(ctx, &form, &g));
    tlsctx_free(ctx);
}

static void test_old_suites_that_come_first_are_libssls(void **state)
{
    char why[128];
    struct tlsctx *ctx =
        tlsctx_new(&(struct tlsctx_params){.ciphers = "PSK-AES128-CBC-SHA:PSK-AES128-GCM-SHA256",
                                           .old_devices = true},
                   why, sizeof why);
    struct form form = {.version = WIRE_DTLS12, .suites = SUITES(GCM, CBC)};
    struct greeting g;

    (void)state;
    assert_false(greets(ctx, &form, &g));
    form.suites = SUITES(GCM);
    assert_true(greets(ctx, &form, &g));
    tlsctx_free(ctx);
}

static void test_newer_versions_get_this_one(void **state)
{
    struct tlsctx *ctx = make_context(PLAIN_LIST, NULL);
    struct form form = {.version = 0xfefc, .suites = SUITES(GCM)};
    struct greeting g;

    (void)state;
    assert_true(greets(ctx, &form, &g));
    tlsctx_free(ctx);
}

/* The same bytes as of libssl, message by message. */
static void test_a_hint_is_sent(void **state)
{
    char hint[TLSCTX_HINT_MAX + 1];
    struct form form = {.version = WIRE_DTLS12, .suites = SUITES(GCM)};
    struct greeting g;

    (void)state;
    memset(hint, 'h', TLSCTX_HINT_MAX);
    hint[TLSCTX_HINT_MAX] = '\0';
    struct tlsctx *ctx = make_context(PLAIN_LIST, hint);
    assert_true(greets(ctx, &form, &g));

    size_t needed = WIRE_RECORD_HEADER + WIRE_MESSAGE_HEADER + 2 + TLSCTX_HINT_MAX;
    struct hello h = make_hello(&form);
    struct wire_hello parsed = parse(&h);
    assert_true(greeting_judge(ctx, needed, &parsed, &g));
    assert_false(greeting_judge(ctx, needed - 1, &parsed, &g)); /* has to be cut */
    tlsctx_free(ctx);
}

struct extension {
    const char *what;
    uint8_t bytes[8];
    size_t len;
    bool is_fine;
};

static const struct extension EXTENSIONS[] = {
    {"extended master secret", {0, 23, 0, 0}, 4, true},
    {"with a body", {0, 23, 0, 1, 0}, 5, false},
    {"renegotiation", {0xff, 1, 0, 1, 0}, 5, true},
    {"of a handshake there was none", {0xff, 1, 0, 2, 1, 7}, 6, false},
    {"without a vector", {0xff, 1, 0, 0}, 4, false},
    {"whose vector is too short", {0xff, 1, 0, 2, 0, 0}, 6, false},
    {"512 bytes", {0, 1, 0, 1, 1}, 5, true},
    {"4096 bytes", {0, 1, 0, 1, 4}, 5, true},
    {"no code", {0, 1, 0, 1, 0}, 5, false},
    {"a code of nobody's", {0, 1, 0, 1, 5}, 5, false},
    {"two codes", {0, 1, 0, 2, 1, 1}, 6, false},
    {"no code at all", {0, 1, 0, 0}, 4, false},
    {"ticket", {0, 35, 0, 0}, 4, true},
    {"unknown", {0xaa, 0xaa, 0, 2, 1, 2}, 6, true},
    {"connection id", {0, 54, 0, 3, 2, 7, 7}, 7, true},
    {"an empty one", {0, 54, 0, 1, 0}, 5, true},
    {"no length of it", {0, 54, 0, 0}, 4, false},
    {"one that is cut", {0, 54, 0, 2, 2, 7}, 6, false},
    {"one with more behind", {0, 54, 0, 3, 1, 7, 7}, 7, false},
    {"route checks", {0, 61, 0, 0}, 4, true},
    {"with a body", {0, 61, 0, 1, 0}, 5, false},
};

static void test_what_is_odd_is_libssls(void **state)
{
    struct tlsctx *ctx = make_context(PLAIN_LIST, NULL);
    struct form form = {.version = WIRE_DTLS12, .suites = SUITES(GCM)};
    struct greeting g;

    (void)state;
    for (size_t i = 0; i < sizeof EXTENSIONS / sizeof EXTENSIONS[0]; i++) {
        form.extensions = EXTENSIONS[i].bytes;
        form.extensions_len = EXTENSIONS[i].len;
        if (greets(ctx, &form, &g) != EXTENSIONS[i].is_fine)
            fail_msg("%s", EXTENSIONS[i].what);
    }
    tlsctx_free(ctx);
}

/* Each pick of them, in any order, each time with other suites. */
static void test_all_mixtures_are_answered_alike(void **state)
{
    static const uint16_t suites[] = {GCM, CHACHA, CCM8, SCSV, NOBODYS, CBC};
    static const size_t good[] = {0, 2, 7, 12, 13, 14, 19};
    struct tlsctx *ctx = make_context(PLAIN_LIST, "who");
    unsigned greeted = 0;

    (void)state;
    srand(9146);
    for (unsigned round = 0; round < 3000; round++) {
        uint16_t list[7] = {GCM, 0};
        uint8_t block[64];
        struct writer w = writer_of(block, sizeof block);
        unsigned picked = (unsigned)rand() % 128, from = (unsigned)rand() % 7;
        struct form form = {.version = WIRE_DTLS12, .suites = list};
        struct greeting g;

        for (size_t i = 0, n = 1 + (size_t)rand() % 6; i < n; i++)
            list[i] = suites[(unsigned)rand() % 6];
        for (unsigned i = 0; i < 7; i++) {
            const struct extension *e = &EXTENSIONS[good[(from + i) % 7]];
            if ((picked >> i & 1) != 0)
                write_bytes(&w, e->bytes, e->len);
        }
        form.extensions_len = (size_t)(w.at - block);
        form.extensions = picked != 0 || rand() % 2 != 0 ? block : NULL;
        greeted += greets(ctx, &form, &g);
    }
    assert_true(greeted > 1500);
    tlsctx_free(ctx);
}

static void test_no_connection_id_without_one_of_ours(void **state)
{
    struct tlsctx *ctx = make_context(PLAIN_LIST, NULL);
    const struct form form = {
        .version = WIRE_DTLS12,
        .suites = SUITES(GCM),
        .extensions = (const uint8_t[]){0, 54, 0, 1, 0, 0, 61, 0, 0},
        .extensions_len = 9,
    };
    struct hello h = make_hello(&form);
    struct wire_hello parsed = parse(&h);
    struct answer a = {.count = 0};
    struct greeting g;

    (void)state;
    assert_true(greeting_judge(ctx, MTU, &parsed, &g));
    assert_true(g.has_cid && g.has_rrc);
    greeting_write(&g, &(struct greeting_words){NULL, NULL}, keep, &a);
    assert_int_equal(what_says(&a).count, 0);
    assert_false(what_says(&a).has_block);
    tlsctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_servers_order_decides),
        cmocka_unit_test(test_other_suites_are_libssls),
        cmocka_unit_test(test_old_suites_that_come_first_are_libssls),
        cmocka_unit_test(test_newer_versions_get_this_one),
        cmocka_unit_test(test_a_hint_is_sent),
        cmocka_unit_test(test_what_is_odd_is_libssls),
        cmocka_unit_test(test_all_mixtures_are_answered_alike),
        cmocka_unit_test(test_no_connection_id_without_one_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
