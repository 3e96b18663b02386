/*
 * test_relay_client: what the backend learns of the client: a header in front of each datagram, or
 * the address that a flow borrows.
 */
#include "relay_world.h"

#include "base/bytes.h"

#define ONE 40001
#define TWO 40002
#define UNTOUCHED 0xaa

static const char *const plain[] = {NULL};
static const char *const told[] = {"service.a.proxy-protocol=v2", NULL};

/* The header that the session of a flow must have. */
static size_t write_expected(const struct flow *f, uint16_t port, uint8_t out[PP2_MAX])
{
    const struct addr peer = world_addr(port), local = world_addr(5684);
    const struct pp2_facts facts = {.peer = &peer,
                                    .local = &local,
                                    .id = f->owner->id,
                                    .version = "1.2",
                                    .cipher = session_suite_name(f->owner),
                                    .identity = (const uint8_t *)"me",
                                    .identity_len = 2};

    pp2_write(&facts, out);
    return pp2_length(&facts);
}

static void assert_told(const struct flow *f, uint16_t port, const char *text)
{
    uint8_t head[PP2_MAX];
    size_t len = write_expected(f, port, head);

    assert_int_equal(f->len, len + strlen(text));
    assert_memory_equal(f->data, head, len);
    assert_memory_equal(f->data + len, text, strlen(text));
}

static void test_each_datagram_has_the_header_of_its_session(void **state)
{
    (void)state;
    world_begin(told, 1);
    struct dtls_client *one = world_open(ONE, NULL), *two = world_open(TWO, NULL);
    assert_told(world_say(one, ONE, "first"), ONE, "first");
    assert_told(world_say(two, TWO, "hi"), TWO, "hi");
    struct flow *f = world_say(one, ONE, "second");
    assert_told(f, ONE, "second");
    assert_int_equal(f->owner->in_bytes, 11);
    world_forge(f, WIRE_DATA, 100, NULL, 0);
    assert_told(f, ONE, "");
    assert_int_equal(f->count, 3);
    assert_true(world_back(f, "answer", 6));
    world_to_client(one, ONE);
    assert_int_equal(one->answers, 1);
    client_free(one);
    client_free(two);
    world_end();
}

static void test_what_is_forged_gets_no_header(void **state)
{
    uint8_t record[64];

    (void)state;
    world_begin(told, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    size_t n = world_seal(f, WIRE_DATA, 100, "forged", 6, record);
    record[n - 1] ^= 1;
    world->plain[0] = UNTOUCHED;
    world_from(ONE, 0, record, n);
    assert_fate(DROP_FORGED, 1);
    assert_int_equal(world->plain[0], UNTOUCHED);
    assert_int_equal(f->count, 1);
    client_free(c);
    world_end();
}

static void test_the_largest_record_is_told_of(void **state)
{
    static uint8_t most[WIRE_PLAINTEXT_MAX - PP2_MAX], head[PP2_MAX];

    (void)state;
    world_begin(told, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    struct flow *f = world_say(c, ONE, "x");
    world_forge(f, WIRE_DATA, 100, most, sizeof most);
    assert_int_equal(f->len, write_expected(f, ONE, head) + sizeof most);
    client_free(c);
    world_end();
}

static void reload(const char *const overrides[])
{
    struct relay_setup next = world_setup(overrides);
    relay_apply(world->relay, &next, world->now);
}

static void test_a_reload_is_told_of_from_the_next_datagram_on(void **state)
{
    (void)state;
    world_begin(plain, 1);
    struct dtls_client *c = world_open(ONE, NULL);
    assert_int_equal(world_say(c, ONE, "plain")->len, 5);
    reload(told);
    assert_told(world_say(c, ONE, "told"), ONE, "told");
    reload(plain);
    assert_int_equal(world_say(c, ONE, "plain")->len, 5);
    client_free(c);
    world_end();
}

static void test_a_flow_borrows_what_the_settings_say(void **state)
{
    static const char *const modes[][2] = {
        {"service.a.transparent=yes"}, {"service.a.transparent=client"}, {NULL}};
    const struct addr none = {.family = 0};
    struct addr expected[3] = {world_addr(0), world_addr(ONE), none};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        world_begin(modes[i], 1);
        struct dtls_client *c = world_open(ONE, NULL);
        struct flow *f = world_say(c, ONE, "x");
        assert_true(addr_equal(&f->as, &expected[i]));
        client_free(c);
        world_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_datagram_has_the_header_of_its_session),
        cmocka_unit_test(test_what_is_forged_gets_no_header),
        cmocka_unit_test(test_the_largest_record_is_told_of),
        cmocka_unit_test(test_a_reload_is_told_of_from_the_next_datagram_on),
        cmocka_unit_test(test_a_flow_borrows_what_the_settings_say),
    };
    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
