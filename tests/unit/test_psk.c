/*
 * test_psk: files of identities and keys, what is said about bad ones, and that keys are wiped.
 * The module's source is part of this program, and that of its memory, so that each block they
 * give back can be looked at.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

static void look_at_freed(const void *p);
static void look_at_unmapped(const void *p, size_t size);
#define free(p) (look_at_freed(p), free(p))
#define munmap(p, size) (look_at_unmapped(p, size), munmap(p, size))
#include "base/secret.c"
#include "dtls/psk.c"
#include "dtls/psk_files.c"
#undef munmap
#undef free

#include "psk_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KEY_HEX "5ec2e75ec2e75ec2e75ec2e75ec2e75e"

static const uint8_t secret[16] = {0x5e, 0xc2, 0xe7, 0x5e, 0xc2, 0xe7, 0x5e, 0xc2,
                                   0xe7, 0x5e, 0xc2, 0xe7, 0x5e, 0xc2, 0xe7, 0x5e};
static unsigned freed_blocks, freed_secrets;
static struct errors errors;

static void look_at_freed(const void *p)
{
    /* Cast: malloc_usable_size() takes what it may not change without const. */
    size_t size = p != NULL ? malloc_usable_size((void *)(uintptr_t)p) : 0;

    freed_blocks += p != NULL;
    if (size >= sizeof secret && memmem(p, size, secret, sizeof secret) != NULL)
        freed_secrets++;
}

static void look_at_unmapped(const void *p, size_t size)
{
    freed_blocks++;
    if (memmem(p, size, secret, sizeof secret) != NULL)
        freed_secrets++;
}

static struct psk_set *parse_bytes(const char *text, size_t len)
{
    errors_clear(&errors);
    return psk_parse("keys", text, len, false, &errors);
}

static struct psk_set *parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static const struct psk *find(const struct psk_set *set, const char *identity)
{
    return psk_find(set, (const uint8_t *)identity, strlen(identity));
}

static void refuse_bytes(const char *text, size_t len, const char *message)
{
    assert_null(parse_bytes(text, len));
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.line[0], message);
}

static void refuse(const char *text, const char *message)
{
    refuse_bytes(text, strlen(text), message);
}

static void expect_key(const struct psk_set *set, const char *identity)
{
    const struct psk *p = find(set, identity);

    assert_non_null(p);
    assert_int_equal(p->identity_len, strlen(identity));
    assert_memory_equal(p->identity, identity, p->identity_len);
    assert_int_equal(p->key_len, sizeof secret);
    assert_memory_equal(p->key, secret, sizeof secret);
}

static int clear_errors(void **state)
{
    (void)state;
    errors_clear(&errors);
    return 0;
}

static void test_lines_become_identities(void **state)
{
    struct psk_set *set = parse("# of the field\n\none:" KEY_HEX "\n \t\ntwo:" KEY_HEX "\n");

    (void)state;
    assert_non_null(set);
    assert_int_equal(errors.count, 0);
    assert_int_equal(psk_count(set), 2);
    expect_key(set, "one");
    expect_key(set, "two");
    assert_int_equal(find(set, "one")->line, 3);
    assert_int_equal(find(set, "two")->line, 5);
    psk_free(set);
}

static void test_last_line_needs_no_newline(void **state)
{
    struct psk_set *set = parse("one:" KEY_HEX);

    (void)state;
    assert_non_null(set);
    expect_key(set, "one");
    psk_free(set);
}

static void test_cr_lf_and_blanks_around_the_key(void **state)
{
    struct psk_set *set = parse("a: " KEY_HEX " \r\n\r\nb:\t" KEY_HEX "\t\n# c\r\n");

    (void)state;
    assert_non_null(set);
    assert_int_equal(psk_count(set), 2);
    expect_key(set, "a");
    expect_key(set, "b");
    psk_free(set);
}

static void test_key_in_either_case(void **state)
{
    struct psk_set *set = parse("a:5EC2E75ec2e75ec2e75ec2e75ec2e75E\n");

    (void)state;
    assert_non_null(set);
    expect_key(set, "a");
    psk_free(set);
}

static void test_last_colon_separates(void **state)
{
    struct psk_set *set = parse("a:b:" KEY_HEX "\n::" KEY_HEX "\n");

    (void)state;
    assert_non_null(set);
    expect_key(set, "a:b");
    expect_key(set, ":");
    assert_null(find(set, "a"));
    psk_free(set);
}

static void test_identity_is_taken_as_it_stands(void **state)
{
    struct psk_set *set = parse(" a \t:" KEY_HEX "\n\xff\xfe\x1b[1m\x7f:" KEY_HEX "\nb#:" KEY_HEX
                                "\n\r:" KEY_HEX "\n #c:" KEY_HEX "\n");

    (void)state;
    assert_non_null(set);
    expect_key(set, " a \t");
    expect_key(set, "\xff\xfe\x1b[1m\x7f");
    expect_key(set, "b#");
    expect_key(set, "\r");
    expect_key(set, " #c");
    assert_null(find(set, "a"));
    psk_free(set);
}

static void test_identities_are_compared_byte_by_byte(void **state)
{
    struct psk_set *set = parse("dev-1:" KEY_HEX "\n");

    (void)state;
    assert_non_null(set);
    expect_key(set, "dev-1");
    assert_null(psk_find(set, (const uint8_t *)"dev-1\0", 6));
    assert_null(psk_find(set, (const uint8_t *)"dev-1\0x", 7));
    assert_null(find(set, "Dev-1"));
    assert_null(find(set, "dev-1 "));
    assert_null(find(set, "dev-"));
    assert_null(find(set, ""));
    assert_null(psk_find(set, NULL, 0));
    psk_free(set);
}

static void test_identity_lengths(void **state)
{
    char text[PSK_IDENTITY_MAX + 64], identity[PSK_IDENTITY_MAX + 2];
    struct psk_set *set;

    (void)state;
    for (size_t len = 127; len <= PSK_IDENTITY_MAX; len++) {
        memset(identity, 'x', len);
        identity[len] = '\0';
        snprintf(text, sizeof text, "%s:" KEY_HEX, identity);
        set = parse(text);
        assert_non_null(set);
        expect_key(set, identity);
        identity[len] = 'x';
        identity[len + 1] = '\0';
        assert_null(find(set, identity));
        psk_free(set);
    }
}

static void test_overlong_identity_is_refused(void **state)
{
    char text[PSK_IDENTITY_MAX + 64];

    (void)state;
    memset(text, 'x', PSK_IDENTITY_MAX + 1);
    strcpy(text + PSK_IDENTITY_MAX + 1, ":" KEY_HEX);
    assert_null(parse(text));
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.line[0], "\": has 257 bytes; write 1 to 256"));
}

static void test_identities_that_no_file_can_give(void **state)
{
    (void)state;
    refuse(":" KEY_HEX, "keys:1: no identity before the colon; write 1 to 256 bytes");
    refuse("dev-1", "keys:1: no colon; write IDENTITY:HEXKEY");
    refuse_bytes("\na\0b:" KEY_HEX, 5 + 32,
                 "keys:2: identity \"a\\x00b\": has a NUL byte; write it without");
}

static void test_key_lengths(void **state)
{
    static const char digits[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                                 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                                 "00";

    (void)state;
    for (int n = 0; n <= 130; n++) {
        char text[256];
        struct psk_set *set;

        snprintf(text, sizeof text, "dev:%.*s\n", n, digits);
        set = parse(text);
        assert_int_equal(set != NULL, n % 2 == 0 && n >= 32 && n <= 128);
        assert_int_equal(errors.count, set == NULL);
        psk_free(set);
        set = psk_parse("keys", text, strlen(text), true, &errors);
        assert_int_equal(set != NULL, n % 2 == 0 && n >= 2 && n <= 128);
        psk_free(set);
    }
}

static void test_bad_keys_are_explained(void **state)
{
    (void)state;
    refuse("\n\ndev\x1b"
           "1:5ec2e75ec2e75ec2e75ec2e75ec2e7\n",
           "keys:3: identity \"dev\\x1b1\": key has 30 hex digits; write 32 to 128");
    refuse("dev:" KEY_HEX "5",
           "keys:1: identity \"dev\": key has 33 hex digits; write an even number, 32 to 128");
    refuse("dev:", "keys:1: identity \"dev\": key has 0 hex digits; write 32 to 128");
    refuse("dev:5ec2e75ec2e75ec2 75ec2e75ec2e75e",
           "keys:1: identity \"dev\": key has a character that is no hex digit; "
           "write 32 to 128 hex digits");
    refuse("dev:" KEY_HEX KEY_HEX KEY_HEX KEY_HEX "00",
           "keys:1: identity \"dev\": key has 130 hex digits; write 32 to 128");
}

static void test_duplicate_names_both_lines(void **state)
{
    (void)state;
    refuse("a:" KEY_HEX "\n# c\nb:" KEY_HEX "\na:" KEY_HEX "\n",
           "keys:4: identity \"a\": is on line 1 already; remove one of the two");
}

static void test_all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    assert_null(parse("a:00\nb\nok:" KEY_HEX "\nok:" KEY_HEX "\n:" KEY_HEX "\n"));
    assert_int_equal(errors.count, 4);
    assert_int_equal(strncmp(errors.line[0], "keys:1: ", 8), 0);
    assert_int_equal(strncmp(errors.line[1], "keys:2: ", 8), 0);
    assert_int_equal(strncmp(errors.line[2], "keys:4: ", 8), 0);
    assert_int_equal(strncmp(errors.line[3], "keys:5: ", 8), 0);
}

static void test_keys_are_never_shown(void **state)
{
    static const char *const lines[] = {
        "dev:" KEY_HEX "zz",         /* not hex */
        "dev:" KEY_HEX "5",          /* odd */
        KEY_HEX ":dev",              /* the wrong way round */
        "dev:" KEY_HEX ":old",       /* a third field */
        "dev " KEY_HEX,              /* no colon */
        ":" KEY_HEX,                 /* no identity */
        "dev " KEY_HEX " # at:home", /* a comment at the end */
        "dev:5e:c2:e7:5e:c2:e7:5e:c2:e7:5e:c2:e7:5e:c2:e7:5e",
        "dev:5e-c2-e7-5e-c2-e7-5e-c2-e7-5e-c2-e7-5e-c2-e7-5e:",
        "dev:5e c2 e7 5e c2 e7 5e c2 e7 5e c2 e7 5e c2 e7 5e:",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_null(parse(lines[i]));
        assert_int_equal(errors.count, 1);
        assert_null(strstr(errors.line[0], "5ec2"));
        assert_null(strstr(errors.line[0], "5e:c2"));
        assert_null(strstr(errors.line[0], "5e-c2"));
        assert_null(strstr(errors.line[0], "5e c2"));
    }
}

static void test_device_numbers_are_shown(void **state)
{
    (void)state;
    refuse("00:1a:22:ff:fe:33:44:55:00",
           "keys:1: identity \"00:1a:22:ff:fe:33:44:55\": key has 2 hex digits; write 32 to 128");
}

static void test_empty_set_is_refused(void **state)
{
    static const char message[] = "keys: holds no identity; write lines of IDENTITY:HEXKEY";

    (void)state;
    refuse("", message);
    refuse("# none yet\n\n", message);
}

static void test_earlier_errors_of_others_do_not_count(void **state)
{
    struct psk_set *set;

    (void)state;
    errors_add(&errors, "something else");
    set = psk_parse("keys", "a:" KEY_HEX, 2 + 32, false, &errors);
    assert_non_null(set);
    assert_int_equal(errors.count, 1);
    psk_free(set);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_file_is_loaded_unless_others_can_read_it(void **state)
{
    char path[] = "/tmp/test_psk.XXXXXX", message[256];
    int fd = mkstemp(path);
    struct psk_set *set;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "one:" KEY_HEX "\n", 0600);
    set = psk_load(path, false, &errors);
    write_file(path, "one:" KEY_HEX "\ntwo:00\n", 0640);
    assert_null(psk_load(path, false, &errors));
    assert_int_equal(chmod(path, 0644), 0);
    assert_null(psk_load(path, false, &errors));
    assert_int_equal(unlink(path), 0);
    assert_null(psk_load(path, false, &errors));

    assert_non_null(set);
    expect_key(set, "one");
    psk_free(set);
    assert_int_equal(errors.count, 3);
    snprintf(message, sizeof message,
             "%s:2: identity \"two\": key has 2 hex digits; write 32 to 128", path);
    assert_string_equal(errors.line[0], message);
    snprintf(message, sizeof message, "%s: is readable by others", path);
    assert_int_equal(strncmp(errors.line[1], message, strlen(message)), 0);
    snprintf(message, sizeof message, "%s: cannot be opened", path);
    assert_int_equal(strncmp(errors.line[2], message, strlen(message)), 0);
}

static void test_many_identities_are_all_found(void **state)
{
    enum { MANY = 20000 };
    static char text[MANY * 48];
    size_t len = 0;
    struct psk_set *set;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        len += (size_t)sprintf(text + len, "dev-%u:%024x%08x\n", i, 0u, i);
    set = parse(text);
    assert_non_null(set);
    assert_int_equal(psk_count(set), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        char identity[32];
        const struct psk *p;

        snprintf(identity, sizeof identity, "dev-%u", i);
        p = find(set, identity);
        assert_non_null(p);
        assert_int_equal(p->line, i + 1);
        assert_int_equal(p->key[14] << 8 | p->key[15], i);
    }
    assert_null(find(set, "dev-20000"));
    psk_free(set);
}

static void test_freed_memory_holds_no_key(void **state)
{
    struct psk_set *set = parse("one:" KEY_HEX "\ntwo:" KEY_HEX KEY_HEX "\n");

    (void)state;
    assert_non_null(set);
    freed_blocks = freed_secrets = 0;
    psk_free(set);
    psk_free(NULL);
    assert_null(
        parse("one:" KEY_HEX "\ntwo:" KEY_HEX "5e\nthree:" KEY_HEX "zz\nfour:" KEY_HEX "5"));
    assert_int_equal(freed_blocks, 2 * 7);
    assert_int_equal(freed_secrets, 0);
}

/* The refused key is the last of the file, so nothing is written over what it left behind. */
static void test_refused_key_is_wiped(void **state)
{
    static const char tail[] = "zz";
    char text[300] = "one:";

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        strcat(text, KEY_HEX);
    memcpy(text + strlen(text) - 2, tail, 2);
    freed_secrets = 0;
    assert_null(parse(text));
    assert_int_equal(freed_secrets, 0);
}

static void test_decoy_is_stable_and_unlike_others(void **state)
{
    struct psk_set *a = parse("one:" KEY_HEX), *b = parse("one:" KEY_HEX);
    uint8_t first[PSK_KEY_MAX], again[PSK_KEY_MAX], other[PSK_KEY_MAX];
    uint8_t elsewhere[PSK_KEY_MAX], empty[PSK_KEY_MAX];

    (void)state;
    /* As long as the one key there is. */
    assert_int_equal(psk_decoy(a, (const uint8_t *)"ghost", 5, first), strlen(KEY_HEX) / 2);
    psk_decoy(a, (const uint8_t *)"ghost", 5, again);
    psk_decoy(a, (const uint8_t *)"ghosu", 5, other);
    psk_decoy(b, (const uint8_t *)"ghost", 5, elsewhere);
    psk_decoy(a, NULL, 0, empty);
    assert_memory_equal(first, again, PSK_KEY_MAX);
    assert_memory_not_equal(first, other, PSK_KEY_MAX);
    assert_memory_not_equal(first, elsewhere, PSK_KEY_MAX);
    assert_memory_not_equal(first, empty, PSK_KEY_MAX);
    assert_memory_not_equal(first, first + 16, 16);
    psk_free(a);
    psk_free(b);
}

static void test_same_key_is_told(void **state)
{
    struct psk_set *set = parse("a:" KEY_HEX "\nb:" KEY_HEX "\nc:" KEY_HEX
                                "00\nd:5ec2e75ec2e75ec2e75ec2e75ec2e75f\n");
    const struct psk *a;

    (void)state;
    assert_non_null(set);
    a = find(set, "a");
    assert_true(psk_same_key(a, a));
    assert_true(psk_same_key(a, find(set, "b")));
    assert_false(psk_same_key(a, find(set, "c")));
    assert_false(psk_same_key(find(set, "c"), a));
    assert_false(psk_same_key(a, find(set, "d")));
    psk_free(set);
}

static void test_generated_line_can_be_loaded(void **state)
{
    static const char *const identities[] = {"dev-1", "a:b", " # ", "\xc3\xbc"};
    char line[PSK_LINE_MAX], again[PSK_LINE_MAX], why[128];

    (void)state;
    for (size_t i = 0; i < sizeof identities / sizeof *identities; i++) {
        struct psk_set *set;

        assert_true(psk_generate_line(identities[i], line, why, sizeof why));
        set = parse(line);
        assert_non_null(set);
        assert_non_null(find(set, identities[i]));
        assert_int_equal(find(set, identities[i])->key_len, 32);
        psk_free(set);
        assert_true(psk_generate_line(identities[i], again, why, sizeof why));
        assert_string_not_equal(line, again);
    }
}

static void test_generated_line_of_any_length(void **state)
{
    char identity[PSK_IDENTITY_MAX + 2], line[PSK_LINE_MAX], why[128];

    (void)state;
    memset(identity, 'x', sizeof identity);
    identity[PSK_IDENTITY_MAX] = '\0';
    assert_true(psk_generate_line(identity, line, why, sizeof why));
    assert_int_equal(strlen(line), PSK_IDENTITY_MAX + 1 + 64);
    identity[PSK_IDENTITY_MAX] = 'x';
    identity[PSK_IDENTITY_MAX + 1] = '\0';
    assert_false(psk_generate_line(identity, line, why, sizeof why));
    assert_string_equal(why, "has 257 bytes; give 1 to 256");
}

static void test_generate_refuses_what_no_file_can_hold(void **state)
{
    static const char *const identities[] = {"", "a\nb", "a\n", "a\r", "#a"};
    char line[PSK_LINE_MAX], why[128];

    (void)state;
    for (size_t i = 0; i < sizeof identities / sizeof *identities; i++) {
        why[0] = '\0';
        assert_false(psk_generate_line(identities[i], line, why, sizeof why));
        assert_int_not_equal(why[0], '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lines_become_identities, clear_errors),
        cmocka_unit_test_teardown(test_last_line_needs_no_newline, clear_errors),
        cmocka_unit_test_teardown(test_cr_lf_and_blanks_around_the_key, clear_errors),
        cmocka_unit_test_teardown(test_key_in_either_case, clear_errors),
        cmocka_unit_test_teardown(test_last_colon_separates, clear_errors),
        cmocka_unit_test_teardown(test_identity_is_taken_as_it_stands, clear_errors),
        cmocka_unit_test_teardown(test_identities_are_compared_byte_by_byte, clear_errors),
        cmocka_unit_test_teardown(test_identity_lengths, clear_errors),
        cmocka_unit_test_teardown(test_overlong_identity_is_refused, clear_errors),
        cmocka_unit_test_teardown(test_identities_that_no_file_can_give, clear_errors),
        cmocka_unit_test_teardown(test_key_lengths, clear_errors),
        cmocka_unit_test_teardown(test_bad_keys_are_explained, clear_errors),
        cmocka_unit_test_teardown(test_duplicate_names_both_lines, clear_errors),
        cmocka_unit_test_teardown(test_all_mistakes_are_told_at_once, clear_errors),
        cmocka_unit_test_teardown(test_keys_are_never_shown, clear_errors),
        cmocka_unit_test_teardown(test_device_numbers_are_shown, clear_errors),
        cmocka_unit_test_teardown(test_empty_set_is_refused, clear_errors),
        cmocka_unit_test_teardown(test_earlier_errors_of_others_do_not_count, clear_errors),
        cmocka_unit_test_teardown(test_file_is_loaded_unless_others_can_read_it, clear_errors),
        cmocka_unit_test_teardown(test_many_identities_are_all_found, clear_errors),
        cmocka_unit_test_teardown(test_freed_memory_holds_no_key, clear_errors),
        cmocka_unit_test_teardown(test_refused_key_is_wiped, clear_errors),
        cmocka_unit_test_teardown(test_decoy_is_stable_and_unlike_others, clear_errors),
        cmocka_unit_test_teardown(test_same_key_is_told, clear_errors),
        cmocka_unit_test_teardown(test_generated_line_can_be_loaded, clear_errors),
        cmocka_unit_test_teardown(test_generated_line_of_any_length, clear_errors),
        cmocka_unit_test_teardown(test_generate_refuses_what_no_file_can_hold, clear_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
