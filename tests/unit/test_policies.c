/* policies: sections of identities, from text to which of them an identity has. */
#include "conf/policies.h"

#include "conf_text.h"

#include <stdio.h>
#include <time.h>

#define KEY_OF(identity) identity ":00112233445566778899aabbccddeeff\n"
#define OTHER "[service b]\nlisten = 127.0.0.1:0\nbackend = 127.0.0.1:5685\npsk-file = keys\n"

static struct conf *load_with(const char *keys, const char *text, const char *const overrides[])
{
    struct conf *c;

    write_file("keys", keys, 0600);
    c = load_good(text, overrides);
    write_file("keys", KEY_OF("me"), 0600);
    return c;
}

/* The max-sessions of the identity's policy, which tells them apart; 0: it has none. */
static unsigned mark_of(const struct conf *c, size_t service, const char *identity)
{
    const struct conf_service *s = &c->service[service];
    const struct psk *psk = psk_find(s->psk, (const uint8_t *)identity, strlen(identity));
    const struct conf_policy *p;

    assert_non_null(psk);
    p = policies_find(s, psk);
    assert_ptr_equal(policies_at(s, policies_match(s, psk)), p); /* if a helper knew it */
    return p ? p->max_sessions : 0;
}

static void test_without_sections_nobody_has_one(void **state)
{
    struct conf *c = load_good(MINIMAL, NULL);

    (void)state;
    assert_int_equal(mark_of(c, 0, "me"), 0);
    assert_null(c->service[0].policies.number);
    conf_unref(c);
}

static void test_the_first_that_fits_wins(void **state)
{
    struct conf *c = load_with(
        KEY_OF("dev-1") KEY_OF("dev-2") KEY_OF("dev-10") KEY_OF("you"),
        MINIMAL "[identity dev-2]\nmax-sessions = 1\n[identity dev-?]\nmax-sessions = 2\n"
                "[identity dev-1]\nmax-sessions = 3\n[identity dev-*]\nmax-sessions = 4\n"
                "[identity nobody]\nmax-sessions = 5\n[identity dev-1*]\nmax-sessions = 6\n",
        NULL);

    (void)state;
    assert_int_equal(mark_of(c, 0, "dev-2"), 1);
    assert_int_equal(mark_of(c, 0, "dev-1"), 2);
    assert_int_equal(mark_of(c, 0, "dev-10"), 4);
    assert_int_equal(mark_of(c, 0, "you"), 0);
    conf_unref(c);
}

static void test_of_two_that_name_one_the_first_wins(void **state)
{
    struct conf *c = load_good(
        MINIMAL "[identity m\\e]\nmax-sessions = 1\n[identity me]\nmax-sessions = 2\n", NULL);

    (void)state;
    assert_int_equal(mark_of(c, 0, "me"), 1);
    conf_unref(c);
}

static void test_a_section_may_be_for_one_service(void **state)
{
    const char *keys = KEY_OF("me") KEY_OF("b/me") KEY_OF("c/me");
    struct conf *c =
        load_with(keys,
                  "[identity b/*]\nmax-sessions = 1\n[identity \\b/me]\nmax-sessions = 2\n"
                  "[identity c/me]\nmax-sessions = 3\n" OTHER MINIMAL,
                  NULL);

    (void)state;
    assert_string_equal(c->service[1].name, "b");
    assert_int_equal(mark_of(c, 1, "me"), 1);
    assert_int_equal(mark_of(c, 1, "b/me"), 1);
    assert_int_equal(mark_of(c, 0, "me"), 0);
    assert_int_equal(mark_of(c, 0, "b/me"), 2);
    assert_int_equal(mark_of(c, 0, "c/me"), 3); /* there is no service c */
    conf_unref(c);
}

static void test_overrides(void **state)
{
    struct conf *c = load_with(
        KEY_OF("a.b") KEY_OF("me"), MINIMAL "[identity a.b]\nmax-sessions = 1\n",
        (const char *const[]){"identity.a.b.max-sessions=2", "identity.m*.max-sessions=3", NULL});

    (void)state;
    assert_int_equal(mark_of(c, 0, "a.b"), 2);
    assert_int_equal(mark_of(c, 0, "me"), 3);
    conf_unref(c);
    assert_override_error("identity.me.max-sessions=x",
                          "command line: identity.me.max-sessions: \"x\" is not a number from 1 to "
                          "1000000, or 0");
    assert_override_error("identity.a]b.max-sessions=1",
                          "command line: identity.a]b: needs a pattern of 1 to 39 bytes, as in "
                          "[identity meter-*]; '*' stands for any bytes, '?' for one, a backslash "
                          "takes the next as it is");
}

static void test_what_is_printed_is_read_back(void **state)
{
    static const char text[] =
        MINIMAL "[identity z*]\nbackend = 127.0.0.1:1234\nallow-from = 10.0.0.0/8, ::1\n"
                "max-sessions = 7\nrate-datagrams = 100\nrate-bytes = 64k\n"
                "not-after = 2031-12-31\nciphers = PSK-AES128-CCM8\n[identity a/me]\n";
    struct conf *c = load_good(text, NULL);
    char *first = NULL, *again = NULL;
    size_t first_len, again_len;
    FILE *f = open_memstream(&first, &first_len);

    (void)state;
    conf_print(c, f);
    fclose(f);
    conf_unref(c);
    assert_non_null(strstr(first, "[identity z*]\nbackend = 127.0.0.1:1234\n"
                                  "allow-from = 10.0.0.0/8, ::1\nmax-sessions = 7\n"
                                  "rate-datagrams = 100\nrate-bytes = 64k\n"
                                  "not-after = 2031-12-31T23:59:59Z\nciphers = PSK-AES128-CCM8\n"));
    assert_non_null(strstr(first, "\n[identity a/me]\nbackend =\nallow-from =\nmax-sessions = 0\n"
                                  "rate-datagrams = 0\nrate-bytes = 0\nnot-after =\nciphers =\n"));
    c = load_good(first, NULL);
    f = open_memstream(&again, &again_len);
    conf_print(c, f);
    fclose(f);
    conf_unref(c);
    assert_string_equal(first, again);
    free(first);
    free(again);
}

static void test_mistakes_tell_their_place(void **state)
{
    (void)state;
    assert_errors(
        MINIMAL "[identity dev-*]\nrate-bytes = x\nnot-after = soon\nmax-session = 1\n"
                "allow-from = here\nciphers = AES-NONE\nbackend = 127.0.0.1:0\n"
                "mtu = 1\n",
        NULL,
        (const char *const[]){
            "x.ini:6: identity.dev-*.rate-bytes: \"x\" is not a size from 1 to 1g, or 0 "
            "(k, m or g)",
            "x.ini:7: identity.dev-*.not-after: \"soon\" is not a UTC date "
            "(2031-12-31, 2031-12-31T12:00:00Z)",
            "x.ini:8: identity.dev-*.max-session: unknown key; did you mean "
            "max-sessions?",
            "x.ini:9: identity.dev-*.allow-from: \"here\" is no "
            "address or prefix; write 10.0.0.0/8 or 2001:db8::/32",
            "x.ini:10: identity.dev-*.ciphers: \"AES-NONE\" selects no cipher suite; "
            "write OpenSSL names joined by ':', such as PSK-AES128-GCM-SHA256",
            "x.ini:11: identity.dev-*.backend: \"127.0.0.1:0\" has port 0; write the port "
            "that the service listens on",
            "x.ini:12: identity.dev-*.mtu: unknown key here; it belongs into a [service "
            "NAME]",
            NULL});
    assert_error(MINIMAL "rate-bytes = 1\n",
                 "x.ini:5: service.a.rate-bytes: unknown key here; it belongs into an [identity "
                 "PATTERN]");
    assert_error(MINIMAL "[identity \xc3\xa4]\n[identity \xc3\xa4]\n",
                 "x.ini:6: identity.\\xc3\\xa4: second section of this name, the first is in line "
                 "5; join them");
    assert_error(MINIMAL "[identty x]\n",
                 "x.ini:5: identty x: unknown section; did you mean [identity PATTERN]?");
    assert_error(MINIMAL "[identity a/]\n",
                 "x.ini:5: identity.a/: names no identity of service a; write [identity a/*]");
    assert_error("[service a]\nlisten = 127.0.0.1:5684\nbackend = 127.0.0.1:1\npsk-file = keys\n"
                 "[identity x]\nbackend = 127.0.0.1:5684\n",
                 "x.ini:6: identity.x.backend: 127.0.0.1:5684 is where service a listens; write "
                 "the address of the plain service");
}

static void test_names_that_are_no_pattern(void **state)
{
    static const char *const names[] = {"", "x\\", "1234567890123456789012345678901234567890"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[256];
        struct conf *c;

        snprintf(text, sizeof text, MINIMAL "[identity %s]\n", names[i]);
        c = load(text, NULL);
        assert_null(c);
        assert_int_equal(errors.count, 1);
    }
}

static void test_an_end_is_the_keys(void **state)
{
    struct conf *c = load_with(KEY_OF("me") KEY_OF("you"),
                               MINIMAL "[identity me]\nnot-after = 2026-01-01T00:00:00Z\n", NULL);
    const struct psk_set *set = c->service[0].psk;
    const uint64_t last = UINT64_C(1767225600000);

    (void)state;
    assert_non_null(psk_find_valid(set, (const uint8_t *)"me", 2, last + 999));
    assert_null(psk_find_valid(set, (const uint8_t *)"me", 2, last + 1000));
    assert_non_null(psk_find_valid(set, (const uint8_t *)"you", 3, UINT64_MAX - 1));
    conf_unref(c);
}

static void test_rates_are_the_identitys(void **state)
{
    struct conf *c = load_with(
        KEY_OF("a1") KEY_OF("a2") KEY_OF("b1") KEY_OF("me"),
        MINIMAL "[identity a*]\nrate-datagrams = 2\n[identity b*]\nrate-bytes = 100\n", NULL);
    const struct conf_service *s = &c->service[0];
    const struct psk *a1 = psk_at(s->psk, 0), *a2 = psk_at(s->psk, 1), *b1 = psk_at(s->psk, 2);

    (void)state;
    assert_true(policies_draw(s, a1, 5000, 1000));
    assert_true(policies_draw(s, a1, 5000, 1000));
    assert_false(policies_draw(s, a1, 0, 1000));
    assert_true(policies_draw(s, a2, 0, 1000));
    assert_true(policies_draw(s, a1, 0, 1500));
    assert_true(policies_draw(s, b1, 0, 1000));
    assert_true(policies_draw(s, b1, 99, 1000));
    assert_false(policies_draw(s, b1, 2, 1000));
    assert_true(policies_draw(s, b1, 1, 1000));
    assert_false(policies_draw(s, b1, 1, 1000));
    for (int i = 0; i < 1000; i++)
        assert_true(policies_draw(s, psk_at(s->psk, 3), 1000, 1000));
    conf_unref(c);
}

static void test_a_key_of_another_set_has_none(void **state)
{
    const char text[] = MINIMAL "[identity *]\nmax-sessions = 1\n";
    struct conf *one = load_good(text, NULL), *two = load_good(text, NULL);

    (void)state;
    assert_non_null(policies_find(&one->service[0], psk_at(one->service[0].psk, 0)));
    assert_null(policies_find(&one->service[0], psk_at(two->service[0].psk, 0)));
    conf_unref(one);
    conf_unref(two);
}

/* As many as there may be, and patterns that fit none of them in front of one that fits all. */
static void test_many_identities_take_little_time(void **state)
{
    enum { MANY = 200000 };
    char *keys = malloc((size_t)MANY * 48), text[4096], *at = keys;
    struct timespec before, after;
    struct conf *plain, *c;
    double share;

    (void)state;
    assert_non_null(keys);
    for (unsigned i = 0; i < MANY; i++)
        at += sprintf(at, "urn:%06u:00112233445566778899aabbccddeeff\n", i);
    write_file("keys", keys, 0600);
    free(keys);
    at = text + sprintf(text, "%s", MINIMAL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    plain = load_good(text, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    share = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    for (int i = 0; i < 20; i++)
        at += sprintf(at, "[identity x%d*]\n", i);
    sprintf(at, "[identity urn:1*]\nnot-after = 2031-01-01\n[identity *]\nrate-bytes = 1k\n");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    c = load_good(text, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    share =
        ((double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9) /
        share;
    print_message("%d identities: loading takes %.2f times as long with 22 patterns\n", MANY,
                  share);
    assert_true(share < 5);
    assert_non_null(policies_find(&c->service[0], psk_at(c->service[0].psk, MANY - 1)));
    conf_unref(plain);
    conf_unref(c);
    write_file("keys", KEY_OF("me"), 0600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_sections_nobody_has_one),
        cmocka_unit_test(test_the_first_that_fits_wins),
        cmocka_unit_test(test_of_two_that_name_one_the_first_wins),
        cmocka_unit_test(test_a_section_may_be_for_one_service),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_what_is_printed_is_read_back),
        cmocka_unit_test(test_mistakes_tell_their_place),
        cmocka_unit_test(test_names_that_are_no_pattern),
        cmocka_unit_test(test_an_end_is_the_keys),
        cmocka_unit_test(test_rates_are_the_identitys),
        cmocka_unit_test(test_a_key_of_another_set_has_none),
        cmocka_unit_test(test_many_identities_take_little_time),
    };

    return cmocka_run_group_tests(tests, conf_text_setup, conf_text_teardown);
}
